"""The canonical form: what means the same is spelled the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from prefect_ecs_pinned.core.canonical import (
    DESCRIBED_ONLY,
    FINGERPRINT_LABEL,
    TASK_DEFINITION,
    Table,
    canonical,
    task_size,
    without_evidence,
)
from tests.core.echo import echo
from tests.core.model import Path, inner, request_shape

RICH = {
    "family": "etl",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "1 vCPU",
    "memory": "2GB",
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "containerDefinitions": [
        {
            "name": "prefect",
            "image": "prefecthq/prefect:2-latest",
            "command": ["b", "a"],
            "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
            "secrets": [
                {"name": "KEY", "valueFrom": "arn:aws:ssm:us-east-1:123456789012:parameter/k"},
                {"name": "DB", "valueFrom": "arn:aws:ssm:us-east-1:123456789012:parameter/d"},
            ],
            "portMappings": [{"containerPort": 8080}],
            "healthCheck": {"command": ["CMD-SHELL", "true"]},
        },
        {"name": "sidecar", "image": "datadog/agent:7", "essential": False},
    ],
}


def test_an_echo_of_ecs_has_the_canonical_form_of_what_was_sent():
    """Defaults filled in, lists reordered, members added: the form is the same."""
    assert canonical(echo(RICH)) == canonical(RICH)


def test_members_that_aws_may_add_tomorrow_make_no_difference():
    """An unknown member of an answer is left out, at every level."""
    answer = echo(RICH)
    answer["quantumMode"] = {"enabled": True}
    answer["containerDefinitions"][0]["warpFactor"] = 9
    assert canonical(answer) == canonical(RICH)


def test_an_unknown_member_that_a_user_registers_counts():
    """botocore may know a member before this package does."""
    assert canonical({**RICH, "quantumMode": {"enabled": True}}) != canonical(RICH)


def test_the_order_of_command_and_entry_point_is_kept():
    """They are the only lists of strings whose order is the meaning."""
    container = {"name": "prefect", "image": "i", "command": ["b", "a"], "entryPoint": ["z", "y"]}
    form = canonical({"family": "f", "containerDefinitions": [container]})
    assert form["containerDefinitions"][0]["command"] == ["b", "a"]
    assert form["containerDefinitions"][0]["entryPoint"] == ["z", "y"]


@pytest.mark.parametrize("mode", ["awsvpc", "host", "bridge"])
def test_host_ports_that_ecs_fills_in_do_not_change_the_order(mode):
    """80 and 8080: as text, the one begins like the other."""
    container = {"name": "prefect", "image": "i"}
    container["portMappings"] = [{"containerPort": port} for port in (8080, 80, 808)]  # type: ignore[assignment]
    sent = {"family": "f", "networkMode": mode, "containerDefinitions": [container]}
    assert canonical(echo(sent)) == canonical(sent)


def test_the_own_label_is_stripped_and_other_labels_stay():
    """A definition copied from a labelled revision is not another one."""
    labels = {FINGERPRINT_LABEL: "v1:0", "team": "data"}
    container = {"name": "prefect", "image": "i", "dockerLabels": labels}
    form = canonical({"family": "f", "containerDefinitions": [container]})
    assert form["containerDefinitions"][0]["dockerLabels"] == {"team": "data"}


def test_nothing_that_is_given_is_changed():
    """The input may be a user's dictionary."""
    before = repr(RICH)
    canonical(RICH)
    assert repr(RICH) == before


@pytest.mark.parametrize(
    ("written", "digits"),
    [("1 vCPU", "1024"), (".5 vcpu", "512"), ("2GB", "2048"), ("0.5GB", "512"), (256, "256")],
)
def test_sizes_are_written_in_digits(written, digits):
    """ECS answers CPU units and MiB, however they were written."""
    assert task_size(written) == digits


def test_the_tables_know_every_member_that_botocore_can_send():
    """A new member of RegisterTaskDefinition is noticed here, and gets its line in a table."""
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    assert _unknown(shape, TASK_DEFINITION) == []


def test_the_tables_know_every_structure_that_botocore_can_send():
    """Without a table, what AWS may add to a structure tomorrow would make a difference."""
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    assert _without_table(shape, TASK_DEFINITION) == []


def test_the_tables_know_every_member_that_ecs_adds():
    """What DescribeTaskDefinition answers beyond the input is never registered again."""
    model = botocore.session.get_session().get_service_model("ecs")
    answer: Any = model.operation_model("DescribeTaskDefinition").output_shape
    sent: Any = model.operation_model("RegisterTaskDefinition").input_shape
    added = set(answer.members["taskDefinition"].members) - set(sent.members)
    assert added <= DESCRIBED_ONLY


def _unknown(shape, table: Table, path: str = "") -> list[str]:
    unknown = []
    for name, member in shape.members.items():
        if name not in table:
            unknown.append(path + name)
            continue
        inner = member.member if member.type_name == "list" else member
        if (of := table[name].of) is not None and inner.type_name == "structure":
            unknown += _unknown(inner, of, f"{path}{name}.")
    return unknown


def _without_table(shape, table: Table, path: str = "") -> list[str]:
    without = []
    for name, member in shape.members.items():
        inner = member.member if member.type_name == "list" else member
        if inner.type_name != "structure":
            continue
        if (of := table[name].of) is None:
            without.append(path + name)
        else:
            without += _without_table(inner, of, f"{name}.")
    return without


# -- structures with nothing in them ---------------------------------------------------------------


def empty_structures(shape: Any = None, path: Path = ()) -> Iterator[Path]:
    """Structures without required members, recursively; items of lists are no members."""
    for name, member in (shape or request_shape()).members.items():
        if inner(member).type_name != "structure":
            continue
        if member.type_name == "structure" and not member.required_members:
            yield (*path, name)
        yield from empty_structures(inner(member), (*path, name))


def with_structure(path: Path, filled: dict[str, Any] | None) -> dict[str, Any]:
    """A definition with a structure, or without it."""
    shape = request_shape()
    whole: dict[str, Any] = {"family": "f", "containerDefinitions": [{"name": "prefect"}]}
    where = whole
    for name in path[:-1]:
        shape = inner(shape).members[name]
        if shape.type_name == "list":
            where = where.setdefault(name, [{"name": "x"}])[0]
        else:
            where = where.setdefault(name, {"fileSystemId": "x"})
    if filled is not None:
        where[path[-1]] = filled
    return whole


#: Kinds of volumes: one of Docker's is none of the host's directories.
KINDS = {("volumes", "dockerVolumeConfiguration"): {"scope": "task", "autoprovision": False}}


@pytest.mark.parametrize("path", list(empty_structures()), ids=".".join)
def test_an_empty_structure_means_something_only_where_it_chooses_a_kind(path):
    """Elsewhere it is as if it was left out. ECS fills in what is default."""
    form = canonical(with_structure(path, {}))
    assert (form != canonical(with_structure(path, None))) == (path in KINDS)
    assert form == canonical(with_structure(path, KINDS.get(path, {})))
    known, _ = without_evidence(form)
    bare, _ = without_evidence(canonical(with_structure(path, None)))
    assert (known != bare) == (path in KINDS)
