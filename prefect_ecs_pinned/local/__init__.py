"""An embedded ECS for one machine: unmodified AWS clients use it, and it runs their tasks.

It replaces AWS in the demo, in tests and in benchmarks, so it is true to ECS where that
hurts: request quotas, refusal of concurrent registrations, client tokens that replay refusals,
definitions described back in other words, MISSING, in-band failures, a task's life on a clock.

::

    with LocalECS(Settings(execute=True)) as ecs:
        ecs.client("ecs").run_task(...)

`model` is the ECS itself, pure and on an injected clock. `server` puts HTTP around it. `execution`,
`runner` and `preload` run each task's command as a local process. `moto_services` serves the rest
of AWS.
"""

from prefect_ecs_pinned.local.embedding import LocalECS, serve
from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, Phases, Settings

__all__ = [
    "ACCOUNT_ID",
    "AwsRefusal",
    "EmbeddedECS",
    "LocalECS",
    "Phases",
    "Settings",
    "serve",
]
