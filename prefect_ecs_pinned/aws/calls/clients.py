"""The calls of all runs of a process, made with shared clients on daemon threads.

What AWS's libraries log at DEBUG from our own threads is dropped, and faults quote nothing of a
request or of the credentials that may not be shown (`hiding`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from prefect_ecs_pinned.activity import waiting_for
from prefect_ecs_pinned.aws.calls.codes import is_skewed
from prefect_ecs_pinned.aws.calls.faults import PASSING, Fault, Kind, classify, presentable
from prefect_ecs_pinned.aws.calls.hiding import hidden_of_request, hide, keep_libraries_quiet
from prefect_ecs_pinned.aws.calls.models import share_models
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.retrying import AGENT
from prefect_ecs_pinned.aws.calls.sessions import Access, Session, Sessions
from prefect_ecs_pinned.aws.calls.worked import Worked
from prefect_ecs_pinned.aws.events import CallEnded, Measure, ignore
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.aws.loop.threads import Threads
from prefect_ecs_pinned.core.kinds import THROTTLES, error_type
from prefect_ecs_pinned.core.shown import plain

__all__ = ["Access", "Clients", "share_models"]

#: boto3's names of services -> AWS's, where they differ by more than capitals.
_SERVICE_IDS = {"logs": "CloudWatch Logs", "secretsmanager": "Secrets Manager"}

#: Kinds of refusals that say nothing against the credentials: AWS recognised the caller.
_AUTHENTICATED = frozenset(Kind) - PASSING - {Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.UNKNOWN}

keep_libraries_quiet()


@dataclass(frozen=True)
class _Call:
    """One call that is to be made; ``about`` is the part of the request for `worked`."""

    service: str
    operation: str
    purpose: str
    work: Callable[[Any], Any]
    about: Mapping[str, Any]
    region: str


class Clients:
    """Makes calls with shared clients, on daemon threads; lives on the control loop.

    Args:
        access: The credentials and Region.
        threads: Where most calls are made.
        launching: Where RunTask is made: launches never keep a stop or a watch waiting.
        connections: Size of the connection pool of the launching client.
        watching: Where DescribeTasks and StopTask are made, which wait for no other call; with
            most calls when it is left out.
        looking: Where lost tasks are looked for, with the client of most calls: that of the other
            purposes reads no overrides of a task that is RUNNING. With most calls when it is left
            out.
        clock: Time, of the pauses between sessions.
        timeouts: Seconds to connect, and without a byte of an answer.
        measure: Called with the end of each call.
    """

    def __init__(
        self,
        access: Access,
        threads: Threads,
        launching: Threads,
        connections: int,
        watching: Threads | None = None,
        looking: Threads | None = None,
        clock: Clock | None = None,
        timeouts: tuple[float, float] = (AGENT.connect, AGENT.answer),
        measure: Measure = ignore,
    ) -> None:
        self._threads = {
            "launching": launching,
            "watching": watching or threads,
            "looking": looking or threads,
        }
        self._others = threads
        pools = {"launching": connections}
        self._access = access
        self._clock = clock or LoopClock()
        self._sessions = Sessions(access, self._clock, pools, timeouts)
        self._measure = measure
        self._worked = Worked()

    async def region(self) -> str:
        """The Region that calls go to.

        Raises:
            Fault: No Region or credentials can be found.
        """
        client = await self._sessions.client(self._sessions.newest, "ecs", "")
        return str(client.meta.region_name)

    async def call(
        self, service: str, operation: str, purpose: str = "", region: str = "", **params: Any
    ) -> Any:
        """Make one call; renew the credentials and repeat it once if they are not accepted.

        Args:
            service: boto3's name, such as ``ecs``.
            operation: The API action, such as ``RunTask``.
            purpose: A client and threads of their own for ``launching`` and ``watching``; threads
                for ``looking``.
            region: Another Region than the access's.
            params: The request.

        Raises:
            Fault: AWS answered something else, or nothing; with ``worked`` set.
        """
        name = _method_name(operation)
        work: Callable[[Any], Any] = lambda client: getattr(client, name)(**params)  # noqa: E731
        return await self.do(service, operation, work, purpose, params, region)

    async def do(
        self,
        service: str,
        operation: str,
        work: Callable[[Any], Any],
        purpose: str = "",
        about: Mapping[str, Any] | None = None,
        region: str = "",
    ) -> Any:
        """Do something with a client, on a thread; see `call`.

        Args:
            service: boto3's name.
            operation: The API action that ``work`` makes.
            work: Gets the client; returns None when it has not made the call after all.
            purpose: See `call`.
            about: The part of the request that shows whether the same has worked before (`worked`).
            region: See `call`.
        """
        call = _Call(service, operation, purpose, work, about or {}, region)
        session = self._sessions.newest
        try:
            return await self._attempt(session, call)
        except Fault as fault:
            if not _is_renewable(fault) or not self._sessions.renew(session):
                raise
        return await self._attempt(self._sessions.newest, call)

    def close(self) -> None:
        """Release session, connections and threads."""
        self._sessions.close()
        for threads in (self._others, *self._threads.values()):
            threads.close()

    async def _attempt(self, session: Session, call: _Call) -> Any:
        ready = False
        try:
            whose = "" if call.purpose == "looking" else call.purpose
            client = await self._sessions.client(session, call.service, whose, call.region)
            threads = self._threads.get(call.purpose, self._others)
            ready, asked_at = True, self._clock.now()
            with waiting_for(lambda: _in_words(call, client)):
                answer = await threads.run(lambda: call.work(client))
        except Exception as exception:  # noqa: BLE001 - classified, whatever it is
            failure = exception
        else:
            if answer is not None:  # None: the work no longer needs the call
                self._worked.note(call.operation, call.about)
                self._measure(_ended(call, client, self._clock.now() - asked_at))
            self._sessions.accepted(session)
            return answer
        # Not within the except clause: the error's context would contain the original.
        fault = _as_fault(failure, call)
        if ready:
            self._measure(_ended(call, client, self._clock.now() - asked_at, fault))
        source = failure.__cause__ if failure is fault else failure
        if isinstance(source, ClientError) and ready and fault.kind in _AUTHENTICATED:
            self._worked.credentials = True
            self._sessions.accepted(session)
        is_local = not ready or not isinstance(source, (ClientError, ParamValidationError))
        self._judge(fault, call, is_local)
        if fault is not failure:
            fault.__cause__ = presentable(failure)
        hidden = hidden_of_request(call.operation, call.about) | set(self._access.hidden())
        raise hide(fault, hidden)

    def _judge(self, fault: Fault, call: _Call, is_local: bool) -> None:
        """Say of a fault whether what was refused has worked before.

        What botocore itself does not accept (a profile, a certificate) passes as well when it has
        worked: somebody is writing the file, or has changed the proxy.
        """
        if is_local and fault.kind is Kind.REFUSED and self._worked.credentials:
            fault.kind = Kind.UNREACHABLE
        self._worked.stamp(fault, call.about)


def _in_words(call: _Call, client: Any) -> str:
    where = getattr(getattr(client, "meta", None), "endpoint_url", None)
    return f"AWS: {call.service}:{call.operation}" + (f" at {plain(where)}" if where else "")


def _ended(call: _Call, client: Any, seconds: float, fault: Fault | None = None) -> CallEnded:
    name = _SERVICE_IDS.get(call.service, call.service.upper())
    region = str(getattr(getattr(client, "meta", None), "region_name", None) or "")
    if fault is None:
        return CallEnded(name, call.operation, region, seconds)
    operation = fault.operation or call.operation  # the work may make another call first
    return CallEnded(
        name, operation, region, seconds, error_type(fault.kind), fault.kind in THROTTLES
    )


def _as_fault(failure: Exception, call: _Call) -> Fault:
    if isinstance(failure, Fault):
        return failure
    return classify(failure, call.operation, call.service)


def _is_renewable(fault: Fault) -> bool:
    """Whether other credentials may help; they do not against a clock that is wrong."""
    rejected = fault.kind in (Kind.EXPIRED, Kind.BAD_SIGNATURE)
    return rejected and not is_skewed(fault.code, fault.message)


def _method_name(operation: str) -> str:
    """``DescribeTasks`` -> ``describe_tasks``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in operation).lstrip("_")
