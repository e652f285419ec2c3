"""Task definitions by seed: valid ones, valid ones that were mutated, and nonsense."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from typing import Any

from botocore.validate import ParamValidator

from prefect_ecs_pinned.aws.calls.models import input_shape
from tests.core.model import leaves

#: How many are tried, and with which seed.
DOCUMENTS = int(os.environ.get("GENERATED_DOCUMENTS", "500"))
SEED = 0 if DOCUMENTS < 1000 else random.SystemRandom().randrange(2**31)

SHAPE = input_shape("ecs", "RegisterTaskDefinition")

#: Members whose values ECS takes one from another; they are left out of most definitions.
_SPECIAL = ("family", "tags", "cpu", "memory", "requiresCompatibilities", "networkMode")

SCALARS = (
    *(None, True, False, 0, -1, 7, 256, 1.5, 2**31, 2**53, 2**70, 10**5000),
    *(float("inf"), float("nan"), 1e300, "", " ", "prefect", "512", "1 vCPU", "2GB", "1e999GB"),
    *("9" * 5000, "²", "٣", "\ud800", "é" * 300, "nanGB", "infvCPU", "a\nb", "aws:x", b"bytes"),
)

_NAMES = (
    *("name", "image", "cpu", "memory", "containerDefinitions", "container_definitions", "value"),
    *("taskDefinition", "task_definition", "environment", "Image", "key", "", "a.b", "\ud800"),
    *("network-mode", "networkMode", "tags", "family", "secrets", "logConfiguration", "frobnicate"),
)


def assert_accepted(operation: str, request: Any) -> None:
    """Fail with what botocore says of a request that it does not accept."""
    report = ParamValidator().validate(request, input_shape("ecs", operation))
    assert not report.has_errors(), report.generate_report()


def documents(count: int, seed: int = 0) -> Iterator[Any]:
    """Half of them are valid ones that were mutated; some of the others are valid."""
    for number in range(count):
        rng = random.Random(seed * 1_000_003 + number)
        if number % 2:
            yield mutated(valid(rng), rng)
        else:
            yield valid(rng) if number % 10 == 0 else anything(rng)


def valid(rng: random.Random) -> dict[str, Any]:
    """Of the types that the model has; what ECS allows beside what is another matter."""
    definition: dict[str, Any] = {}
    containers = [_of(SHAPE.members["containerDefinitions"].member, rng, 0.25)]
    containers[0] |= {"name": rng.choice(["prefect", "prefect", "prefect", "app"]), "image": "i:1"}
    containers += [{"name": f"side{n}", "image": "s:1"} for n in range(rng.choice([0, 0, 1, 2]))]
    for name in SHAPE.members:
        if name not in (*_SPECIAL, "containerDefinitions") and rng.random() < 0.1:
            definition[name] = _of(SHAPE.members[name], rng, 0.5)
    if rng.random() < 0.5:
        definition["cpu"], definition["memory"] = rng.choice(
            [("256", "512"), ("1 vCPU", "2GB"), (1024, 4096), ("32768", "61440"), ("512", "512")]
        )
    if rng.random() < 0.8:
        definition["containerDefinitions"] = containers
    if rng.random() < 0.3:
        definition["family"] = rng.choice(["TeamETL", "a--b", "-x-", "é", "two words"])
    return definition


def _of(shape: Any, rng: random.Random, share: float) -> Any:
    kind = shape.type_name
    if kind == "structure":
        required = shape.metadata.get("required", ())
        return {
            name: _of(member, rng, share)
            for name, member in shape.members.items()
            if name in required or rng.random() < share
        }
    if kind == "list":
        return [_of(shape.member, rng, share) for _ in range(rng.choice([0, 1, 1, 2]))]
    if kind == "map":
        return {f"k{n}": _of(shape.value, rng, share) for n in range(rng.choice([0, 1, 2]))}
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "long"):
        return rng.choice([1, 80, 512, "512", None])
    return rng.choice(shape.metadata.get("enum") or ["text", "a b", "é", "arn:aws:x"])


def mutated(document: dict[str, Any], rng: random.Random) -> Any:
    """A valid one, changed in up to three places."""
    document = copy.deepcopy(document)
    for _ in range(rng.randint(1, 3)):
        holder, place = rng.choice(list(_places(document)) or [(document, "family")])
        way = rng.randrange(7)
        if way == 0:
            holder[place] = anything(rng, 2)
        elif way == 1:
            holder[place] = [holder.get(place)] if isinstance(holder, dict) else None
        elif way == 2 and isinstance(holder, dict):
            holder[rng.choice((*_NAMES, 5, None, True, ("a",)))] = holder.pop(place, None)
        elif way == 3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[place]))
        elif way == 4:
            holder[place] = repr(place) + "=text"
        elif way == 5:
            holder[place] = dict.fromkeys(_NAMES[:3], rng.choice(SCALARS))
        else:
            holder[place] = rng.choice(SCALARS)
    if rng.random() < 0.02 and (places := list(_places(document))):
        holder, place = rng.choice(places)
        holder[place] = _deep(rng)
    return rng.choice([document] * 20 + [{"taskDefinition": document}, [document]])


def one_odd_value() -> Iterator[dict[str, Any]]:
    """Each value of `SCALARS` in each member, by itself, of a definition that has what it needs."""
    for path in leaves():
        for value in SCALARS:
            yield _with(path, value)


def _with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    definition: dict[str, Any] = {"containerDefinitions": [{"name": "prefect", "image": "i:1"}]}
    where, shape = definition, SHAPE
    for name in path[:-1]:
        shape = shape.members[name]
        below: Any = [{}] if shape.type_name == "list" else {}
        where = where.setdefault(name, below)
        if shape.type_name == "list":
            where, shape = where[0], shape.member
    where[path[-1]] = value
    return definition


def _keys(holder: Any) -> Any:
    return holder if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for place in list(_keys(value)):
            yield value, place
            yield from _places(value[place])


def _deep(rng: random.Random) -> Any:
    deep: Any = []
    for _ in range(rng.choice([60, 900, 5000])):
        deep = rng.choice([[deep], {"containerDefinitions": deep}])
    return deep


def anything(rng: random.Random, levels: int = 4) -> Any:
    """Any value, as a whole now and then a very deep one."""
    if levels == 4 and rng.random() < 0.05:
        return _deep(rng)
    kind = rng.random()
    if levels == 0 or kind < 0.3:
        return rng.choice(SCALARS)
    size = rng.randrange(4)
    if kind < 0.5:
        return [anything(rng, levels - 1) for _ in range(size)]
    return {rng.choice((*_NAMES, 5, None)): anything(rng, levels - 1) for _ in range(size)}
