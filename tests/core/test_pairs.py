"""For each member of RegisterTaskDefinition: what is sent is found again in what ECS answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from prefect_ecs_pinned.core.canonical import TASK_DEFINITION
from prefect_ecs_pinned.core.compare import Desired, Observed, match
from prefect_ecs_pinned.core.members import Member
from tests.core.model import leaves
from tests.core.pairs import SEEN, UNSEEN, Pair

LEAVES = [".".join(path) for path in leaves()]


def member(path: str) -> Member:
    """A member's line in the tables."""
    table, found = TASK_DEFINITION, Member()
    for name in path.split("."):
        found = table[name]
        table = found.of or {}
    return found


def test_there_are_as_many_members_as_botocore_knows():
    """Recursively, down to the last one."""
    assert len(LEAVES) > 115
    assert "containerDefinitions.linuxParameters.devices.permissions" in LEAVES


@pytest.mark.parametrize("path", LEAVES)
def test_evidence_is_a_pair(path):
    """A member has evidence if and only if there is a pair, from the source that is noted."""
    sources = {pair.source for pair in SEEN if path in pair.covers}
    unseen = [pair for pair in UNSEEN if path in pair.covers]
    if member(path).known_from:
        assert member(path).known_from in sources
        assert not unseen
    else:
        assert not sources
        assert len(unseen) == 1


def test_thirteen_members_are_without_evidence():
    """A member that loses its evidence, or a new one without, is noticed."""
    without = [path for path in LEAVES if not member(path).known_from]
    assert len(without) == 13


def _stated(members: dict[str, Any], path: list[str]) -> Iterator[Any]:
    for name in path[:-1]:
        content = members.get(name) or {}
        items = content if isinstance(content, list) else [content]
        for item in items:
            yield from _stated(item, path[1:])
        return
    if path[0] in members:
        yield members[path[0]]


@pytest.mark.parametrize("path", LEAVES)
def test_a_pair_states_the_member(path):
    """At least one of its pairs sends it."""
    pairs = [pair for pair in (*SEEN, *UNSEEN) if path in pair.covers]
    values = [value for pair in pairs for value in _stated(pair.request(), path.split("."))]
    assert values


@pytest.mark.parametrize("pair", SEEN, ids=lambda pair: pair.covers[0])
def test_what_is_answered_is_what_was_sent(pair: Pair):
    """Without a label: as if somebody else had registered it."""
    desired = Desired(pair.request())
    found = match(desired, Observed.of(pair.answer()))
    assert found is not None
    assert found.equal
    assert not found.labelled


@pytest.mark.parametrize("pair", SEEN, ids=lambda pair: pair.covers[0])
def test_what_is_answered_is_not_what_others_send(pair: Pair):
    """One sidecar more makes it another."""
    other = copy.deepcopy(pair.request())
    other["containerDefinitions"].append({"name": "sidecar", "image": "datadog/agent:7"})
    assert match(Desired(other), Observed.of(pair.answer())) is None
