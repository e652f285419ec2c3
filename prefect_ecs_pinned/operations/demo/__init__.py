"""The main job on one machine: a loop of flow runs, a Prefect server, an ECS. All are real.

What takes the flow runs is an agent with a block (Prefect 2) or a worker (Prefect 3).

Nothing on the path of a flow run depends on the fact that this is a demo: it sets the stage with
the commands that a user types, then looks on.
"""

from prefect_ecs_pinned.operations.demo.play import DemoSettings, Summary, run_demo

__all__ = ["DemoSettings", "Summary", "run_demo"]
