"""Workers as processes of their own, which can be killed, stopped and frozen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from prefect.settings import PREFECT_API_URL

#: Put before the package: whatever waits for minutes waits for seconds here.
_SHORT = """
import importlib, sys
for setting in sys.argv.pop(1).split(","):
    name, _, value = setting.partition("=")
    module, _, constant = name.rpartition(".")
    if module:
        setattr(importlib.import_module("prefect_ecs_pinned." + module), constant, float(value))
from prefect.cli import app
sys.argv = ["prefect", *sys.argv[1:]]
app()
"""

SHORT = {
    "worker.adopting.EVERY_SECONDS": 2.0,
    "worker.adopting.AGAIN_SECONDS": 2.0,
    "worker.adopting.SECOND_LOOK_SECONDS": 0.5,
    "worker.rescuing.FENCE_SECONDS": 6.0,
    "worker.rescuing.OFFLINE_SECONDS": 0.0,
    "worker.rescuing.UNKNOWN_SECONDS": 8.0,
    "worker.rescuing._SETTLE_SECONDS": 0.0,
    "worker.claims.FRESH_SECONDS": 4.0,
    "faces.following.LOOK_SECONDS": 1.0,
    "worker.live_tasks.LOOK_SECONDS": 1.0,
    "worker.live_tasks.GRACE_SECONDS": 2.0,
}


class Worker:
    """A `prefect worker start` process."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path) -> None:
        self._process = process
        self._output = output

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process.returncode is None:
            os.kill(self._process.pid, number)

    async def gone(self) -> float:
        """Seconds until it has ended."""
        loop = asyncio.get_running_loop()
        before = loop.time()
        await self._process.wait()
        return loop.time() - before

    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()


@contextlib.asynccontextmanager
async def worker(pool: str, name: str, short: Mapping[str, float] = SHORT) -> AsyncIterator[Worker]:
    """A worker of a pool that polls every two seconds; killed at the end.

    Args:
        pool: Name of the work pool.
        name: The worker's.
        short: What is to wait for other times than in life, its heartbeats among it.
    """
    api = PREFECT_API_URL.value()
    assert api
    environment = {
        **os.environ,
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "2" if short else "30",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    constants = ",".join(f"{key}={value}" for key, value in short.items())
    command = (sys.executable, "-c", _SHORT, constants, "worker", "start", "--pool", pool)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        with output.open("w") as out:
            process = await asyncio.create_subprocess_exec(
                *command, "--name", name, env=environment, stdout=out, stderr=out
            )
        begun = Worker(process, output)
        try:
            yield begun
        except BaseException:
            print(f"Worker {name!r}:\n{begun.output()}")
            raise
        finally:
            if process.returncode is None:
                process.kill()
                begun.send(signal.SIGCONT)
                await process.wait()
