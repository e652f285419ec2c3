"""What a flow run does on ECS, whoever hosts it: a Prefect block today, a worker next.

A *face* makes a `RunSpec` (`spec`) of its own fields, and a `Host` (`host`) of what Prefect
offers. `run.run` goes on from there, with the control plane of the run's credentials:

- `prepare` decides what is registered and what is sent: `revision` chooses the definition,
  `request` makes the RunTask request.
- `run` pins, launches, and brings the run to its end.
- `watch` follows the task, and its output, until it has stopped.

Commands use the same functions on the same specs. Nothing here knows Prefect or pydantic.
"""
