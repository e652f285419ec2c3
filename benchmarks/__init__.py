"""What a thousand flow runs cost: `make bench` measures, prints a table, and draws a plot.

- `serving` is the world: an embedded ECS with AWS's quotas and latencies, and as much of
  Prefect's API as a launch asks for, in a process of its own, so that it is not measured.
- `subject` is one agent: a process that runs blocks and reports on itself.
- `measurements` starts both and reads what the server has seen.
- `queued` is the whole way, with a real Prefect server, agent and worker.
- `goals` holds each promise and its figure; `report` prints and draws them.
"""
