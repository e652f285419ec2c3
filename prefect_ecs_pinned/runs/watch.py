"""A launched task, followed until it has stopped: its statuses, its output, its cancellation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeQueue
from prefect_ecs_pinned.aws.output.followed import Followed
from prefect_ecs_pinned.aws.output.stderr import write_line
from prefect_ecs_pinned.aws.watching.watcher import News
from prefect_ecs_pinned.core.arn import task_id
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.shown import known_command, plain
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.runs.host import CANCELLED, Host
from prefect_ecs_pinned.runs.spec import RunSpec

#: StopTask's reason for a task whose flow run was cancelled before it ran.
CANCELLED_REASON = "The flow run was cancelled before its task ran"


class Unwanted(PinnedECSError):
    """Prefect says that the flow run, which does not run yet, is not needed any more."""


@dataclass(slots=True)
class Launched:
    """A task that ECS has accepted: all that is kept while it lives.

    Attributes:
        launch: What has launched it.
        task: As RunTask answered it.
        identifier: ``cluster::task-arn``.
        desired: The definition that it runs; shared by all runs that have it.
        unwanted: The flow run was cancelled before the task ran.
    """

    launch: Launch
    task: Snapshot
    identifier: str
    desired: Desired
    unwanted: bool = False

    @property
    def container(self) -> Mapping[str, Any]:
        """The Prefect container of its definition."""
        return self.desired.container

    @property
    def log_group(self) -> str:
        """Name of the group of its `log_stream`."""
        return str(self.container["logConfiguration"]["options"]["awslogs-group"])

    def log_stream(self, container_name: str) -> str | None:
        """``prefix/container/task-id``, the stream of the awslogs driver; None for another."""
        logs = self.container.get("logConfiguration") or {}
        options = logs.get("options") or {}
        prefix = options.get("awslogs-stream-prefix")
        if logs.get("logDriver") != "awslogs" or not prefix or not options.get("awslogs-group"):
            return None
        return f"{prefix}/{container_name}/{task_id(self.task.task_arn)}"


async def watch(spec: RunSpec, plane: ControlPlane, host: Host, launched: Launched) -> Snapshot:
    """Follow a task to its end, with `ECSTask`'s lines on the way.

    A task whose flow run is cancelled before it runs is stopped, and ``unwanted`` set.

    Raises:
        TaskFailedToStart: Its container never ran.
        TaskFateUnknown: It vanished, or can not be watched.
    """
    return await _Watch(spec, plane, host, launched).to_the_end()


class _Watch:
    def __init__(self, spec: RunSpec, plane: ControlPlane, host: Host, launched: Launched) -> None:
        self._spec = spec
        self._plane = plane
        self._host = host
        self._log = host.log
        self._prefix = spec.log_prefix
        self._launched = launched
        self._followed: Followed | None = None

    async def to_the_end(self) -> Snapshot:
        task = self._launched.task
        self._log.debug(f"{self._prefix}: Waiting for task run to start...")
        self._log.debug(f"{self._prefix}: Status is {task.status}.")
        queue: ThreadsafeQueue[News] = ThreadsafeQueue()
        watched = self._plane.watch(
            task,
            self._spec.task_watch_poll_interval,
            self._spec.task_start_timeout_seconds,
            queue,
        )
        try:
            end = await self._read(queue)
        except BaseException:  # cancelled, too: nobody is there for the rest of the output
            if self._followed is not None:
                self._plane.abandon(self._followed)
            raise
        finally:
            self._plane.forget(watched)
        if self._followed is not None:
            await self._finish_output(self._followed)
        return end

    async def _read(self, queue: ThreadsafeQueue[News]) -> Snapshot:
        """All that happens to the task, until it has stopped."""
        running = False
        # With ``prefect flow-run execute`` the agent leaves cancelling to the process in the
        # container. As long as there is none, it is done here.
        end = self._host.on_state(CANCELLED, lambda: queue.put(Unwanted("not wanted")))
        try:
            while True:
                news = await queue.get()
                if isinstance(news, Unwanted):
                    if not (running or self._launched.unwanted):
                        await self._stop_unwanted()
                    continue
                if isinstance(news, PinnedECSError):
                    raise news
                self._log.debug(f"{self._prefix}: Status is {news.status}.")
                if news.started and not running:
                    running = True
                    end()
                    self._say_command()
                    self._followed = self._follow_output()
                if news.final:
                    return news
        finally:
            end()

    async def _stop_unwanted(self) -> None:
        self._launched.unwanted = True
        task = self._launched.task
        try:
            await self._plane.stop(task.cluster_arn, task.task_arn, CANCELLED_REASON, shown=True)
        except PinnedECSError as error:
            self._log.error(f"{self._prefix}: {error}")

    def _say_command(self) -> None:
        if not self._log.isEnabledFor(logging.DEBUG):
            return
        container = self._launched.container
        words = known_command(self._spec.command or container.get("command") or [])
        said = words if isinstance(words, str) else " ".join(words)
        self._log.debug(
            f"{self._prefix}: Running command {said!r} in container "
            f"{self._spec.container_name!r} ({plain(container.get('image'))})..."
        )

    # -- output ------------------------------------------------------------------------------

    def _follow_output(self) -> Followed | None:
        if not self._spec.stream_output:
            return None
        launched, name = self._launched, self._spec.container_name
        logs = launched.container.get("logConfiguration")
        if not logs:
            self._log.warning(
                f"{self._prefix}: Logging configuration not found on task. "
                "Output cannot be streamed."
            )
            return None
        stream = launched.log_stream(name)
        if stream is None:
            self._log.warning(
                f"{self._prefix}: Logging configuration uses unsupported driver "
                f"{plain(logs.get('logDriver'))!r} or no stream prefix. Output cannot be streamed."
            )
            return None
        self._log.debug(f"{self._prefix}: Streaming output from container {name!r}...")
        region = logs["options"].get("awslogs-region") or ""
        return self._plane.follow(launched.log_group, stream, self._print, region)

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
        whose = self._spec.name or self._spec.flow_run_id or self._prefix
        write_line(f"[{whose}] {line}" if several else line)
