"""Commands on blocks with a canary in every field and member: none of them is shown.

What may be shown stands in `tests.core.test_shown`.
"""

from __future__ import annotations

import logging

import pytest
from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

from prefect_ecs_pinned import PinnedECSTask
from tests.canaries import HIDDEN, assert_hidden, canary, fields, found, full_fields
from tests.core.test_shown import MAY_BE_SHOWN
from tests.operations.fixtures import credentials

#: A deployment's overrides, and a canary in each that may not be shown.
OVERRIDES = {
    "env.OVERRIDDEN": canary("override env"),
    "labels.team": canary("override label"),
    "command": ["sh", canary("override command")],
    "image": canary("image"),
}
OVERRIDDEN = {name: canary(name) for name in ("override env", "override label", "override command")}

READING = {
    "plan": ("plan", "etl", "--all"),
    "plan as JSON": ("plan", "etl", "--all", "--json"),
    "plan with an override": (
        *("plan", "etl", "--override", f"env.MORE={canary('more')}"),
        *("--override", f"labels.new={canary('newer')}"),
    ),
    "show": ("show", "etl"),
    "show as JSON": ("show", "etl", "--json"),
    "doctor": ("doctor", "etl"),
    "doctor as JSON": ("doctor", "etl", "--json"),
    "iam": ("iam", "etl", "--all"),
    "prune": ("prune", "etl"),
}
MORE = {"more": canary("more"), "newer": canary("newer")}


@pytest.fixture
def logged(monkeypatch):
    """All that is logged, from DEBUG up, as text; no other handler formats it once more."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    lines: list[str] = []
    root, handler = logging.getLogger(), Lines()
    before = root.level
    monkeypatch.setattr(root, "handlers", [handler])
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(before)


@pytest.fixture(params=["a definition", "no definition"])
def saved(request, prefect, ecs, deploy):
    """A block, saved, and a deployment of it; the canaries that may not be shown."""
    access = credentials(ecs.endpoint_url)
    if request.param == "a definition":
        given, hidden = full_fields(access, MAY_BE_SHOWN["RegisterTaskDefinition"])
    else:
        given, hidden = fields(access), HIDDEN
    PinnedECSTask(**given).save("etl", overwrite=True)
    deploy("flow/nightly", "etl", OVERRIDES)
    return {**hidden, **OVERRIDDEN, **MORE}


def secrets_of_an_agent():
    return temporary_settings({PREFECT_API_KEY: canary("api key")})


def test_commands_show_what_may_be_shown(pinned_ecs, saved, logged):
    """Before anything is registered, afterwards, and when something else is wanted."""
    with secrets_of_an_agent():
        for name in ("plan", "plan as JSON", "plan with an override", "doctor"):
            said = pinned_ecs(*READING[name])
            assert_hidden(said.out + said.err, saved)
            assert said.out
            assert said.err
        pinned = pinned_ecs("pin", "etl", "--all")
        assert pinned.code == 0
        for arguments in (*READING.values(), ("plan", "etl", "--override", "image=other:1")):
            said = pinned_ecs(*arguments)
            assert_hidden(said.out + said.err, saved)
        assert "image: " in said.out
    assert_hidden(pinned.out + pinned.err, saved)
    assert_hidden("\n".join(logged), saved)


def test_a_plan_names_what_it_hides(pinned_ecs, saved):
    """By path; what may be shown is there."""
    with secrets_of_an_agent():
        said = pinned_ecs("plan", "etl")
    assert said.code == 0
    assert found(said.out, {"image": canary("image")})
    assert "    command: ***\n" in said.out
    assert '    environment: ["URL", "VARIABLE"]\n' in said.out
    assert '    tags: [{"key": "team", "value": "***"}, {"key": "x", "value": "***"}]\n' in said.out
    assert "    referenceId: ***\n" in said.out
    if "healthCheck" in said.out:
        assert "    + containerDefinitions.prefect.healthCheck.command: ***\n" in said.out
        assert "    + containerDefinitions.prefect.logConfiguration.options.of-the-map: ***\n" in (
            said.out
        )


@pytest.mark.parametrize(
    "override",
    [
        {"launch_type": canary("wrong")},
        {"registration": canary("wrong")},
        {"env": canary("wrong")},
        {"env.A.b": canary("wrong")},
        {"secrets.A": canary("wrong")},
        {"task_customizations": [canary("wrong")]},
        {"task_customizations": [{"op": "replace", "path": "/tags/9", "value": canary("wrong")}]},
        {"task_customizations": canary("wrong")},
        {"task_definition.networkMode": {"is": canary("wrong")}},
        {"task_definition.containerDefinitions.a": canary("wrong")},
        {"aws_credentials": canary("wrong")},
        {"task_watch_poll_interval": canary("wrong")},
    ],
    ids=str,
)
def test_what_is_refused_is_not_quoted(pinned_ecs, save, deploy, override):
    """The command, and what is wrong, are named."""
    save("etl", task_definition={"tags": []})
    deploy("flow/bad", "etl", override)
    for arguments in (("plan", "etl", "--all"), ("show", "etl"), ("doctor", "etl")):
        try:
            said = pinned_ecs(*arguments)
        except Exception as error:  # noqa: BLE001 - of a definition that no check knows yet
            assert_hidden(f"{error!r} {error}", {"wrong": canary("wrong")})
            continue
        assert_hidden(said.out + said.err, {"wrong": canary("wrong")})
        assert said.code == 1, arguments
        assert "hint: " in said.out + said.err


def test_an_argument_that_no_command_takes_is_not_quoted(pinned_ecs, save):
    """It may be the value of an override whose "=" is missing."""
    save("etl")
    secret = canary("argument")
    for arguments in (
        ("--override", "env.TOKEN", secret),
        ("--override", secret),
        ("--override", f"={secret}"),
        ("--override", f"env.TOKEN={secret}", secret, secret),
    ):
        said = pinned_ecs("plan", "etl", *arguments)
        assert said.code == 1
        assert_hidden(said.out + said.err, {"argument": secret})
        assert "error: " in said.err


def test_the_next_command_has_no_values_that_are_hidden(pinned_ecs, save):
    """They are written as they are in a plan; those that may be shown can be copied."""
    save("etl", subnets=["subnet-1"])
    said = pinned_ecs("plan", "etl", "--override", "env.A=hush", "--override", "image=flows:9")
    assert said.err.endswith(
        "next: pinned-ecs pin etl --override 'env.A=***' --override image=flows:9\n"
    )


def test_the_address_of_the_prefect_api_is_shown_without_its_password(pinned_ecs, prefect):
    """It stands in the error when nothing answers there."""
    secret = canary("password")
    with temporary_settings({PREFECT_API_URL: f"http://user:{secret}@127.0.0.1:9/api"}):
        said = pinned_ecs("plan", "etl")
    assert said.code == 1
    assert "http://***@127.0.0.1:9/api" in said.err
    assert_hidden(said.err, {"password": secret})


def test_migrate_shows_no_values(pinned_ecs, prefect, ecs):
    """Neither of a block that it moves, nor of one that it refuses."""
    import warnings

    import prefect_aws.ecs

    given, hidden = full_fields(
        credentials(ecs.endpoint_url), MAY_BE_SHOWN["RegisterTaskDefinition"]
    )
    given.pop("secrets")
    given.pop("launch_timeout_seconds")
    refused = {**given, "task_customizations": [{"op": "add", "path": "/count", "value": "hush"}]}
    with warnings.catch_warnings(), secrets_of_an_agent():
        warnings.simplefilter("ignore")
        prefect_aws.ecs.ECSTask(**given).save("full", overwrite=True)
        prefect_aws.ecs.ECSTask(**refused).save("refused", overwrite=True)
        for name, code in (("full", 0), ("refused", 1)):
            for more in ((), ("--yes",), ("--yes", "--json")):
                said = pinned_ecs("migrate", f"ecs-task/{name}", *more)
                assert said.code == code, said.err
                assert_hidden(said.out + said.err, hidden)
                assert "hush" not in said.out + said.err
