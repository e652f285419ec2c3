"""`Configuration`: what runs of one block or deployment ask for, with a name for messages.

A *source* makes them: `blocks` does of saved blocks and deployments. Commands take them as they
are, and need not know where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.runs.spec import RunSpec

#: Placeholder for the id of any flow run: all are as long.
_FLOW_RUN_ID = "00000000-0000-0000-0000-000000000000"
_VARIABLE = "PREFECT__FLOW_RUN_ID"

#: What Prefect gives to each flow run: a command, unless the block has one (an older one is as
#: long), and some labels.
_COMMAND = ("prefect", "flow-run", "execute")
_LABELS = {
    "prefect.io/flow-run-id": _FLOW_RUN_ID,
    "prefect.io/flow-run-name": "flow-run",
    "prefect.io/version": "0",
}

#: Faults of a field that are named in a message: a list of thousands has as many.
_MOST_FAULTS = 5


def faults_in_words(faults: Sequence[Mapping[str, Any]]) -> str:
    """What pydantic, 1 or 2, says of fields: with their paths, without their values."""
    said = [
        f"{'.'.join(map(str, fault['loc'])).removeprefix('__root__')}: {fault['msg']}".lstrip(": ")
        for fault in faults[:_MOST_FAULTS]
    ]
    if len(faults) > _MOST_FAULTS:
        said.append(f"and {len(faults) - _MOST_FAULTS} more")
    return "; ".join(said)


@dataclass(frozen=True)
class Configuration:
    """What the runs of a block or deployment ask for, a flow run's own values apart.

    Attributes:
        block_name: ``pinned-ecs-task/NAME``.
        deployment: ``flow/deployment`` whose overrides are applied; None for none.
        spec: What its runs ask for.
        access: Its access to AWS.
        image_unset: Neither the block nor its definition names an image: it follows the Prefect
            version that loads the block.
    """

    block_name: str
    deployment: str | None
    spec: RunSpec = field(repr=False)
    access: Access = field(repr=False)
    image_unset: bool = False

    def of_a_run(self) -> RunSpec:
        """What one flow run asks for, with placeholders for what Prefect gives it.

        Its request has the members of any run's, and is as long: patches fit or don't, and the
        overrides are too long or not, as they are for all.
        """
        return replace(
            self.spec,
            env={_VARIABLE: _FLOW_RUN_ID, **self.spec.env},
            flow_run_id=self.spec.flow_run_id or _FLOW_RUN_ID,
            command=self.spec.command or _COMMAND,
            labels={**_LABELS, **self.spec.labels},
        )

    def without_placeholders(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request of `of_a_run` with what all runs send, and no run's own.

        Args:
            request: RunTask's parameters; not changed.
        """
        result = dict(request)
        if result.get("startedBy") == _FLOW_RUN_ID:
            del result["startedBy"]
        added = _LABELS.keys() - self.spec.labels
        result["tags"] = [t for t in result.get("tags") or () if t.get("key") not in added]
        overrides = dict(result.get("overrides") or {})
        containers = [dict(c) for c in overrides.get("containerOverrides") or ()]
        for container in containers:
            environment = container.get("environment") or ()
            container["environment"] = [v for v in environment if v.get("name") != _VARIABLE]
            if not self.spec.command and tuple(container.get("command") or ()) == _COMMAND:
                del container["command"]
        return {**result, "overrides": {**overrides, "containerOverrides": containers}}

    @property
    def name(self) -> str:
        """How it is called in messages."""
        return self.deployment or self.block_name
