"""The same commands on a narrow terminal, without colours, in a pipe, with Windows' line ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from prefect_ecs_pinned.cli import COMMANDS, console, main, waiting
from tests.operations.fixtures import Said

SUBNETS = {"subnets": ["subnet-1"]}
NAMES = [command.__name__ for command in COMMANDS]

#: Commands that print without changing anything, and what they need.
READING = {
    "plan": ("plan", "a-block-with-a-rather-long-name", "--all"),
    "show": ("show", "a-block-with-a-rather-long-name"),
    "prune": ("prune", "a-block-with-a-rather-long-name", "--keep", "1", "--min-age", "0s"),
    "doctor": ("doctor", "a-block-with-a-rather-long-name"),
    "reconcile": ("reconcile", "a-block-with-a-rather-long-name"),
    "iam": ("iam", "a-block-with-a-rather-long-name"),
    "pin": ("pin", "a-block-with-a-rather-long-name"),
}

Run = Callable[..., Said]


@contextmanager
def _terminal(columns: int, received: list[bytes]) -> Iterator[int]:
    """A pseudo-terminal; what is written to it is collected."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def read() -> None:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                return
            if not data:
                return
            received.append(data)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(10)
        os.close(ours)


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Run:
    """``on_terminal("plan", "BLOCK")`` runs a command on a terminal of 60 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 3600.0)

    def run(*arguments: str) -> Said:
        received: list[bytes] = []
        with _terminal(60, received) as theirs, monkeypatch.context() as patch:
            stream = os.fdopen(os.dup(theirs), "w")
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            code = main(arguments)
            stream.close()
        return Said(code, b"".join(received).decode(), "")

    return run


@pytest.fixture
def block(save, pinned_ecs) -> str:
    """A block with two revisions and names that are longer than a cell."""
    name = "a-block-with-a-rather-long-name"
    save(name, image="flows:1", **SUBNETS)
    assert pinned_ecs("pin", name).code == 0
    save(name, image="flows:2", **SUBNETS)
    return str(save(name, image="flows:2", **SUBNETS))


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize("coloured", [True, False], ids=["colours", "NO_COLOR"])
def test_no_name_is_cut_on_a_narrow_terminal(on_terminal, block, monkeypatch, command, coloured):
    """60 columns: nothing is shortened with an ellipsis; NO_COLOR leaves no escape."""
    if not coloured:
        monkeypatch.setenv("NO_COLOR", "1")
    said = on_terminal(*READING[command])
    assert said.code in (0, 1)
    assert "…" not in said.out
    assert "rather-long-name" in said.out or command == "reconcile"  # nothing to list
    if not coloured and command != "prune":  # its progress bar moves the cursor
        assert "\x1b[" not in said.out
    if not coloured:
        assert "\x1b[3" not in said.out


def test_a_table_that_is_too_wide_is_folded(on_terminal, block, pinned_ecs):
    """A cell a line with its heading; in a pipe, the same cells in columns."""
    assert pinned_ecs("pin", block).code == 0
    arguments = READING["prune"]
    piped = pinned_ecs(*arguments).out.splitlines()
    assert piped[0].split() == ["revision", "fate", "why"]
    said = on_terminal(*arguments).out
    lines = re.sub(r"\x1b\[\d*m", "", said).replace("\r", "").split("\n")
    arn = piped[1].split()[0]
    at = next(n for n, line in enumerate(lines) if f"revision: {arn}" in line)
    assert [line.strip() for line in lines[at + 1 : at + 3]] == ["fate: keep", "why: the newest"]


def test_a_table_that_fits_stays_one(on_terminal, monkeypatch):
    """Columns, while there is room for them."""

    def table(**_: object) -> None:
        console.print_table(("name", "value"), [("a" * 20, "b" * 30)])

    monkeypatch.setattr("prefect_ecs_pinned.cli.app", table)
    lines = on_terminal("plan").out.splitlines()
    assert lines[-1].endswith(f"{'a' * 20}  {'b' * 30}")


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_summaries_are_complete_at_any_width(pinned_ecs, monkeypatch, columns):
    """The list of commands wraps, and ends no line with dots."""
    monkeypatch.setenv("COLUMNS", columns)
    said = pinned_ecs("--help")
    assert "..." not in said.out.partition("Commands:")[2]
    text = " ".join(said.out.split())
    for command in COMMANDS:
        assert (command.__doc__ or "").partition("\n")[0] in text


@pytest.mark.parametrize("command", NAMES)
def test_help_is_no_wider_than_a_narrow_terminal(pinned_ecs, monkeypatch, command):
    """60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    lines = pinned_ecs(command, "--help").out.splitlines()
    wide = [line for line in lines if len(line) > 60 and " " in line.strip()]
    assert wide == []


@pytest.mark.parametrize("command", NAMES)
def test_the_summary_of_a_command_is_one_line_of_80_columns(command):
    """Which is what `--help` of the whole shows beside its name."""
    function = next(c for c in COMMANDS if c.__name__ == command)
    assert len((function.__doc__ or "").partition("\n")[0]) <= 80 - len("  reconcile  ") - 2


@pytest.mark.parametrize("command", READING)
def test_words_from_a_file_with_windows_line_ends_are_read(pinned_ecs, block, command):
    """`while read block; do pinned-ecs plan $block; done < blocks.txt` gives "NAME\\r"."""
    plain = pinned_ecs(*READING[command])
    with_ends = pinned_ecs(*(f"{word}\r" for word in READING[command]))
    assert with_ends.code == plain.code == 0 or command == "doctor"
    assert with_ends.out.count("\r") == 0
    if command not in ("doctor", "show"):
        assert with_ends.out == plain.out


def test_an_access_key_from_a_file_with_windows_line_ends_is_read(monkeypatch, capfd):
    """The variable's value ends before the carriage return."""
    key = "k" * 40
    monkeypatch.setenv("PINNED_ECS_LOCAL_ACCESS_KEY", f"{key}\r")
    monkeypatch.setattr("prefect_ecs_pinned.local.serve", lambda *_: None)
    assert main(["local", "--port", "0", "--no-execute"]) == 0
    assert f"AWS_ACCESS_KEY_ID={key}\n" in capfd.readouterr().out


@pytest.mark.parametrize("command", READING)
def test_redirected_data_has_no_control_characters(pinned_ecs, block, monkeypatch, command):
    """Even where a terminal would get colours; and messages stay on stderr."""
    monkeypatch.delenv("NO_COLOR")
    said = pinned_ecs(*READING[command])
    assert "\x1b" not in said.out + said.err
    assert "next: " not in said.out


@pytest.mark.parametrize("command", ["plan", "show", "iam"])
def test_a_reader_that_has_seen_enough_is_no_error(block, command):
    """`| head`: no traceback."""
    code = (
        "import sys; from prefect_ecs_pinned.cli import console, main;"
        "import prefect_ecs_pinned.cli as cli;"
        "cli.app = lambda **_: [console.print_line('x' * 100) or console.print_json(['y' * 100])"
        " for _ in range(2000)];"
        f"sys.exit(main([{command!r}]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) in (0, 1)


@pytest.mark.parametrize("name", ["prune", "reconcile", "migrate"])
def test_what_changes_things_shares_one_convention(pinned_ecs, monkeypatch, name):
    """A dry run by default, --yes to apply, in the same words."""
    monkeypatch.setenv("COLUMNS", "200")
    text = " ".join(pinned_ecs(name, "--help").out.split())
    assert "--yes " in text
    assert "Apply the changes (default: dry run, which changes nothing)." in text
    assert "--dry-run" not in text


def test_data_of_plan_is_json_in_a_pipe_and_on_a_terminal(on_terminal, pinned_ecs, block):
    """The same bytes, line ends of the terminal apart."""
    arguments = ("plan", block, "--json")
    piped = json.loads(pinned_ecs(*arguments).out)
    shown = on_terminal(*arguments).out.replace("\r\n", "\n")
    start, end = shown.index("["), shown.rindex("]")
    assert json.loads(shown[start : end + 1]) == piped
