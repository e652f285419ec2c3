"""End to end: flow runs that are queued on a real Prefect server, until all of them are launched.

Server, database, command line, agent and worker are real, each a process of its own; AWS is the
embedded ECS with the documented quotas, whose tasks are not executed: they stay RUNNING, and their
flow runs Pending, until all of it is ended.

- `databases`: SQLite or PostgreSQL, new for each measurement.
- `server`: Prefect's, with its default settings.
- `prepare` is run with the Prefect that is measured: a pool or a block, a deployment, flow runs.
- `idle`: a worker and an infrastructure block whose `run` does nothing, for what Prefect costs.
- `observed`: CPU, memory and threads of processes, seen from outside.
- `end_to_end`: one measurement.
"""
