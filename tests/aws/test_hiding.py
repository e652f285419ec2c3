"""Faults and logs without the values of requests and credentials that AWS and botocore quote."""

from __future__ import annotations

import logging
import pkgutil
import threading
from typing import Any

import boto3
import botocore
import pytest
import urllib3
from botocore.exceptions import ClientError

from prefect_ecs_pinned.aws.calls.clients import Access, Clients
from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, classify
from prefect_ecs_pinned.aws.calls.hiding import hidden_of_request, hide
from prefect_ecs_pinned.aws.loop.threads import THREAD_NAMES, Threads
from tests.canaries import canary, everything_of, found

REQUEST: dict[str, Any] = {
    "taskDefinition": "etl:1",
    "overrides": {
        "containerOverrides": [
            {"name": "prefect", "environment": [{"name": "TOKEN", "value": canary("value")}]}
        ]
    },
    "tags": [{"key": "team", "value": canary("tag")}],
}
HIDDEN = {name: canary(name) for name in ("value", "tag", "secret", "session", "config")}


def answer(code: str, message: str, operation: str = "RunTask", status: int = 400) -> ClientError:
    metadata: Any = {"HTTPStatusCode": status}
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}
    return ClientError(response, operation)


def hidden(error: Exception, texts=None) -> Fault:
    fault = classify(error, "RunTask")
    fault.__cause__ = error
    return hide(fault, hidden_of_request("RunTask", REQUEST) if texts is None else texts)


def test_what_aws_quotes_of_a_request_is_hidden():
    """The rest of its message stays, and names the place."""
    message = (
        f"1 validation error detected: Value '{canary('tag')}' at 'tags.1.member.value' failed to "
        "satisfy constraint: Member must satisfy regular expression pattern"
    )
    fault = hidden(answer("InvalidParameterException", message))
    assert fault.message == message.replace(canary("tag"), "***")
    assert fault.kind is Kind.REFUSED
    assert not found(everything_of(fault), HIDDEN)
    assert fault.__cause__ is None


def test_a_cause_that_quotes_nothing_stays():
    """It is of use in a traceback."""
    error = answer("InvalidParameterException", "TaskDefinition is inactive")
    fault = hidden(error)
    assert fault.__cause__ is error
    assert fault.kind is Kind.INACTIVE


def test_reasons_of_a_refusal_are_hidden_too():
    """They are what a launch that has waited in vain shows."""
    message = f"Capacity is unavailable at this time for {canary('value')}."
    fault = hidden(answer("ClientException", message))
    assert fault.reasons
    assert not found(repr(fault.reasons), HIDDEN)


def test_of_a_signature_that_does_not_fit_only_that_is_said():
    """AWS shows the whole request, as it should have been signed."""
    first = "The request signature we calculated does not match the signature you provided."
    request = f"'POST\n/\n\nhost:ecs\nx-amz-security-token:{canary('session')}\n'"
    message = f"{first}\n\nThe Canonical String for this request should have been\n{request}"
    fault = hidden(answer("InvalidSignatureException", message, status=403), ())
    assert (fault.kind, fault.message) == (Kind.BAD_SIGNATURE, first)
    assert not found(everything_of(fault), HIDDEN)


@pytest.mark.parametrize(
    "parameters",
    [
        {"endpoint_url": f"http://user:{canary('secret')}@"},
        {"endpoint_url": canary("config")},
        {"config": {"retries": {"mode": canary("config")}}},
        {"config": {"s3": {"addressing_style": canary("config")}}},
        {"config": {"signature_version": canary("config")}},
        {"config": {"proxies": {"http": f"http://u:{canary('secret')}@127.0.0.1:9"}}},
        {"verify": canary("config")},
    ],
    ids=str,
)
async def test_a_client_that_can_not_be_made_says_why_without_values(parameters):
    """Of what ``aws_client_parameters`` say."""
    from botocore.config import Config

    from prefect_ecs_pinned.core.shown import hidden_texts

    def made() -> dict[str, Any]:
        config = Config(connect_timeout=1, **parameters.get("config", {}))
        return {"endpoint_url": "http://127.0.0.1:9", **parameters, "config": config}

    access = Access(
        key="",
        region="us-east-1",
        session=lambda: boto3.Session(
            aws_access_key_id="AKIAEXAMPLE",
            aws_secret_access_key=canary("secret"),
            aws_session_token=canary("session"),
            region_name="us-east-1",
        ),
        client_parameters=made,
        hidden=lambda: hidden_texts([canary("secret"), canary("session"), parameters], None),
    )
    clients = Clients(access, Threads(2, "x"), Threads(2, "y"), connections=2)
    try:
        with pytest.raises(Fault) as refused:
            await clients.call("ecs", "RunTask", **REQUEST)
        with pytest.raises(Fault) as again:
            await clients.call("sts", "GetCallerIdentity")
    finally:
        clients.close()
    for error in (refused.value, again.value):
        assert str(error)
        assert not found(everything_of(error), HIDDEN)


def test_each_module_of_awss_libraries_is_quiet_in_our_threads():
    """New modules too; others keep what these log, and everybody what is worth more than DEBUG."""
    names = [
        module.name
        for library in (boto3, botocore, urllib3)
        for module in pkgutil.iter_modules(library.__path__, f"{library.__name__}.")
    ]
    assert len(names) > 40
    seen: list[tuple[str, str, int]] = []

    class Sees(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.threadName or "", record.name, record.levelno))

    root, handler = logging.getLogger(), Sees()
    root.addHandler(handler)

    def log() -> None:
        for name in names:
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.debug("secret")
            logger.warning("warning")

    before = {name: logging.getLogger(name).level for name in names}
    try:
        for thread_name in (f"{THREAD_NAMES}launch-1", "MainThread of somebody"):
            thread = threading.Thread(target=log, name=thread_name)
            thread.start()
            thread.join()
    finally:
        root.removeHandler(handler)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    ours = [entry for entry in seen if entry[0].startswith(THREAD_NAMES)]
    theirs = [entry for entry in seen if not entry[0].startswith(THREAD_NAMES)]
    assert [level for *_, level in ours] == [logging.WARNING] * len(names)
    assert len(theirs) == 2 * len(names)
