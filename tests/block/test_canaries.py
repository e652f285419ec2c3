"""A canary in every field of a block and in every member of a definition: which of them are seen.

What may be shown of a definition and of a request stands in `tests.core.test_shown`, and of a
block's fields below; each with its reason.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import pprint
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
import yaml
from prefect.events import worker
from prefect.events.clients import AssertingEventsClient
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_URL,
    PREFECT_EXPERIMENTAL_EVENTS,
    temporary_settings,
)
from pydantic.v1 import BaseModel, Field, ValidationError, validator
from rich.console import Console

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.launching.submission import Submission
from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.block import host
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.plan import Desired, Observed
from prefect_ecs_pinned.core.request import LaunchSpec
from prefect_ecs_pinned.core.shown import without
from prefect_ecs_pinned.errors import TaskFailedToStart
from prefect_ecs_pinned.faces.access import access_of
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.runs.prepare import prepare
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.runs.spec import FIELDS
from tests.block.conftest import EXECUTION_ROLE, SECRET, World
from tests.canaries import (
    HIDDEN,
    Filled,
    assert_hidden,
    canary,
    everything_of,
    fields,
    found,
    full_fields,
    members,
    replaced,
)
from tests.core.test_shown import MAY_BE_SHOWN

#: Field -> why its canaries may be shown; the others' may not.
SHOWN_FIELDS = {
    "name": "name of the flow run, by which log lines call it",
    "task_definition_arn": "identifies a revision",
    "family": "identifies the family",
    "image": "identifies the image",
    "execution_role_arn": "an ARN",
    "task_role_arn": "an ARN",
    "cluster": "identifies the cluster",
    "vpc_id": "identifies the VPC",
    "container_name": "name of a container",
    "platform_version": "a version",
    "capacity_provider_strategy": "names of capacity providers",
    "subnets": "identify subnets",
    "security_groups": "identify security groups",
    "cloudwatch_logs_options": "of those, the group's name and what else awslogs has",
}

DEFINITION = "RegisterTaskDefinition"


def full(world: World) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of a block with a whole definition, and the canaries that may not be shown."""
    return full_fields(world.credentials(), MAY_BE_SHOWN[DEFINITION])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that is said: each logger from DEBUG up, asyncio's debug log, what Prefect gets."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    all_names = logging.root.manager.loggerDict.values()
    known = [log for log in all_names if isinstance(log, logging.Logger)]
    loggers = [logging.getLogger(), *known]
    before = [(log, log.level, log.disabled) for log in loggers]
    for log in loggers:
        log.setLevel(logging.DEBUG)
        log.disabled = False
        if log.parent is None or not log.propagate:
            log.addHandler(handler)

    async def report(flow_run_id: str, reason: str) -> None:
        text.write(reason)

    monkeypatch.setattr(host, "report_crash", report)
    yield text
    for log, level, disabled in before:
        log.setLevel(level)
        log.disabled = disabled
        log.removeHandler(handler)


# -- a block ------------------------------------------------------------------------------------


def rich_text(thing: Any) -> str:
    written = io.StringIO()
    Console(width=40, file=written).print(thing)
    return written.getvalue()


@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, pprint.pformat, rich_text, lambda block: block.preview()],
    ids=["repr", "str", "format", "pprint", "rich", "preview"],
)
@pytest.mark.parametrize("kind", ["with a definition", "without"])
def test_a_block_shows_what_may_be_shown(world: World, show, kind):
    """Names of what is hidden are among it."""
    given, hidden = (
        full(world) if kind == "with a definition" else (fields(world.credentials()), HIDDEN)
    )
    with temporary_settings({PREFECT_API_KEY: canary("api key")}):
        text = show(PinnedECSTask(**given))
    assert_hidden(text, hidden)
    for name in ("VARIABLE", "team", "KEY", "default"):
        assert name in "".join(text.split())
    assert found(text, {"image": canary("image")})


def test_each_field_of_the_block_is_decided():
    """What is not in the table is hidden, and is not forgotten but left out."""
    known = set(FIELDS) - {"type", "block_type_slug"}
    assert PinnedECSTask.__fields__.keys() - {"type"} == known


class Subclassed(PinnedECSTask):
    """A block with a field of its own."""

    _block_type_name = "Subclassed"
    _block_type_slug = "subclassed"
    type: Literal["subclassed"] = "subclassed"  # type: ignore[assignment]
    token: str = Field(default="")


def test_fields_of_a_subclass_are_hidden(world: World):
    """Nobody has said what they hold."""
    block = Subclassed(**world.fields(), token=canary("token"))
    assert "token='***'" in repr(block)
    assert_hidden(repr(block), {"token": canary("token")})


def test_the_repr_keeps_what_helps(world: World):
    """To the letter, for what is most often looked for."""
    block = world.block(
        env={"TOKEN": "hush", "UNSET": None},
        secrets={"KEY": SECRET},
        execution_role_arn=EXECUTION_ROLE,
        task_customizations=[{"op": "add", "path": "/group", "value": "nightly"}],
        cpu=512,
    )
    text = repr(block)
    for part in (
        "env={'TOKEN': '***', 'UNSET': None}",
        "aws_credentials='***'",
        f"secrets={{'KEY': '{SECRET}'}}",
        f"execution_role_arn='{EXECUTION_ROLE}'",
        "task_customizations=[{'op': 'add', 'path': '/group', 'value': 'nightly'}]",
        "cpu=512",
        "command='***'",
        "image='flows:1'",
    ):
        assert part in text


async def test_nothing_that_a_block_becomes_shows_more(world: World):
    """Reprs end in tracebacks with locals, and in asyncio's logs."""
    given, hidden = full(world)
    with temporary_settings({PREFECT_API_KEY: canary("api key")}):
        block = PinnedECSTask(**given)
        plane = block._control_plane()
        prepared = await prepare(run_spec(block), plane)
        pin = await plane.pin(prepared.desired, True)
        launch = plane.launch({**prepared.request, "taskDefinition": pin.arn}, 9, None, True)
        task = await launch.outcome
        described = world.revisions(given["family"])[0]
    spec = LaunchSpec(environment=block.env, command=block.command, labels=block.labels)
    submission = launch.submission
    assert isinstance(submission, Submission)
    for thing in (
        prepared,
        prepared.desired,
        pin,
        launch,
        submission,
        task,
        spec,
        run_spec(block),
        definition_spec(run_spec(block), "us-east-1"),
        Desired(described),
        Observed.of(described),
        LinkedRevision(described),
        LinkedRevision(described).desired,
        access_of(block.aws_credentials),
    ):
        assert_hidden(f"{thing!r} {thing} {rich_text(thing)}", hidden)


# -- a run --------------------------------------------------------------------------------------


def quoting(given: Mapping[str, Any], hidden: Mapping[str, str], call: str) -> str:
    """What AWS might say of a call: each value that it was sent, in several ways."""
    values = [value for name, value in hidden.items() if name not in HIDDEN]
    if call == "RunTask":
        values = [value for name, value in HIDDEN.items() if name not in (*_LONGER, "log option")]
        values += [given["env"]["URL"], given["command"][-1]]
    return (
        f"Value '{values}' failed to satisfy constraint; {json.dumps(values)} "
        + " ".join(f"x={value}," for value in values)
        + yaml.dump(values, width=1000)
    )


#: Canaries that are a part of the value.
_LONGER = ("command", "env url")


#: What ECS does wrong, one after the other; each makes other lines and errors.
DAYS: dict[str, Any] = {
    "well": lambda said: (),
    "throttled": lambda said: (Fault("throttle", "RunTask", times=2),),
    "lost": lambda said: (Fault("lost-reply", "RunTask", times=1),),
    "no room": lambda said: (Fault("in-band", "RunTask", message="RESOURCE:MEMORY", times=1),),
    "refused": lambda said: (
        Fault("error", "RunTask", code="InvalidParameterException", message=said),
    ),
    "denied": lambda said: (Fault("error", "RunTask", code="AccessDeniedException", message=said),),
    "signature": lambda said: (
        Fault(
            "error",
            "RunTask",
            code="InvalidSignatureException",
            message="The request signature we calculated does not match the signature you "
            f"provided.\n\nThe Canonical String for this request should have been\n'POST\n{said}'",
            status=403,
        ),
    ),
    "not registered": lambda said: (
        Fault("error", "RegisterTaskDefinition", code="ClientException", message=said),
    ),
    "looked at late": lambda said: (Fault("throttle", "DescribeTasks", times=2),),
}


@pytest.mark.parametrize("day", DAYS)
async def test_a_run_says_nothing_that_is_hidden(world: World, written, fresh, day):
    """Whatever AWS says of the request, and however badly it ends."""
    given, hidden = full(world)
    call = "RegisterTaskDefinition" if day == "not registered" else "RunTask"
    world.ecs.faults(*DAYS[day](quoting(given, hidden, call)))
    raised = None
    with temporary_settings({PREFECT_API_KEY: canary("api key")}):
        try:
            await PinnedECSTask(**given).run()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
            raised = error
    text = written.getvalue() + everything_of(raised)
    assert "Creating task run" in text or day == "not registered"
    assert "Task run payload" in text or day == "not registered"
    assert (raised is None) == (day in ("well", "throttled", "lost", "no room", "looked at late"))
    assert_hidden(text, hidden)


async def test_reasons_of_ecs_are_shown_without_what_they_quote(world: World, written):
    """Docker quotes the command that it can not start."""
    given, hidden = full(world)
    reasons = [quoting(given, hidden, call) for call in ("RegisterTaskDefinition", "RunTask")]
    refused = f'CannotStartContainerError: exec: "export A={canary("command")}": not found'
    failure = ("TaskFailedToStart", " ".join([refused, *reasons]))
    world.ecs.model.start_failures.append(failure)
    block = PinnedECSTask(**given)
    with (
        temporary_settings({PREFECT_API_KEY: canary("api key")}),
        pytest.raises(TaskFailedToStart, match="CannotStartContainerError: exec") as failed,
    ):
        await block.run()
    assert_hidden(written.getvalue() + everything_of(failed.value), hidden)
    assert "check the command" in str(failed.value)


def test_reasons_of_other_containers_are_hidden_alike(world: World):
    """Of a linked revision as well, which is no field of the block."""
    filled = Filled(DEFINITION)
    hidden = run_spec(world.block()).hidden(filled.document)
    kept = {path for path in filled.canaries if path in MAY_BE_SHOWN[DEFINITION]}
    said = " ".join(f"exec: {value}: not found" for value in filled.canaries.values())
    assert found(without(said, hidden), filled.canaries) == kept


async def test_a_registration_is_an_event_without_values(world: World, monkeypatch, fresh):
    """What has changed is named by its path."""
    monkeypatch.setattr(worker, "PrefectEventsClient", AssertingEventsClient)
    AssertingEventsClient.reset()
    given, hidden = full(world)
    on: dict[Any, Any] = {
        PREFECT_API_URL: "http://127.0.0.1:1/api",
        PREFECT_EXPERIMENTAL_EVENTS: True,
    }
    with temporary_settings(on):
        await world.block(family=given["family"], launch_type="EC2", image="flows:0").run()
        block = PinnedECSTask(**given)
        plane = block._control_plane()
        pin = await plane.pin((await prepare(run_spec(block), plane)).desired, True)
        await worker.EventsWorker.drain_all()  # type: ignore[misc]
    events = [event for client in AssertingEventsClient.all for event in client.events]
    AssertingEventsClient.reset()
    assert pin.how == "registered"
    assert len(pin.changed) > 30
    assert [event.event.rsplit(".", 1)[-1] for event in events] == ["registered", "registered"]
    assert "containerDefinitions.prefect.healthCheck" in str(events[1].payload["changed"])
    assert_hidden("".join(event.json() for event in events), hidden)
    assert_hidden(repr(events) + repr(pin), hidden)


_SLOW = "slow_callback_duration"


async def test_asyncio_shows_nothing_of_what_is_under_way(world: World, written, monkeypatch):
    """In its debug mode it writes the repr of each callback that is slow."""
    base = asyncio.base_events.BaseEventLoop
    always = property(lambda _: 0.0, lambda loop, seconds: vars(loop).update({_SLOW: seconds}))
    monkeypatch.setattr(base, _SLOW, always, raising=False)
    given, hidden = full(world)
    with temporary_settings({PREFECT_API_KEY: canary("api key")}):
        given["aws_credentials"] = world.credentials(aws_session_token="another-plane")
        await PinnedECSTask(**given).run()
    assert "Executing <" in written.getvalue()
    assert_hidden(written.getvalue(), hidden)


# -- errors -------------------------------------------------------------------------------------

WRONG = {
    "text": lambda value: value,
    "list": lambda value: [value],
    "structure": lambda value: {"key": value},
    "nested": lambda value: [{"name": value, "value": [value]}],
    "quoted": lambda value: f"'\"\\\n, value: {value}, type: <class 'str'>, valid types: {value}",
    "bytes": lambda value: value.encode(),
}


@pytest.mark.parametrize("shape", WRONG)
@pytest.mark.parametrize("field", sorted(PinnedECSTask.__fields__.keys()))
async def test_no_error_of_a_field_quotes_what_it_was_given(world: World, field, shape):
    """Of each field, whether it is refused when the block is made or later."""
    value = canary(field)
    given = {**world.fields(), field: WRONG[shape](value)}
    try:
        block = PinnedECSTask(**given)
    except ValidationError as error:
        text = everything_of(error) + error.json()
        named = field in str(error)
    except (AttributeError, TypeError) as error:  # of `ECSTask`'s validators
        text, named = everything_of(error), True
    else:
        text = f"{block!r} {await _attempt(block, 'preview')} {await _attempt(block, 'prepare')}"
        named = True
        if field in SHOWN_FIELDS and shape in ("text", "list", "quoted", "bytes"):
            return
    assert named
    assert_hidden(text, {field: value})


async def _attempt(block: PinnedECSTask, what: str) -> str:
    """What is shown, or the error instead of it."""
    try:
        if what == "preview":
            return block.preview()
        return repr(await prepare(run_spec(block), block._control_plane()))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
        return everything_of(error)


@pytest.mark.parametrize("shape", WRONG)
async def test_no_error_of_a_definitions_member_quotes_it(world: World, shape):
    """Each member in turn, of a definition that is valid but for it."""
    filled = Filled(DEFINITION, valid=True)
    definition = filled.document
    definition["containerDefinitions"][0]["name"] = "prefect"
    value = canary("wrong member")
    errors = 0
    for path in members(definition):
        wrong = replaced(definition, path, WRONG[shape](value))
        place = ".".join(map(str, path)).replace(".0", "[]").replace(".of-the-map", "{}")
        if {place, f"{place}[]"} & MAY_BE_SHOWN[DEFINITION]:
            continue  # its text may be shown, and a list of such texts
        try:
            block = PinnedECSTask(**world.fields(task_definition=wrong, launch_type="EC2"))
            text = f"{block!r} {block.preview()}"
            await prepare(run_spec(block), block._control_plane())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
            errors += 1
            text = everything_of(error)
        leaks = found(text, {"value": value})
        assert not leaks or _is_named(definition, path, shape), (path, text[:2000])
    assert errors


def _is_named(definition: Any, path: tuple[Any, ...], shape: str) -> bool:
    """An item whose name may be shown is given as such: a list of structures with names."""
    for key in path:
        definition = definition[key]
    return shape == "nested" and isinstance(definition, list) and "name" in definition[0]


PATCHES = {
    "no operation": lambda value: [{"op": value, "path": "/x", "value": value}],
    "no path": lambda value: [{"op": "add", "value": value}],
    "no patch": lambda value: [value],
    "no JSON": lambda value: value,
    "misses": lambda value: [{"op": "replace", "path": "/tags/7", "value": {"value": value}}],
    "too deep": lambda value: [{"op": "add", "path": "/cluster/a/b", "value": value}],
    "tests": lambda value: [{"op": "test", "path": "/overrides", "value": value}],
    "removes all": lambda value: [{"op": "remove", "path": ""}],
    "other request": lambda value: [{"op": "add", "path": "", "value": {"tags": value}}],
    "no request": lambda value: [{"op": "add", "path": "", "value": [value]}],
    "wrong type": lambda value: [{"op": "add", "path": "/overrides/containerOverrides/0/command",
                                  "value": {"a": value}}],
    "wrong revision": lambda value: [
        {"op": "add", "path": "/taskDefinition", "value": {"a": value}}
    ],
    "reserved": lambda value: [{"op": "add", "path": "/clientToken", "value": value}],
}  # fmt: skip


@pytest.mark.parametrize("kind", PATCHES)
async def test_no_error_of_a_patch_quotes_values(world: World, kind):
    """Neither of the patch, nor of the request that it does not fit."""
    value = canary("patch")
    hidden = {"patch": value, "env": canary("env")}
    patches = PATCHES[kind](value)
    try:
        block = world.block(task_customizations=patches, env={"A": canary("env")})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
        text = everything_of(error)
        assert "task_customizations" in text
    else:
        text = f"{block!r} {await _attempt(block, 'preview')} {await _attempt(block, 'prepare')}"
    assert_hidden(text, hidden)


async def test_no_error_quotes_a_patch_of_each_member(world: World):
    """Of a wrong type, which the check of the request reports."""
    filled = Filled("RunTask", valid=True)
    value = canary("patch of a member")
    reported = 0
    for path in members(filled.document):
        pointer = "/" + "/".join(map(str, path[:1]))
        document = replaced(filled.document, path, {"deep": [{"deeper": value}]})
        patch = {"op": "add", "path": pointer, "value": document[path[0]]}
        if path[0] in ("clientToken", "count", "taskDefinition"):
            continue
        block = world.block(task_customizations=[patch])
        text = f"{block!r} {await _attempt(block, 'preview')} {await _attempt(block, 'prepare')}"
        reported += "and has to be" in text
        assert_hidden(text, {"value": value})
    assert reported > 30


def test_a_validation_error_is_pydantics_but_for_values(world: World):
    """Location, type and message stay, and what says how the field is made."""
    with pytest.raises(ValidationError) as refused:
        world.block(launch_type="hush", cpu="hush", launch_timeout_seconds=-1, env={"A": []})
    by_field = {error["loc"][0]: error for error in refused.value.errors()}
    assert by_field["launch_type"]["ctx"]["given"] == "***"
    assert "FARGATE" in by_field["launch_type"]["msg"]
    assert by_field["cpu"]["msg"] == "value is not a valid integer"
    assert by_field["cpu"]["type"] == "type_error.integer"
    assert by_field["launch_timeout_seconds"]["ctx"] == {"limit_value": 0}
    assert by_field["env"]["loc"] == ("env", "A")
    assert "hush" not in str(refused.value)


def test_a_block_within_another_model_is_refused_alike(world: World):
    """As Prefect nests blocks."""

    class Outer(BaseModel):
        block: PinnedECSTask

    with pytest.raises(ValidationError) as refused:
        Outer.parse_obj({"block": {**world.fields(), "launch_type": canary("nested")}})
    assert refused.value.errors()[0]["loc"] == ("block", "launch_type")
    assert_hidden(everything_of(refused.value), {"nested": canary("nested")})


class Checking(PinnedECSTask):
    """A block whose own validator quotes what it refuses."""

    _block_type_name = "Checking"
    _block_type_slug = "checking"
    type: Literal["checking"] = "checking"  # type: ignore[assignment]

    @validator("env")
    def _quotes(cls, value: Any) -> Any:  # noqa: N805
        raise ValueError(f"not {value}")


def test_messages_of_other_validators_quote_nothing_either(world: World):
    """Of a subclass, or of what Prefect adds one day."""
    with pytest.raises(ValidationError, match=r"not \{'A': '\*\*\*'\}") as refused:
        Checking(**world.fields(env={"A": canary("env")}))
    assert_hidden(everything_of(refused.value), {"env": canary("env")})


def test_the_search_finds_parts_of_canaries():
    """Cut short, wrapped, reversed, in Base64 and in hexadecimal digits."""
    value = canary("x")
    wanted = {"x": value}
    for text in (
        f"a{value[3:12]}b",
        f"{value[:5]}\n   {value[5:8]}",
        value[::-1],
        value.encode().hex(),
        base64.b64encode(b"Basic u:" + value.encode()).decode(),
    ):
        assert found(text, wanted) == {"x"}
    assert not found(canary("y"), wanted)
