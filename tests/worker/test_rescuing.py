"""Decisions about runs of other workers, as tables; nothing is asked of anybody."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from prefect_ecs_pinned.core.request import SUBMISSION_VARIABLE
from prefect_ecs_pinned.faces.states import Seen
from prefect_ecs_pinned.worker import claims as claims_module
from prefect_ecs_pinned.worker.claims import Claims
from prefect_ecs_pinned.worker.moments import Moment
from prefect_ecs_pinned.worker.pool_runs import PoolRun, PoolWorker
from prefect_ecs_pinned.worker.rescuing import FENCED, Me, Step, next_step
from prefect_ecs_pinned.worker.task_lookup import is_newest_attempt, is_task_of

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)
RUN = UUID(int=7)
ME = Me("me", "aaaa0000", NOW - timedelta(seconds=100))
WORKERS = {
    worker.name: worker
    for worker in (
        PoolWorker(UUID(int=1), "me", True, NOW, 30),
        PoolWorker(UUID(int=2), "alive", True, NOW - timedelta(seconds=20), 30),
        PoolWorker(UUID(int=3), "silent", True, NOW - timedelta(seconds=200), 30),
        PoolWorker(UUID(int=4), "offline", False, NOW - timedelta(seconds=100), 30),
        PoolWorker(UUID(int=5), "gone", False, NOW - timedelta(seconds=141), 30),
        PoolWorker(UUID(int=6), "never", False, None, 30),
        PoolWorker(UUID(int=8), "forgotten", True, NOW - timedelta(seconds=231), 30),
        PoolWorker(UUID(int=7), "slow", False, NOW - timedelta(seconds=200), 60),
    )
}


def run(age: float = 150, name: str = "Submitting", kind: str = "PENDING", **more: Any) -> PoolRun:
    since = NOW - timedelta(seconds=age)
    given = {"worker": "alive", "claim": "bbbb0000" + "1" * 16, **more}
    return PoolRun(RUN, "run", given.pop("deployment", RUN), "s", kind, name, since, **given)


@pytest.mark.parametrize(
    ("of", "step"),
    [
        (run(worker="alive"), Step.LEAVE),
        (run(worker="silent"), Step.LEAVE),  # Prefect has not called it OFFLINE
        (run(worker="forgotten"), Step.FENCE),  # and does not any more: nothing does it there
        (run(worker="offline"), Step.LEAVE),  # not for long
        (run(worker="never"), Step.LEAVE),
        (run(worker="slow"), Step.LEAVE),  # it may miss three heartbeats of its own
        (run(worker="gone"), Step.FENCE),
        (run(worker="gone", age=5), Step.LEAVE),  # the label may be of the attempt before
        (run(worker="gone", kind="RUNNING"), Step.LEAVE),
        (run(worker="gone", deployment=None), Step.LEAVE),  # nobody could schedule it again
        (run(worker="me", age=150), Step.FENCE),  # its former self
        (run(worker="me", age=50), Step.LEAVE),  # another process of that name
        (run(worker="me", age=50, claim="aaaa0000" + "1" * 16), Step.LEAVE),
        (run(worker="me", age=150, claim="aaaa0000" + "1" * 16), Step.FENCE),  # an answer was lost
        (run(worker="", claim="", age=130), Step.LEAVE),
        (run(worker="", claim="", age=150), Step.FENCE),
        (run(worker="deleted", age=130), Step.LEAVE),
        (run(worker="deleted", age=150), Step.FENCE),
        (run(name=FENCED, age=60), Step.LEAVE),
        (run(name=FENCED, age=80), Step.SET_BACK),
        (run(name=FENCED, age=80, worker="me"), Step.SET_BACK),
    ],
)
def test_the_next_step(of: PoolRun, step: Step):
    assert next_step(of, WORKERS, ME, NOW) is step


def task(started_by: str = "", run_id: str = "", claim: str = "", desired: str = "RUNNING") -> Any:
    variables = [
        {"name": name, "value": value}
        for name, value in (("PREFECT__FLOW_RUN_ID", run_id), (SUBMISSION_VARIABLE, claim))
        if value
    ]
    overrides = {"containerOverrides": [{"name": "prefect", "environment": variables}]}
    return {"startedBy": started_by, "overrides": overrides, "desiredStatus": desired}


OWN = "bbbb0000" + "1" * 16


@pytest.mark.parametrize(
    ("found", "claim", "own"),
    [
        (task(str(RUN), claim=OWN), OWN, True),
        (task(str(RUN), claim=OWN, desired="STOPPED"), OWN, True),
        (task("etl", str(RUN), OWN), OWN, True),  # its startedBy was patched
        (task(str(RUN), claim="another"), OWN, False),  # of an earlier attempt
        (task(str(RUN)), "", True),  # of a worker of another kind
        (task(str(RUN), desired="STOPPED"), "", False),  # of whichever attempt
        (task("etl", "no id"), "", False),
        (task(str(UUID(int=8)), claim=OWN), OWN, False),
        ({"startedBy": "etl"}, OWN, False),
    ],
)
def test_whose_task_it_is(found: Any, claim: str, own: bool):
    assert is_task_of(run(claim=claim), found) is own


def test_a_pid_that_names_an_earlier_attempt_is_known():
    """Prefect keeps it when the run is scheduled again."""
    assert is_newest_attempt(run(claim=OWN), task(claim=OWN))
    assert not is_newest_attempt(run(claim=OWN), task(claim="another"))
    assert is_newest_attempt(run(claim=""), task())


@pytest.mark.parametrize(
    ("boot", "wall", "age"),
    [(5, 5, 5), (5, 180, 180), (180, 0, 180), (5, -3600, 5)],
)
def test_a_moment_is_as_old_as_the_faster_clock_says(boot: float, wall: float, age: float):
    """One stands still while the machine is suspended, the other may be set."""
    assert Moment(100, 1000).age(Moment(100 + boot, 1000 + wall)) == age


# -- claims ----------------------------------------------------------------------------------------


class Api:
    """States of flow runs, and the time."""

    def __init__(self) -> None:
        self.time = 0.0
        self.states: dict[str, Seen] = {}
        self.asked = 0
        self.down = False

    def now(self) -> Moment:
        return Moment(self.time, self.time)

    async def wait(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)

    async def read(self, ids: Any) -> dict[str, Seen]:
        self.asked += 1
        if self.down:
            raise ConnectionError
        return {flow_run_id: self.states[flow_run_id] for flow_run_id in ids}


def taken(api: Api) -> tuple[Claims, Any]:
    claims = Claims(api.read, api, api.now)  # type: ignore[arg-type]
    claim = claims.begin(RUN)
    claim.took("s1", api.now())
    api.states[str(RUN)] = Seen("PENDING", "s1")
    return claims, claim


async def test_a_fresh_claim_asks_for_nothing():
    api = Api()
    _, claim = taken(api)
    api.time = claims_module.FRESH_SECONDS
    assert await claim.granted()
    assert api.asked == 0


async def test_an_old_claim_is_read_before_it_launches():
    """Once for all of them."""
    api = Api()
    claims, claim = taken(api)
    other = claims.begin(UUID(int=8))
    other.took("s2", api.now())
    api.states[str(UUID(int=8))] = Seen("PENDING", "s2")
    api.time = 180
    assert all(await asyncio.gather(claims.confirm(claim), claims.confirm(other)))
    assert api.asked == 1


@pytest.mark.parametrize("kind", ["PENDING", "SCHEDULED", "RUNNING", "PAUSED"])
async def test_a_run_in_another_state_is_not_launched(kind: str):
    """Whatever it is: another worker may have it."""
    api = Api()
    _, claim = taken(api)
    api.states[str(RUN)] = Seen(kind, "s9")
    api.time = 180
    assert not await claim.claims.confirm(claim)
    assert claim.lost


async def test_nothing_is_launched_while_prefect_cannot_be_read():
    """And the launch goes on when it can be read again."""
    api = Api()
    claims, claim = taken(api)
    api.time, api.down = 180, True
    asking = asyncio.create_task(claims.confirm(claim))
    while api.asked < 3:  # noqa: ASYNC110 - it is asked without waiting
        await asyncio.sleep(0)
    assert not asking.done()
    api.down = False
    assert await asking


async def test_a_look_from_before_a_state_was_set_says_nothing():
    api = Api()
    claims, claim = taken(api)
    before = api.now()
    api.time = 5
    claim.took("s2", api.now())
    claims.seen({str(RUN): Seen("PENDING", "s1")}, before)
    assert not claim.lost
    claims.seen({str(RUN): Seen("CANCELLING", "s3")}, Moment(9, 9))  # somebody else's business
    assert not claim.lost
    claims.seen({str(RUN): Seen("PENDING", "s1")}, Moment(9, 9))
    assert claim.lost


async def test_a_retracted_claim_withdraws_its_launch():
    """Whichever of the two comes first; and it grants nothing any more."""
    for first in (True, False):
        _, claim = taken(Api())
        called: list[int] = []
        steps = [lambda c=claim, n=called: c.used_by(lambda: n.append(1)), claim.end]
        for step in steps if first else reversed(steps):
            step()
        assert called == [1]
        assert not await claim.granted()
