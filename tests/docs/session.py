"""One page's snippets, run one after the other as a reader would, in one shell and one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.docs.snippets import Snippet

#: Port of a Prefect server on the pages; in a test it is one that nobody else uses.
SERVER_PORT = ":4200"

#: Seconds for one snippet, and for what one waits for.
PATIENCE = 120.0


class Session:
    """A folder, variables and a working directory that last from snippet to snippet.

    Args:
        folder: Where the page's files are written.
        environment: What a reader's shell has.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._state = folder / ".shell"
        self._background: list[subprocess.Popen[bytes]] = []
        self._port = _free_port()
        given = os.environ.get("PYTHONPATH")
        binaries = str(Path(sys.executable).parent)
        self._environment = {
            **os.environ,
            **environment,
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [given])]),
            "COLUMNS": "200",
            "PREFECT_SERVER_API_PORT": self._port,
        }
        self._state.write_text(f"cd {folder}\n")

    def run(self, snippet: Snippet) -> None:
        """Run a snippet, or leave it running; write it if it is a file."""
        if snippet.title:
            path = self.folder / snippet.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text)
        elif snippet.mark == "in the background":
            self._leave_running(snippet)
        else:
            if snippet.mark == "until":
                self._until(snippet.argument, snippet)
            self._finish(self._start(self._script(snippet), snippet.place), snippet)

    def close(self) -> None:
        """Kill what was left running."""
        for process in reversed(self._background):
            _kill(process)

    def _script(self, snippet: Snippet) -> str:
        if snippet.mark == "run instead":
            return snippet.argument
        if snippet.language != "python":
            return snippet.text
        path = self.folder / f"snippet_{snippet.line}.py"
        path.write_text(snippet.text)
        return f"python {path}"

    def _leave_running(self, snippet: Snippet) -> None:
        process = self._start(snippet.text, snippet.place)
        self._background.append(process)
        if snippet.argument:
            self._until(snippet.argument, snippet)
        time.sleep(1)  # a command that can't be started has ended by now
        assert process.poll() in (None, 0), f"{snippet.place}:\n{self._output(snippet.place)}"

    def _until(self, condition: str, snippet: Snippet) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._start(condition, "until").wait() != 0:
            late = time.monotonic() > deadline
            assert not late, f"{snippet.place}: not yet: {condition}\n{self._all_output()}"
            time.sleep(0.5)

    def _start(self, script: str, name: str) -> subprocess.Popen[bytes]:
        """Run a script where the last one left off: its directory and its variables."""
        script = self._mine(script)
        keep = f"{{ export -p; echo cd \"'$PWD'\"; }} > {self._state}"
        with (self.folder / f"{name.replace('/', '_')}.log").open("wb") as log:
            return subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", f". {self._state}\n{script}\n{keep}\n"],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _mine(self, script: str) -> str:
        """A script with this session's port; Prefect's server is given it by a variable."""
        return script.replace(SERVER_PORT, f":{self._port}")

    def _finish(self, process: subprocess.Popen[bytes], snippet: Snippet) -> None:
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            _kill(process)
            code = -1
        assert code == 0, f"{snippet.place} ended with {code}:\n{self._output(snippet.place)}"

    def _all_output(self) -> str:
        """What each snippet has printed so far: what one waits for is done by another one."""
        names = sorted(path.stem for path in self.folder.glob("*.log"))
        return "\n".join(f"--- {name}\n{self._output(name)}" for name in names)

    def _output(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-30:])


def _kill(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])
