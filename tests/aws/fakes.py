"""Fakes of the ports: they count calls, and refuse what ECS refuses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.calls.ports import Clock
from tests.core.echo import ARN, echo

VCPU = "You’ve reached the limit on the number of vCPUs you can run concurrently"
CONTENDED = "Too many concurrent attempts to create a new revision of the specified family."


class FakeDefinitions:
    """`ports.TaskDefinitionApi`: revisions of any family, as ECS keeps them.

    ``before`` and ``after`` may return a fault for a call that is being made: before it takes
    effect, or after, as an answer that got lost. ``rewrite`` changes what is described, as ECS
    might one day. ``caller`` is who makes the calls; `add` registers for somebody else.
    """

    #: Of one role, as every process that assumes it has a session of its own.
    OWN = "arn:aws:sts::123456789012:assumed-role/agent/{}"
    OTHER = "arn:aws:sts::123456789012:assumed-role/ci/run-7"

    def __init__(self, clock: Clock, latency: float = 0.1) -> None:
        self.clock = clock
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self.revisions: dict[str, dict[str, Any]] = {}
        self.registering: set[str] = set()
        self.most_registering = 0
        self.before: Callable[[str], Fault | None] = lambda _: None
        self.after: Callable[[str], Fault | None] = lambda _: None
        self.rewrite: Callable[[dict[str, Any]], None] = lambda _: None
        self.caller = self.OWN.format("process-1")
        self.tags: dict[str, list[dict[str, str]]] = {}
        #: The names that were asked for with their tags.
        self.with_tags: list[str] = []

    def add(self, definition: Mapping[str, Any], status: str = "ACTIVE", by: str = OTHER) -> str:
        """Register as somebody else would."""
        family = definition["family"]
        number = 1 + max((r["revision"] for r in self._of(family)), default=0)
        described = {**echo(dict(definition), number), "status": status, "registeredBy": by}
        self.rewrite(described)
        arn = str(described["taskDefinitionArn"])
        self.revisions[arn] = described
        self.tags[arn] = list(definition.get("tags") or [])
        return arn

    def deregister(self, arn: str) -> None:
        self.revisions[arn] = {**self.revisions[arn], "status": "INACTIVE"}

    def _of(self, family: str) -> list[dict[str, Any]]:
        return [r for r in self.revisions.values() if r["family"] == family]

    async def _call(self, action: str) -> None:
        self.calls[action.partition(",")[0]] += 1
        await self.clock.wait(self.latency)
        if (fault := self.before(action)) is not None:
            raise fault

    async def describe_task_definition(self, name: str, tags: bool = False) -> Mapping[str, Any]:
        if tags:
            self.with_tags.append(name)
        await self._call("DescribeTaskDefinition, TAGS" if tags else "DescribeTaskDefinition")
        found = self._find(name)
        return {**found, "tags": self.tags[found["taskDefinitionArn"]]} if tags else found

    async def caller_arn(self) -> str:
        await self._call("GetCallerIdentity")
        return self.caller

    def _find(self, name: str) -> dict[str, Any]:
        if name in self.revisions:
            return self.revisions[name]
        family, _, number = name.partition(":")
        active = [r for r in self._of(family) if r["status"] == "ACTIVE" or number]
        if number:
            active = [r for r in active if r["revision"] == int(number)]
        if not active:
            raise _fault("DescribeTaskDefinition", Kind.NO_DEFINITION)
        return max(active, key=lambda r: int(r["revision"]))

    async def list_task_definitions(self, family: str, limit: int) -> Sequence[str]:
        await self._call("ListTaskDefinitions")
        active = [r for r in self._of(family) if r["status"] == "ACTIVE"]
        active.sort(key=lambda r: int(r["revision"]), reverse=True)
        return [str(r["taskDefinitionArn"]) for r in active][:limit]

    async def register_task_definition(
        self, definition: Mapping[str, Any], newest: int
    ) -> Mapping[str, Any]:
        family = definition["family"]
        contended = family in self.registering
        self.registering.add(family)
        self.most_registering = max(self.most_registering, len(self.registering))
        try:
            await self._call("RegisterTaskDefinition")
        finally:
            if not contended:
                self.registering.discard(family)
        if contended:
            raise Fault(Kind.CONTENDED, "RegisterTaskDefinition", "ClientException", CONTENDED)
        arn = self.add(definition, by=self.caller)
        if (fault := self.after("RegisterTaskDefinition")) is not None:
            raise fault
        return self.revisions[arn]


def _fault(operation: str, kind: Kind) -> Fault:
    return Fault(kind, operation, "ClientException", "Unable to describe task definition.")


class FakeTasks:
    """`ports.LaunchApi` and `ports.WatchApi`: tasks that live as long as a test says.

    ``answer`` may return a refusal for a RunTask call: a `Fault`, or an answer without a task.
    ``recall`` switched off, a token that is known is refused like any other.
    """

    def __init__(self, clock: Clock, latency: float = 0.3) -> None:
        self.clock = clock
        self.latency = latency
        self.calls: Counter[str] = Counter()
        self.requests: list[Mapping[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.started: list[tuple[float, Mapping[str, Any]]] = []
        self.stopped: list[tuple[str, str]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.answer: Callable[[Mapping[str, Any]], Fault | Mapping[str, Any] | None] = lambda _: (
            None
        )
        self.lose: Callable[[Mapping[str, Any]], bool] = lambda _: False
        self.describe_fault: Callable[[Sequence[str]], Fault | None] = lambda _: None
        self.recall = True
        self.list_fault: Callable[[], Fault | None] = lambda: None
        self.stop_fault: Callable[[], Fault | None] = lambda: None
        self.hold: asyncio.Event | None = None

    async def run_task(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls["RunTask"] += 1
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.clock.wait(self.latency)
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.under_way -= 1
        token = request["clientToken"]
        if self.recall and token in self.tokens:
            return {"tasks": [self.tasks[self.tokens[token]]]}
        refusal = self.answer(request)
        if isinstance(refusal, Fault):
            raise refusal
        if refusal is not None:
            return refusal
        task = self._start(request)
        self.tokens[token] = task["taskArn"]
        if self.lose(request):
            raise Fault(Kind.OUTCOME_UNKNOWN, "RunTask", "ReadTimeoutError", "Read timeout")
        return {"tasks": [task], "failures": []}

    def _start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        number = len(self.tasks)
        cluster = request.get("cluster") or "default"
        task = {
            "taskArn": f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/{number:032x}",
            "clusterArn": f"arn:aws:ecs:us-east-1:123456789012:cluster/{cluster}",
            "taskDefinitionArn": request["taskDefinition"],
            "lastStatus": "PROVISIONING",
            "startedBy": request.get("startedBy"),
            "overrides": request.get("overrides"),
            "containers": [{"name": "prefect"}],
        }
        self.tasks[str(task["taskArn"])] = task
        self.started.append((self.clock.now(), request))
        return task

    def set(self, arn: str, status: str, **members: Any) -> None:
        """Give a task another status."""
        task = self.tasks[arn]
        if status == "RUNNING":
            task["startedAt"] = "2026-01-01T00:00:00Z"
        exit_code = members.pop("exit_code", None)
        if exit_code is not None:
            task["containers"] = [{"name": "prefect", "exitCode": exit_code}]
            task.setdefault("startedAt", "2026-01-01T00:00:00Z")
        task.update(lastStatus=status, **members)

    async def describe_tasks(self, cluster: str, tasks: Sequence[str]) -> Mapping[str, Any]:
        self.calls["DescribeTasks"] += 1
        assert 1 <= len(tasks) <= 100, "taskIds can have at most 100 items."
        await self.clock.wait(0.05)
        if (fault := self.describe_fault(tasks)) is not None:
            raise fault
        known = [dict(self.tasks[arn]) for arn in tasks if arn in self.tasks]
        missing = [{"arn": a, "reason": "MISSING"} for a in tasks if a not in self.tasks]
        return {"tasks": known, "failures": missing}

    async def find_task(self, cluster: str, task: str) -> Mapping[str, Any] | None:
        self.calls["DescribeTasks"] += 1
        return self.tasks.get(task)

    async def tasks_started_by(self, cluster: str, started_by: str) -> Sequence[Mapping[str, Any]]:
        self.calls["ListTasks"] += 1
        await self.clock.wait(0.05)
        if (fault := self.list_fault()) is not None:
            raise fault
        return [dict(t) for t in self.tasks.values() if t["startedBy"] == started_by]

    async def tasks_of_family(self, cluster: str, family: str) -> Sequence[Mapping[str, Any]]:
        self.calls["ListTasks"] += 1
        await self.clock.wait(0.05)
        if (fault := self.list_fault()) is not None:
            raise fault
        return [dict(t) for t in self.tasks.values() if f"/{family}:" in t["taskDefinitionArn"]]

    async def stop_task(self, cluster: str, task: str, reason: str) -> None:
        self.calls["StopTask"] += 1
        if (fault := self.stop_fault()) is not None:
            raise fault
        self.stopped.append((task, reason))
        if task in self.tasks:
            self.set(task, "STOPPED", stopCode="UserInitiated", stoppedReason=reason)


def arn(family: str, revision: int) -> str:
    return ARN.format(family=family, revision=revision)


async def outcomes(clock, submissions):
    """The outcome of each submission, in their order: a task, or an error."""
    return await clock.run(
        asyncio.gather(*(s.outcome for s in submissions), return_exceptions=True)
    )
