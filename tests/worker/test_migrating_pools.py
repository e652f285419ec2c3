"""`migrate --pool`: an `ecs` pool becomes a `pinned-ecs` pool beside it, and back again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import WorkQueue
from prefect.client.schemas.schedules import CronSchedule

from prefect_ecs_pinned.local import LocalECS
from tests.worker.commands import THREE, Pools


@pytest.fixture
def pools(ecs: LocalECS, _server: None, capsys: pytest.CaptureFixture[str]) -> Iterator[Pools]:
    made = Pools(ecs, capsys)
    made.forget()
    yield made
    made.forget()


def queues(pools: Pools, pool: str) -> dict[str, tuple[Any, ...]]:
    found: list[WorkQueue] = pools.ask(lambda client: client.read_work_queues(pool))
    return {q.name: (q.priority, q.concurrency_limit, q.is_paused, q.description) for q in found}


def busy_pool(pools: Pools) -> None:
    """A pool of type ecs with three deployments, queues of its own, and a schedule."""
    pools.make("etl", "ecs", concurrency_limit=40, description="Loads", is_paused=True)

    async def call(client: PrefectClient) -> None:
        make = client.create_work_queue
        await make("urgent", work_pool_name="etl", priority=1, description="Now")
        await make("slow", work_pool_name="etl", priority=9, concurrency_limit=3, is_paused=True)
        [default] = [q for q in await client.read_work_queues("etl") if q.name == "default"]
        await client.update_work_queue(default.id, concurrency_limit=7, description="Rest")
        deployment = await client.read_deployment_by_name("extract/nightly")
        await client._client.patch(
            f"/deployments/{deployment.id}",
            json={"work_pool_name": "etl", "work_queue_name": "slow", "tags": ["a"]},
        )
        cron = CronSchedule(cron="0 3 * * *")
        await client.create_deployment_schedules(
            deployment.id, [DeploymentScheduleCreate(schedule=cron, active=True)]
        )

    pools.ask(call)


def where(pools: Pools) -> dict[str, tuple[str | None, str | None]]:
    found = {name: pools.deployment(name) for name in THREE}
    return {name: (d.work_pool_name, d.work_queue_name) for name, d in found.items()}


BEFORE = {"nightly": ("etl", "slow"), "hourly": ("etl", "default"), "weekly": ("etl", "default")}
AFTER = {name: ("etl-pinned", queue) for name, (_, queue) in BEFORE.items()}


def test_there_and_back(pools: Pools) -> None:
    """Dry run, forth, forth again, back: each says what it does, and does no more than that."""
    busy_pool(pools)
    before = pools.pool("etl")

    said = pools.cli("migrate", "--pool", "etl")
    assert said.code == 0, said.err
    assert "work pool etl-pinned: would be made" in said.out
    assert "deployment extract/nightly: would be moved from etl" in said.out
    assert "family" in said.out
    assert "prefect_etl-pinned" in said.out
    assert "Dry run: nothing was changed." in said.err
    assert "next: pinned-ecs migrate --pool etl --yes" in said.err
    assert where(pools) == BEFORE
    names = [p.name for p in pools.ask(lambda client: client.read_work_pools())]
    assert "etl-pinned" not in names

    said = pools.cli("migrate", "--pool", "etl", "--yes")
    assert said.code == 0, said.err
    made = pools.pool("etl-pinned")
    assert made.type == "pinned-ecs"
    for member in ("base_job_template", "description", "is_paused", "concurrency_limit"):
        assert getattr(made, member) == getattr(before, member), member
    assert queues(pools, "etl-pinned") == queues(pools, "etl")
    assert where(pools) == AFTER
    nightly = pools.deployment("nightly")
    assert nightly.job_variables == dict(THREE["nightly"])
    assert nightly.tags == ["a"]
    assert [schedule.schedule.cron for schedule in nightly.schedules] == ["0 3 * * *"]
    assert "next: prefect worker start --pool etl-pinned" in said.err

    said = pools.cli("migrate", "--pool", "etl", "--yes", "--json")
    assert said.code == 0, said.err
    assert said.data["exists"]
    assert (said.data["moved"], said.data["queues"]) == ([], [])
    assert sorted(said.data["there"]) == sorted(f"extract/{name}" for name in THREE)
    assert where(pools) == AFTER

    said = pools.cli("migrate", "--pool", "etl", "--undo")
    assert said.code == 0, said.err
    assert where(pools) == AFTER
    assert "next: pinned-ecs migrate --pool etl --undo --yes" in said.err
    said = pools.cli("migrate", "--pool", "etl", "--undo", "--yes")
    assert said.code == 0, said.err
    assert where(pools) == BEFORE
    assert pools.pool("etl") == before.model_copy(update={"updated": pools.pool("etl").updated})
    said = pools.cli("migrate", "--pool", "etl", "--undo", "--yes", "--json")
    assert (said.code, said.data["moved"]) == (0, [])
    assert pools.cli("migrate", "--pool", "etl", "--yes").code == 0
    assert where(pools) == AFTER


def test_what_was_left_undone_is_done(pools: Pools) -> None:
    """The pool and a queue are there, of which somebody has changed one: it stays as it is."""
    busy_pool(pools)
    assert pools.cli("migrate", "--pool", "etl", "--yes").code == 0

    async def change(client: PrefectClient) -> None:
        [slow] = [q for q in await client.read_work_queues("etl-pinned") if q.name == "slow"]
        await client.update_work_queue(slow.id, concurrency_limit=99)
        weekly = await client.read_deployment_by_name("extract/weekly")
        await client._client.patch(f"/deployments/{weekly.id}", json={"work_pool_name": "etl"})
        await client.create_work_queue("later", work_pool_name="etl")

    pools.ask(change)
    said = pools.cli("migrate", "--pool", "etl", "--yes", "--json")
    assert said.code == 0, said.err
    assert (said.data["moved"], said.data["queues"]) == (["extract/weekly"], ["later"])
    assert queues(pools, "etl-pinned")["slow"][1] == 99
    assert where(pools) == AFTER


def test_nothing_is_done_if_one_deployment_could_not_be_launched(pools: Pools) -> None:
    """It is named, with the reason; no pool is made, none of the others moves."""
    broken = {"cpu": 256, "memory": 65536}  # Fargate does not offer it
    pools.make("etl", "ecs", deployments={**THREE, "broken": broken})
    said = pools.cli("migrate", "--pool", "etl", "--yes")
    assert said.code == 1
    assert "deployment 'extract/broken'" in said.err
    assert "65536" in said.err
    names = [p.name for p in pools.ask(lambda client: client.read_work_pools())]
    assert "etl-pinned" not in names
    assert {pool for pool, _ in where(pools).values()} == {"etl"}


def test_runs_that_wait_stay_and_are_counted(pools: Pools) -> None:
    """A run that was made by hand belongs to the queue that it was made in."""
    pools.make("etl", "ecs")
    pools.schedule("hourly")
    said = pools.cli("migrate", "--pool", "etl")
    assert "1 flow runs stay in etl" in said.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--pool", "ours"], "it is of type 'pinned-ecs' already"),
        (["--pool", "etl", "--to", "docker"], "exists, and is of type 'docker'"),
        (["--pool", "docker"], "neither 'pinned-ecs' nor 'ecs'"),
        (["--pool", "etl", "--undo"], "there is no work pool 'etl-pinned'"),
        (["--pool", "etl", "--deployments"], "all deployments of a pool are moved"),
        (["ecs-task/x", "--undo"], "they are options for work pools"),
        (["ecs-task/x"], "it is an infrastructure block of Prefect 2"),
        (["ecs-task/x", "--pool", "etl"], "cannot combine a block and --pool"),
    ],
)
def test_what_can_not_be_is_one_sentence(pools: Pools, arguments: list[str], reason: str) -> None:
    for name, kind in (("etl", "ecs"), ("ours", "pinned-ecs"), ("docker", "docker")):
        pools.make(name, kind, deployments={}, template={} if kind == "docker" else None)
    said = pools.cli("migrate", *arguments)
    assert said.code == 1
    assert reason in said.err
    assert [line.partition(":")[0] for line in said.err.splitlines()] == ["error", "hint", "see"]
