"""A stand-in for Prefect's API as far as a worker uses it, and for the processes of its flow runs.

A flow run's process is in its task: as soon as the task runs, the run is Running, and when its
container ends by itself, Completed. That is worked out whenever a flow run is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from uuid import UUID, uuid4

from prefect_ecs_pinned.local import LocalECS
from tests.faults.prefect_side import LIMIT, PrefectSide

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})

POOL = "matrix"

_FLOW = UUID(int=1)

#: Statuses of a task whose container has ended.
_OVER = frozenset({"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"})


def _state(kind: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A state that is set now."""
    return {
        "type": kind,
        "name": (given or {}).get("name") or kind.title(),
        "message": (given or {}).get("message"),
        "id": str(uuid4()),
        "timestamp": datetime.now(timezone.utc).isoformat(),
        "state_details": {},
    }


@dataclass
class _FlowRun:
    """What Prefect knows of one."""

    id: str
    states: list[dict[str, Any]] = field(default_factory=lambda: [_state("SCHEDULED")])
    pid: str | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    pool: str = ""
    deployment: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)


class WorkerSide(PrefectSide):
    """Flow runs of a pool: every one that is asked for is Scheduled unless it was set.

    Attributes:
        templates: Base job template of a pool.
        deployments: Job variables of a deployment.
        on_pid: Is given a flow run and the pid that was stored for it.
        ecs: Where the tasks are.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        super().__init__(limit)
        self.templates: dict[str, Any] = {}
        self.on_pid: Callable[[str, str], None] = lambda id_, pid: None
        self.deployments: dict[str, Mapping[str, Any]] = {}
        self.ecs: LocalECS | None = None
        self._known: dict[str, _FlowRun] = {}

    def schedule(self, id_: str, pool: str, deployment: str) -> dict[str, Any]:
        """A flow run of a deployment, as a poll brings it."""
        with self._lock:
            run = self._of(id_)
            run.pool, run.deployment = pool, deployment
            return self._flow_run(id_)

    def deployment(self, variables: Mapping[str, Any]) -> str:
        """The deployment with these job variables."""
        with self._lock:
            for id_, known in self.deployments.items():
                if known == variables:
                    return id_
            id_ = str(uuid4())
            self.deployments[id_] = variables
            return id_

    def submit(self, id_: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """A flow run without a deployment that somebody submits to a worker: it is Pending."""
        with self._lock:
            run = self._of(id_)
            run.variables = variables
            self._set(run, "PENDING")
            return self._flow_run(id_)

    def now(self, id_: str) -> tuple[str | None, str, str | None]:
        """Type and message of a flow run's state, and its pid; no type for a deleted one."""
        with self._lock:
            run = self._of(id_)
            state = self._refreshed(run)
            if self.states.get(id_, "") is None:
                return None, "", run.pid
            return state["type"], state["message"] or "", run.pid

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and body of an answer."""
        path, _, query = path.partition("?")
        words = path.removeprefix("/api/").strip("/").split("/")
        with self._lock:
            if words[0] == "flow_runs" and len(words) > 1 and words[1] != "filter":
                return self._one(words, body)
            if words == ["flow_runs", "filter"]:
                return self._filter(body)
            if words[0] == "flow_run_states":
                return 200, self._of(query.partition("flow_run_id=")[2]).states
            if words[0] in ("deployments", "flows", "work_pools"):
                return self._setting(words)
            return (201, None) if words[0] == "logs" else (404, {"detail": "Not Found"})

    # -- flow runs ---------------------------------------------------------------------------------

    def _one(self, words: Sequence[str], body: Any) -> tuple[int, Any]:
        run = self._of(words[1])
        if words[-1] == "set_state":
            return self._propose(run, body)
        if words[-1] == "labels":
            run.labels.update(body)
            return 204, None
        if body is not None:
            if pid := body.get("infrastructure_pid"):
                run.pid = pid
                self.on_pid(run.id, pid)
            return 204, None
        return self._read(words[1])

    def _propose(self, run: _FlowRun, body: Any) -> tuple[int, Any]:
        """Prefect's rules, as far as they concern a worker."""
        now, wanted = self._refreshed(run), body["state"]
        if self.states.get(run.id, "") is None:
            return 404, {"detail": "Flow run not found"}
        if not body.get("force"):
            same = (now["type"], now["name"]) == (wanted["type"], wanted.get("name"))
            back = wanted["type"] == "PENDING" and now["type"] not in ("SCHEDULED", "PENDING")
            if now["type"] in FINAL or same or back:
                details = {"type": "abort_details", "reason": f"it is {now['name']}"}
                return 200, {"state": None, "status": "ABORT", "details": details}
            if now["type"] == "CANCELLING" and wanted["type"] != "CANCELLED":
                details = {"type": "reject_details", "reason": "it is being cancelled"}
                return 200, {"state": now, "status": "REJECT", "details": details}
        self.on_state(run.id, wanted["type"])
        self._set(run, wanted["type"], wanted)
        accepted = {"type": "accept_details"}
        return 201, {"state": run.states[-1], "status": "ACCEPT", "details": accepted}

    def _filter(self, body: Any) -> tuple[int, Any]:
        wanted = body.get("flow_runs") or {}
        if "id" in wanted:
            return super()._filter(body)
        held = (wanted.get("state") or {}).get("type", {}).get("any_") or ()
        pools = (body.get("work_pools") or {}).get("name", {}).get("any_") or ()
        there = [run.id for run in self._known.values() if run.pool in pools]
        found = [self._flow_run(i) for i in sorted(there) if self.states[i] is not None]
        found = [run for run in found if run["state"]["type"] in held]
        first = int(body.get("offset") or 0)
        return 200, found[first : first + int(body["limit"])]

    def _flow_run(self, id_: str) -> dict[str, Any]:
        run = self._of(id_)
        return {
            "id": id_,
            "flow_id": str(_FLOW),
            "deployment_id": run.deployment,
            "name": "run",
            "state": self._refreshed(run),
            "infrastructure_pid": run.pid,
            "labels": run.labels,
            "job_variables": dict(run.variables),
        }

    def _of(self, id_: str) -> _FlowRun:
        if id_ not in self._known:
            self._known[id_] = _FlowRun(id_)
            self.states.setdefault(id_, "SCHEDULED")
        return self._known[id_]

    def _set(self, run: _FlowRun, kind: str, given: Mapping[str, Any] | None = None) -> None:
        run.states.append(_state(kind, given))
        self.states[run.id] = kind

    def _refreshed(self, run: _FlowRun) -> dict[str, Any]:
        """Its state, after what a test has set and its process has done."""
        kind = self.states[run.id]
        if kind is not None and kind != (before := run.states[-1]["type"]):
            if (before, kind) == ("SCHEDULED", "CANCELLING"):  # nobody has it: see Prefect's rule
                kind = "CANCELLED"  # BypassCancellingFlowRunsWithNoInfra
            self._set(run, kind)
        status, ran, by_itself = self._task(run.id)
        # One that is cancelled as soon as its task runs has a process, and was never seen RUNNING.
        started = ran or any(state["type"] == "RUNNING" for state in run.states)
        if kind == "PENDING" and (status == "RUNNING" or by_itself):
            self._set(run, "RUNNING")
            started, kind = True, "RUNNING"
        if kind in ("RUNNING", "CANCELLING") and started and status in _OVER:
            if kind == "CANCELLING":
                self._set(run, "CANCELLED")
            elif by_itself:
                self._set(run, "COMPLETED")
        return run.states[-1]

    def _task(self, id_: str) -> tuple[str, bool, bool]:
        """Status of a flow run's newest task, whether it has run, and has ended by itself."""
        if self.ecs is None:
            return "", False, False
        model, launches = self.ecs.model, self.launches_of(id_)
        task = model.find(launches[-1]) if launches else None
        if task is None:
            return "", False, False
        at = model.moment(task)
        ran = at.started is not None
        return at.status, ran, ran and at.status in _OVER and task.stop_asked is None

    def launches_of(self, id_: str) -> list[str]:
        """The tasks that were started for a flow run."""
        assert self.ecs is not None
        return [str(one["taskArn"]) for one in self.ecs.launches if one["flow_run_id"] == id_]

    # -- what else a worker reads --------------------------------------------------------------

    def _setting(self, words: Sequence[str]) -> tuple[int, Any]:
        if words[0] == "flows":
            return 200, {"id": words[1], "name": "matrix"}
        if words[0] == "deployments":
            return 200, {
                "id": words[1],
                "flow_id": str(_FLOW),
                "name": "matrix",
                "job_variables": self.deployments.get(words[1], {}),
            }
        if words[-1] == "heartbeat":
            return 204, None
        if words[-1] == "filter":
            return 200, []
        if words[1] in self.templates and len(words) == 2:
            return 200, {
                "id": str(UUID(int=3)),
                "name": words[1],
                "type": "pinned-ecs",
                "base_job_template": self.templates[words[1]],
                "default_queue_id": str(UUID(int=4)),
            }
        return 404, {"detail": "Not Found"}
