"""Prefect 3's side: the worker of type `pinned-ecs`, and its calls of the Prefect API.

A flow run's way: Prefect polls it, makes a job configuration of the work pool's template, and calls
`PinnedECSWorker.run`, which launches a task and returns. The rest is this package's own.

- `pinned_ecs_worker`: what Prefect calls. Read `launches.Launches._launch_taken` first.
- `services`: what else runs, put together.
- `taking`, `claims`: how a run is taken, and that it is launched only while it is this worker's
  (`moments`: by clocks that continue while a process is stopped).
- `turns`, `reading`: how its calls of Prefect's API are limited, and saved.
- `variables`, `configuration`: the fields of a template, and a job that was made of one.
- `spec`: from a job to a `RunSpec`; the only place that translates. Templates are read as data, and
  `template` brings their parts into ECS's shapes.
- `host`: the worker as the host of one run.
- `attempt`: one launch of a flow run, and whether a flow run's state is that of an attempt.
- `flow_runs`: what is read of flow runs, and reported on them; nothing is reported unread.
- `live_tasks`: follows accepted tasks to their ends, and reports what they did not report.
- `deadline`: a stopped worker ends in time.
- `room`: the bound on live tasks; `leases`: the concurrency slots of runs that wait.
- `handing_back`: what a worker that stops has not launched.
- `adopting`: the tasks of other workers (`task_lookup`), and the runs of those that are gone
  (`rescuing`), among the runs of the pool (`pool_runs`, `pool_jobs`).

`block` is never imported here; what both faces share is in `faces`.
"""

from prefect_ecs_pinned import majors

majors.require(majors.WORKER)  # before an import that fails for a reason harder to read

from prefect_ecs_pinned.worker.pinned_ecs_worker import PinnedECSWorker  # noqa: E402

__all__ = ["PinnedECSWorker"]
