"""Many runs at once, and what became of each: counted on the server's side, against what was said.

What a run says of itself is compared with ECS at that very moment: a status code, or that it was
cancelled, over a task that has not stopped is untrue; so is "cannot launch" over any task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from prefect_ecs_pinned.aws.launching.outcomes import MayRun
from prefect_ecs_pinned.errors import TaskFateUnknown
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.facts import Facts
from prefect_ecs_pinned.local.faults import Fault
from tests.faults.world import FAMILY, Status

#: Ends of a run, beside "status code N" and the class and first line of an error.
WELL, NOT_LAUNCHED, CANCELLED, HANGS = "ended well", "not launched", "cancelled", "hangs"


@dataclass
class Run:
    """One run.

    Attributes:
        number: Its place in the order of arrival.
        flow_run_id: Its flow run.
        status: What it reported to the agent.
        end: How it ended.
        seconds: When it ended, since all were started.
        launches: Tasks that were started for it.
        launched_at: When the first was, in the same seconds; -1 for never.
        sent: RunTask requests for it that reached ECS.
        sent_at: When the first did, in the same seconds.
        untrue: What it said that was not so; empty for nothing.
    """

    number: int
    flow_run_id: str = field(default_factory=lambda: str(uuid4()))
    status: Status = field(default_factory=Status)
    end: str = HANGS
    seconds: float = 0.0
    launches: int = 0
    launched_at: float = -1.0
    sent: int = 0
    sent_at: float = -1.0
    untrue: str = ""


#: The fields of a run, by its number.
FieldsOf = Callable[[int], Mapping[str, Any]]


class Face(Protocol):
    """What runs flow runs: a block of Prefect 2, or a worker of Prefect 3.

    Attributes:
        ends_with_task: A run has ended when its task has; otherwise when its flow has.
    """

    ends_with_task: bool

    def open(self) -> AbstractAsyncContextManager[None]:
        """Whatever has to be there for it."""

    async def live(self, run: Run) -> str:
        """Run a flow run to its end; how it ended. It may raise what the run ended with."""

    async def kill(self, run: Run) -> None:
        """Stop its task, as Prefect asks for it."""

    async def let_go(self) -> int:
        """When all runs have ended: how many tasks are followed still, after some time."""


@dataclass
class Outcome:
    """What became of many runs.

    Attributes:
        each: The runs.
        expected: Pattern of the end of a run that is not launched and ended with 0, by number.
        active: ACTIVE revisions of the family.
        revisions: All revisions of the family.
        seconds: From the first to the last.
        calls: Calls by action.
    """

    each: list[Run]
    expected: Mapping[int, str] = field(default_factory=dict)
    active: int = 0
    revisions: int = 0
    seconds: float = 0.0
    calls: Mapping[str, int] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many there were."""
        return len(self.each)

    @property
    def once(self) -> int:
        """Launched exactly once."""
        return sum(run.launches == 1 for run in self.each)

    @property
    def lost(self) -> int:
        """Never launched, though they are to be."""
        return sum(not run.launches for run in self.each if run.number not in self.expected)

    @property
    def twice(self) -> int:
        """Launched more than once."""
        return sum(run.launches > 1 for run in self.each)

    @property
    def hanging(self) -> int:
        """Not ended when time was up."""
        return sum(run.end == HANGS for run in self.each)

    def of(self, numbers: Callable[[int], bool]) -> list[Run]:
        """Some of the runs."""
        return [run for run in self.each if numbers(run.number)]


class Requests(Fault):
    """A rule that never hits: it notes when RunTask is called, by flow run."""

    def __init__(self) -> None:
        super().__init__("slow", "RunTask")
        self.at: dict[str, list[float]] = {}

    def strikes(self, facts: Facts, now: float, draw: Callable[[], float]) -> bool:
        """Note a request."""
        if facts.action == "RunTask":
            for container in facts.request["overrides"]["containerOverrides"]:
                for variable in container.get("environment") or []:
                    if variable["name"] == "PREFECT__FLOW_RUN_ID":
                        self.at.setdefault(str(variable.get("value")), []).append(now)
        return False


@dataclass
class Day:
    """The runs of one day while they are under way.

    Attributes:
        ecs: The embedded ECS.
        requests: Counts requests.
        face: Runs them.
        arrives: Seconds until a run is started, by its number.
        runs: The runs.
        tasks: Their coroutines.
        api: The stand-in of Prefect's API, if there is one.
        notes: What else was seen to be wrong.
        written: Lines that containers have written.
    """

    ecs: LocalECS
    requests: Requests
    face: Face
    arrives: Callable[[int], float] = lambda number: 0.0
    runs: list[Run] = field(default_factory=list)
    tasks: dict[int, asyncio.Task[Any]] = field(default_factory=dict)
    api: Any = None
    notes: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def start(self, runs: int) -> None:
        """Start so many runs, at once or as they arrive."""
        self.runs = [Run(number) for number in range(runs)]
        self.began = time.monotonic()
        for run in self.runs:
            self.tasks[run.number] = asyncio.create_task(self._live(run))

    async def _live(self, run: Run) -> None:
        try:
            await asyncio.sleep(self.arrives(run.number))
            run.end = await self.face.live(run)
        except asyncio.CancelledError:
            run.end = CANCELLED
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown or counted
            run.end = f"{type(error).__name__}: {error}".partition("\n")[0]
            if not isinstance(error, MayRun | TaskFateUnknown) and self.launches(run):
                run.untrue = run.end
        else:
            denied = run.end == NOT_LAUNCHED or _says_not_launched(run.end)
            lives = self.face.ends_with_task and self.lives(run)
            if lives or (denied and self.launches(run)):
                run.untrue = f"{run.end}, while its task is {self.statuses(run)}"
        run.seconds = time.monotonic() - self.began

    def note_untruth(self, flow_run_id: str, state: str) -> None:
        """Compare a state that is set in Prefect with ECS at that moment."""
        run = next((run for run in self.runs if run.flow_run_id == flow_run_id), None)
        if run is not None and state != "PENDING" and self.lives(run):
            run.untrue = f"{state}, while its task is {self.statuses(run)}"

    def launches(self, run: Run) -> list[dict[str, Any]]:
        """The tasks that were started for a run."""
        return [one for one in self.ecs.launches if one["flow_run_id"] == run.flow_run_id]

    def statuses(self, run: Run) -> list[str]:
        """Statuses of its tasks, as they are now, whatever is described."""
        model = self.ecs.model
        tasks = (model.find(one["taskArn"]) for one in self.launches(run))
        return [model._moment(task).status for task in tasks if task is not None]

    def lives(self, run: Run) -> bool:
        """Whether a task of it has not stopped."""
        return any(status != "STOPPED" for status in self.statuses(run))

    def outcome(self) -> Outcome:
        """What has become of the runs."""
        for run in self.runs:
            launches = self.launches(run)
            sent = self.requests.at.get(run.flow_run_id, [])
            run.launches, run.sent = len(launches), len(sent)
            if sent:
                run.sent_at = sent[0] - self.began
            if launches:
                run.launched_at = float(launches[0]["at"]) - self.began
        ours = [d for d in self.ecs.model.definitions().all() if d["family"] == FAMILY]
        active = sum(d["status"] == "ACTIVE" for d in ours)
        calls = {action: count["calls"] for action, count in self.ecs.calls.items()}
        return Outcome(self.runs, {}, active, len(ours), calls=calls)


def _says_not_launched(end: str) -> bool:
    """Whether an end, in words, is of a run without a task."""
    return ": cannot launch" in end and not end.startswith(MayRun.__name__)


async def live_through(
    day: Day,
    runs: int,
    patience: float,
    meanwhile: Callable[[Day], Awaitable[None]] | None = None,
    stated: Callable[[int], str | None] = lambda number: None,
) -> Outcome:
    """Start many runs at once; wait for all of them, or until patience is at an end."""
    async with day.face.open():
        outcome = await _live_through(day, runs, patience, meanwhile)
        if left := await day.face.let_go():
            day.notes.append(f"{left} tasks are followed still")
    outcome.expected = {n: pattern for n in range(runs) if (pattern := stated(n)) is not None}
    return outcome


async def _live_through(
    day: Day,
    runs: int,
    patience: float,
    meanwhile: Callable[[Day], Awaitable[None]] | None = None,
) -> Outcome:
    day.start(runs)
    others = [asyncio.ensure_future(meanwhile(day))] if meanwhile is not None else []
    _, pending = await asyncio.wait(day.tasks.values(), timeout=patience)
    seconds = time.monotonic() - day.began
    hanging = [run for run in day.runs if not day.tasks[run.number].done()]
    for task in (*pending, *others):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            day.notes.append(f"the test itself: {error!r}")
        task.cancel()
    await asyncio.gather(*pending, *others, return_exceptions=True)
    for run in hanging:
        run.end = HANGS
    outcome = day.outcome()
    outcome.seconds = seconds
    return outcome
