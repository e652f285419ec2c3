"""Processes that start at the same moment, as agents do after a deployment.

A host process imports Prefect and the package once and forks a process for each group of runs, so
that all begin cold within a millisecond. It is told what to do by lines of JSON on stdin::

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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3

from prefect_ecs_pinned.aws.calls.clients import share_models
from tests.faults.world import Status, a_block, for_flow_run, no_prefect_api


class Crowd:
    """The host process, as seen from outside."""

    def __init__(self, host: subprocess.Popen[str], endpoint_url: str) -> None:
        self._host = host
        self._endpoint_url = endpoint_url

    def start(self, family: str, groups: Sequence[Sequence[str]], **fields: Any) -> list[int]:
        """Start a process for each group of flow runs, all at once; their ids."""
        order = {
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
def crowd(endpoint_url: str) -> Iterator[Crowd]:
    """A host process for the length of a test."""
    quiet = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PYTHONWARNINGS": "ignore"}
    host = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.crowd"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **quiet},
    )
    try:
        yield Crowd(host, endpoint_url)
    finally:
        host.kill()
        host.wait()
        for stream in (host.stdin, host.stdout):
            if stream is not None:
                stream.close()


async def _run_group(order: dict[str, Any], flow_runs: Sequence[str]) -> int:
    """Run one process's flow runs; how many did not end well."""
    block = a_block(order["endpoint"], family=order["family"], **order["fields"])
    runs = (for_flow_run(block, id_).run(Status()) for id_ in flow_runs)
    results = await asyncio.gather(*runs, return_exceptions=True)
    return sum(isinstance(r, BaseException) or r.status_code != 0 for r in results)


def _child(order: dict[str, Any], number: int, barrier: Any) -> None:
    with no_prefect_api():
        barrier.wait()
        failed = asyncio.run(_run_group(order, order["groups"][number]))
    os._exit(min(failed, 100))


def _read_models() -> None:
    """Read AWS's service models before the fork: a second of CPU that each child would take."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")
    share_models(session)
    for service in ("ecs", "ec2"):
        session.client(service, "us-east-1")  # type: ignore[call-overload]


def _host() -> None:
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
