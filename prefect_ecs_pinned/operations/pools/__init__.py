"""A source of configurations (`operations.sources`): the work pools of Prefect 3.

The worker makes a job's configuration of the pool's base job template and the deployment's job
variables, and a `RunSpec` of that (`worker.spec`). Here the same is done ahead of time, without a
flow run, so that a command sees what a flow run would get.

- `reading`: work pools and their deployments, as Prefect has them.
- `loading`, `reads`: from these to `Configuration`s.
- `claims`: which revisions everything on this Prefect server lays claim to.
- `checks`: what `doctor` says of a pool, its queues and its workers.
- `changes`, `queues`, `move`: from a pool of type `ecs` to one of type `pinned-ecs`, and back.
"""

from prefect_ecs_pinned import majors

majors.require(majors.WORKER)  # before an import that fails for a reason harder to read

from prefect_ecs_pinned.operations.pools.claims import read_claims  # noqa: E402
from prefect_ecs_pinned.operations.pools.reads import candidates, configurations  # noqa: E402

__all__ = [
    "candidates",
    "configurations",
    "read_claims",
]
