"""Three hundred runs at once through one process: few threads, whatever the number of runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import prefect_aws
import pytest

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.calls.pacing import MOST_CALLS
from prefect_ecs_pinned.faces.access import access_of

RUNS = 300

#: At AWS's documented quotas and its 300 ms for RunTask, of which a busy machine adds the last 50;
#: the event loop's own thread is one of them.
MOST_THREADS = 25

#: RunTask calls a second at which AWS's quota has throttled the doubling pace.
THROTTLED_RATE = 40.0

#: Where this machine is too busy to make that many calls, no throttle ends the doubling: then the
#: threads have a bound all the same, for launches, other calls, and the two event loops.
MOST_THREADS_UNTHROTTLED = MOST_CALLS + 8 + 2

SERVER = """
import asyncio
from prefect_ecs_pinned.local import LocalECS, Settings
latencies = {"RunTask": 0.25, "RegisterTaskDefinition": 0.2, "*": 0.02}
ecs = LocalECS(Settings(latencies=latencies, task_seconds=1e6), access_key="local")
print(ecs.endpoint_url, flush=True)
asyncio.run(ecs.serve())
"""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An embedded ECS in a process of its own, so that its threads are not counted."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def ours() -> set[threading.Thread]:
    """Threads of ours."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("pinned-ecs")}


def introspect(endpoint: str, path: str, method: str = "GET", body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": "Bearer local"}
    request = urllib.request.Request(f"{endpoint}/_local/{path}", data, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def test_three_hundred_runs_at_once_need_few_threads(endpoint, fresh):
    """All are live at the same time, and wait in the event loop."""
    before = ours()  # of other tests
    most, rate = 0, 0.0
    credentials = prefect_aws.AwsCredentials(
        aws_access_key_id="local",
        aws_secret_access_key="local",
        region_name="us-east-1",
        aws_client_parameters={"endpoint_url": endpoint},
    )
    block = PinnedECSTask(
        aws_credentials=credentials, image="flows:1", command=["true"], task_watch_poll_interval=0.5
    )
    plane = control_plane.shared(access_of(credentials))
    runs = [asyncio.create_task(block.run()) for _ in range(RUNS)]

    watching = 0
    while watching < RUNS:
        most = max(most, 1 + len(ours() - before))
        assert not any(run.done() for run in runs), [r.exception() for r in runs if r.done()]
        numbers = await plane.snapshot()
        watching = numbers["watching"]
        rate = max(rate, *(queue["rate"] for queue in numbers["launching"].values()), 0.0)
        await asyncio.sleep(0.05)
    introspect(endpoint, "settings", "PATCH", {"task_seconds": 0})
    results = await asyncio.gather(*runs)

    assert [result.status_code for result in results] == [0] * RUNS
    assert 2 < most <= (MOST_THREADS if rate <= THROTTLED_RATE else MOST_THREADS_UNTHROTTLED)
    calls = introspect(endpoint, "calls")
    assert calls["RegisterTaskDefinition"]["calls"] == 1
    assert calls["RunTask"]["calls"] - calls["RunTask"]["throttled"] == RUNS
    assert sum(introspect(endpoint, "tasks")["by_revision"].values()) == RUNS
