"""Job templates are edited by people: whatever they hold, a `ConfigurationError`, or it works."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from prefect_ecs_pinned.aws.calls.models import input_shape
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.check import checked_request, unread
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.spec import named_revision, run_spec
from tests.canaries import assert_hidden, canary, everything_of
from tests.runs.nonsense import (
    DOCUMENTS,
    SCALARS,
    SEED,
    anything,
    assert_accepted,
    documents,
    one_odd_value,
)

REQUEST = input_shape("ecs", "RunTask")
AWSVPC = REQUEST.members["networkConfiguration"].members["awsvpcConfiguration"]

#: Members that a job may not set, or that name a revision.
RESERVED = ("clientToken", "count", "taskDefinition")

CONTAINER = {"name": "prefect", "image": "flows:1"}


def _some(shape: Any, rng: random.Random, odd: float) -> Any:
    """A value of a shape, with others in some places."""
    if rng.random() < odd:
        return anything(rng, 2)
    kind = shape.type_name
    if kind == "structure":
        members = [name for name in shape.members if rng.random() < 0.4]
        return {name: _some(shape.members[name], rng, odd) for name in members}
    if kind == "list":
        return [_some(shape.member, rng, odd) for _ in range(rng.choice([0, 1, 2]))]
    if kind == "boolean":
        return rng.random() < 0.5
    if kind in ("integer", "long"):
        return rng.choice([0, 256, "512", None])
    return rng.choice(shape.metadata.get("enum") or ["text", "prefect", "512", None])


def _sent(**fields: Any) -> Mapping[str, Any]:
    """What the job of these fields registers and sends, checked as a run checks it."""
    configuration = PinnedECSJobConfiguration(name="job", cluster="c", **fields)
    assert repr(configuration)
    assert configuration.ignored is not None
    configuration.prepare_without_flow_run()
    revision = named_revision(configuration)
    described: Any = {"containerDefinitions": [CONTAINER]} if revision else None
    spec = run_spec(configuration, "pool", None, "run", described)
    desired = unread(spec, revision) if revision else make(definition_spec(spec, "us-east-1"))
    request = checked_request(spec, desired, revision, ["subnet-1"])
    assert_accepted("RunTask", {"taskDefinition": "f", **request})
    if not revision:
        assert_accepted("RegisterTaskDefinition", desired.definition)
    return request


class Tally:
    """Counts what came of jobs; anything but a request or a refusal with a reason fails."""

    def __init__(self) -> None:
        self.accepted = self.refused = 0

    def add(self, what: str, **fields: Any) -> None:
        try:
            _sent(**fields)
        except ConfigurationError as error:
            self.refused += bool(error.why and error.hint)
        except ValidationError:
            self.refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        else:
            self.accepted += 1


def test_a_definition_of_nonsense_is_refused_or_works() -> None:
    """Half of them are valid ones that were mutated."""
    tally = Tally()
    for number, document in enumerate(documents(DOCUMENTS, SEED)):
        name = (None, None, "prefect", "etl")[number % 4]
        tally.add(f"{number} of {SEED}", task_definition=document, container_name=name)
    assert tally.accepted > DOCUMENTS // 50
    assert tally.refused > DOCUMENTS // 4


def test_one_odd_value_is_refused_or_works() -> None:
    """Each in each member of a definition."""
    tally = Tally()
    for number, document in enumerate(one_odd_value()):
        tally.add(f"{number}", task_definition=document)
    assert tally.accepted > 100
    assert tally.refused > 1000


def test_a_request_of_nonsense_is_refused_or_works() -> None:
    """``task_run_request`` and ``network_configuration``, with a definition that is right."""
    tally = Tally()
    for number in range(DOCUMENTS):
        rng = random.Random(SEED * 1_000_003 + number)
        odd = rng.choice([0.0, 0.03, 0.1])
        request = _some(REQUEST, rng, odd)
        if isinstance(request, dict) and rng.random() < 0.9:
            request = {name: value for name, value in request.items() if name not in RESERVED}
        network = _some(AWSVPC, rng, odd) if rng.random() < 0.3 else None
        tally.add(
            f"{number} of {SEED}",
            task_definition={"containerDefinitions": [CONTAINER]},
            task_run_request=request,
            network_configuration=network,
            command=rng.choice(["true", None, "sh -c 'x"]),
        )
    for member in AWSVPC.members:
        for number, value in enumerate(SCALARS):
            definition = {"containerDefinitions": [CONTAINER]}
            network = {member: value}
            what = f"value {number} of {member}"
            tally.add(what, task_definition=definition, network_configuration=network)
    assert tally.accepted > 10
    assert tally.refused > DOCUMENTS // 4


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"task_definition": {"containerDefinitions": 5}}, "containerDefinitions is a number"),
        ({"task_definition": {"containerDefinitions": ["prefect"]}}, "containerDefinitions[0] is"),
        ({"task_definition": {"container_definitions": [CONTAINER]}}, '"container_definitions"'),
        ({"task_run_request": {"tags": "a=b"}}, "tags is text, and has to be a list"),
        ({"task_run_request": {"tags": [{"value": "b"}]}}, "tags[0] has no key"),
        ({"task_run_request": {"overrides": []}}, None),
        ({"task_run_request": {"overrides": "x"}}, "overrides is text"),
        (
            {"task_run_request": {"overrides": {"containerOverrides": [{}, {"cpu": 1}, {}]}}},
            None,
        ),
        (
            {"task_run_request": {"overrides": {"containerOverrides": [CONTAINER["name"]]}}},
            "overrides.containerOverrides[0] is text",
        ),
        (
            {
                "task_run_request": {
                    "overrides": {"containerOverrides": [{"environment": [{"value": "x"}]}]}
                }
            },
            "overrides.containerOverrides[0].environment[0] has no name",
        ),
        ({"task_run_request": {"capacityProviderStrategy": 5}}, "capacityProviderStrategy is a nu"),
        ({"network_configuration": {"subnets": 5}}, "awsvpcConfiguration.subnets is a number"),
        ({"network_configuration": {"subnets": {"a": 1}}}, "subnets is an object"),
        ({"network_configuration": {"subnets": ["subnet-1"], "securityGroups": None}}, None),
        ({"command": "sh -c 'x"}, "quotation"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_path(fields, why):
    """And what is only left out is not wrong."""
    fields = {"task_definition": {"containerDefinitions": [CONTAINER]}, **fields}
    if why is None:
        assert _sent(**fields)
        return
    with pytest.raises(ConfigurationError) as caught:
        _sent(**fields)
    assert why in caught.value.why
    assert caught.value.hint


def test_no_refusal_quotes_a_value():
    """Whichever member has another type."""
    secret, refused = canary("wrong"), 0
    for shape, field in ((REQUEST, "task_run_request"), (AWSVPC, "network_configuration")):
        for member in shape.members:
            for value in (secret, [secret], {"x": [secret]}, [[secret]], {secret: 5}):
                given = {field: {member: value}}
                try:
                    _sent(task_definition={"containerDefinitions": [CONTAINER]}, **given)
                except ConfigurationError as error:
                    refused += 1
                    if secret not in value or isinstance(value, str):  # a member's name is shown
                        assert_hidden(everything_of(error), {"wrong": secret})
    assert refused > 20


@pytest.mark.parametrize("value", [5, True, "text", [], ["A"]])
def test_env_that_is_no_object_is_named(value) -> None:
    """Prefect's own validator ends in an AttributeError."""
    with pytest.raises(ValidationError, match=r"env\n  Input should be a valid dictionary"):
        PinnedECSJobConfiguration(name="job", env=value)
