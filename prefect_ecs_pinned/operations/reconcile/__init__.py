"""Flow runs that Prefect believes unfinished and whose task is gone; tasks that outlived theirs.

An agent that is killed leaves both behind. `survey` looks and decides, `carry_out` acts on what
it decided. `verdict` holds the rules, `places` knows which accounts are looked at, `evidence`
asks ECS, `flow_runs` asks and tells Prefect.
"""

from prefect_ecs_pinned.operations.reconcile.carry_out import Outcome, carry_out
from prefect_ecs_pinned.operations.reconcile.survey import Finding, Survey, survey
from prefect_ecs_pinned.operations.reconcile.verdict import Action, Limits

__all__ = ["Action", "Finding", "Limits", "Outcome", "Survey", "carry_out", "survey"]
