"""The way of one flow run: prepared from the block, pinned, launched, watched.

Read `run` first. It runs on the caller's event loop and holds no thread while it waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import prefect_aws.ecs
import yaml

from prefect_ecs_pinned.aws.control_plane import ControlPlane, Launch
from prefect_ecs_pinned.aws.followed import Followed
from prefect_ecs_pinned.aws.launching import MayRun
from prefect_ecs_pinned.aws.loop import Mailbox
from prefect_ecs_pinned.aws.pinning import Pin
from prefect_ecs_pinned.aws.stderr import write_line
from prefect_ecs_pinned.aws.watching import News
from prefect_ecs_pinned.block.flow_runs import (
    CANCELLED,
    UNWANTED,
    confirm_cancelled,
    report_crash,
    when_in,
)
from prefect_ecs_pinned.block.interruptions import report_interruption, was_interrupted
from prefect_ecs_pinned.block.logs import page_logger, run_logger
from prefect_ecs_pinned.block.prepare import Prepared, prepare
from prefect_ecs_pinned.block.quoting import hidden_in
from prefect_ecs_pinned.core.arn import TaskIdentifier, cluster_name, console_url, task_id
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.showable import REQUEST
from prefect_ecs_pinned.core.shown import known_command, plain, shown, without
from prefect_ecs_pinned.core.task_state import Diagnosis, Snapshot, diagnose
from prefect_ecs_pinned.errors import PinnedECSError, TaskFailedToStart

if TYPE_CHECKING:
    from prefect_ecs_pinned.block.pinned_ecs_task import PinnedECSTask

#: Seconds that a cancelled run waits to know that its task is not, or no longer, launched.
WITHDRAW_SECONDS = 60.0

#: StopTask's reason for a task whose flow run was cancelled before it ran.
CANCELLED_REASON = "The flow run was cancelled before its task ran"

#: Status code of a task whose container did not run, or reported no exit code. `ECSTask`'s.
NO_EXIT_CODE = -1


async def run(
    block: PinnedECSTask, task_status: anyio.abc.TaskStatus[str] | None
) -> prefect_aws.ecs.ECSTaskResult:
    """Run the block's command as a task.

    ``task_status`` is told the identifier as soon as ECS has accepted the task, so that the
    flow run can be cancelled while it provisions.

    Raises:
        PinnedECSError: Nothing was launched; or, without a ``task_status``, the task failed to
            start; or it vanished, and may be running still.
    """
    return await _Run(block, task_status).run()


class _Unwanted(PinnedECSError):
    """Prefect says that the flow run, which does not run yet, is not wanted any more."""


@dataclass
class _Launched:
    """A task that ECS has accepted: all that is kept while it lives."""

    launch: Launch
    task: Snapshot
    identifier: str
    desired: Desired  # shared by all runs that have it

    @property
    def container(self) -> Mapping[str, Any]:
        """The Prefect container of its definition."""
        return self.desired.container


class _Run:
    def __init__(self, block: PinnedECSTask, task_status: anyio.abc.TaskStatus[str] | None) -> None:
        self._block = block
        self._task_status = task_status
        self._plane: ControlPlane = block._control_plane()
        self._flow_run_id = block.env.get("PREFECT__FLOW_RUN_ID")
        self._log = run_logger(block.logger.name)
        self._prefix = block._log_prefix
        self._unwanted = False

    async def run(self) -> prefect_aws.ecs.ECSTaskResult:
        prepared = await prepare(self._block, self._plane)
        pin = await self._pin(prepared)
        try:
            launched = await self._launch(prepared, pin)
        except _Unwanted:
            return await self._never_launched()
        except MayRun:
            if self._task_status is not None:
                self._task_status.started("")  # an agent leaves the flow run alone then
            raise
        del prepared  # a run that lives for hours needs no request
        try:
            return await self._follow(launched)
        finally:
            self._plane.task_ended(launched.launch)

    async def _follow(self, launched: _Launched) -> prefect_aws.ecs.ECSTaskResult:
        """From the launch to the end, whatever it is."""
        if self._task_status is not None:
            self._task_status.started(launched.identifier)
        self._tell_where(launched)
        try:
            end = await self._watch(launched)
        except TaskFailedToStart as error:
            if self._unwanted:
                return await self._stopped(launched, ran=False)
            return await self._failed_to_start(launched, error)
        if self._unwanted:
            return await self._stopped(launched, end.ran)
        return await self._finished(launched, end)

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

    async def _launch(self, prepared: Prepared, pin: Pin) -> _Launched:
        request = {**prepared.request, "taskDefinition": pin.arn}
        self._log.info(f"{self._prefix}: Creating task run...")
        if self._log.isEnabledFor(logging.DEBUG):
            self._log.debug("Task run payload\n" + yaml.dump(shown(request, REQUEST)))
        launch = self._plane.launch(
            request,
            self._block.launch_timeout_seconds,
            None if prepared.revision is not None else prepared.desired,
            prepared.may_register,
            definition=prepared.desired.definition,
            vpc_id=self._block.vpc_id,
            subnets_found=prepared.subnets_found,
            started_by=prepared.started_by,
        )
        try:
            task = await self._outcome(launch)
        except asyncio.CancelledError:
            await self._abandon(launch)
            raise
        except _Unwanted:
            left = await self._plane.withdraw(launch)
            if left is None:
                raise
            self._unwanted, task = True, left  # it could not be stopped: it is followed
        identifier = self._identifier(request, task)
        return _Launched(launch, task, identifier, prepared.desired)

    async def _abandon(self, launch: Launch) -> None:
        """Nobody is there any more to hand an identifier to: see to it that no task is left."""
        left: Snapshot | None = None
        with anyio.move_on_after(WITHDRAW_SECONDS, shield=True) as scope:
            try:
                left = await self._plane.withdraw(launch)
            except MayRun as error:
                self._log.error(f"{self._prefix}: {error}")
        if left is not None:
            self._log.error(
                f"{self._prefix}: Task {left.task_arn} could not be stopped: it may be running."
            )
        elif scope.cancel_called:
            self._log.error(f"{self._prefix}: The launch could not be withdrawn in time.")

    async def _outcome(self, launch: Launch) -> Snapshot:
        """Wait for the launch, for as long as Prefect wants it.

        Raises:
            _Unwanted: Not any more.
            PinnedECSError: Nothing was launched.
        """

        def unwanted() -> None:
            if not launch.outcome.done():
                launch.outcome.set_exception(_Unwanted("not wanted"))
                launch.outcome.exception()  # it may be cancelled at the same time

        end = self._when_in(UNWANTED, unwanted)
        try:
            return await launch.outcome
        finally:
            end()

    def _when_in(self, states: Collection[str], call: Callable[[], object]) -> Callable[[], Any]:
        if not self._flow_run_id:
            return lambda: None
        return when_in(states, self._flow_run_id, call)

    def _identifier(self, request: Mapping[str, Any], task: Snapshot) -> str:
        """``cluster::task-arn``, with the cluster as the block names it if it runs there."""
        named = self._block.cluster
        if named and cluster_name(named) == cluster_name(request.get("cluster") or "default"):
            return str(TaskIdentifier(named, task.task_arn))
        return str(TaskIdentifier(task.cluster_arn, task.task_arn))

    async def _never_launched(self) -> prefect_aws.ecs.ECSTaskResult:
        if self._task_status is None:
            raise PinnedECSError("nothing was launched", "the flow run was cancelled")
        self._task_status.started("")
        return await self._cancelled("", "cancelled while it waited; it was not launched")

    async def _stopped(self, launched: _Launched, ran: bool) -> prefect_aws.ecs.ECSTaskResult:
        """The task of a cancelled run has ended; not earlier."""
        when = "while its task started" if ran else "before its task ran"
        return await self._cancelled(
            launched.identifier, f"cancelled {when}, and the task was stopped"
        )

    async def _cancelled(self, identifier: str, how: str) -> prefect_aws.ecs.ECSTaskResult:
        """The end of a flow run that was cancelled before a process could end it."""
        self._log.info(f"{self._prefix}: The flow run was {how}.")
        if self._flow_run_id:
            await confirm_cancelled(self._flow_run_id, f"The flow run was {how}.")
        return prefect_aws.ecs.ECSTaskResult(identifier=identifier, status_code=0)

    # -- watch -------------------------------------------------------------------------------

    async def _watch(self, launched: _Launched) -> Snapshot:
        """Follow the task to its end, saying what `ECSTask` says on the way.

        Raises:
            TaskFailedToStart: Its container never ran.
            TaskFateUnknown: It vanished, or can not be watched.
        """
        self._log.info(f"{self._prefix}: Waiting for task run to start...")
        self._log.info(f"{self._prefix}: Status is {launched.task.status}.")
        mailbox: Mailbox[News] = Mailbox()
        block = self._block
        watched = self._plane.watch(
            launched.task,
            block.task_watch_poll_interval,
            block.task_start_timeout_seconds,
            mailbox,
        )
        followed: Followed | None = None
        running = False
        # With ``prefect flow-run execute`` the agent leaves cancelling to the process in the
        # container. As long as there is none, it is done here.
        end = self._when_in(CANCELLED, lambda: mailbox.put(_Unwanted("not wanted")))
        try:
            while True:
                news = await mailbox.get()
                if isinstance(news, _Unwanted):
                    if not (running or self._unwanted):
                        await self._stop_unwanted(launched.task)
                    continue
                if isinstance(news, PinnedECSError):
                    raise news
                self._log.info(f"{self._prefix}: Status is {news.status}.")
                if news.started and not running:
                    running = True
                    end()
                    self._say_command(launched.container)
                    followed = self._follow_output(launched)
                if news.final:
                    break
        except BaseException:  # cancelled, too: nobody is there for the rest of the output
            if followed is not None:
                self._plane.abandon(followed)
            raise
        finally:
            end()
            self._plane.forget(watched)
        if followed is not None:
            await self._finish_output(followed)
        return news

    async def _stop_unwanted(self, task: Snapshot) -> None:
        self._unwanted = True
        try:
            await self._plane.stop(task.cluster_arn, task.task_arn, CANCELLED_REASON, shown=True)
        except PinnedECSError as error:
            self._log.error(f"{self._prefix}: {error}")

    def _say_command(self, container: Mapping[str, Any]) -> None:
        words = known_command(self._block.command or container.get("command") or [])
        said = words if isinstance(words, str) else " ".join(words)
        self._log.info(
            f"{self._prefix}: Running command {said!r} in container "
            f"{PREFECT_CONTAINER!r} ({plain(container.get('image'))})..."
        )

    def _follow_output(self, launched: _Launched) -> Followed | None:
        if not self._block.stream_output:
            return None
        logs = launched.container.get("logConfiguration")
        if not logs:
            self._log.warning(
                f"{self._prefix}: Logging configuration not found on task. "
                "Output cannot be streamed."
            )
            return None
        stream = _log_stream(logs, launched.task)
        if stream is None:
            self._log.warning(
                f"{self._prefix}: Logging configuration uses unsupported driver "
                f"{plain(logs.get('logDriver'))!r} or no stream prefix. Output cannot be streamed."
            )
            return None
        self._log.info(f"{self._prefix}: Streaming output from container {PREFECT_CONTAINER!r}...")
        options = logs["options"]
        region = options.get("awslogs-region") or ""
        return self._plane.follow(options["awslogs-group"], stream, self._print, region)

    async def _finish_output(self, followed: Followed) -> None:
        try:
            unprinted = await self._plane.finish(followed)
        except BaseException:  # cancelled
            self._plane.abandon(followed)
            raise
        if unprinted:
            self._log.warning(
                f"{self._prefix}: {unprinted} lines of output were not printed: stderr is full, "
                "closed, or not read."
            )

    def _print(self, line: str, several: bool) -> None:
        """Print a line of the container where `ECSTask` prints it; say whose it is."""
        label = f"[{self._block.name or self._flow_run_id or self._prefix}] " if several else ""
        write_line(label + line)

    def _tell_where(self, launched: _Launched) -> None:
        if not self._flow_run_id:
            return
        task = launched.task
        logs = launched.container.get("logConfiguration") or {}
        stream = _log_stream(logs, task)
        where = f" Log stream: {logs['options']['awslogs-group']} {stream}" if stream else ""
        page_logger(self._flow_run_id, self._block.name).info(
            f"Task {task.task_arn} {console_url(task.task_arn)}{where}"
        )

    # -- the end -----------------------------------------------------------------------------

    async def _finished(self, launched: _Launched, end: Snapshot) -> prefect_aws.ecs.ECSTaskResult:
        end = self._without_quotes(launched, end)
        diagnosis = diagnose(end)
        if diagnosis.failed_to_start:
            error = TaskFailedToStart(diagnosis.summary, diagnosis.detail, diagnosis.hint)
            return await self._failed_to_start(launched, error)
        await self._report_exit(diagnosis)
        if self._flow_run_id and was_interrupted(end):
            await self._report_interruption(self._flow_run_id, end)
        code = NO_EXIT_CODE if diagnosis.exit_code is None else diagnosis.exit_code
        return prefect_aws.ecs.ECSTaskResult(identifier=launched.identifier, status_code=code)

    def _without_quotes(self, launched: _Launched, end: Snapshot) -> Snapshot:
        """The end of a task without what its reasons quote and may not show, as of the command."""
        if not (end.stopped_reason or end.container_reason or end.other_exits):
            return end
        hidden = hidden_in(self._block, launched.desired.definition)
        return replace(
            end,
            stopped_reason=without(end.stopped_reason, hidden),
            container_reason=without(end.container_reason, hidden),
            other_exits=tuple(without(other, hidden) for other in end.other_exits),
        )

    async def _report_exit(self, diagnosis: Diagnosis) -> None:
        code = diagnosis.exit_code
        if code == 0:
            self._log.info(f"{self._prefix}: Container {PREFECT_CONTAINER!r} exited successfully.")
            return
        if code is None:
            self._log.error(
                f"{self._prefix}: Task exited without reporting an exit status for container "
                f"{PREFECT_CONTAINER!r}. {diagnosis.detail}"
            )
        else:
            self._log.warning(
                f"{self._prefix}: Container {PREFECT_CONTAINER!r} exited with non-zero exit "
                f"code {code}. {diagnosis.detail}"
            )
        if self._task_status is not None and self._flow_run_id:
            crash = PinnedECSError(diagnosis.summary, diagnosis.detail, diagnosis.hint)
            await report_crash(self._flow_run_id, str(crash))

    async def _report_interruption(self, flow_run_id: str, end: Snapshot) -> None:
        if reason := await report_interruption(flow_run_id, end):
            self._log.error(f"{self._prefix}: {reason}")

    async def _failed_to_start(
        self, launched: _Launched, error: TaskFailedToStart
    ) -> prefect_aws.ecs.ECSTaskResult:
        """Raise without an agent; under one, tell the flow run's page why, and return -1."""
        if self._task_status is None:
            raise error
        self._log.error(f"{self._prefix}: {error}")
        if self._flow_run_id:
            page_logger(self._flow_run_id, self._block.name).error(str(error))
            await report_crash(self._flow_run_id, str(error))
        return prefect_aws.ecs.ECSTaskResult(
            identifier=launched.identifier, status_code=NO_EXIT_CODE
        )


def _log_stream(logs: Mapping[str, Any], task: Snapshot) -> str | None:
    """``prefix/container/task-id``, the stream of the awslogs driver."""
    options = logs.get("options") or {}
    prefix = options.get("awslogs-stream-prefix")
    if logs.get("logDriver") != "awslogs" or not prefix or not options.get("awslogs-group"):
        return None
    return f"{prefix}/{PREFECT_CONTAINER}/{task_id(task.task_arn)}"
