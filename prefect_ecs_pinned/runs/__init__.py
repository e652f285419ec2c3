"""What a flow run does on ECS, with any host: a Prefect 2 block, or a Prefect 3 worker.

A *face* makes a `RunSpec` (`spec`) of its own fields, and a `Host` (`host`) of what Prefect
offers. A run has two halves, with the control plane of its credentials:

- `launch` pins what `prepare` has decided, and launches: `revision` chooses the definition,
  `request` makes the RunTask request.
- `watch` follows the task, and its output, until it has stopped; `ending` reports how it ended.

`run.run` is both, one after the other; a worker leaves `run.follow` to a service of its own.
Commands use the same functions on the same specs. Nothing here imports Prefect or pydantic.
"""
