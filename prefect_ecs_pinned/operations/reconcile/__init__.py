"""Flow runs that are unfinished in Prefect and whose task is gone; tasks that outlived theirs.

An agent that is killed leaves both behind. `survey` looks and decides, `carry_out` acts on what
it decided. `verdict` and `outlived` hold the rules on `facts`, `places` has the accounts
that are looked at, `evidence` asks ECS, `flow_runs` asks Prefect and sets states.
"""

from prefect_ecs_pinned.operations.reconcile.carry_out import Outcome, carry_out
from prefect_ecs_pinned.operations.reconcile.facts import Action, Limits
from prefect_ecs_pinned.operations.reconcile.findings import Finding, Survey
from prefect_ecs_pinned.operations.reconcile.survey import survey

__all__ = ["Action", "Finding", "Limits", "Outcome", "Survey", "carry_out", "survey"]
