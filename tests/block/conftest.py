"""An embedded ECS for all tests of a process, and blocks that use it.

Tests keep apart by family: each makes blocks of its own name, so what a process remembers of
one test says nothing about another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import prefect_aws
import prefect_aws.ecs
import pytest
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.settings import Phases

NO_PHASES = Phases(0, 0, 0, 0, 0, 0)
EXECUTION_ROLE = "arn:aws:iam::123456789012:role/execution"
TASK_ROLE = "arn:aws:iam::123456789012:role/task"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"

_names = count()


@dataclass(frozen=True)
class Launched:
    """A run that has ended, and what ECS was sent for it."""

    result: prefect_aws.ecs.ECSTaskResult
    request: dict[str, Any]
    definition: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        """Definition of the Prefect container."""
        return next(c for c in self.definition["containerDefinitions"] if c["name"] == "prefect")

    @property
    def override(self) -> dict[str, Any]:
        """Overrides of the Prefect container."""
        override: dict[str, Any] = self.request["overrides"]["containerOverrides"][0]
        return override

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the launch sent, without its own id."""
        variables = {v["name"]: v["value"] for v in self.override["environment"]}
        assert len(variables.pop(SUBMISSION_VARIABLE)) == 24
        return variables

    @property
    def revision(self) -> str:
        """``family:revision``."""
        return str(self.definition["taskDefinitionArn"]).rsplit("/", 1)[-1]


class World:
    """The embedded ECS, seen from a test."""

    def __init__(self, ecs: LocalECS) -> None:
        self.ecs = ecs

    def credentials(self, region: str = "us-east-1", **fields: Any) -> prefect_aws.AwsCredentials:
        parameters = {"endpoint_url": self.ecs.endpoint_url}
        return prefect_aws.AwsCredentials(
            aws_access_key_id=self.ecs.access_key,
            aws_secret_access_key="local",
            region_name=region,
            aws_client_parameters=parameters,
            **fields,
        )

    def fields(self, **fields: Any) -> dict[str, Any]:
        """Fields of a block that uses this ECS and polls quickly."""
        region = fields.pop("region", "us-east-1")
        return {
            "aws_credentials": self.credentials(region),
            "image": "flows:1",
            "command": ["true"],
            "task_watch_poll_interval": 0.05,
            **fields,
        }

    def block(self, document: str | None = "", **fields: Any) -> PinnedECSTask:
        """A block that was loaded from a document of that name; by default from its own.

        None makes an anonymous block.
        """
        block = PinnedECSTask(**self.fields(**fields))
        name = f"test-{next(_names)}" if document == "" else document
        block._block_document_name, block._is_anonymous = name, name is None
        return block

    def family(self, block: PinnedECSTask) -> str:
        """Family of a block that has a document."""
        return f"prefect-{block._block_document_name}"

    async def run(self, block: PinnedECSTask, **kwargs: Any) -> Launched:
        return self.launched(await block.run(**kwargs))

    def launched(self, result: prefect_aws.ecs.ECSTaskResult) -> Launched:
        task = self.ecs.model.find(result.identifier.split("::")[1])
        assert task is not None, "ECS does not find the task"
        return Launched(result, dict(task.request), dict(task.definition))

    def revisions(self, family: str, region: str = "us-east-1") -> list[dict[str, Any]]:
        """All revisions of a family, oldest first."""
        every = self.ecs.model.definitions(region).all()
        return [definition for definition in every if definition["family"] == family]

    def register(self, definition: dict[str, Any], region: str = "us-east-1") -> str:
        """Register a revision as somebody else would; its ARN."""
        answer = self.ecs.model.answer("RegisterTaskDefinition", definition, region)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def deregister(self, arn: str) -> None:
        self.ecs.model.answer(
            "DeregisterTaskDefinition", {"taskDefinition": arn}, arn.split(":")[3]
        )

    def live_tasks(self) -> int:
        """Tasks of this test whose end nothing has asked for."""
        tasks = [str(launch["taskArn"]) for launch in self.ecs.launches]
        if not tasks:
            return 0
        answer = self.ecs.model.answer("DescribeTasks", {"tasks": tasks}, tasks[0].split(":")[3])
        return sum(task["desiredStatus"] == "RUNNING" for task in answer["tasks"])

    def calls(self, action: str) -> int:
        """Calls of an action, refused ones included."""
        return self.ecs.calls.get(action, {"calls": 0})["calls"]

    def refused(self, action: str) -> int:
        """Calls of an action that were refused or throttled."""
        count = self.ecs.calls.get(action, {"throttled": 0, "errors": 0})
        return count["throttled"] + count["errors"]


def a_definition(family: str, **members: Any) -> dict[str, Any]:
    """A definition that Fargate accepts, as Terraform or CI may have registered it."""
    return {
        "family": family,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
        **members,
    }


@pytest.fixture(scope="module")  # moto's state is the process's: leave none to others
def _ecs() -> Iterator[LocalECS]:
    settings = Settings(quota_scale=None, latencies={"*": 0.0}, phases=NO_PHASES, task_seconds=0.02)
    with LocalECS(settings) as ecs:
        yield ecs


@pytest.fixture(scope="session", autouse=True)
def _no_logs_to_the_api() -> Iterator[None]:
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


@pytest.fixture
def world(_ecs: LocalECS) -> Iterator[World]:
    """The embedded ECS with its counters at zero; afterwards as it was before."""
    before = dict(vars(_ecs.settings))
    _ecs.reset()
    yield World(_ecs)
    _ecs.faults()
    _ecs.model.start_failures.clear()
    _ecs.change(**before)


@pytest.fixture
def restart() -> Callable[[], None]:
    """Imitates a new process: everything remembered is forgotten."""
    return control_plane.forget_all


@pytest.fixture
def fresh() -> Iterator[None]:
    """This test is the first of its process, and the next one is too."""
    control_plane.forget_all()
    yield
    control_plane.forget_all()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, from DEBUG up."""
    for name in ("prefect.infrastructure", "prefect_ecs_pinned"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


def messages(log: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What was logged at a level or above."""
    return [record.getMessage() for record in log.records if record.levelno >= level]


class Status:
    """A `TaskStatus` that waits for the identifier of the task."""

    def __init__(self) -> None:
        self.identifier: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def started(self, value: str = "") -> None:
        self.identifier.set_result(value)


async def until(true: Callable[[], bool]) -> None:
    """Return as soon as something has become true."""
    while not true():  # noqa: ASYNC110 - the other side is a server in another thread
        await asyncio.sleep(0.005)
