"""`task_customizations`: any operation on any member is refused, or makes what can be sent."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prefect_aws import AwsCredentials
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.calls.models import input_shape
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.capacity import demand_of
from prefect_ecs_pinned.core.patches import UNKNOWN, patched
from prefect_ecs_pinned.core.request import (
    OVERRIDES_LIMIT,
    launch_type_of,
    overrides_length,
    submission_ids,
    with_submission_id,
)
from prefect_ecs_pinned.errors import ConfigurationError, OverridesTooLarge
from prefect_ecs_pinned.runs.check import checked_request, unread
from prefect_ecs_pinned.runs.revision import definition_spec, named_revision
from prefect_ecs_pinned.runs.spec import RunSpec
from tests.runs.nonsense import DOCUMENTS, SEED, anything, assert_accepted

SHAPE = input_shape("ecs", "RunTask")
ROLE = "arn:aws:iam::123456789012:role/r"
BASE = RunSpec(
    *("prefect-etl", "ECSTask"),
    image="flows:1",
    flow_run_id="a-b",
    labels={"a": "b"},
    env={"A": "b"},
    task_role_arn=ROLE,
)
LAUNCH_TYPES = ("FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL", "MANAGED_INSTANCES", None)
OPERATIONS = ("add", "replace", "remove", "move", "copy", "test")
ODD = (2**70, True, -1, "\ud800", "x" * 300, None, 10**5000)


def _places(shape: Any, path: str = "", depth: int = 6) -> Iterator[tuple[str, Any]]:
    yield path, shape
    if depth and shape.type_name == "structure":
        for name, member in shape.members.items():
            yield from _places(member, f"{path}/{name}", depth - 1)
    elif depth and shape.type_name == "list":
        for place in ("0", "-", "7", "x"):
            yield from _places(shape.member, f"{path}/{place}", depth - 1)


PLACES = dict(_places(SHAPE))
OUTER = [path for path in PLACES if path.count("/") in (1, 2)]


def _value(shape: Any, rng: random.Random) -> Any:
    kind = shape.type_name
    if rng.random() < 0.03:
        return rng.choice(ODD)
    if kind == "structure":
        return {
            name: _value(member, rng)
            for name, member in shape.members.items()
            if name in shape.required_members or rng.random() < 0.4
        }
    if kind == "list":
        return [_value(shape.member, rng) for _ in range(rng.choice([0, 1, 2]))]
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "long"):
        return rng.choice([0, 1, 256, 512])
    return rng.choice(shape.metadata.get("enum") or ["text", "prefect", "512", ROLE])


def _patch(rng: random.Random) -> dict[str, Any]:
    if rng.random() < 0.5:
        path = rng.choice(OUTER)
        return {"op": "add", "path": path, "value": _value(PLACES[path], rng)}
    path = rng.choice(list(PLACES))
    value = _value(PLACES[path], rng) if rng.random() < 0.7 else anything(rng, 2)
    from_ = rng.choice(list(PLACES))
    return {"op": rng.choice(OPERATIONS), "path": path, "value": value, "from": from_}


def _sent(spec: RunSpec) -> dict[str, Any]:
    named = named_revision(spec)
    desired = unread(spec, named) if named else make(definition_spec(spec, "us-east-1"))
    request = checked_request(spec, desired, named, ["subnet-1"])
    launch_type_of(request)
    hash(demand_of(request, desired.definition))
    with_id = with_submission_id(request, "a" * 24, desired.definition)
    assert submission_ids(with_id) == {"a" * 24}
    assert overrides_length(with_id, desired.definition)[0] <= OVERRIDES_LIMIT
    json.dumps(request, ensure_ascii=False).encode()
    return request


def test_a_patch_is_refused_or_makes_a_request_that_can_be_sent() -> None:
    """Nothing else; the block, its text and its preview are no worse."""
    credentials, sent = AwsCredentials(region_name="us-east-1"), 0
    refused: list[Exception] = []
    for number in range(2 * DOCUMENTS):
        rng = random.Random(SEED * 1_000_003 + number)
        patches = [_patch(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        launch_type = LAUNCH_TYPES[number % len(LAUNCH_TYPES)]
        try:
            request = _sent(replace(BASE, task_customizations=patches, launch_type=launch_type))
        except ConfigurationError as error:
            refused.append(error)
        except Exception as error:
            raise AssertionError(f"patches {number} of seed {SEED}: {error!r}") from error
        else:
            assert_accepted("RunTask", {"taskDefinition": "prefect-etl", **request})
            sent += 1
        if number % 10 == 0:
            fields = {"task_customizations": patches, "launch_type": launch_type, "image": "i:1"}
            try:
                block = PinnedECSTask(aws_credentials=credentials, **fields)
                assert repr(block)
                assert block.preview()
            except (ValidationError, ConfigurationError) as error:
                assert_said(error)
    assert sent > DOCUMENTS // 50
    assert len(refused) > DOCUMENTS // 2
    for refusal in refused:
        assert_said(refusal)


def assert_said(error: Exception) -> None:
    assert str(error)
    assert not isinstance(error, ConfigurationError) or (error.why and error.hint)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"path": "/overrides/containerOverrides/0/cpu", "value": True}, "true or false"),
        ({"path": "/overrides/containerOverrides/0/cpu", "value": 2**31}, "out of range"),
        ({"path": "/group", "value": "\ud800"}, "half of a character"),
        ({"path": "/tags/0/value", "value": "\ud800"}, "half of a character"),
    ],
)
def test_a_value_that_botocore_lets_pass(fields, why):
    """ECS answers SerializationException, after a revision has been registered for it."""
    with pytest.raises(ConfigurationError, match=why) as error:
        _sent(replace(BASE, task_customizations=[{"op": "add", **fields}]))
    assert "task_customizations" in error.value.hint


@pytest.mark.parametrize("container_name", ["prefect", "etl"])
@pytest.mark.parametrize("removed", ["/0/environment", "/0", ""])
def test_room_is_kept_for_what_the_launch_s_id_takes(removed, container_name):
    """A patch has removed variables or override, which come back with the id; the rest of the
    overrides may be as long as ECS accepts with it, and no longer."""
    patch = {"op": "remove", "path": f"/overrides/containerOverrides{removed}"}
    spec = replace(BASE, container_name=container_name, task_customizations=[patch])
    desired = make(definition_spec(spec, "us-east-1"))

    def fits(characters: int) -> int | None:
        role = {"op": "add", "path": "/overrides/taskRoleArn", "value": "r" * characters}
        given = replace(spec, task_customizations=[patch, role])
        try:
            request = checked_request(given, desired, None, ["subnet-1"])
        except OverridesTooLarge:
            return None
        sent = with_submission_id(request, "a" * 24, desired.definition, container_name)
        return overrides_length(sent, desired.definition, container_name)[0]

    most = max(range(7900, 8192), key=lambda characters: fits(characters) or 0)
    assert fits(most) == OVERRIDES_LIMIT
    assert fits(most + 1) is None


@pytest.mark.parametrize("fields", [{"env": {"A": "\ud800"}}, {"command": ["\ud800"]}])
def test_half_of_a_character_is_no_text(fields):
    with pytest.raises(ConfigurationError, match="half of a character"):
        _sent(replace(BASE, **fields))


@pytest.mark.parametrize(
    ("patches", "value"),
    [
        ([], "before"),
        ([{"op": "add", "path": "/it", "value": "a"}], "a"),
        ([{"op": "replace", "path": "/it", "value": "a"}], "a"),
        ([{"op": "test", "path": "/it", "value": "a"}], "before"),
        ([{"op": "remove", "path": "/it"}], None),
        ([{"op": "move", "from": "/it", "path": "/other"}], None),
        ([{"op": "copy", "from": "/it", "path": "/other"}], "before"),
        ([{"op": "move", "from": "/other", "path": "/it"}], UNKNOWN),
        ([{"op": "copy", "from": "/other", "path": "/it"}], UNKNOWN),
        ([{"op": "add", "path": "", "value": {"it": "b"}}], "b"),
        ([{"op": "replace", "path": "", "value": {}}], None),
        ([{"op": "replace", "path": "", "value": [1]}], None),
        ([{"op": "add", "path": "/it/0", "value": "a"}], "before"),
        (
            [
                {"op": "add", "path": "/it", "value": "a"},
                {"op": "test", "path": "/it", "value": "a"},
                {"op": "add", "path": "/other", "value": "b"},
            ],
            "a",
        ),
    ],
)
def test_what_patches_make_of_a_member(patches, value):
    assert patched(patches, "it", "before") is value


def test_a_test_of_the_revision_names_none():
    """It would have been run, and nothing pinned."""
    patches = [{"op": "test", "path": "/taskDefinition", "value": "other:1"}]
    assert named_revision(replace(BASE, task_customizations=patches)) is None


@pytest.mark.parametrize("op", ["move", "copy"])
def test_a_revision_out_of_another_member_is_refused(op):
    """Which one it is would be known too late; it was left out without a word."""
    patches = [{"op": op, "from": "/startedBy", "path": "/taskDefinition"}]
    with pytest.raises(ConfigurationError, match="is copied from another member"):
        _sent(replace(BASE, task_customizations=patches))
