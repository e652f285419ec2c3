"""The runner: real processes, their output, their exit codes, their ends."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from prefect_ecs_pinned.local.runner import Command, Runner


class Recorder:
    """Runs commands and keeps their output and ends."""

    def __init__(self, home: Path, at_once: int) -> None:
        self.lines: dict[str, list[str]] = {}
        self.order: list[str] = []
        self.printed: dict[str, asyncio.Event] = {}
        self.runner = Runner(at_once, home, self._output)
        self.ends: dict[str, asyncio.Future[tuple[int | None, str]]] = {}

    def _output(self, task: str, line: str) -> None:
        self.lines.setdefault(task, []).append(line)
        self.printed.setdefault(task, asyncio.Event()).set()

    def submit(self, task: str, *argv: str, **environment: str) -> None:
        end = self.ends[task] = asyncio.get_running_loop().create_future()
        self.runner.submit(
            Command(task, argv, environment),
            lambda: self.order.append(task),
            lambda code, reason: end.set_result((code, reason)),
        )

    async def end(self, task: str) -> int | None:
        code, _ = await asyncio.wait_for(self.ends[task], 60)
        return code

    async def first_line(self, task: str) -> str:
        printed = self.printed.setdefault(task, asyncio.Event())
        await asyncio.wait_for(printed.wait(), 60)
        return self.lines[task][0]


def gone(process: psutil.Process) -> bool:
    """Whether a process ends within ten seconds; one that nobody reaps has ended too."""
    psutil.wait_procs([process], timeout=0.1)
    deadline = time.monotonic() + 10
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder(tmp_path, at_once=2)
    yield recorder
    await recorder.runner.close()


async def test_output_environment_and_exit_code_are_the_commands_own(recorder: Recorder) -> None:
    recorder.submit("t", "sh", "-c", "echo $NAME; echo err >&2; printf rest; exit 7", NAME="value")
    assert await recorder.end("t") == 7
    assert recorder.lines["t"] == ["value", "err", "rest"]


@pytest.mark.parametrize(
    ("argv", "code"), [(["no-such-program"], 127), (["sh", "-c", "kill -9 $$"], 137)]
)
async def test_exit_codes_are_those_of_a_container(
    recorder: Recorder, argv: list[str], code: int
) -> None:
    recorder.submit("t", *argv)
    assert await recorder.end("t") == code


async def test_every_task_has_a_directory_of_its_own_that_goes_with_it(
    recorder: Recorder, tmp_path: Path
) -> None:
    for task in "ab":
        recorder.submit(task, "sh", "-c", f"pwd; echo $HOME; ls; touch {task}")
        assert await recorder.end(task) == 0
        assert recorder.lines[task] == [str(tmp_path / task)] * 2
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_so_many_run_at_once_and_the_rest_wait_in_their_order(recorder: Recorder) -> None:
    for task in "abcde":
        recorder.submit(task, "sh", "-c", "echo up; read line < fifo || sleep 60")
    await asyncio.gather(recorder.first_line("a"), recorder.first_line("b"))
    assert recorder.order == ["a", "b"]
    for task in "abc":
        recorder.runner.stop(task, 60)
        await recorder.end(task)
    assert recorder.order == ["a", "b", "c", "d", "e"]


async def test_stop_sends_sigterm_then_sigkill_to_the_whole_group(recorder: Recorder) -> None:
    deaf = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; sleep 60 & wait' "
    polite = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    recorder.submit("deaf", "sh", "-c", deaf)
    recorder.submit("polite", "sh", "-c", polite)
    child = psutil.Process(int(await recorder.first_line("deaf")))
    await recorder.first_line("polite")
    recorder.runner.stop("polite", 60)
    recorder.runner.stop("deaf", 0.2)
    assert await recorder.end("polite") == 3
    assert recorder.lines["polite"][-1] == "bye"
    assert await recorder.end("deaf") == 137
    assert gone(child)


async def test_a_command_that_waits_is_stopped_before_it_starts(recorder: Recorder) -> None:
    for task in "abc":
        recorder.submit(task, "sleep", "60")
    recorder.runner.stop("c", 60)
    assert await recorder.end("c") is None
    assert recorder.order == ["a", "b"]


async def test_closing_kills_every_process(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, at_once=2)
    recorder.submit("t", "sh", "-c", "sleep 60 & echo $!; wait")
    child = psutil.Process(int(await recorder.first_line("t")))
    await recorder.runner.close()
    assert gone(child)
    assert await recorder.end("t") == 137


async def test_killing_the_spawner_ends_every_task(recorder: Recorder) -> None:
    recorder.submit("t", "sh", "-c", "echo up; exec sleep 60")
    await recorder.first_line("t")
    spawner = recorder.runner._spawner
    assert spawner is not None
    (task,) = psutil.Process(spawner.pid).children()
    spawner.kill()
    assert await recorder.end("t") == 137
    assert gone(task)
    recorder.submit("again", "true")
    assert await recorder.end("again") == 0


async def test_the_engine_is_forked_with_the_settings_of_its_task(recorder: Recorder) -> None:
    """Prefect has been imported before its environment was known; it must not show."""
    for task in "ab":
        recorder.submit(
            task,
            "python",
            "-m",
            "prefect.engine",
            PREFECT__FLOW_RUN_ID="00000000-0000-0000-0000-000000000000",
            PREFECT_API_URL=f"http://127.0.0.1:9/{task}",
        )
    for task in "ab":
        assert await recorder.end(task) == 1, "there is no API at that address"
        text = "\n".join(recorder.lines[task])
        # Prefect 2: "Engine execution of ...", Prefect 3: "Execution of ..."
        assert "xecution of flow run '00000000-0000-0000-0000-000000000000'" in text
        assert "ConnectError" in text


async def test_one_hundred_short_commands(recorder: Recorder) -> None:
    for number in range(100):
        recorder.submit(str(number), sys.executable, "-S", "-c", f"print({number})")
    codes = [await recorder.end(str(number)) for number in range(100)]
    assert codes == [0] * 100
    assert recorder.lines == {str(n): [str(n)] for n in range(100)}
