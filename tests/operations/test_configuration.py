"""What commands know of a flow run beforehand: placeholders that are judged and never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.request import OVERRIDES_LIMIT, overrides_length
from prefect_ecs_pinned.errors import ConfigurationError, OverridesTooLarge
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.runs.spec import RunSpec

OVERRIDE = "/overrides/containerOverrides/0"


def configuration(**fields: Any) -> Configuration:
    spec = RunSpec("prefect-etl", "run", **{"image": "flows:1", "env": {"A": "1"}, **fields})
    return Configuration("pinned-ecs-task/etl", None, spec, Access("a", "us-east-1", dict, dict))


def request_of(spec: RunSpec) -> dict[str, Any]:
    return checked_request(spec, make(definition_spec(spec, "us-east-1")), None, ["subnet-1"])


@pytest.mark.parametrize(
    "path", ["/startedBy", "/tags/0", f"{OVERRIDE}/command", f"{OVERRIDE}/command/0"]
)
@pytest.mark.parametrize("op", ["replace", "remove"])
def test_a_patch_of_what_prefect_gives_to_a_run_fits(op, path):
    """It did not fit the block alone, and `plan` refused what every run accepted."""
    value: Any = {"key": "a", "value": "1"} if "tags" in path else "true"
    patch = {"op": op, "path": path, "value": ["true"] if path.endswith("command") else value}
    one = configuration(task_customizations=[patch])
    assert request_of(one.of_a_run())
    with pytest.raises(ConfigurationError, match="does not fit"):
        request_of(one.spec)


@pytest.mark.parametrize("command", [None, ["prefect", "flow-run", "execute"]])
def test_overrides_are_as_long_as_a_runs(command):
    """Id and command included: at the limit for all, or for none."""
    given = {"PREFECT__FLOW_RUN_ID": "0" * 36}
    run = configuration(env={**given, "LONG": ""}, command=["prefect", "flow-run", "execute"]).spec
    _, length = overrides_length(request_of(run))
    longest = OVERRIDES_LIMIT - length
    assert request_of(replace(run, env={**given, "LONG": "x" * longest}))
    assert request_of(configuration(env={"LONG": "x" * longest}, command=command).of_a_run())
    with pytest.raises(OverridesTooLarge):
        request_of(configuration(env={"LONG": "x" * (longest + 1)}, command=command).of_a_run())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"labels": {"team": "data"}},
        {"command": ["true"]},
        {"labels": {"prefect.io/version": "mine"}, "env": {}},
    ],
)
def test_no_placeholder_is_shown(fields):
    """What is left is what the block alone asks for."""
    one = configuration(**fields)
    assert one.without_placeholders(request_of(one.of_a_run())) == request_of(one.spec)
