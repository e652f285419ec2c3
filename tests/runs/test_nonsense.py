"""Whatever `task_definition` is: a `ConfigurationError`, or requests that botocore accepts.

``GENERATED_DOCUMENTS`` sets how many are tried; ``make faults ARGS=--properties`` tries 10,000.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prefect_aws import AwsCredentials
from pydantic.v1 import ValidationError

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.revision import choose, definition_spec, make_now
from prefect_ecs_pinned.runs.spec import RunSpec
from tests.runs.nonsense import DOCUMENTS, SEED, assert_accepted, documents, one_odd_value

LAUNCH_TYPES = ("FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL", None)
BASE = RunSpec(default_family="prefect-etl", log_prefix="ECSTask", image="flows:1")


async def _nothing_linked(tags: bool) -> None:
    return None


def _run(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def _requests(spec: RunSpec) -> tuple[Any, Any]:
    desired, revision = _run(choose(spec, "us-east-1", _nothing_linked, make_now))
    definition_spec(spec, "us-east-1").key()  # what a control plane remembers it by
    request = checked_request(spec, desired, revision, ["subnet-1"])
    return labelled(desired.definition, desired.fingerprint), request


def test_nonsense_is_a_configuration_error_or_works() -> None:
    """Half of the documents are valid ones, mutated; some of both kinds come through."""
    accepted, refused = 0, []
    for number, document in enumerate(documents(DOCUMENTS, SEED)):
        launch_type = LAUNCH_TYPES[number // 2 % len(LAUNCH_TYPES)]
        spec = replace(BASE, task_definition=document, launch_type=launch_type)
        try:
            definition, request = _requests(spec)
        except ConfigurationError as error:
            refused.append(error)
        except Exception as error:
            raise AssertionError(f"document {number} of seed {SEED}: {error!r}") from error
        else:
            assert_accepted("RegisterTaskDefinition", definition)
            assert_accepted("RunTask", request)
            accepted += 1
    assert accepted > DOCUMENTS // 20
    assert len(refused) > DOCUMENTS // 4
    assert all(error.why and error.hint for error in refused)


@pytest.mark.parametrize("launch_type", ["FARGATE", "EC2"])
def test_one_odd_value_is_a_configuration_error_or_works(launch_type) -> None:
    """Each in each member, beside nothing else that could be refused first."""
    accepted = refused = 0
    for number, document in enumerate(one_odd_value()):
        try:
            _requests(replace(BASE, task_definition=document, launch_type=launch_type))
        except ConfigurationError as error:
            refused += bool(error.why)
        except Exception as error:
            raise AssertionError(f"document {number}: {error!r}") from error
        else:
            accepted += 1
    assert accepted > 100
    assert refused > 1000


def test_a_block_of_nonsense_is_refused_with_a_message() -> None:
    """pydantic's own errors, and no bare ones of a validator; its preview is no worse."""
    credentials = AwsCredentials(region_name="us-east-1")
    made, refused = 0, []
    for number, document in enumerate(documents(DOCUMENTS // 4, SEED + 1)):
        try:
            block = PinnedECSTask(aws_credentials=credentials, task_definition=document, image=None)
            made += 1
            assert block.preview()
            assert repr(block)
        except (ValidationError, ConfigurationError) as error:
            refused.append(str(error))
        except Exception as error:
            raise AssertionError(f"document {number} of seed {SEED + 1}: {error!r}") from error
    assert made
    assert all(refused)


@pytest.mark.parametrize(
    ("document", "why", "hint"),
    [
        ({"network_mode": "awsvpc"}, '"network_mode"', "'networkMode'"),
        ({"containerDefinitions": [{"port_mappings": []}]}, "containerDefinitions[0]", "portMap"),
        ({"taskDefinition": {"family": "x"}}, "wrapped", "only the value of"),
        ({"taskDefinition": {"family": "x"}, "tags": []}, "wrapped", "move tags into"),
        ({"taskDefinition": "arn"}, "taskDefinition", ""),
        ({"containerDefinitions": {"name": "prefect"}}, "is an object, and has to be a list", ""),
        ({"containerDefinitions": "prefect"}, "is text, and has to be a list", ""),
        ({"containerDefinitions": [None]}, "containerDefinitions[0] is null", ""),
        (
            {"containerDefinitions": [{"environment": [{"name": "A", "value": 1}]}]},
            "containerDefinitions[0].environment[0].value is a number, and has to be text",
            "in quotes",
        ),
        (
            {"containerDefinitions": [{"dockerLabels": {"a": None}}]},
            "dockerLabels.a is null",
            "",
        ),
        ({"containerDefinitions": [{"memory": "2GB"}]}, "memory is text", "whole number"),
        ({"containerDefinitions": [{"name": str(n)} for n in range(10)]}, "11 containers", ""),
        (
            {"containerDefinitions": [{"name": "prefect", "command": ["x" * 65536]}]},
            "bytes long",
            "secrets",
        ),
        ({"tags": [{"key": "a", "value": "b"}] * 2}, "'a' occurs twice", ""),
        ({"containerDefinitions": [{"image": "i"}]}, "containerDefinitions[0].name is not of", ""),
        (
            {"containerDefinitions": [{"name": "a b", "image": "i"}]},
            "Definitions[0].name is not",
            "",
        ),
        (
            {"containerDefinitions": [{"name": "side"}]},
            "[0], which is 'side', has no image",
            "container_name",
        ),
        (
            {"containerDefinitions": [{"name": "side", "image": "i"}] * 2},
            "containerDefinitions[1] has the name 'side' of another",
            "",
        ),
        (
            {
                "containerDefinitions": [
                    {
                        "name": "prefect",
                        "environment": [{"name": "A", "value": "b"}],
                        "secrets": [{"name": "A", "valueFrom": "arn:aws:ssm:::x"}],
                    }
                ],
                "executionRoleArn": "arn:aws:iam::123456789012:role/r",
            },
            "containerDefinitions[0] has A in environment and in secrets",
            "",
        ),
        ({"memory": "9" * 5000}, "memory of the task is not a number", "unit GB"),
        ({"cpu": "much"}, "cpu of the task is not a number", "unit vCPU"),
        ([], "is a list, and has to be an object", ""),
    ],
)
def test_what_is_wrong_is_said_with_its_path(document, why, hint):
    """And what to do about it; no value is shown."""
    with pytest.raises(ConfigurationError) as error:
        _requests(replace(BASE, task_definition=document))
    assert why in error.value.why
    assert hint in error.value.hint
    assert error.value.hint


def test_what_ecs_would_understand_is_understood():
    """Numbers as text, sizes of a task as numbers; nulls are left out."""
    container = {"name": "prefect", "cpu": "256", "memory": " 512 ", "essential": None}
    document = {
        "containerDefinitions": [
            {**container, "portMappings": [{"containerPort": "80", "hostPort": 80.0}]}
        ],
        "cpu": 256,
        "memory": 512,
        "volumes": None,
        "placementConstraints": None,
    }
    definition, _ = _requests(replace(BASE, task_definition=document, launch_type="EC2"))
    [made] = definition["containerDefinitions"]
    assert (made["cpu"], made["memory"]) == (256, 512)
    assert made["portMappings"] == [{"containerPort": 80, "hostPort": 80}]
    assert (definition["cpu"], definition["memory"]) == ("256", "512")
    assert not {"volumes", "placementConstraints"} & set(definition)
    assert "essential" not in made
