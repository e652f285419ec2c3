"""Every command that reaches AWS, and every cause for which AWS is of no use.

The hint goes with the cause, whatever call was the first to meet it; the command ends in time,
and nothing is changed. docs/reference/causes.md is what was said: UPDATE_GOLDEN=1 writes it anew.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.causes import HINTS, Cause
from prefect_ecs_pinned.aws.calls.retrying import Waits
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.operations.iam.account import ACCOUNT_ID
from tests.operations.fixtures import Said, credentials

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "causes.md"

#: Command -> its arguments.
COMMANDS = {
    "plan": ("plan", "etl"),
    "pin": ("pin", "etl"),
    "show": ("show", "etl"),
    "prune": ("prune", "etl", "--keep", "1"),
    "doctor": ("doctor", "etl"),
    "reconcile": ("reconcile", "etl"),
    "iam": ("iam", "etl"),
}

#: What AWS answers.
EXPIRED = "The security token included in the request is expired"
ACROSS = "Identifier is for 222222222222. Your accountId is 123456789012"
DENIED = "User: arn:aws:iam::123456789012:user/etl is not authorized to perform this action"

#: Actions whose requests name something that is in an account.
OF_ECS = (
    "DescribeTaskDefinition,ListTaskDefinitions,DescribeClusters,ListClusters,ListTasks,"
    "DescribeTasks,RegisterTaskDefinition"
)


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cause], None]:
    """A command's patience is a tenth of what it is; with answers, only where there are none."""

    def hurry(cause: Cause) -> None:
        silence = 0.9 if cause is Cause.NO_ANSWER else 30.0
        waits = Waits(reads=0.6, registrations=0.6, contended=0.6, connect=3.0, answer=silence)
        monkeypatch.setattr(retrying, "COMMAND", waits)

    return hurry


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of AWS in the environment."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _nobody() -> str:
    """An endpoint where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def meet(
    prefect: None,
    ecs: LocalECS,
    bare: None,
    silent: str,
    hurry: Callable[[Cause], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Cause], None]:
    """Save a block, and have AWS be of no use for a cause."""

    def meet(cause: Cause) -> None:
        hurry(cause)
        access = credentials(ecs.endpoint_url)
        rules = {
            Cause.EXPIRED: Fault("error", code="ExpiredTokenException", message=EXPIRED),
            Cause.DENIED: Fault("error", code="AccessDeniedException", message=DENIED),
            Cause.THROTTLED: Fault("throttle"),
            Cause.WRONG_ACCOUNT: Fault(
                "error", OF_ECS, code="InvalidParameterException", message=ACROSS
            ),
        }
        if cause is Cause.NO_CREDENTIALS:
            access.aws_access_key_id = access.aws_secret_access_key = None
        elif cause is Cause.NO_REGION:
            access.region_name = None
        elif cause is Cause.WRONG_PROFILE:
            monkeypatch.setenv("AWS_PROFILE", "missing")
        elif cause is Cause.WRONG_SETTINGS:
            access = credentials(ecs.endpoint_url.removeprefix("http://"))
        elif cause is Cause.NO_TLS:
            access = credentials(ecs.endpoint_url.replace("http:", "https:"))
        elif cause is Cause.UNREACHABLE:
            access = credentials(_nobody())
        elif cause is Cause.NO_ANSWER:
            access = credentials(silent)
        else:
            ecs.faults(rules[cause])
        _save(access)

    return meet


def _save(access: AwsCredentials) -> None:
    PinnedECSTask(aws_credentials=access, image="flows:1").save("etl", overwrite=True)


MET = (
    Cause.NO_CREDENTIALS,
    Cause.EXPIRED,
    Cause.NO_REGION,
    Cause.WRONG_PROFILE,
    Cause.WRONG_SETTINGS,
    Cause.DENIED,
    Cause.UNREACHABLE,
    Cause.NO_TLS,
    Cause.NO_ANSWER,
    Cause.THROTTLED,
    Cause.WRONG_ACCOUNT,
)


@dataclass(frozen=True)
class Row:
    """What a command has said."""

    command: str
    message: str
    hint: str
    code: int


@pytest.mark.parametrize("cause", MET, ids=lambda cause: cause.value)
def test_the_hint_goes_with_the_cause(pinned_ecs, meet, ecs, cause):
    """Of every command: one message with the cause's own hint, in time, and nothing is changed."""
    meet(cause)
    rows = []
    for command, arguments in COMMANDS.items():
        began = time.monotonic()
        said = pinned_ecs(*arguments)
        assert time.monotonic() - began < 10, command
        rows.append(_row(command, said))
    assert not {"RegisterTaskDefinition", "DeregisterTaskDefinition", "StopTask"} & set(ecs.calls)
    for row in rows:
        _check(cause, row)
    _compare(cause, rows)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_configuration_file_that_cannot_be_read_is_an_error(pinned_ecs, meet, tmp_path, command):
    """It is nobody's answer: the message names the file, and the hint is about settings."""
    meet(Cause.NO_CREDENTIALS)
    (tmp_path / "missing").write_text("no section\n")
    row = _row(command, pinned_ecs(*COMMANDS[command]))
    assert f"Unable to parse config file: {tmp_path / 'missing'}" in row.message or command == "iam"
    assert HINTS[Cause.WRONG_SETTINGS] in row.hint


@pytest.mark.parametrize("cause", [Cause.UNREACHABLE, Cause.NO_ANSWER], ids=lambda c: c.value)
def test_a_command_gives_up_within_ten_seconds(pinned_ecs, meet, monkeypatch, cause):
    """With the patience that it has in fact; an agent's is not touched by it."""
    patience = retrying.COMMAND
    meet(cause)
    monkeypatch.setattr(retrying, "COMMAND", patience)
    began = time.monotonic()
    assert pinned_ecs(*COMMANDS["plan"]).code == 1
    assert time.monotonic() - began < 10.0 + 1.0  # 1 s for what a busy machine does besides
    assert (retrying.AGENT.reads, retrying.AGENT.contended) == (120.0, 900.0)


def _check(cause: Cause, row: Row) -> None:
    if row.command == "iam" and cause is not Cause.WRONG_ACCOUNT:
        assert (row.code, ACCOUNT_ID in row.message) == (0, True)
    elif row.command == "iam":
        assert row.code == 0
        return
    else:
        assert row.code == 1, row
    if cause is Cause.DENIED:
        assert "allow " in row.hint, row
        return
    if cause is Cause.WRONG_SETTINGS:  # the hint is about the setting
        assert "check endpoint_url" in row.hint, row
    elif cause is not Cause.WRONG_ACCOUNT:
        assert HINTS[cause].partition(":")[0] in row.hint, row
    if cause is Cause.WRONG_ACCOUNT:
        assert "222222222222" in row.hint
    assert "subnets" not in row.hint
    assert "allow" not in row.hint


def _row(command: str, said: Said) -> Row:
    """The first thing that is wrong, and the hint below it; of `iam`, what it says beside."""
    text = said.out + said.err if command == "doctor" else said.err
    lines = [line.strip() for line in text.splitlines()]
    at = next((n for n, line in enumerate(lines) if _WRONG.match(line)), None)
    if at is None:
        return Row(command, "prints the policy" if command == "iam" else "", "", said.code)
    message = _WRONG.sub("", lines[at]).partition("  [")[0]
    if command == "iam":
        message = f"prints a policy with placeholders: {lines[at + 1].rpartition(': ')[2]}"
    hints = [line for line in lines[at:] if line.startswith("hint: ")]
    message = _OPENSSL.sub(" ...", _PORT.sub(":PORT", message))
    return Row(command, message, hints[0].removeprefix("hint: "), said.code)


_WRONG = re.compile(r"(error: |FAIL +|warning: )")
_PORT = re.compile(r":\d{4,5}\b")
#: OpenSSL's words differ from version to version.
_OPENSSL = re.compile(r" \[SSL.*")

HEAD = """# When AWS cannot be used

This page lists the message of each command, by cause. The hint depends on the cause, not on the
call that failed first. A waiting command prints on stderr every 2 s what it waits for. It gives up
an endpoint that does not connect, or does not answer, within 10 s. It waits out throttles for up to
2 minutes. Nothing is changed in any of these cases.

`migrate`, `local` and `demo` do not call AWS.

The test that causes each of these errors writes this page (`tests/cli/test_causes.py`). It shows
commands with a block. With `--pool` the hints are the same.
"""


def _section(cause: Cause, rows: list[Row]) -> str:
    lines = [
        f"## {cause.value[0].upper()}{cause.value[1:]}\n",
        "| command | message | hint | exit code | first output |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        slow = cause in (Cause.UNREACHABLE, Cause.NO_TLS, Cause.NO_ANSWER, Cause.THROTTLED)
        cells = (f"`{row.command}`", row.message, row.hint, str(row.code))
        first = "within 3 s" if slow else "immediately"
        lines.append(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} | {first} |")
    return "\n".join(lines) + "\n"


def _compare(cause: Cause, rows: list[Row]) -> None:
    """The section of a cause in the page is what was said just now."""
    wanted = _section(cause, rows)
    head, *found = PAGE.read_text().split("\n## ") if PAGE.exists() else [HEAD.rstrip("\n") + "\n"]
    sections = {text.partition("\n")[0].lower(): f"## {text}" for text in found}
    if os.environ.get("UPDATE_GOLDEN"):
        sections[cause.value.lower()] = wanted
        order = [c.value.lower() for c in MET if c.value.lower() in sections]
        body = "\n".join(sections[name].rstrip("\n") + "\n" for name in order)
        PAGE.write_text(f"{HEAD}\n{body}")
        return
    assert f"{head}\n" == HEAD or head == HEAD
    assert sections[cause.value.lower()].rstrip("\n") + "\n" == wanted
