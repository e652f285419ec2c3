"""The launches of a worker, each in a task of the event loop that a shutdown does not cancel.

Prefect cancels the coroutines of runs when a worker stops. What is being launched then is not
stopped: what waits is withdrawn and handed back, and a task that ECS has just accepted runs on.
A caller of the worker's own methods who is cancelled, on the other hand, needs no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

import anyio
from prefect.logging.loggers import get_logger

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.launching.outcomes import MAY_RUN
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.faces.asking import reason_of
from prefect_ecs_pinned.runs.ending import Ending
from prefect_ecs_pinned.runs.host import UNWANTED
from prefect_ecs_pinned.runs.launch import WITHDRAW_SECONDS, launch
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched, Unwanted
from prefect_ecs_pinned.worker.claims import Claim
from prefect_ecs_pinned.worker.handing_back import HandingBack
from prefect_ecs_pinned.worker.host import WorkerHost
from prefect_ecs_pinned.worker.leases import Leases
from prefect_ecs_pinned.worker.live_tasks import LiveTasks
from prefect_ecs_pinned.worker.room import Room

logger = get_logger("workers.pinned-ecs.launches")


class NotTaken(PinnedECSError):
    """The flow run is not this worker's to launch any more; nothing is reported on it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A launch that is asked for.

    Attributes:
        host: Of the run.
        job: What it asks for, and the control plane of its credentials.
        bound: Of the tasks of this worker that live; None for no bound.
        claim: Of a run that was polled; None for one that a caller of the worker's methods needs.
    """

    host: WorkerHost
    job: Callable[[], Awaitable[tuple[RunSpec, ControlPlane]]]
    bound: int | None
    claim: Claim | None


class Launches:
    """Launches tasks, and has them followed; belongs to the worker's event loop.

    Args:
        live: Follows them.
        handing_back: Sets runs back.
        leases: Keeps the concurrency slots of runs that wait.

    Attributes:
        room: The bound on live tasks.
    """

    def __init__(
        self,
        live: LiveTasks,
        handing_back: HandingBack,
        leases: Leases,
    ) -> None:
        self._live = live
        self._handing_back = handing_back
        self._leases = leases
        self.room = Room()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def launch(self, order: Order) -> None:
        """Launch a task; a run that is not needed any more is not launched.

        Raises:
            PinnedECSError: Nothing was launched.
        """
        task = asyncio.create_task(self._launch(order))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if order.claim is None:
                task.cancel()
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({task}, timeout=WITHDRAW_SECONDS)
            raise

    async def stop(self, submissions: Set[asyncio.Task[None]], why: str, seconds: float) -> None:
        """Launch nothing any more, and hand back what was not launched, for a time.

        Args:
            submissions: Prefect's part of them, which ends after ours.
            why: What the states say.
            seconds: For all of it.
        """
        self._stopping = True
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        handing_back = asyncio.create_task(self._handing_back.run(why))
        while (under_way := {*self._tasks, *submissions}) and loop.time() < until:
            await asyncio.wait(under_way, timeout=until - loop.time())
        last = asyncio.create_task(self._handing_back.finish(why))
        await asyncio.wait({last}, timeout=max(0.0, until - loop.time()))
        if left := len(self._handing_back):
            text = "%d runs could not be handed back in time: another worker sets them back"
            logger.warning(text, left)
        handing_back.cancel()
        last.cancel()
        if left := len(self._tasks):
            text = "%d launches were not certain in time: the next worker looks for their tasks"
            logger.warning(text, left)
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # anyone who waited for it may be gone

    # -- the way of a launch -------------------------------------------------------------------

    async def _launch(self, order: Order) -> None:
        claim = order.claim
        if claim is not None:
            claim.launching = True
        try:
            await self._launch_taken(order)
        except Exception as error:
            if claim is None or await claim.claims.confirm(claim):
                raise
            order.host.started("")
            if not claim.lost and not isinstance(error, MAY_RUN):
                self._handing_back.add(claim)
        finally:
            if claim is not None:
                claim.claims.close(claim)

    async def _launch_taken(self, order: Order) -> None:
        host, claim = order.host, order.claim
        spec, plane = await order.job()
        try:
            if claim is not None and not await claim.claims.confirm(claim):
                raise NotTaken("cannot launch", "the flow run was taken over")
            await self._enter(order)
            launched = await self._launch_within(spec, plane, order)
        except PinnedECSError as error:
            cancelled = claim is not None and claim.unwanted and not isinstance(error, MAY_RUN)
            if not (cancelled or isinstance(error, Unwanted)):
                raise
            await Ending(spec, plane, host).never_launched()
            return
        self._live.follow(spec, plane, host, launched, self.room.leave)
        if claim is not None:
            self._leases.launched(claim)
        if self._stopping:
            await self._store(host)

    async def _store(self, host: WorkerHost) -> None:
        """Prefect's own part, which stores the identifier, may be cancelled before it does."""
        try:
            await host.store_identifier()
        except Exception as exception:  # noqa: BLE001 - the next worker finds the task without
            text = "Could not store the identifier %s: %s"
            logger.warning(text, host.attempt.identifier, reason_of(exception))

    async def _launch_within(self, spec: RunSpec, plane: ControlPlane, order: Order) -> Launched:
        try:
            return await launch(spec, plane, order.host, order.claim)
        except BaseException:
            self.room.leave()
            raise

    async def _enter(self, order: Order) -> None:
        """Wait until so few tasks live, for as long as the run is needed.

        Raises:
            Unwanted: It is not any more.
            NotTaken: It is not this worker's any more.
        """
        turn = self.room.enter(order.bound)
        if turn.done():
            return

        def give_up(error: Exception) -> None:
            if not turn.done():
                turn.set_exception(error)

        end = order.host.on_state(UNWANTED, lambda: give_up(Unwanted("not wanted")))
        if order.claim is not None:
            order.claim.used_by(lambda: give_up(NotTaken("cannot launch", "it is handed back")))
        try:
            await asyncio.shield(turn)
        except BaseException:
            self.room.give_up(turn)
            raise
        finally:
            end()
