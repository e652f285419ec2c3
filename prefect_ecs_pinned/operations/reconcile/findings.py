"""What a survey comes to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.operations.reconcile.facts import Action, Task, Verdict
from prefect_ecs_pinned.operations.reconcile.flow_runs import Subject

#: Why everything is left alone on a server that may be a copy.
_DOUBTED = "this Prefect server may be a copy of another"


@dataclass(frozen=True)
class Finding:
    """What is to become of one flow run, or of a task that outlived its flow run.

    Attributes:
        flow_run_id: Its id.
        flow_run: Its name.
        state: Name of its state.
        since: When it came into that state, by the Prefect server's clock.
        task: ARN of its task; None when it does not have one.
        action: What is to be done.
        reason: Why.
    """

    flow_run_id: UUID
    flow_run: str
    state: str
    since: datetime
    task: str | None
    action: Action
    reason: str
    subject: Subject = field(repr=False)
    place: Place | None = field(default=None, repr=False)
    cluster: str = field(default="", repr=False)

    @classmethod
    def of(cls, subject: Subject, verdict: Verdict, task: str | None) -> Finding:
        """That on a flow run."""
        return cls(
            flow_run_id=subject.id,
            flow_run=subject.name,
            state=subject.state_name,
            since=subject.since,
            task=task,
            action=verdict.action,
            reason=verdict.reason,
            subject=subject,
        )

    @classmethod
    def of_task(cls, subject: Subject, verdict: Verdict, place: Place, task: Task) -> Finding:
        """That on a task of a flow run that has ended."""
        finding = cls.of(subject, verdict, task.snapshot.task_arn)
        return replace(finding, place=place, cluster=task.snapshot.cluster_arn)

    def left(self) -> Finding:
        """What this is on a server that may be a copy."""
        if self.action is Action.LEAVE:
            return self
        return replace(self, action=Action.LEAVE, reason=_DOUBTED)


@dataclass(frozen=True)
class Survey:
    """What is to become of flow runs and tasks.

    Attributes:
        findings: One for each unfinished flow run, and for each task of a final one.
        problems: Why there could be no verdict on some.
        doubts: Signs that the Prefect server is a copy of another. With any sign, nothing is
            changed.
    """

    findings: tuple[Finding, ...]
    problems: tuple[PinnedECSError, ...]
    doubts: tuple[PinnedECSError, ...] = ()

    @property
    def todo(self) -> tuple[Finding, ...]:
        """Those on which there is something to be done."""
        return tuple(f for f in self.findings if f.action is not Action.LEAVE)


def doubt(subject: Subject, verdict: Verdict, task: Task) -> PinnedECSError:
    """What a verdict about a doubtful server shows to people."""
    return PinnedECSError(
        "refuses to reconcile with this Prefect server, which may be a copy of another",
        f"flow run {subject.name} ({subject.id}) is {subject.state_name} and task "
        f"{task.snapshot.task_arn} is live, but {verdict.reason}",
        verdict.doubt,
    )
