"""The length of a launch's overrides: what passes the check is sent with its id, and accepted."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.core.request import (
    OVERRIDES_LIMIT,
    SUBMISSION_ID_LENGTH,
    SUBMISSION_VARIABLE,
    check,
    overrides_length,
    submission_ids,
    with_submission_id,
)
from prefect_ecs_pinned.errors import OverridesTooLarge

NAMES = st.sampled_from(["prefect", "side", 'a "quoted" one', "étl"])
VARIABLES = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["A", "B", SUBMISSION_VARIABLE]), "value": st.text(max_size=40)}
    ),
    max_size=3,
)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={"environment": st.none() | VARIABLES, "command": st.lists(st.text(max_size=9))},
    ),
    max_size=3,
    unique_by=lambda container: str(container["name"]),
)
OVERRIDES = st.none() | st.fixed_dictionaries(
    {},
    optional={"containerOverrides": st.none() | CONTAINERS, "taskRoleArn": st.just("arn:role")},
)
DEFINITIONS = st.lists(NAMES, unique=True, max_size=3).map(
    lambda names: {"containerDefinitions": [{"name": name} for name in names]}
)


def length(request: dict[str, Any]) -> int:
    """As ECS counts, and the embedded one (`local.run_task`)."""
    return len(json.dumps(request["overrides"], separators=(",", ":"), ensure_ascii=False))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(overrides=OVERRIDES, definition=DEFINITIONS, name=NAMES, beyond=st.integers(-100, 10))
def test_what_passes_the_check_is_not_too_long_with_its_id(overrides, definition, name, beyond):
    """Whatever a patch has left of the overrides: exactly what fits is accepted."""
    request: dict[str, Any] = {"launchType": "EC2", "overrides": dict(overrides or {})}
    request["overrides"]["executionRoleArn"] = ""
    sent = with_submission_id(request, secrets.token_hex(12), definition, name)
    request["overrides"]["executionRoleArn"] = "x" * (OVERRIDES_LIMIT - length(sent) + beyond)
    sent = with_submission_id(request, secrets.token_hex(12), definition, name)
    assert length(sent) == OVERRIDES_LIMIT + beyond
    assert overrides_length(request, definition, name) == (length(request), length(sent))
    if beyond <= 0:
        check(request, definition, container_name=name)
        return
    with pytest.raises(OverridesTooLarge, match="kept for the launch's own id") as error:
        check(request, definition, container_name=name)
    assert error.value.size == length(request)


@pytest.mark.parametrize(
    ("overrides", "needed"),
    [
        ({"containerOverrides": [{"name": "prefect", "environment": [{"name": "A"}]}]}, 60),
        ({"containerOverrides": [{"name": "prefect", "environment": []}]}, 59),
        ({"containerOverrides": [{"name": "prefect"}]}, 76),
        ({"containerOverrides": []}, 94),
        ({}, 117),
    ],
)
def test_how_much_the_id_takes(overrides, needed):
    bare, with_id = overrides_length({"overrides": overrides})
    assert with_id - bare == needed


def test_ids_are_as_long_as_the_room_that_is_kept_for_them():
    submission = Submission(request={}, budget=1.0, number=0)
    assert len(submission.id) == SUBMISSION_ID_LENGTH
    assert submission_ids(with_submission_id({}, submission.id)) == {submission.id}
