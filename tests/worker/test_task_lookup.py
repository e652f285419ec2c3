"""Looks for the tasks of many runs: one that fails keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.worker.pool_jobs import Job
from prefect_ecs_pinned.worker.pool_runs import PoolRun
from prefect_ecs_pinned.worker.task_lookup import Task, describe, search
from tests.worker.test_rescuing import NOW

TASK = "arn:aws:ecs:us-east-1:123456789012:task/{}/{:032}"


class Plane:
    """Answers looks for everything but what is bad; those end when so many others have.

    Args:
        bad: Clusters, families and values of ``startedBy``.
        others: How many looks there are besides.
        kind: What is answered for those.
    """

    def __init__(self, bad: str, others: int = 0, kind: Kind = Kind.THROTTLED) -> None:
        self.asked: list[str] = []
        self._bad = bad
        self._left = others
        self._others = asyncio.Event()
        self._kind = kind

    async def _answer(self, cluster: str, what: str) -> None:
        self.asked.append(what)
        if self._bad in (cluster, what):
            if self._left > 0:
                await asyncio.wait_for(self._others.wait(), 10)
            raise Fault(self._kind, "ListTasks", "ThrottlingException", "Rate exceeded")
        self._left -= 1
        if self._left == 0:
            self._others.set()

    async def described(self, cluster: str, tasks: Sequence[str]) -> Sequence[Task]:
        await self._answer(cluster, tasks[0])
        return [{"taskArn": task} for task in tasks]

    async def tasks_of(
        self, cluster: str, started_by: str = "", family: str = ""
    ) -> Sequence[Task]:
        await self._answer(cluster, started_by or family)
        return [{"startedBy": started_by, "desiredStatus": "RUNNING"}] if started_by else []


def run(number: int, pid: str = "") -> PoolRun:
    return PoolRun(UUID(int=number), "run", None, "s", "PENDING", "Pending", NOW, pid=pid)


def job(plane: Plane, cluster: str = "good", by_run: bool = True) -> Any:
    return SimpleNamespace(plane=plane, cluster=cluster, family="f", found_by_run=by_run)


def pairs(plane: Plane, clusters: Sequence[str], pids: bool) -> list[tuple[PoolRun, Job]]:
    return [
        (
            run(number, f"{cluster}::{TASK.format(cluster, number)}" if pids else ""),
            job(plane, cluster),
        )
        for number, cluster in enumerate(clusters)
    ]


@pytest.mark.parametrize("look", [describe, search])
async def test_a_cluster_that_does_not_answer_keeps_no_other_waiting(look: Any):
    """Its runs are left out: nothing is known of them."""
    plane = Plane("bad", others=2)
    found = await look(pairs(plane, ["bad", "good", "other"], pids=look is describe))
    assert found.keys() == {UUID(int=1), UUID(int=2)}
    assert all(found.values())


async def test_looks_end_with_the_first_that_fails():
    """Those before it count. AWS is asked again in the next round."""
    plane = Plane(str(UUID(int=2)))
    found = await search(pairs(plane, ["good"] * 5, pids=False))
    assert found.keys() == {UUID(int=0), UUID(int=1)}
    assert plane.asked == [str(UUID(int=number)) for number in range(3)]


async def test_descriptions_end_with_the_first_batch_that_fails():
    plane = Plane(TASK.format("good", 100))
    found = await describe(pairs(plane, ["good"] * 250, pids=True))
    assert found.keys() == {UUID(int=number) for number in range(100)}
    assert len(plane.asked) == 2


@pytest.mark.parametrize(
    ("kind", "by_run", "asked"),
    [
        (Kind.REFUSED, True, 12),  # there are too many tasks of the family to list them
        (Kind.REFUSED, False, 1),
        (Kind.THROTTLED, True, 1),
    ],
)
async def test_many_runs_are_looked_for_by_their_family(kind: Kind, by_run: bool, asked: int):
    plane = Plane("f", kind=kind)
    found = await search([(run(number), job(plane, by_run=by_run)) for number in range(11)])
    assert len(plane.asked) == asked
    assert len(found) == asked - 1
