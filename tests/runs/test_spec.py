"""What a run asks for, shown: names and identifiers, and no value that may be a secret."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, Literal

import pytest

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.runs.revision import _field_of, definition_spec
from prefect_ecs_pinned.runs.spec import FIELDS, RUN, RunSpec

CANARY = "canary-4711"
NAMES = [f.name for f in fields(RunSpec)]

#: Fields that hold names and identifiers, whose text is shown.
SHOWN = {
    *("default_family", "log_prefix", "name", "flow_run_id", "family", "task_definition_arn"),
    *("registration", "image", "container_name", "execution_role_arn", "task_role_arn"),
    *("launch_type", "cluster", "vpc_id", "assign_public_ip"),
    *("platform_version", "propagate_tags", "made_for"),
}


@pytest.mark.parametrize("name", sorted(set(NAMES) - SHOWN))
@pytest.mark.parametrize(
    "value", [{"of-the-map": CANARY}, [CANARY], [{"name": "a", "value": CANARY}], CANARY]
)
def test_no_value_is_shown_that_may_be_a_secret(name, value):
    """Whatever a face has put there; subnets and security groups are lists of identifiers."""
    if name in ("subnets", "security_groups") and value in ([CANARY], CANARY):
        return
    given = {"default_family": "f", "log_prefix": "run", name: value}
    assert CANARY not in repr(RunSpec(**given))


def test_every_field_is_in_the_table():
    """One that nobody has thought of would be hidden, and is noticed here."""
    assert set(NAMES) <= set(RUN)


def test_a_block_and_its_spec_use_the_same_names():
    """Messages name the fields that people set."""
    own = set(NAMES) - set(PinnedECSTask.__fields__)
    assert own == {
        *("default_family", "log_prefix", "flow_run_id", "inherited_env"),
        *("cloudwatch_logs", "network_configuration", "job_request", "made_for"),
    }
    assert set(FIELDS) <= set(RUN)


def test_what_has_one_name_has_one_value():
    """Also what no test has thought of; a field of a subclass is no part of what a run is."""

    class Subclass(PinnedECSTask):
        _block_type_name = "Made For"
        _block_type_slug = "made-for"
        type: Literal["made-for"] = "made-for"  # type: ignore[assignment]
        made_for: str = "EC2"

    block = Subclass(image="flows:1", cluster="etl", propagate_tags="NONE", cpu=512)
    spec = run_spec(block)
    translated = {"type", "task_customizations", "stream_output"}
    for name in set(NAMES) & set(PinnedECSTask.__fields__) - translated:
        assert getattr(spec, name) == getattr(block, name), name
    assert spec.made_for is None


def test_what_a_definition_is_made_of_has_one_name():
    """All but what is looked up, or translated; and all of it decides which one is remembered."""
    spec = RunSpec(
        *("f", "run"),
        image="flows:1",
        cpu=256,
        memory=512,
        execution_role_arn="r",
        secrets={"A": "arn"},
        container_name="main",
    )
    made = definition_spec(spec, "us-east-1")
    for name in ("image", "cpu", "memory", "execution_role_arn", "secrets", "container_name"):
        assert getattr(made, name) == getattr(spec, name), name
    for each in fields(DefinitionSpec):
        other = frozenset({"U"}) if each.name == "unset" else ["other"]
        changed: Any = {each.name: other}
        assert replace(made, **changed).key() != made.key(), each.name


def test_what_is_hidden_is_known():
    """Of texts that others write about a run: its variables, and those of its definition."""
    spec = RunSpec("f", "run", env={"A": CANARY}, inherited_env={"B": "inherited-4711"})
    container = {"name": "prefect", "environment": [{"name": "C", "value": "defined-4711"}]}
    hidden = spec.hidden({"containerDefinitions": [container]})
    assert {CANARY, "inherited-4711", "defined-4711"} <= hidden
    assert "prefect" not in hidden


def test_it_is_frozen():
    """A run and whoever prepares it see the same."""
    with pytest.raises(FrozenInstanceError):
        RunSpec("f", "run").image = "flows:2"  # type: ignore[misc]


def test_a_block_says_all_that_it_asks_for():
    """Each field of a block that a run needs comes through, the agent's variables apart."""
    block = PinnedECSTask(
        image="flows:1",
        env={"PREFECT__FLOW_RUN_ID": "a" * 32, "UNSET": None},
        name="purple-cat",
        configure_cloudwatch_logs=True,
        execution_role_arn="arn:aws:iam::123456789012:role/execution",
        subnets=["subnet-1"],
        registration="never",
    )
    spec = run_spec(block)
    assert (spec.default_family, spec.log_prefix) == ("prefect-pinned", "ECSTask 'purple-cat'")
    assert spec.flow_run_id == "a" * 32
    assert spec.env == {"PREFECT__FLOW_RUN_ID": "a" * 32, "UNSET": None}
    assert spec.cloudwatch_logs == {}
    assert not spec.may_register
    assert spec.inherited_env == block._base_environment()
    assert run_spec(block.copy(update={"configure_cloudwatch_logs": False})).cloudwatch_logs is None


@pytest.mark.parametrize(
    ("member", "named"),
    [
        ("tags.team", "task_definition_tags"),
        ("executionRoleArn", "execution_role_arn"),
        ("networkMode", "networkMode"),
    ],
)
def test_a_message_names_the_field_of_a_member(member, named):
    """A member without a field keeps its own name."""
    assert _field_of(RunSpec("f", "run"), member) == named
