"""A real Prefect server, and what it says of its flow runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.queued.databases import free_port

#: What is not Prefect's default: nothing is sent away, and only warnings are written.
_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "NO_COLOR": "1",
}

#: Seconds in which it has to answer: it makes its tables first.
_READY_SECONDS = 120.0

_PAGE = 200

#: How a traceback ends in its log.
_LOCKED = b"OperationalError) database is locked"


class Server:
    """A server process; a context manager.

    Args:
        scripts: Where the `prefect` command of its version is.
        home: For its files.
        database: URL of its database.
        settings: More settings of the server alone.

    Attributes:
        environment: Of it, and of whatever is to reach it.
        pid: Of its process.
    """

    def __init__(
        self, scripts: Path, home: Path, database: str, settings: Mapping[str, str] | None = None
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PREFECT_"))}
        self.environment: dict[str, str] = {
            **kept,
            **_SETTINGS,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PYTHONWARNINGS": "ignore",
        }
        own = {**self.environment, **(settings or {})}
        own["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        self.log = home / "server.log"
        command = [str(scripts / "prefect"), "server", "start", "--port", str(port)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1"],
                **{"env": own, "stdout": log, "stderr": log, "start_new_session": True},
            )  # type: ignore[call-overload]
        self.pid: int = self._process.pid

    def __enter__(self) -> Server:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.close()
                raise RuntimeError(self.log.read_text()[-4000:])
            time.sleep(0.3)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def locked(self) -> int:
        """How often it has answered 503 so far because its database was locked (SQLite)."""
        return self.log.read_bytes().count(_LOCKED)

    def flow_runs(self) -> list[dict[str, Any]]:
        """All flow runs."""
        found: list[dict[str, Any]] = []
        while True:
            body = {"limit": _PAGE, "offset": len(found), "sort": "ID_DESC"}
            page = self._post("flow_runs/filter", body)
            found += page
            if len(page) < _PAGE:
                return found

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return True
        except OSError:
            return False

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(body).encode(), headers)
        for _ in range(60):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503:  # it is busy
                    raise
            time.sleep(1)
        raise RuntimeError(f"{path}: it is busy for a minute")


def states(flow_runs: list[dict[str, Any]]) -> dict[str, int]:
    """State's type -> flow runs in it."""
    return dict(Counter(str((run.get("state") or {}).get("type")) for run in flow_runs))
