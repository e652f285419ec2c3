"""Processes that start at the same moment, as agents do after a deployment.

A host process imports Prefect and the package once and forks a process for each group of runs, so
that all begin cold within a millisecond. Lines of JSON on stdin say what it does::

    {"family": "f", "endpoint": "http://...", "groups": [["flow-run-id", ...], ...], "fields": {}}

and answers with the processes' ids, then with their exit codes.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from prefect.settings import PREFECT_API_URL

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.aws.calls.clients import share_models
from tests.faults.world import AWAY, Status, prefect_api

#: Makes a flow run of fields.
Schedule = Callable[[str, Mapping[str, Any]], object]


class Crowd:
    """The host process, as seen from outside."""

    def __init__(
        self, host: subprocess.Popen[str], endpoint_url: str, schedule: Schedule | None
    ) -> None:
        self._host = host
        self._endpoint_url = endpoint_url
        self._schedule = schedule

    def start(self, family: str, groups: Sequence[Sequence[str]], **fields: Any) -> list[int]:
        """Start a process for each group of flow runs, all at once; their ids."""
        if self._schedule is not None:
            for flow_run in (id_ for group in groups for id_ in group):
                self._schedule(flow_run, {"family": family, **fields})
        order = {
            "prefect": PREFECT_API_URL.value(),
            "family": family,
            "endpoint": self._endpoint_url,
            "groups": list(map(list, groups)),
            "fields": fields,
        }
        assert self._host.stdin is not None
        self._host.stdin.write(json.dumps(order) + "\n")
        self._host.stdin.flush()
        return self._answer()

    def wait(self) -> list[int]:
        """Exit codes of the processes: runs that did not end well, or minus the signal."""
        return self._answer()

    def _answer(self) -> list[int]:
        assert self._host.stdout is not None
        line = self._host.stdout.readline()
        assert line, "the host of the processes has ended"
        answer: list[int] = json.loads(line)
        return answer


@contextmanager
def crowd(endpoint_url: str, schedule: Schedule | None = None) -> Iterator[Crowd]:
    """A host process for the length of a test.

    Args:
        endpoint_url: Of ECS.
        schedule: Makes a flow run of some fields, where Prefect's API is served.
    """
    quiet = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PYTHONWARNINGS": "ignore"}
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.crowd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **quiet},
    )
    try:
        yield Crowd(host, endpoint_url, schedule)
    finally:
        host.kill()
        host.wait()
        for stream in (host.stdin, host.stdout):
            if stream is not None:
                stream.close()


async def _run_group(order: dict[str, Any], flow_runs: Sequence[str]) -> int:
    """Run one process's flow runs; how many did not end well."""
    if majors.face() is majors.WORKER:
        from tests.faults.worker_face import run_group

        ended: int = await run_group(flow_runs)
        return ended
    from tests.faults.block_face import a_block, for_flow_run

    block = a_block(order["endpoint"], family=order["family"], **order["fields"])
    runs = (for_flow_run(block, id_).run(Status()) for id_ in flow_runs)
    results = await asyncio.gather(*runs, return_exceptions=True)
    return sum(isinstance(r, BaseException) or r.status_code != 0 for r in results)


def _child(order: dict[str, Any], number: int, barrier: Any) -> None:
    with prefect_api(order["prefect"] if majors.face() is majors.WORKER else AWAY):
        barrier.wait()
        failed = asyncio.run(_run_group(order, order["groups"][number]))
    os._exit(min(failed, 100))


def _read_models() -> None:
    """Read AWS's service models before the fork: a second of CPU that each child would take."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")
    share_models(session)
    for service in ("ecs", "ec2"):
        session.client(service, "us-east-1")


def _host() -> None:
    majors.load(majors.face())
    _read_models()
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        order = json.loads(line)
        numbers = range(len(order["groups"]))
        barrier = fork.Barrier(len(numbers))
        children = [
            fork.Process(target=_child, args=(order, number, barrier), daemon=True)
            for number in numbers
        ]
        for child in children:
            child.start()
        print(json.dumps([child.pid for child in children]), flush=True)
        for child in children:
            child.join()
        print(json.dumps([child.exitcode for child in children]), flush=True)


if __name__ == "__main__":
    _host()
