"""Five minutes at fifty launches a second while the credentials change every second.

What is measured is this process: the embedded ECS has one of its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psutil

from prefect_ecs_pinned.aws.control_plane import _planes
from tests.faults.block_face import a_block, for_flow_run
from tests.faults.world import FAMILY, Status, no_prefect_api

_SERVER = """
import asyncio
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
quick = Phases(0.2, 0.2, 0.1, 0.0, 0.0, 0.1)
settings = Settings(quota_scale=None, phases=quick, task_seconds=2.0, check_subnets=False)
ecs = LocalECS(settings, access_key="local")
print(ecs.endpoint_url, flush=True)
asyncio.run(ecs.serve())
"""

#: Seconds at the beginning that are not judged: caches fill, threads come.
WARM_UP = 60.0


@dataclass(frozen=True)
class Sample:
    """What the process holds: memory in MB, threads, file descriptors, control planes."""

    at: float
    memory: float
    threads: int
    files: int
    planes: int


@dataclass
class Soak:
    """What came of it.

    Attributes:
        launched: Runs that were started.
        ended: Runs that ended well.
        failed: Those that did not, and why.
        twice: Flow runs that ECS launched more than once.
        revisions: ACTIVE revisions.
        samples: One every five seconds.
    """

    launched: int = 0
    ended: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    revisions: int = 0
    samples: list[Sample] = field(default_factory=list)

    def growth(self) -> dict[str, tuple[float, float]]:
        """Means of the first and the last third after the warm-up, by what was measured."""
        judged = [s for s in self.samples if s.at >= WARM_UP] or self.samples
        third = max(1, len(judged) // 3)
        first, last = judged[:third], judged[-third:]

        def mean(samples: list[Sample], name: str) -> float:
            return float(sum(getattr(s, name) for s in samples) / len(samples))

        names = ("memory", "threads", "files", "planes")
        return {name: (mean(first, name), mean(last, name)) for name in names}

    def complaints(self) -> list[str]:
        """What is wrong; flat means less than a tenth (and a little) more at the end."""
        wrong = [f"{reason} ({count})" for reason, count in self.failed.most_common(3)]
        if self.ended != self.launched or self.twice:
            wrong.append(f"{self.ended} of {self.launched} ended well, {self.twice} twice")
        if self.revisions != 1:
            wrong.append(f"{self.revisions} revisions")
        for name, (first, last) in self.growth().items():
            if last > first * 1.1 + 5:
                wrong.append(f"{name} grew from {first:.0f} to {last:.0f}")
        return wrong


@contextmanager
def _server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def soak(seconds: float, rate: float) -> Soak:
    """Launch at a rate for that long, with other credentials every second."""
    with no_prefect_api(), _server() as endpoint:
        result = asyncio.run(_soak(endpoint, seconds, rate))
        _count(result, endpoint)
    return result


async def _soak(endpoint: str, seconds: float, rate: float) -> Soak:
    result, me = Soak(), psutil.Process()
    began = time.monotonic()
    runs: set[asyncio.Task[None]] = set()

    async def run(key: str) -> None:
        block = for_flow_run(a_block(endpoint, key, subnets=["subnet-a"]), str(uuid4()))
        try:
            code = (await block.run(Status())).status_code
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
            result.failed[str(error).partition("\n")[0]] += 1
        else:
            result.ended += code == 0

    while (at := time.monotonic() - began) < seconds:
        while result.launched < at * rate:
            result.launched += 1
            task = asyncio.create_task(run(f"local_{int(at)}"))
            runs.add(task)
            task.add_done_callback(runs.discard)
        if at >= 5.0 * len(result.samples):
            gc.collect()
            result.samples.append(
                Sample(
                    at,
                    me.memory_info().rss / 1e6,
                    threading.active_count(),
                    me.num_fds(),
                    len(_planes),
                )
            )
        await asyncio.sleep(0.02)
    await asyncio.wait(runs, timeout=120.0)
    return result


def _count(result: Soak, endpoint: str) -> None:
    """What the server says."""
    launches = Counter(launch["flow_run_id"] for launch in _read(endpoint, "launches"))
    result.twice = sum(count > 1 for count in launches.values())
    result.revisions = sum(d["family"] == FAMILY for d in _read(endpoint, "revisions"))


def _read(endpoint: str, name: str) -> Any:
    key = {"Authorization": "Bearer local"}
    request = urllib.request.Request(f"{endpoint}/_local/{name}", headers=key)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
