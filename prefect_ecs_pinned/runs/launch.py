"""The first half of a run: prepared, pinned, launched.

Read `_Launching.launch` first. It runs on the caller's event loop and holds no thread while it
waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any

import yaml

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.launching.outcomes import MAY_RUN
from prefect_ecs_pinned.aws.launching.submission import Permit
from prefect_ecs_pinned.aws.pinning.resolving import Pin
from prefect_ecs_pinned.core.arn import TaskIdentifier, cluster_name, console_url
from prefect_ecs_pinned.core.showable import REQUEST
from prefect_ecs_pinned.core.shown import plain, shown
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.runs.host import UNWANTED, Host
from prefect_ecs_pinned.runs.prepare import Prepared, prepare
from prefect_ecs_pinned.runs.revision import named_revision
from prefect_ecs_pinned.runs.spec import RunSpec
from prefect_ecs_pinned.runs.watch import Launched, Unwanted

#: Seconds that a cancelled run waits for the answer that its task is not, or no longer, launched.
WITHDRAW_SECONDS = 60.0


async def launch(
    spec: RunSpec, plane: ControlPlane, host: Host, permit: Permit | None = None
) -> Launched:
    """Launch what a spec asks for, and see that no task is left when nobody needs it.

    ``host.started`` is called with the identifier as soon as ECS has accepted the task, so that
    the flow run can be cancelled while it provisions. The identifier is empty when a task may run
    that cannot be found.

    With a permit that is retracted, nothing is launched any more; nothing that was is stopped.

    Raises:
        Unwanted: The flow run was cancelled while it waited; nothing runs.
        PinnedECSError: Nothing was launched.
    """
    return await _Launching(spec, plane, host, permit).launch()


class _Launching:
    def __init__(
        self, spec: RunSpec, plane: ControlPlane, host: Host, permit: Permit | None
    ) -> None:
        self._permit = permit
        self._spec = spec
        self._plane = plane
        self._host = host
        self._log = host.log
        self._prefix = spec.log_prefix

    async def launch(self) -> Launched:
        if named := named_revision(self._spec):
            self._log.debug(f"{self._prefix}: Retrieving task definition {plain(named)!r}...")
        prepared = await prepare(self._spec, self._plane)
        pin = await self._pin(prepared)
        try:
            launched = await self._launch(prepared, pin)
        except MAY_RUN:
            self._host.started("")  # an agent leaves the flow run alone then
            raise
        self._host.started(launched.identifier)
        self._say_where(launched)
        return launched

    # -- pin ---------------------------------------------------------------------------------

    async def _pin(self, prepared: Prepared) -> Pin:
        if prepared.revision is not None:
            return Pin(prepared.revision, "given")
        pin = await self._plane.pin(prepared.desired, prepared.may_register)
        if pin.how == "registered":
            if prepared.linked_changed:
                self._log.warning(
                    f"{self._prefix}: Settings require changes to the linked task definition. "
                    "A new task definition was registered."
                )
            self._log.info(
                f"{self._prefix}: Registering task definition... {pin.arn} ({pin.reason})"
            )
        elif pin.how in ("found", "adopted"):
            self._log.info(f"{self._prefix}: Pinned task definition {pin.arn} ({pin.how})")
        else:
            self._log.debug(f"{self._prefix}: Pinned task definition {pin.arn}")
        return pin

    # -- launch ------------------------------------------------------------------------------

    async def _launch(self, prepared: Prepared, pin: Pin) -> Launched:
        """Launch the task, and see that no task is left when nobody needs it.

        Raises:
            Unwanted: The flow run was cancelled; nothing runs.
            PinnedECSError: Nothing was launched.
        """
        request = {**prepared.request, "taskDefinition": pin.arn}
        self._log.debug(f"{self._prefix}: Creating task run...")
        if self._log.isEnabledFor(logging.DEBUG):
            self._log.debug("Task run payload\n" + yaml.dump(shown(request, REQUEST)))
        launch = self._plane.launch(
            request,
            self._spec.launch_timeout_seconds,
            None if prepared.revision is not None else prepared.desired,
            prepared.may_register,
            definition=prepared.desired.definition,
            vpc_id=self._spec.vpc_id,
            subnets_found=prepared.subnets_found,
            started_by=prepared.started_by,
            container_name=self._spec.container_name,
            permit=self._permit,
        )
        unwanted = False
        try:
            task = await self._outcome(launch)
        except asyncio.CancelledError:
            await self._abandon(launch)
            raise
        except Unwanted:
            try:
                left = await self._plane.withdraw(launch) or launch.stopped
            except asyncio.CancelledError:
                await self._abandon(launch)
                raise
            if left is None:
                raise
            unwanted, task = True, left  # it was launched: it is followed to its end
        identifier = self._identifier(request, task)
        return Launched(launch, task, identifier, prepared.desired, unwanted)

    async def _abandon(self, launch: Launch) -> None:
        """Nobody is there any more to hand an identifier to: see to it that no task is left."""
        if self._permit is not None and self._permit.retracted:
            return  # anyone who finds its task takes it up
        with self._host.shield():
            withdrawn = await _uninterrupted(self._withdraw(launch), WITHDRAW_SECONDS)
        if not withdrawn.done() or withdrawn.cancelled():
            self._log.error(f"{self._prefix}: The launch could not be withdrawn in time.")
        elif (left := withdrawn.result()) is not None:
            self._log.error(
                f"{self._prefix}: Task {left.task_arn} could not be stopped: it may be running."
            )

    async def _withdraw(self, launch: Launch) -> Snapshot | None:
        try:
            return await self._plane.withdraw(launch)
        except Exception as error:  # noqa: BLE001 - a task that may run, or a control plane that has closed
            self._log.error(f"{self._prefix}: The launch could not be withdrawn: {error}")
            return None

    async def _outcome(self, launch: Launch) -> Snapshot:
        """Wait for the launch, for as long as Prefect needs it.

        Raises:
            Unwanted: Not any more.
            PinnedECSError: Nothing was launched.
        """

        def unwanted() -> None:
            if not launch.outcome.done():
                launch.outcome.set_exception(Unwanted("not wanted"))
                launch.outcome.exception()  # it may be cancelled at the same time

        end = self._host.on_state(UNWANTED, unwanted)
        try:
            return await launch.outcome
        finally:
            end()

    def _identifier(self, request: Mapping[str, Any], task: Snapshot) -> str:
        """``cluster::task-arn``, with the cluster as the spec names it if it runs there."""
        named = self._spec.cluster
        if named and cluster_name(named) == cluster_name(request.get("cluster") or "default"):
            return str(TaskIdentifier(named, task.task_arn))
        return str(TaskIdentifier(task.cluster_arn, task.task_arn))

    def _say_where(self, launched: Launched) -> None:
        """On the flow run's page: the task, and the stream of its output."""
        arn, stream = launched.task.task_arn, launched.log_stream(self._spec.container_name)
        where = f" Log stream: {launched.log_group} {stream}" if stream else ""
        self._host.page.info(f"Task {arn} {console_url(arn)}{where}")


async def _uninterrupted(
    work: Coroutine[Any, Any, Snapshot | None], seconds: float
) -> asyncio.Task[Snapshot | None]:
    """Await a coroutine although this task is cancelled, as often as that may be, for a time.

    Returns:
        Done with what came of it; or cancelled, when the time was over.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    until = loop.time() + seconds
    while not task.done() and (left := until - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError:
            continue
    if not task.done():
        task.cancel()
    return task
