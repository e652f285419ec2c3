"""Flow runs whose state is followed: looked at by one timer, many a call.

One look is not proof: a flow run that is missing from an answer counts as deleted only when
`read_flow_run` has answered 404 twice, some seconds apart. An answer that cannot be read says
nothing of any flow run, and ends nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.loop.bounded import in_batches
from prefect_ecs_pinned.faces.asking import reason_of, within
from prefect_ecs_pinned.faces.pages import page_limit

T = TypeVar("T")

#: Seconds between two looks at the flow runs that are followed: the longest time for which a flow
#: run that is cancelled in Prefect may still be launched, except for the time that an answer takes.
LOOK_SECONDS = 10.0

#: Seconds that a call is given. A busy server on SQLite takes up to 24 s.
_CALL_SECONDS = 30.0

#: A look whose answer was odd, or did not come, is repeated: (seconds that each call is given,
#: seconds until the next). The first is short, since a call may hang that another would not.
_TRIES = ((10.0, 1.0), (_CALL_SECONDS, 2.0), (_CALL_SECONDS, 0.0))

#: Calls at the same time; Prefect's client opens 16 connections.
_CALLS = 8

#: Seconds that lie at least between the two answers which prove that a flow run is gone.
GONE_SECONDS = 5.0

#: Seconds for which flow runs are not read until that is said.
UNREAD_SECONDS = 180.0

#: Is given the type of a flow run's state, such as ``CANCELLED``; None when there is no such flow
#: run. The type is empty without a state. It may be empty for a flow run that continues, too.
Listener = Callable[[str | None], object]

#: What becomes of runs that cannot be read, where nobody asks before a launch.
_LAUNCHED_UNREAD = "They are launched when it is their turn, even if they have been cancelled"

logger = get_logger(__name__)


class StatesApi(Protocol):
    """What is asked of Prefect's API. Whatever is raised means that it is not known."""

    async def states(self, ids: Sequence[str], /) -> Mapping[str, str]:
        """Flow run -> type of its state, empty without one; those that it does not name lack."""

    async def all_continue(self, ids: Sequence[str], /) -> bool:
        """Whether all exist and none has ended or is to end, as far as a count shows that."""

    async def state(self, flow_run_id: str, /) -> str | None:
        """Type of the state of one flow run, empty without one; None when the answer is 404."""


@dataclass(slots=True)
class _Followed:
    """A flow run that is followed.

    Attributes:
        read_at: When it was read last, or began to be followed.
        missing_since: When `read_flow_run` first answered 404, since it was last seen.
        gone: It was proved to be deleted.
        looking: A look at it is under way.
    """

    read_at: float
    listeners: dict[object, Listener] = field(default_factory=dict)
    missing_since: float | None = None
    gone: bool = False
    looking: bool = False


class Following:
    """Looks at all followed flow runs of one event loop, to which everything here belongs.

    Args:
        api: What is asked.
        clock: Time.
        unread: What it means that flow runs can not be read.
    """

    def __init__(self, api: StatesApi, clock: Clock, unread: str = _LAUNCHED_UNREAD) -> None:
        self._api = api
        self._unread_means = unread
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._timer: asyncio.Task[None] | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_CALLS)
        self._read_at = 0.0
        self._why = ""
        self._warned_at: float | None = None

    def follow(self, flow_run_id: str, listener: Listener) -> Callable[[], None]:
        """Call a function after each look at a flow run, until what is returned is called.

        A timer for each flow run would cost more than the looks.

        Args:
            flow_run_id: UUID of the flow run, as Prefect writes it.
            listener: See `Listener`. It is not called when the API gives no answer.
        """
        key = object()
        followed = self._followed.setdefault(flow_run_id, _Followed(self._clock.now()))
        followed.listeners[key] = listener
        if self._timer is None or self._timer.done():
            self._timer = asyncio.create_task(self._run())
        return partial(self._end, flow_run_id, key)

    def _end(self, flow_run_id: str, key: object) -> None:
        followed = self._followed.get(flow_run_id)
        if followed is not None:
            followed.listeners.pop(key, None)
            if not followed.listeners:
                del self._followed[flow_run_id]

    async def _run(self) -> None:
        """Begin a look every so often. None waits for another that takes long."""
        while self._followed:
            await self._clock.wait(LOOK_SECONDS)
            ids = [id_ for id_, followed in self._followed.items() if not followed.looking]
            for batch in in_batches(ids, page_limit()):
                for flow_run_id in batch:
                    self._followed[flow_run_id].looking = True
                look = asyncio.create_task(self._look(batch))
                self._looks.add(look)
                look.add_done_callback(self._looks.discard)
            self._say_how_it_goes()

    async def _look(self, ids: Sequence[str]) -> None:
        try:
            if await self._all_continue(ids):
                states = dict.fromkeys(ids, "")
            else:
                states = await self._states(ids)
            for flow_run_id, state in states.items():
                self._seen(flow_run_id, state)
            missing = [id_ for id_ in ids if id_ not in states]
            until = self._clock.now() + LOOK_SECONDS
            await asyncio.gather(*(self._look_for(id_, until) for id_ in missing))
        except Exception as exception:  # noqa: BLE001 - unknown is not final: asked again
            self._unread(len(ids), exception)
        finally:
            self._looked_at(ids)

    async def _all_continue(self, ids: Sequence[str]) -> bool:
        """One short try: what it does not show is read, in a time of its own."""
        try:
            async with self._slots:
                seconds, _ = _TRIES[0]
                return await within(self._clock, seconds, self._api.all_continue(ids))
        except Exception as exception:  # noqa: BLE001 - unknown is not final: they are read
            logger.debug("Could not count %d flow runs: %s", len(ids), reason_of(exception))
            return False

    async def _states(self, ids: Sequence[str]) -> dict[str, str]:
        """States of flow runs. Those that lack are asked for again as long as some turn up."""
        states: dict[str, str] = {}
        left = list(ids)
        while left:
            answer = await self._repeatedly(partial(self._api.states, left))
            found = {id_: answer[id_] for id_ in left if id_ in answer}
            if not found:
                break
            states.update(found)
            left = [id_ for id_ in left if id_ not in found]
        return states

    async def _look_for(self, flow_run_id: str, until: float) -> None:
        """Read one that was missing; not after ``until``, for it has its turn at the next look."""
        followed = self._followed.get(flow_run_id)
        if followed is None:
            return
        if followed.gone:
            self._read(followed)
            self._tell(flow_run_id, None)
            return
        try:
            async with self._slots:
                now = self._clock.now()
                if now > until:
                    return
                state = await within(self._clock, _CALL_SECONDS, self._api.state(flow_run_id))
        except Exception as exception:  # noqa: BLE001 - unknown is not final: asked again
            self._unread(1, exception)
            return
        if state is not None:
            self._seen(flow_run_id, state)
            return
        self._read(followed)
        if followed.missing_since is None:
            followed.missing_since = now
        elif now - followed.missing_since >= GONE_SECONDS:
            followed.gone = True
            self._tell(flow_run_id, None)

    async def _repeatedly(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Make a call, again when its answer is odd; raises what the last try raised."""
        failure: Exception | None = None
        for seconds, pause in _TRIES:
            try:
                async with self._slots:
                    return await within(self._clock, seconds, call())
            except Exception as exception:  # noqa: BLE001 - unknown is not final: asked again
                failure = exception
            await self._clock.wait(pause)
        assert failure is not None
        raise failure

    def _seen(self, flow_run_id: str, state: str) -> None:
        followed = self._followed.get(flow_run_id)
        if followed is not None:
            self._read(followed)
            followed.missing_since, followed.gone = None, False
            followed.looking = False  # it need not wait for those that are missing
            self._tell(flow_run_id, state)

    def _tell(self, flow_run_id: str, state: str | None) -> None:
        followed = self._followed.get(flow_run_id)
        for listener in list(followed.listeners.values()) if followed is not None else ():
            try:
                listener(state)
            except Exception as exception:  # noqa: BLE001 - the others' looks continue
                logger.error("Could not act on flow run %s: %r", flow_run_id, exception)

    def _looked_at(self, ids: Iterable[str]) -> None:
        for flow_run_id in ids:
            if (followed := self._followed.get(flow_run_id)) is not None:
                followed.looking = False

    # -- how it goes -------------------------------------------------------------------------

    def _read(self, followed: _Followed) -> None:
        followed.read_at = self._read_at = self._clock.now()

    def _unread(self, count: int, exception: Exception) -> None:
        self._why = reason_of(exception)
        logger.debug("Could not read %d flow runs: %s", count, self._why)

    def _say_how_it_goes(self) -> None:
        """Say once that flow runs can not be read, and once that all can be again."""
        now = self._clock.now()
        unread = sum(now - f.read_at >= UNREAD_SECONDS for f in self._followed.values())
        if unread and self._warned_at is None:
            self._warned_at = now
            logger.warning(
                "%d flow runs could not be read from the Prefect API for %.0f minutes (%s). "
                "%s. Check PREFECT_API_URL, and the server",
                *(unread, UNREAD_SECONDS / 60, self._why or "no answer", self._unread_means),
            )
        elif not unread and self._warned_at is not None and self._read_at > self._warned_at:
            self._warned_at = None
            logger.info("Flow runs can be read from the Prefect API again")
