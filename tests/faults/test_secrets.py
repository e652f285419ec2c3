"""Secrets nowhere: not in a definition, a log line, an event, an error or a repr."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import prefect_aws
import pytest
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.watching.trouble import PATIENCE, Trouble
from prefect_ecs_pinned.block import host
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.local.settings import Phases
from prefect_ecs_pinned.runs.prepare import prepare
from tests.faults.block_face import for_flow_run
from tests.faults.world import Status

API_KEY = "pnu_0123456789abcdef-api-key"
VARIABLE = "s3cret-value-of-a-variable"
ACCESS_KEY = "AKIA0123456789"
SECRET_KEY = "wJalrXUtnFEMI-secret-key"
SESSION_TOKEN = "FwoGZXIvYXdzE-session-token"
SECRETS = (API_KEY, VARIABLE, SECRET_KEY, SESSION_TOKEN)

AT_ONCE = Phases(0, 0, 0, 0, 0, 0)

#: Those with a level of their own; the root is set besides.
LOGGERS = (
    "prefect",
    "prefect.infrastructure",
    "prefect.flow_runs",
    "prefect_ecs_pinned",
)

#: What ECS does wrong, one after the other; each makes other lines and errors.
DAYS = [
    (),
    (Fault("throttle", "RunTask", times=2),),
    (Fault("server-error", "RunTask", times=1),),
    (Fault("lost-reply", "RunTask", times=1),),
    (Fault("reset", "DescribeTasks", times=2),),
    (Fault("hidden-throttle", "RunTask", times=1),),
    (Fault("in-band", "RunTask", message="RESOURCE:MEMORY", times=1),),
    (Fault("error", "RunTask", code="InvalidParameterException", message="no"),),
    (Fault("error", "RunTask", code="AccessDeniedException", message="no"),),
    (Fault("error", "RunTask", code="ExpiredTokenException", message="expired"),),
    (Fault("error", "RegisterTaskDefinition", code="ClientException", message="no"),),
    (Fault("error", "DescribeTasks", code="AccessDeniedException", message="no"),),
]


@pytest.fixture(scope="module")
def ecs() -> Iterator[LocalECS]:
    settings = Settings(quota_scale=None, latencies={"*": 0.0}, phases=AT_ONCE, task_seconds=0.05)
    with LocalECS(settings, access_key=ACCESS_KEY) as ecs:
        yield ecs
    control_plane.forget_all()


@pytest.fixture
def written(monkeypatch) -> Iterator[io.StringIO]:
    """Every log line of the process from DEBUG up, with tracebacks, and what Prefect gets."""
    for lasting in (Trouble.NEVER_ALLOWED, Trouble.REFUSED):
        monkeypatch.setitem(PATIENCE, lasting, 0.1)
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setLevel(logging.DEBUG)
    loggers = [logging.getLogger(), *map(logging.getLogger, LOGGERS)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)

    async def report(flow_run_id: str, reason: str) -> None:
        text.write(reason)

    monkeypatch.setattr(host, "report_crash", report)
    yield text
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def a_block(ecs: LocalECS, **fields: Any) -> PinnedECSTask:
    credentials = prefect_aws.AwsCredentials(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=SESSION_TOKEN,
        region_name="us-east-1",
        aws_client_parameters={"endpoint_url": ecs.endpoint_url},
    )
    return PinnedECSTask(
        aws_credentials=credentials,
        **{
            "family": f"prefect-{uuid4().hex[:8]}",
            "image": "flows:1",
            "command": ["true"],
            "env": {"TOKEN": VARIABLE},
            "task_watch_poll_interval": 0.05,
            "launch_timeout_seconds": 5,
            **fields,
        },
    )


def settings_of_an_agent():
    settings: dict[Any, Any] = {
        PREFECT_API_KEY: API_KEY,
        PREFECT_API_URL: "http://127.0.0.1:9/api",
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    return temporary_settings(settings)


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        at = text.find(secret)
        assert at < 0, f"{secret} is shown: {text[max(0, at - 300) : at + 60]}"


async def test_no_log_line_and_no_error_shows_a_secret(ecs, written):
    """A dozen bad days, DEBUG of every logger, tracebacks with their causes and contexts."""
    with settings_of_an_agent():
        for faults in DAYS:
            ecs.faults(*faults)
            block = for_flow_run(a_block(ecs), str(uuid4()))
            try:
                await block.run(Status())
            except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
                written.write("".join(traceback.format_exception(error)))
                written.write(repr(error))
        ecs.faults()
    text = written.getvalue()
    assert "Task run payload" in text
    assert "TOKEN" in text
    assert "hint: " in text
    assert_no_secret(text)


async def test_botocores_complaints_show_no_secret(ecs, written):
    """It quotes what it does not accept: a variable whose value is a structure."""
    value = {"op": "add", "path": "/overrides/containerOverrides/0/environment/0/value"}
    block = a_block(ecs, task_customizations=[{**value, "value": {"nested": VARIABLE}}])
    with settings_of_an_agent(), pytest.raises(Exception, match="environment") as refused:
        await block.run()
    written.write("".join(traceback.format_exception(refused.value)))
    assert_no_secret(written.getvalue())


async def test_no_definition_holds_a_secret(ecs):
    """Variables and the agent's own settings go into the launch alone."""
    with settings_of_an_agent():
        await a_block(ecs).run()
    assert_no_secret(repr(ecs.model.definitions().all()))


async def test_no_repr_shows_a_secret(ecs):
    """Of what the block is turned into on its way: they end in tracebacks with locals."""
    with settings_of_an_agent():
        block = a_block(ecs)
        plane = block._control_plane()
        prepared = await prepare(run_spec(block), plane)
        pin = await plane.pin(prepared.desired, True)
        request = {**prepared.request, "taskDefinition": pin.arn}
        launch = plane.launch(request, 900, prepared.desired, True)
        task = await launch.outcome
    assert launch.submission is not None
    for thing in (block, prepared, prepared.desired, pin, launch, launch.submission, task):
        assert_no_secret(repr(thing))
    assert_no_secret(repr(access_of(block.aws_credentials)))
    assert VARIABLE in repr(prepared.request), "the test would not notice"


async def test_a_secret_by_arn_is_sent_nowhere(ecs):
    """The agent's own API key gives way to it."""
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"
    role = "arn:aws:iam::123456789012:role/execution"
    with settings_of_an_agent():
        block = a_block(ecs, secrets={"PREFECT_API_KEY": arn}, execution_role_arn=role)
        result = await asyncio.wait_for(block.run(), 30)
    task = ecs.model.find(result.identifier.split("::")[1])
    assert task is not None
    assert API_KEY not in repr(task.request)
    assert arn in repr(task.definition)
