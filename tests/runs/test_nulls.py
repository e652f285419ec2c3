"""Nulls in a task definition: a null member is an absent one, any other null is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from prefect_ecs_pinned.aws.pinning.registrable import make, read_definition
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.runs.spec import RunSpec
from tests.core.model import request_shape
from tests.core.pairs import SEEN, UNSEEN

BASE = RunSpec("prefect-nulls", "run", image="flows:1", launch_type=None)


def is_known(value: Any, shape: Any) -> bool:
    """Whether the installed botocore has all members, recursively; prefect-aws holds it back."""
    if shape.type_name == "list":
        return all(is_known(item, shape.member) for item in value)
    if shape.type_name == "map":
        return all(is_known(item, shape.value) for item in value.values())
    if shape.type_name != "structure":
        return True
    return all(n in shape.members and is_known(v, shape.members[n]) for n, v in value.items())


PAIRS = [pair.request() for pair in (*SEEN, *UNSEEN)]

#: What could be sent, each member of RegisterTaskDefinition in at least one of them.
REQUESTS = [request for request in PAIRS if is_known(request, request_shape())]


def test_nearly_all_are_known():
    assert len(REQUESTS) >= len(PAIRS) - 2 > 30


def made(definition: dict[str, Any]) -> Desired:
    return make(definition_spec(replace(BASE, task_definition=definition), "us-east-1"))


def filled(value: Any, shape: Any) -> Any:
    """With null for each member that is absent, recursively."""
    if shape.type_name == "list":
        return [filled(item, shape.member) for item in value]
    if shape.type_name != "structure":
        return value
    return {
        name: filled(value[name], member) if name in value else None
        for name, member in shape.members.items()
    }


@pytest.mark.parametrize("number", range(len(REQUESTS)))
def test_a_null_member_is_an_absent_one(number):
    """In all structures at the same time: the definition and its fingerprint stay the same."""
    request = REQUESTS[number]
    nulls = filled(request, request_shape())
    assert repr(nulls).count("None") > 40
    assert read_definition(nulls) == read_definition(request)
    if (accepted := _made_or_refused(request)) is not None:
        assert made(nulls).fingerprint == accepted.fingerprint


def _made_or_refused(definition: dict[str, Any]) -> Desired | None:
    try:
        return made(definition)
    except ConfigurationError:
        return None


def places(value: Any, shape: Any, path: str = "") -> Iterator[tuple[str, str, Any, Any]]:
    """(kind, path, container, key) of each item that is there, recursively."""
    items: list[tuple[Any, Any, str]] = []
    if shape.type_name == "structure":
        items = [(name, shape.members[name], f"{path}.{name}".lstrip(".")) for name in value]
    elif shape.type_name == "list":
        items = [(number, shape.member, f"{path}[{number}]") for number in range(len(value))]
    elif shape.type_name == "map":
        items = [(name, shape.value, f"{path}.{name}") for name in value]
    for key, inner, where in items:
        yield shape.type_name, where, value, key
        yield from places(value[key], inner, where)


def test_any_other_null_is_refused_by_its_path():
    """Among the items of a list, and among the values of a map; each that is there, in turn."""
    seen = {"list": 0, "map": 0, "structure": 0}
    for request in REQUESTS:
        definition = copy.deepcopy(request)
        for kind, path, container, key in list(places(definition, request_shape())):
            before, container[key] = container[key], None
            if kind == "structure":
                _made_or_refused(definition)
            else:
                with pytest.raises(ConfigurationError) as error:
                    made(definition)
                assert f"{path} is null, and has to be " in error.value.why
                assert error.value.hint
            container[key] = before
            seen[kind] += 1
    assert seen["list"] > 100
    assert seen["map"] >= 8
    assert seen["structure"] > 300


@pytest.mark.parametrize("member", [None, {"containerDefinitions": None}, {"cpu": None}])
def test_a_definition_of_nulls_is_none(member):
    """Only what the run itself asks for is in it."""
    bare = make(definition_spec(BASE, "us-east-1"))
    spec = replace(BASE, task_definition=member)
    assert make(definition_spec(spec, "us-east-1")).fingerprint == bare.fingerprint
