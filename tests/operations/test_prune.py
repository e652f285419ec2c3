"""Pruning: exactly the right revisions go, under the quota, however often it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta, timezone

import pytest

from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Desired, Observed
from prefect_ecs_pinned.errors import AccessDenied, ConfigurationError, Unavailable
from prefect_ecs_pinned.local import EmbeddedECS, Phases, Settings
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim
from prefect_ecs_pinned.operations.prune import KEEP_TAG, Pruning, Reference, Rules, duration
from tests.aws.virtual import VirtualClock
from tests.core.echo import echo
from tests.operations.fixtures import FAMILY_ARN
from tests.operations.model_calls import ModelCaller

DAY = 86400.0
OLD, NEW = 200, 5
IN_USE_BY_TASKS = (3, 77, 150)
IN_USE_BY_OVERRIDE = 120
RULES = Rules(keep=NEW, min_age=timedelta(days=30))


def desired(number: int) -> Desired:
    """What revision ``number`` was registered for."""
    return Desired(
        {
            "family": "etl",
            "containerDefinitions": [{"name": "prefect", "image": f"flows:{number}"}],
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "1024",
            "memory": "2048",
        }
    )


def described(**members) -> Observed:
    """A labelled copy of revision 1 with other members of its container, as ECS describes it."""
    forged = labelled(desired(1).definition, desired(1).fingerprint)
    forged["containerDefinitions"][0].update(members)
    return Observed.of(echo(forged))


def test_a_claim_covers_what_a_launch_might_use():
    """One rule for both; where a launch has to know who registered it, it is kept."""
    claim = Claim("etl", desired(1))
    assert claim.covers(described())
    assert not claim.covers(described(healthCheck={"command": ["CMD", "evil"]}))
    assert claim.covers(described(restartPolicy={"enabled": True}))
    by_name = Desired({**desired(1).definition, "executionRoleArn": "execution"})
    assert Claim("etl", by_name).covers(Observed.of(echo(dict(by_name.definition))))
    tagged = Desired({**desired(1).definition, "tags": [{"key": "team", "value": "data"}]})
    assert Claim("etl", tagged).covers(Observed.of(echo(dict(tagged.definition))))


class World:
    """An account with a family of 205 revisions, 200 of them 40 days old."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.epoch = datetime.now(timezone.utc)
        self.settings = Settings(quota_scale=None, task_seconds=1e9, phases=Phases(0, 0, 0))
        self.ecs = EmbeddedECS(self.settings, now=self.clock.now)
        self.caller = ModelCaller(self.ecs, self.clock)
        self.claims = [
            Claim("pinned-ecs-task/default", desired(OLD + NEW)),
            Claim("etl/nightly", desired(IN_USE_BY_OVERRIDE)),
        ]

    async def fill(self) -> None:
        for number in range(1, OLD + 1):
            self.register(number)
        await self.grow_older(40 * DAY)
        for number in range(OLD + 1, OLD + NEW + 1):
            self.register(number)
        for number in IN_USE_BY_TASKS:
            self.run_task(number)
        self.ecs.buckets.scale = 1.0  # AWS's quotas, from here on

    async def grow_older(self, seconds: float) -> None:
        await self.clock.run(self.clock.wait(seconds), limit=seconds)

    def register(self, number: int) -> None:
        wanted = desired(number)
        request = labelled(wanted.definition, wanted.fingerprint)
        self.ecs.call("RegisterTaskDefinition", request)

    def run_task(self, number: int) -> None:
        network = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
        self.ecs.call(
            "RunTask",
            {
                "taskDefinition": f"etl:{number}",
                "launchType": "FARGATE",
                "networkConfiguration": network,
            },
        )

    def pruning(self, rules: Rules = RULES) -> Pruning:
        async def claims() -> list[Claim]:
            return self.claims

        return Pruning(
            Calls(self.caller, self.clock),
            "etl",
            rules,
            claims,
            lambda: self.epoch + timedelta(seconds=self.clock.now()),
        )

    async def prune(self, rules: Rules = RULES):
        pruning = self.pruning(rules)
        survey = await self.clock.run(pruning.survey())
        began = self.clock.now()
        pruned = await self.clock.run(pruning.carry_out(survey))
        return survey, pruned, self.clock.now() - began

    def numbers(self, status: str = "ACTIVE") -> set[int]:
        every = self.ecs.definitions().all()
        return {d["revision"] for d in every if d["status"] == status}


@pytest.fixture
async def world():
    world = World()
    await world.fill()
    return world


STAYING = {*IN_USE_BY_TASKS, IN_USE_BY_OVERRIDE, *range(OLD + 1, OLD + NEW + 1)}


async def test_exactly_the_right_ones_go_at_the_pace_of_the_quota(world):
    """196 of 205, without one throttle, in the 198 s that 18 + 0.9/s take; agents have room."""
    survey, pruned, seconds = await world.prune()
    assert world.numbers() == STAYING
    assert len(pruned.deregistered) == len(survey.doomed) == 196
    assert not world.caller.throttled
    assert world.caller.calls["DeregisterTaskDefinition"] == 196
    assert (196 - 18) / 0.9 <= seconds <= (196 - 18) / 0.9 + 15
    assert seconds > 196 - 20  # no faster than AWS's own 20 + 1/s


async def test_an_agent_can_register_while_revisions_go(world):
    """Its first attempt is let in, in the middle of it."""
    pruning = world.pruning()
    survey = await world.clock.run(pruning.survey())
    work = asyncio.ensure_future(pruning.carry_out(survey))
    await world.clock.pass_time(100)
    world.register(999)
    await world.clock.run(work)
    assert world.numbers() == {*STAYING, OLD + NEW + 1}


async def test_it_says_why_each_one_stays(world):
    """One reason each, and the survey has changed nothing."""
    survey = await world.clock.run(world.pruning().survey())
    kept = {parse_revision(v.arn).revision: v.kept for v in survey.verdicts if v.kept}
    assert kept == {
        **dict.fromkeys(range(OLD + 1, OLD + NEW + 1), "one of the 5 newest"),
        **dict.fromkeys(IN_USE_BY_TASKS, "1 live task"),
        IN_USE_BY_OVERRIDE: "used by etl/nightly",
    }
    assert world.caller.calls["DeregisterTaskDefinition"] == 0
    assert [v.arn for v in survey.doomed][:2] == [FAMILY_ARN + "etl:1", FAMILY_ARN + "etl:2"]


@pytest.mark.parametrize("delete", [False, True])
async def test_interrupted_and_repeated_it_comes_to_the_same_end(world, delete):
    """Cancelled half-way, then repeated from the start."""
    rules = Rules(NEW, timedelta(days=30), delete)
    pruning = world.pruning(rules)
    survey = await world.clock.run(pruning.survey())
    work = asyncio.ensure_future(pruning.carry_out(survey))
    await world.clock.pass_time(90)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    half = len(world.numbers("INACTIVE"))
    assert 80 < half < 120
    _, pruned, _ = await world.prune(rules)
    assert half + len(pruned.deregistered) in (196, 197)  # one may have been under way
    assert world.numbers() == STAYING
    gone = set(range(1, OLD + 1)) - STAYING
    assert world.numbers("DELETE_IN_PROGRESS" if delete else "INACTIVE") == gone


async def test_progress_is_reported_from_the_first_to_the_last(world):
    """Looking at 200 candidates, deregistering 196."""
    reported: dict[str, list[tuple[int, int]]] = {}

    def progress(what: str, done: int, total: int) -> None:
        reported.setdefault(what, []).append((done, total))

    pruning = world.pruning()
    survey = await world.clock.run(pruning.survey(progress))
    await world.clock.run(pruning.carry_out(survey, progress))
    assert reported["looking at revisions"][-1] == (200, 200)
    assert reported["deregistering"] == [(number, 196) for number in range(1, 197)]


async def test_deleting_takes_ten_a_call_within_its_own_quota(world):
    """20 calls for 196 revisions, no throttle."""
    _, pruned, _ = await world.prune(Rules(NEW, timedelta(days=30), delete=True))
    assert len(pruned.deleted) == 196
    assert world.caller.calls["DeleteTaskDefinitions"] == 20
    assert not world.caller.throttled


async def test_what_is_young_stays(world):
    """Nothing is 50 days old."""
    survey, pruned, _ = await world.prune(Rules(NEW, timedelta(days=50)))
    assert pruned.deregistered == []
    assert world.numbers() == set(range(1, OLD + NEW + 1))
    assert survey.verdicts[-1].kept == "registered 40d ago"


async def test_a_task_that_starts_meanwhile_saves_its_revision(world):
    """It is looked again every minute."""
    pruning = world.pruning()
    survey = await world.clock.run(pruning.survey())
    work = asyncio.ensure_future(pruning.carry_out(survey))
    await world.clock.pass_time(60)
    world.run_task(199)
    pruned = await world.clock.run(work)
    assert pruned.spared == {FAMILY_ARN + "etl:199": "1 live task"}
    assert world.numbers() == {*STAYING, 199}


async def test_a_task_that_starts_during_the_survey_saves_its_revision(world):
    """A survey of thousands takes minutes: who needs what is asked again before the first one."""
    pruning = world.pruning()
    survey = await world.clock.run(pruning.survey())
    world.run_task(1)
    pruned = await world.clock.run(pruning.carry_out(survey))
    assert pruned.spared == {FAMILY_ARN + "etl:1": "1 live task"}
    assert world.numbers() == {*STAYING, 1}


async def test_what_was_deregistered_before_is_looked_at_again_before_it_is_deleted(world):
    """A task that still runs from it needs it."""
    pruning = world.pruning(Rules(NEW, timedelta(days=30), delete=True))
    world.run_task(1)
    world.ecs.call("DeregisterTaskDefinition", {"taskDefinition": "etl:1"})
    await world.grow_older(40 * DAY)
    survey = await world.clock.run(pruning.survey())
    assert FAMILY_ARN + "etl:1" not in [verdict.arn for verdict in survey.doomed]


async def test_a_service_keeps_its_revision(world):
    """However old."""
    service = {"serviceName": "web", "taskDefinition": "etl:9", "desiredCount": 1}
    world.ecs.call("CreateService", service)
    await world.prune()
    assert world.numbers() == {*STAYING, 9}


async def test_twins_stay_with_the_one_that_is_in_use(world):
    """Agents may have pinned any of them."""
    world.ecs.buckets.scale = None
    world.register(IN_USE_BY_OVERRIDE)
    world.ecs.buckets.scale = 1.0
    await world.grow_older(40 * DAY)
    await world.prune(Rules(keep=1, min_age=timedelta(days=30)))
    assert world.numbers() == {
        *IN_USE_BY_TASKS, IN_USE_BY_OVERRIDE, OLD + NEW, OLD + NEW + 1
    }  # fmt: skip


async def test_a_task_that_is_missing_at_first_saves_its_revision(world):
    """ECS lists it, and describes it seconds later."""
    world.settings.missing_seconds = 5.0
    world.run_task(50)
    await world.prune()
    assert world.numbers() == {*STAYING, 50}


async def test_when_a_tasks_revision_stays_unknown_nothing_goes(world):
    """It could be any of them."""
    world.settings.missing_seconds = 1e9
    world.run_task(50)
    with pytest.raises(Unavailable, match="repeat the command in a minute"):
        await world.clock.run(world.pruning().survey())
    assert world.numbers() == set(range(1, OLD + NEW + 1))


async def test_when_claims_cannot_be_read_nothing_goes(world):
    """No verdict on a failed look."""

    async def unknown() -> list[Claim]:
        raise Unavailable("cannot reach the Prefect API")

    pruning = Pruning(Calls(world.caller, world.clock), "etl", RULES, unknown)
    with pytest.raises(Unavailable):
        await world.clock.run(pruning.survey())
    assert world.numbers() == set(range(1, OLD + NEW + 1))


def keeping(*references: str) -> Rules:
    return Rules(NEW, timedelta(days=30), False, tuple(map(Reference.parse, references)))


async def test_what_is_named_stays(world):
    """By ARN, by family and number; it says so."""
    survey, _, _ = await world.prune(keeping(FAMILY_ARN + "etl:7", "etl:8"))
    assert world.numbers() == {*STAYING, 7, 8}
    why = {parse_revision(v.arn).revision: v.kept for v in survey.verdicts}
    assert why[7] == f"named by --keep-referenced {FAMILY_ARN}etl:7"
    assert why[8] == "named by --keep-referenced etl:8"


@pytest.mark.parametrize("reference", ["etl", FAMILY_ARN + "etl"])
async def test_a_family_that_is_named_stays_whole(world, reference):
    """What names no revision runs the newest; who names it here wants none of it to go."""
    await world.prune(keeping(reference))
    assert world.numbers() == set(range(1, OLD + NEW + 1))


async def test_what_is_named_is_not_deleted_either(world):
    """It was deregistered long ago."""
    world.ecs.call("DeregisterTaskDefinition", {"taskDefinition": "etl:7"})
    rules = Rules(NEW, timedelta(days=30), True, (Reference.parse("etl:7"),))
    await world.prune(rules)
    assert world.numbers("INACTIVE") == {7}


def tag(world: World, number: int, key: str = KEEP_TAG, value: str = "") -> None:
    tags = [{"key": key, "value": value}]
    world.ecs.call("TagResource", {"resourceArn": f"{FAMILY_ARN}etl:{number}", "tags": tags})


async def test_what_has_the_tag_stays(world):
    """Whatever its value, in capitals or not; other tags keep nothing."""
    tag(world, 7)
    tag(world, 8, KEEP_TAG.upper(), "no")
    tag(world, 9, "team", KEEP_TAG)
    survey, _, _ = await world.prune()
    assert world.numbers() == {*STAYING, 7, 8}
    assert {v.kept for v in survey.verdicts if parse_revision(v.arn).revision in (7, 8)} == {
        f"it has the tag {KEEP_TAG}"
    }


async def test_tags_are_asked_for_only_where_a_revision_would_go(world):
    """196 times to survey, and once more before each of them goes: it may have come since."""
    pruning = world.pruning()
    survey = await world.clock.run(pruning.survey())
    assert world.caller.with_tags == len(survey.doomed) == 196
    work = asyncio.ensure_future(pruning.carry_out(survey))
    await world.clock.pass_time(60)
    tag(world, 199)
    pruned = await world.clock.run(work)
    assert pruned.spared == {FAMILY_ARN + "etl:199": f"it has the tag {KEEP_TAG}"}
    assert world.numbers() == {*STAYING, 199}
    assert world.caller.with_tags == 2 * 196


async def test_when_tags_may_not_be_read_nothing_goes(world):
    """Said once, with what to allow."""
    world.caller.deny_tags = True
    with pytest.raises(AccessDenied) as caught:
        await world.clock.run(world.pruning().survey())
    assert f"is kept by the tag {KEEP_TAG}" in caught.value.what
    assert "ecs:ListTagsForResource" in caught.value.hint
    assert world.numbers() == set(range(1, OLD + NEW + 1))


async def test_a_clock_that_is_ahead_makes_nothing_older(world):
    """This machine's is wrong by two months; AWS's own says how long ago it was registered."""
    world.epoch += timedelta(days=60)
    survey, pruned, _ = await world.prune(Rules(NEW, timedelta(days=50)))
    assert (pruned.deregistered, world.numbers()) == ([], set(range(1, OLD + NEW + 1)))
    assert survey.verdicts[-1].kept == "registered 40d ago by AWS's clock"


async def test_what_is_of_unknown_age_stays(world):
    """AWS does not say what time it is, and this machine's clock may be wrong."""
    world.caller.dated = False
    survey, pruned, _ = await world.prune()
    assert (pruned.deregistered, world.numbers()) == ([], set(range(1, OLD + NEW + 1)))
    assert survey.verdicts[-1].kept == "its age is unknown: AWS's answer has no Date"
    _, pruned, _ = await world.prune(Rules(NEW, timedelta(0)))
    assert pruned.deregistered


@pytest.mark.parametrize(
    ("text", "family", "revision"),
    [
        ("etl", "etl", 0),
        ("etl:12", "etl", 12),
        (" Team-ETL_2--x:1 ", "Team-ETL_2--x", 1),
        (FAMILY_ARN + "etl:12", "etl", 12),
        (FAMILY_ARN + "etl", "etl", 0),
        (FAMILY_ARN.replace("aws", "aws-us-gov") + "etl:3", "etl", 3),
    ],
)
def test_references(text, family, revision):
    """As tasks are launched by: an ARN, or short; with or without a revision."""
    reference = Reference.parse(text)
    assert (reference.family, reference.revision) == (family, revision)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":",
        "etl:",
        "etl:0",
        "etl:01",
        "etl:-1",
        "etl:latest",
        "etl:*",
        "e*",
        "etl 12",
        "etl:1:2",
        "a" * 256,
        "arn:aws:ecs:us-east-1:123456789012:task/default/0123",
        "arn:aws:ecs:us-east-1:123456789012:task-definition/",
        "arn:aws:ecs:us-east-1:1234:task-definition/etl:1",
        "arn:aws:iam::123456789012:role/etl",
        "task-definition/etl:1",
        "etl:" + "9" * 5000,
    ],
)
def test_other_references_are_refused(text):
    """With a hint."""
    with pytest.raises(ConfigurationError, match="is not an ARN of a task definition") as caught:
        Reference.parse(text)
    assert "etl:12" in caught.value.hint


def test_an_arn_means_its_own_account_and_region():
    """A family of the same name elsewhere is another."""
    reference = Reference.parse(FAMILY_ARN + "etl:1")
    assert reference.covers(FAMILY_ARN + "etl:1")
    for other in ("etl:10", "etl2:1"):
        assert not reference.covers(FAMILY_ARN + other)
    assert not reference.covers(FAMILY_ARN.replace("us-east-1", "eu-west-1") + "etl:1")


async def test_what_is_no_revision_of_the_family_is_known_as_that(world):
    """One that is gone, another family, account, Region; one that is INACTIVE is one."""
    world.ecs.call("DeregisterTaskDefinition", {"taskDefinition": "etl:7"})
    pruning = world.pruning()
    known = {
        text: await world.clock.run(pruning.knows(Reference.parse(text)))
        for text in (
            "etl", "etl:1", "etl:7", FAMILY_ARN + "etl", FAMILY_ARN + "etl:1",
            "etl:999", "other", "other:1", FAMILY_ARN.replace("us-east-1", "eu-west-1") + "etl:1",
            FAMILY_ARN.replace("123456789012", "999999999999") + "etl",
        )
    }  # fmt: skip
    assert list(known.values()) == [True] * 5 + [False] * 5


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 30 * DAY), ("12h", 43200), ("45m", 2700), ("0s", 0)]
)
def test_durations(text, seconds):
    """In one unit."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "d", "30", "1.5d", "-1d", "²d", "9" * 30 + "d"])
def test_other_durations_are_refused(text):
    """With a hint."""
    with pytest.raises(ConfigurationError, match="write it as 30d"):
        duration(text)
