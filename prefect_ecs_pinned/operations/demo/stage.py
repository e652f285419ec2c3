"""The processes of a demo: an embedded ECS, a Prefect server and an agent, with one home."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from prefect_ecs_pinned import connections, majors
from prefect_ecs_pinned.errors import PinnedECSError

#: Agent and server settings that make 100 runs quick to pick up on a small machine.
AGENT_SETTINGS: Mapping[str, str] = {
    # Seconds between looks at the work pool; 15 by default.
    "PREFECT_AGENT_QUERY_INTERVAL": "2",
    connections.SETTING: connections.ENTRY_POINT,
    # `python -m prefect.engine` in the task: one interpreter instead of the two of
    # `prefect flow-run execute`.
    "PREFECT_EXPERIMENTAL_ENABLE_ENHANCED_CANCELLATION": "false",
}

#: Seconds for an answer of the Prefect API: longer than it may wait for its database.
_REQUEST_SECONDS = 120

_SERVER_SETTINGS: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_API_DATABASE_TIMEOUT": "60",
    "PREFECT_API_DATABASE_CONNECTION_TIMEOUT": "60",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_API_REQUEST_TIMEOUT": str(_REQUEST_SECONDS),
    "PREFECT_UI_ENABLED": "true",
    "NO_COLOR": "1",
}

#: Prefect 3's server, with its database in memory: it has one connection then (prefect 3.9,
#: ``AioSqliteConfiguration.engine``), and its transactions take turns. On a file, one that has
#: read before another has written fails immediately, whatever the timeouts. The server answers
#: 503 then, and clients wait for 2, 4, 8 … seconds.
_SERVER_OF_PREFECT_3: Mapping[str, str] = {
    "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///file::memory:"
    "?cache=shared&uri=true&check_same_thread=false",
}

#: Seconds for a server to answer for the first time: Prefect's makes its database first.
_READY_SECONDS = 90.0

#: HTTP status of a Prefect server that is to be asked again, and seconds until then.
_BUSY = 503
_BUSY_SECONDS = 0.5

#: Seconds that a process is given to end by itself.
_END_SECONDS = 10.0


class Stage:
    """Starts the processes, and ends every one of them.

    Attributes:
        home: Folder of everything that is written: databases, logs, the flow.
        flows: Folder of the flow.
        environment: What a shell needs to look around.

    Args:
        binaries: Folder of the console scripts of an environment; None for this one's.
    """

    def __init__(self, binaries: Path | None = None) -> None:
        self._binaries = binaries or Path(sys.executable).parent
        self.home = Path(tempfile.mkdtemp(prefix="pinned-ecs-demo-"))
        self.flows = self.home / "flows"
        self.flows.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {
            "PREFECT_HOME": str(self.home / "prefect"),
            # Otherwise a first server writes its pages into the installed package, where another
            # that starts at the same time can break them, and which may be read-only.
            "PREFECT_UI_STATIC_DIRECTORY": str(self.home / "ui"),
            **_SERVER_SETTINGS,
        }
        self.ecs_url = ""
        self.api_url = ""
        self._access_key = f"LOCAL{secrets.token_hex(16).upper()}"

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start_servers(self) -> None:
        """Start an embedded ECS and a Prefect server, and wait until both answer.

        Raises:
            PinnedECSError: One of them does not.
        """
        ecs, server = self._start_ecs(), self._start_server()
        self._await("ecs", ecs, self.ecs_request("calls"))
        self._await("server", server, urllib.request.Request(f"{self.api_url}/health"))

    def _start_ecs(self) -> subprocess.Popen[bytes]:
        """Start the embedded ECS as `pinned-ecs local` does."""
        port = _free_port()
        self.ecs_url = f"http://127.0.0.1:{port}"
        command = [self._script("pinned-ecs"), "local", "--quiet", "--port", str(port), "--execute"]
        # By a variable: other users can see a command line.
        process = self.start("ecs", command, {"PINNED_ECS_LOCAL_ACCESS_KEY": self._access_key})
        self.environment.update(
            AWS_ENDPOINT_URL=self.ecs_url,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ACCESS_KEY_ID=self._access_key,
            AWS_SECRET_ACCESS_KEY="local",
        )
        return process

    def _start_server(self) -> subprocess.Popen[bytes]:
        """Start a Prefect server with a database of its own."""
        port = _free_port()
        self.api_url = f"http://127.0.0.1:{port}/api"
        self.environment["PREFECT_API_URL"] = self.api_url
        # Its flow runs execute commands, so only its own pages may use it (Prefect: any page).
        self.environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = f"http://127.0.0.1:{port}"
        command = [
            self._script("prefect"),
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        own = _SERVER_OF_PREFECT_3 if majors.face() is majors.WORKER else {}
        return self.start("server", command, own)

    def _await(
        self, name: str, process: subprocess.Popen[bytes], request: urllib.request.Request
    ) -> None:
        """Wait until a server answers; one that has ended never will."""
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(request):
            if process.poll() is not None:
                raise PinnedECSError(f"{name} did not start", self.log_tail(name))
            if time.monotonic() > deadline:
                raise PinnedECSError(
                    f"{name} did not start within {_READY_SECONDS:.0f} s", self.log_tail(name)
                )
            time.sleep(0.2)

    def start_agent(self) -> None:
        """Start `prefect agent`, on the queue `prod`.

        Through the work pool: up to 200 runs a look, instead of 10 by queue alone.
        """
        command = [
            self._script("prefect"),
            "agent",
            "start",
            "-p",
            "default-agent-pool",
            "-q",
            "prod",
        ]
        self.start("agent", command, AGENT_SETTINGS)

    def start(
        self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, in the folder of the flow.

        Its output goes to ``home/name.log``.
        """
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.flows,
                env={**_inherited(), **self.environment, **(settings or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end.

        Raises:
            PinnedECSError: It failed; with the end of its output.
        """
        process = self.start(name, command)
        process.wait()
        self._processes.remove(process)
        if process.returncode:
            raise PinnedECSError(f"{' '.join(command)!r} failed", self.log_tail(name))

    def python(self, script: str, *arguments: str) -> list[str]:
        """The command line of one of the demo's scripts."""
        return [sys.executable, str(Path(__file__).with_name(script)), *arguments]

    def prefect(self, *arguments: str) -> list[str]:
        """The command line of a `prefect` command."""
        return [self._script("prefect"), *arguments]

    def _script(self, name: str) -> str:
        """A console script of the environment."""
        return str(self._binaries / name)

    def log_tail(self, name: str) -> str:
        """The last lines that a process printed."""
        text = (self.home / f"{name}.log").read_text(errors="replace")
        text = text.replace(self._access_key, "***")
        return "\n".join(text.splitlines()[-15:])

    def ecs(self, path: str) -> Any:
        """Read numbers of the embedded ECS."""
        with urllib.request.urlopen(self.ecs_request(path), timeout=30) as answer:
            return json.load(answer)

    def ecs_request(
        self, path: str, method: str = "GET", body: Any = None
    ) -> urllib.request.Request:
        """A request to the embedded ECS's own API, ``/_local/``."""
        return urllib.request.Request(
            f"{self.ecs_url}/_local/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._access_key}"},
            method=method,
        )

    def api(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the Prefect API; as Prefect's own client does, again while it is busy."""
        request = urllib.request.Request(
            f"{self.api_url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # SQLite says "database is locked" during many writes.
                if error.code != _BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(_BUSY_SECONDS)

    def close(self) -> None:
        """End every process, and remove what was written.

        One after the other, the last started first: an agent waits for the ends of its tasks, of
        which it asks the servers.
        """
        try:
            for process in reversed(self._processes):
                _signal_group(process, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_SECONDS)
                _kill(process)
        finally:  # somebody may press Ctrl-C again
            for process in self._processes:
                _kill(process)
            self._processes.clear()
            shutil.rmtree(self.home, ignore_errors=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _inherited() -> dict[str, str]:
    """The variables of this process, without a configuration of AWS: the demo has its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _answers(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=5):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
