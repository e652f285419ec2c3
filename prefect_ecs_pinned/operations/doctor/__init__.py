"""What would keep flow runs from running, found without a side effect.

Each check is a function of one `Subject`: a saved block, or a block with the overrides of one
deployment, with what a flow run of it would send. Checks that look at the request are in
`request_checks`, those that ask AWS in `ecs_checks`, `network_checks`, `role_checks` and
`dependency_checks`, those of Prefect in `operations.blocks.checks` and `operations.pools.checks`.
Only reads are made.
"""

from prefect_ecs_pinned.operations.doctor.examine import doctor
from prefect_ecs_pinned.operations.doctor.findings import Finding, Status

__all__ = ["Finding", "Status", "doctor"]
