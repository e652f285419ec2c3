"""The frame of the command line: exit codes, streams, colours, completion, help."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import prefect_ecs_pinned
from prefect_ecs_pinned.cli import COMMANDS, console, main
from prefect_ecs_pinned.errors import PinnedECSError

SCRIPT = str(Path(sys.executable).with_name("pinned-ecs"))
GOLDEN = Path(__file__).with_name("golden")


def test_the_version_is_data(pinned_ecs):
    """On stdout, alone, exit code 0."""
    said = pinned_ecs("--version")
    assert (said.code, said.out, said.err) == (
        0,
        f"pinned-ecs {prefect_ecs_pinned.__version__}\n",
        "",
    )


def test_wrong_usage_is_one_message_and_a_hint(pinned_ecs):
    """And exit code 1: 2 is what `plan --exit-code` has to say."""
    said = pinned_ecs("demo", "--rnus", "3")
    assert (said.code, said.out) == (1, "")
    message, hint = said.err.splitlines()
    assert message.startswith("error: No such option: --rnus")
    assert hint == "hint: pinned-ecs demo --help"


def test_no_command_shows_the_help_as_a_message(pinned_ecs):
    """Nothing was asked for, so there is no data, and it is a failure."""
    said = pinned_ecs()
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("Usage: pinned-ecs [OPTIONS] COMMAND")


def test_a_failure_says_what_why_a_hint_and_where_to_read_more(capsys, monkeypatch):
    """Parts of one error, on stderr; the link is last, and whole in a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    error = PinnedECSError("cannot pin", "no image", "set image")
    console.fail(error)
    said = f"error: cannot pin: no image\nhint: set image\nsee: {error.page}\n"
    assert capsys.readouterr() == ("", said)


def test_data_is_never_wrapped_when_piped(capsys):
    """A line of 500 characters, and a table with a cell of 500, stay on one line each."""
    console.print_line("x" * 500)
    console.print_table(["name", "value"], [["a", "y" * 500]])
    lines = capsys.readouterr().out.splitlines()
    assert [len(line.rstrip()) for line in lines] == [500, 11, 506]


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("FORCE_COLOR", True)])
def test_no_color_is_respected(capsys, monkeypatch, variable, coloured):
    """https://no-color.org: and FORCE_COLOR works where there is no terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TERM", "xterm")
    console.warn("look out")
    assert ("\x1b[" in capsys.readouterr().err) is coloured


def test_warnings_of_libraries_are_not_messages(capfd, monkeypatch):
    """They are nobody's message to the user, unless Python is asked for them."""

    def noisy() -> None:
        warnings.warn("from a library", UserWarning, stacklevel=1)

    monkeypatch.setattr("prefect_ecs_pinned.cli.app", lambda **_: noisy())
    assert main(["plan"]) == 0
    assert capfd.readouterr() == ("", "")


def test_the_shell_completes_commands():
    """As the function that --show-completion prints asks for it."""
    environment = {
        **os.environ,
        "_PINNED_ECS_COMPLETE": "complete_bash",
        "COMP_WORDS": "pinned-ecs lo",
        "COMP_CWORD": "1",
    }
    answer = subprocess.run(
        [SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.split() == ["local"]


@pytest.mark.parametrize(("argument", "code"), [("--version", 0), ("nothing", 1)])
def test_the_package_can_be_run_where_no_script_is_on_the_path(capsys, monkeypatch, argument, code):
    """`python -m prefect_ecs_pinned`: the same output, and the same exit codes."""
    monkeypatch.setattr(sys, "argv", ["__main__.py", argument])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("prefect_ecs_pinned", run_name="__main__")
    assert ended.value.code == code
    version = f"pinned-ecs {prefect_ecs_pinned.__version__}\n"
    assert capsys.readouterr().out == ("" if code else version)


@pytest.mark.parametrize("command", ["", *(command.__name__ for command in COMMANDS)])
def test_help_is_as_agreed(pinned_ecs, monkeypatch, command):
    """Golden files; UPDATE_GOLDEN=1 writes them anew."""
    monkeypatch.setenv("COLUMNS", "100")
    said = pinned_ecs(*command.split(), "--help")
    golden = GOLDEN / f"{command or 'pinned-ecs'}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(said.out)
    assert (said.code, said.err) == (0, "")
    assert said.out == golden.read_text()


def test_help_does_not_wait_for_prefect():
    """`--help` imports neither Prefect nor boto3: they take seconds."""
    code = (
        "import sys; from prefect_ecs_pinned.cli import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('prefect', 'boto3', 'moto')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
