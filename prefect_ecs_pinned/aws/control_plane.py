"""What all runs of a process share, per credentials and Region.

``shared`` finds or makes the control plane of an access. The Prefect agent rebuilds its block
for every flow run, so nothing that is to be remembered may live on a block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.calls.retrying import AGENT, Waits, retry
from prefect_ecs_pinned.aws.events import Listener, ignore
from prefect_ecs_pinned.aws.launching.clusters import Strategy
from prefect_ecs_pinned.aws.launching.handover import Launch
from prefect_ecs_pinned.aws.launching.submission import Permit, Submission
from prefect_ecs_pinned.aws.loop.control_loop import ControlLoop, ThreadsafeQueue
from prefect_ecs_pinned.aws.loop.registry import Registry
from prefect_ecs_pinned.aws.output.followed import Followed
from prefect_ecs_pinned.aws.output.printing import Sink
from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.aws.pinning.resolving import Pin
from prefect_ecs_pinned.aws.stopping import Outcome
from prefect_ecs_pinned.aws.verbs import Verbs
from prefect_ecs_pinned.aws.watching.watcher import News, Watch
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import TaskFateUnknown, Unavailable

#: Control planes that are kept although no run uses them, and for how many seconds: an agent needs
#: one for each set of credentials that its deployments use, and credentials may change all the
#: time. One that has to be made again costs a client and a DescribeTaskDefinition.
_KEPT_PLANES = 8
_KEPT_SECONDS = 600.0

#: Seconds between looks for control planes that nobody has asked for in that time.
_TIDY_SECONDS = 60.0

#: Seconds for which a look for tasks is tried again: fewer than until the caller's next look.
_LOOK_SECONDS = 10.0

_CLOSED = "the control plane has been closed"


@dataclass(eq=False)
class Watched:
    """A task that is to be watched; ``watch`` is None until the control loop has taken it up."""

    watch: Watch | None = None


class ControlPlane:
    """What the runs of one set of credentials and Region share.

    Every coroutine here may be awaited from any event loop; the work is done on the control
    loop. Callers may be cancelled: what they share with others continues.

    What is remembered (a built definition, a pin, a VPC's subnets) is looked up where the caller
    is: one look into a dictionary whose values never change is safe from any thread, and a way
    to the control loop and back costs 50 µs of CPU.
    """

    def __init__(self, access: Access, emit: Listener = ignore, waits: Waits = AGENT) -> None:
        self._access = access
        self._loop = ControlLoop()
        self._verbs = Verbs.of(access, emit, waits)
        #: Called by `close`, or when the last run that uses this has gone.
        self._let_go = weakref.finalize(self, _let_go, self._loop, self._verbs, os.getpid())
        self._let_go.atexit = False  # threads are daemons, and the process is ending

    async def region(self) -> str:
        """The Region, asked of boto3 when the access leaves it open.

        Raises:
            PinnedECSError: There is none, or no credentials.
        """
        if self._access.region:
            return self._access.region
        try:
            return await self._loop.run(self._verbs.clients.region())
        except Fault as fault:
            raise as_error(fault, "cannot reach AWS") from fault

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        """Make one call, for a command; see `Clients.call`.

        Raises:
            Fault: AWS answered something else, or nothing.
        """
        return await self._loop.run(self._verbs.clients.call(service, operation, purpose, **params))

    def hidden(self) -> frozenset[str]:
        """The texts of the credentials that no message may show."""
        return frozenset(self._access.hidden())

    async def desired(self, spec: DefinitionSpec) -> Desired:
        """The definition that a configuration asks for; built once per configuration.

        Raises:
            ConfigurationError: It can not become a definition.
        """
        key = spec.key()
        if (known := self._verbs.pinning.remembered_definition(key)) is not None:
            return known
        return await self._loop.run(self._verbs.pinning.definition(key, spec))

    async def linked(self, identifier: str, tags: bool = False) -> LinkedRevision:
        """See `Pinning.linked`."""
        if (known := self._verbs.pinning.remembered_link(identifier, tags)) is not None:
            return known
        return await self._loop.run(self._verbs.pinning.linked(identifier, tags))

    async def subnets(self, vpc_id: str | None) -> Sequence[str]:
        """See `Network.subnets`."""
        if (known := self._verbs.network.remembered(vpc_id)) is not None:
            return known
        return await self._loop.run(self._verbs.network.subnets(vpc_id))

    async def default_strategy(self, cluster: str) -> Strategy | None:
        """See `Clusters.default_strategy`."""
        return await self._loop.run(self._verbs.clusters.default_strategy(cluster))

    async def pin(self, desired: Desired, may_register: bool) -> Pin:
        """See `Pinning.resolve`."""
        if (known := self._verbs.pinning.remembered(desired)) is not None:
            return known
        return await self._loop.run(self._verbs.pinning.resolve(desired, may_register))

    def launch(
        self,
        request: Mapping[str, Any],
        budget: float,
        desired: Desired | None,
        may_register: bool,
        definition: Mapping[str, Any] | None = None,
        vpc_id: str | None = None,
        subnets_found: bool = False,
        started_by: str | None = None,
        container_name: str = PREFECT_CONTAINER,
        permit: Permit | None = None,
    ) -> Launch:
        """Queue a launch; see `Launching.submit`.

        Nothing is awaited, so no caller can be cancelled between asking for a launch and having
        what to withdraw.

        Args:
            request: RunTask's parameters.
            budget: Seconds for which refusals are waited out.
            desired: What the request's revision was pinned for, so that it can be pinned again;
                None for a revision that was given by name.
            may_register: See `Pinning.resolve`.
            definition: What the request's revision is, as far as it is known; ``desired``'s unless
                given.
            vpc_id: The VPC whose subnets were looked up, see `subnets`.
            subnets_found: They were: they may be looked up again.
            started_by: See `Launching.submit`.
            container_name: Name of the Prefect container.
            permit: See `Launching.submit`. When it is retracted, the outcome is a task that was
                started before, or else an error.
        """
        launch, pinning, network = Launch(), self._verbs.pinning, self._verbs.network

        async def renew(stale: str) -> str:
            assert desired is not None
            return (await pinning.renew(desired, stale, may_register)).arn

        def submit() -> Submission:
            self._verbs.progress.begin()  # what may fail comes before what is launched
            return self._verbs.launching.submit(
                request,
                budget,
                renew=renew if desired is not None else None,
                definition=desired.definition if desired is not None else definition,
                heal=partial(network.replaced, vpc_id) if subnets_found else None,
                started_by=started_by,
                container_name=container_name,
                permit=permit,
            )

        launch.begin(self._loop, submit)
        if permit is not None:
            permit.used_by(partial(launch.retract, self._loop))
        return launch

    async def described(self, cluster: str, tasks: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Tasks as DescribeTasks answers them, those that ECS does not know left out.

        Args:
            cluster: Name or ARN.
            tasks: At most 100 ARNs.

        Raises:
            Fault: It cannot be known; for 10 s, if it may pass.
        """
        ecs, clock = self._verbs.ecs, self._verbs.clock
        look = partial(ecs.describe_tasks, cluster, tasks)
        answer = await self._loop.run(retry(look, clock, _LOOK_SECONDS))
        return [task for task in answer["tasks"] if isinstance(task, dict)]

    async def tasks_of(
        self, cluster: str, started_by: str = "", family: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        """Tasks with that ``startedBy``, or of that family; see `ports.LaunchApi`.

        Raises:
            Fault: It cannot be known; for 10 s, if it may pass.
        """
        ecs, clock = self._verbs.ecs, self._verbs.clock
        look = partial(ecs.tasks_of_family, cluster, family)
        if started_by:
            look = partial(ecs.tasks_started_by, cluster, started_by)
        return await self._loop.run(retry(look, clock, _LOOK_SECONDS))

    async def withdraw(self, launch: Launch) -> Snapshot | None:
        """Never launch it; stop its task if it is too late. Returns when that is certain.

        Returns:
            The task if it could not be stopped: it may be running.

        Raises:
            MayRun: A task may be running that nobody can find.
        """
        return await self._loop.run(self._withdraw(launch))

    async def _withdraw(self, launch: Launch) -> Snapshot | None:
        if launch.submission is None:  # what came before this has failed
            return None
        return await asyncio.shield(self._verbs.launching.withdraw(launch.submission))

    def watch(
        self, task: Snapshot, interval: float, start_timeout: float, queue: ThreadsafeQueue[News]
    ) -> Watched:
        """See `Watching.watch`; like `launch`, it awaits nothing."""
        watched = Watched()

        def watch() -> None:
            try:
                watching = self._verbs.watching
                watched.watch = watching.watch(task, interval, start_timeout, queue)
            except Exception as error:  # noqa: BLE001 - handed to the caller's event loop
                what = f"cannot watch task {task.task_arn}"
                queue.put(TaskFateUnknown(what, f"{type(error).__name__}: {error}"))

        try:
            self._loop.call(watch)
        except RuntimeError:
            queue.put(TaskFateUnknown(f"cannot watch task {task.task_arn}", _CLOSED))
        return watched

    def forget(self, watched: Watched) -> None:
        """A watch has ended, or its run is gone."""

        def forget() -> None:
            if watched.watch is not None:
                self._verbs.watching.forget(watched.watch)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            self._loop.call(forget)

    def task_ended(self, launch: Launch) -> None:
        """A task has ended, or its run is gone: there may be room for another launch."""

        def ended() -> None:
            if launch.submission is not None:
                self._verbs.launching.task_stopped(launch.submission)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            self._loop.call(ended)

    def follow(self, group: str, stream: str, sink: Sink, region: str = "") -> Followed:
        """See `Output.follow`; like `launch`, it awaits nothing.

        Args:
            group: Name of the log group.
            stream: Name of the log stream, which need not exist yet.
            sink: Called with each line on a thread that does nothing else: it may wait, and raise.
            region: The Region of the log group; empty: that of the access.
        """
        followed = Followed(self._loop, self._verbs.output, sink)
        followed.begin(group, stream, region)
        return followed

    async def finish(self, followed: Followed) -> int:
        """See `Followed.finish`."""
        return await followed.finish()

    def abandon(self, followed: Followed) -> None:
        """See `Followed.abandon`."""
        followed.abandon()

    async def stop(self, cluster: str, task: str, reason: str, shown: bool = False) -> None:
        """Stop a task. It is repeated through throttles, and never waits behind launches.

        Args:
            cluster: Name or ARN.
            task: ARN or ID.
            reason: StopTask's.
            shown: ECS has shown the task to this process; see `Stopping.stop`.

        Raises:
            PinnedECSError: There is no such task or cluster, or AWS refused; or it is not known
                yet whether it stops, and the stop is repeated in the background.
        """
        stopping = self._verbs.stopping
        result = await self._loop.run(stopping.stop(cluster, task, reason, shown=shown))
        what = f"cannot stop task {task!r} in cluster {cluster!r}"
        if result.outcome is Outcome.UNKNOWN:
            what += " yet (this is repeated for up to an hour)"
            if result.fault is None:
                raise Unavailable(what, "AWS has not answered", "see whether it stops")
        if result.fault is not None and not result.stops:
            raise as_error(result.fault, what) from result.fault

    async def snapshot(self) -> dict[str, Any]:
        """Numbers of the moment.

        ``launching``: by quota (FARGATE, FARGATE_SPOT, EC2) the launches that are ``queued`` and
        ``calling``, the tasks ``launched`` and ``live``, the ``rate`` in calls a second, and the
        ``throttles``. ``watching``: how many tasks are watched.
        """
        return await self._loop.run(self._snapshot())

    async def _snapshot(self) -> dict[str, Any]:
        launching, watching = self._verbs.launching, self._verbs.watching
        return {"launching": launching.snapshot(), "watching": watching.live()}

    def tidy_up(self) -> None:
        """Release idle control planes from time to time, for as long as this one is there."""
        self._loop.call(_tidy_up)

    def close(self) -> None:
        """Release everything; runs that are being watched get no more changes."""
        self._let_go()


_planes: Registry[ControlPlane] = Registry(_KEPT_PLANES, _KEPT_SECONDS)


def shared(access: Access, emit: Listener = ignore) -> ControlPlane:
    """The control plane of an access: one per key in a process.

    Events go to the listener of anyone who asks first.
    """

    def make() -> ControlPlane:
        plane = ControlPlane(access, emit)
        plane.tidy_up()
        return plane

    return _planes.get(access.key, make)


def _tidy_up() -> None:
    """On the control loop of each plane, so that one in use releases those that are not."""
    _planes.tidy()
    asyncio.get_running_loop().call_later(_TIDY_SECONDS, _tidy_up)


def forget_all() -> None:
    """Begin afresh, as a new process would."""
    for plane in _planes.clear():
        plane.close()


def _let_go(loop: ControlLoop, verbs: Verbs, process: int) -> None:
    """End what a control plane has begun: launches that nobody awaits, threads, connections."""
    if os.getpid() != process:
        return  # a forked child: none of it exists here, and the loop's files are the parent's

    async def wind_down() -> None:
        try:
            await verbs.close()
        finally:
            loop.close()

    with contextlib.suppress(RuntimeError):  # closed already
        loop.start(wind_down())
