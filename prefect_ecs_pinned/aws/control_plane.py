"""Composition root: what all runs of a process share, per credentials and Region.

``shared`` finds or makes the control plane of an access. The Prefect agent rebuilds its block
for every flow run, so nothing that is to be remembered may live on a block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.aws.calls.api import Ec2Api, EcsApi, LogsApi
from prefect_ecs_pinned.aws.calls.clients import Access, Clients
from prefect_ecs_pinned.aws.calls.faults import Fault, as_error
from prefect_ecs_pinned.aws.calls.pacing import DESCRIBE_TASK_DEFINITION, DESCRIBE_TASKS, Pacer
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.retrying import AGENT, Waits
from prefect_ecs_pinned.aws.events import Listener, ignore
from prefect_ecs_pinned.aws.launching.clusters import Clusters, Strategy
from prefect_ecs_pinned.aws.launching.launch import MOST_CALLS, Launching, Submission
from prefect_ecs_pinned.aws.launching.network import Network
from prefect_ecs_pinned.aws.launching.progress import Progress
from prefect_ecs_pinned.aws.loop.control_loop import (
    ControlLoop,
    LoopClock,
    ThreadsafeCalls,
    ThreadsafeQueue,
)
from prefect_ecs_pinned.aws.loop.registry import Registry
from prefect_ecs_pinned.aws.loop.threads import Threads
from prefect_ecs_pinned.aws.output.followed import Followed
from prefect_ecs_pinned.aws.output.printing import Sink
from prefect_ecs_pinned.aws.output.streams import Output
from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.aws.pinning.resolving import Pin, Pinning
from prefect_ecs_pinned.aws.stopping import Outcome, Stopping, StopResult
from prefect_ecs_pinned.aws.watching.watcher import News, Watch, Watching
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.errors import PinnedECSError, TaskFateUnknown, Unavailable

#: Threads for DescribeTasks and StopTask, and for every call but these and RunTask.
_WATCHING_CALLS = 2
_OTHER_CALLS = 2

#: Built definitions that are remembered; a deployment needs one or two.
_REMEMBERED_DEFINITIONS = 1024

#: Control planes that are kept although no run uses them, and for how many seconds: an agent needs
#: one for each set of credentials that its deployments use, and credentials may change all the
#: time. One that has to be made again costs a client and a DescribeTaskDefinition.
_KEPT_PLANES = 8
_KEPT_SECONDS = 600.0

#: Seconds between looks for control planes that nobody has asked for in that time.
_TIDY_SECONDS = 60.0


_CLOSED = "the control plane has been closed"


@dataclass
class _Verbs:
    """Everything that is made on the control loop, and used there only."""

    clients: Clients
    ecs: EcsApi
    pinning: Pinning
    launching: Launching
    stopping: Stopping
    watching: Watching
    network: Network
    clusters: Clusters
    output: Output
    progress: Progress
    clock: Clock
    region: str = ""
    definitions: OrderedDict[str, Desired] = field(default_factory=OrderedDict)


@dataclass(eq=False)
class Launch:
    """A launch that was asked for; made on the caller's event loop.

    Attributes:
        outcome: Of the caller's event loop: the launched task, or the `PinnedECSError`.
        submission: None until the control loop has taken it up.
    """

    outcome: asyncio.Future[Snapshot] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    submission: Submission | None = None
    _threadsafe: ThreadsafeCalls = field(default_factory=ThreadsafeCalls.here)

    @property
    def stopped(self) -> Snapshot | None:
        """The task that was started before the launch was withdrawn, when ECS stops it."""
        return self.submission.stopped if self.submission is not None else None

    def settle(self, done: asyncio.Future[Snapshot]) -> None:
        """Hand the submission's outcome over to the caller's event loop."""
        if done.cancelled():
            self.fail(PinnedECSError("cannot launch", _CLOSED))
        elif (error := done.exception()) is not None:
            self.fail(error)
        else:
            self._settle(lambda: self.outcome.set_result(done.result()))

    def fail(self, error: BaseException) -> None:
        """Hand an error over to the caller's event loop."""

        def fail() -> None:
            self.outcome.set_exception(error)
            self.outcome.exception()  # its caller may be gone

        self._settle(fail)

    def _settle(self, settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop has closed
            self._threadsafe.call_soon(lambda: None if self.outcome.done() else settle())


@dataclass(eq=False)
class Watched:
    """A task that is to be watched; ``watch`` is None until the control loop has taken it up."""

    watch: Watch | None = None


class ControlPlane:
    """What the runs of one set of credentials and Region share.

    Every coroutine here may be awaited from any event loop; the work is done on the control
    loop. Callers may be cancelled: what they share with others goes on.

    What is remembered (a built definition, a pin, a VPC's subnets) is looked up where the caller
    is: one look into a dictionary whose values never change is safe from any thread, and a way
    to the control loop and back costs 50 µs of CPU.
    """

    def __init__(self, access: Access, emit: Listener = ignore, waits: Waits = AGENT) -> None:
        self._access = access
        self._waits = waits
        self._emit_event = emit
        self._loop = ControlLoop()
        #: The verbs, once they have been made.
        self._made: list[_Verbs] = []
        #: Called by `close`, or when the last run that uses this has gone.
        self._let_go = weakref.finalize(self, _let_go, self._loop, self._made, os.getpid())
        self._let_go.atexit = False  # threads are daemons, and the process is ending

    async def region(self) -> str:
        """The Region, asked of boto3 when the access leaves it open.

        Raises:
            PinnedECSError: There is none, or no credentials.
        """
        return self._access.region or await self._loop.run(self._find_region())

    def hidden(self) -> frozenset[str]:
        """The texts of the credentials that no message may show."""
        return frozenset(self._access.hidden())

    async def desired(self, spec: DefinitionSpec) -> Desired:
        """The definition that a configuration asks for; built once per configuration.

        Raises:
            ConfigurationError: It can not become a definition.
        """
        key = spec.key()
        known = self._made[0].definitions.get(key) if self._made else None
        return known if known is not None else await self._loop.run(self._build(key, spec))

    async def linked(self, identifier: str, tags: bool = False) -> LinkedRevision:
        """See `Pinning.linked`."""
        known = self._made[0].pinning.remembered_link(identifier, tags) if self._made else None

        async def describe() -> LinkedRevision:
            return await self._on_loop().pinning.linked(identifier, tags)

        return known if known is not None else await self._loop.run(describe())

    async def subnets(self, vpc_id: str | None) -> Sequence[str]:
        """See `Network.subnets`."""
        known = self._made[0].network.remembered(vpc_id) if self._made else None

        async def look_up() -> Sequence[str]:
            return await self._on_loop().network.subnets(vpc_id)

        return known if known is not None else await self._loop.run(look_up())

    async def default_strategy(self, cluster: str) -> Strategy | None:
        """See `Clusters.default_strategy`."""

        async def look_up() -> Strategy | None:
            return await self._on_loop().clusters.default_strategy(cluster)

        return await self._loop.run(look_up())

    async def pin(self, desired: Desired, may_register: bool) -> Pin:
        """See `Pinning.resolve`."""
        known = self._made[0].pinning.remembered(desired) if self._made else None

        async def resolve() -> Pin:
            return await self._on_loop().pinning.resolve(desired, may_register)

        return known if known is not None else await self._loop.run(resolve())

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
    ) -> Launch:
        """Queue a launch; see `Launching.submit`.

        Nothing is awaited, so no caller can be cancelled between asking for a launch and
        knowing what to withdraw.

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
        """
        launch = Launch()

        async def renew(stale: str) -> str:
            assert desired is not None
            return (await self._on_loop().pinning.renew(desired, stale, may_register)).arn

        async def heal(gone: Sequence[str]) -> Sequence[str]:
            return await self._on_loop().network.replaced(vpc_id, gone)

        def submit() -> None:
            try:
                self._on_loop().progress.begin()  # what may fail comes before what is launched
                submission = self._on_loop().launching.submit(
                    request,
                    budget,
                    renew=renew if desired is not None else None,
                    definition=desired.definition if desired is not None else definition,
                    heal=heal if subnets_found else None,
                    started_by=started_by,
                    container_name=container_name,
                )
                launch.submission = submission
                submission.outcome.add_done_callback(launch.settle)
            except Exception as error:  # noqa: BLE001 - handed to the caller's event loop
                launch.fail(error)

        try:
            self._loop.call(submit)
        except RuntimeError:
            launch.fail(PinnedECSError("cannot launch", _CLOSED))
        return launch

    async def withdraw(self, launch: Launch) -> Snapshot | None:
        """Never launch it; stop its task if it is too late. Returns when that is certain.

        Returns:
            The task if it could not be stopped: it may be running.

        Raises:
            MayRun: A task may be running that nobody can find.
        """

        async def withdraw() -> Snapshot | None:
            if launch.submission is None:  # `submit`, which came before this, has failed
                return None
            return await asyncio.shield(self._on_loop().launching.withdraw(launch.submission))

        return await self._loop.run(withdraw())

    def watch(
        self, task: Snapshot, interval: float, start_timeout: float, queue: ThreadsafeQueue[News]
    ) -> Watched:
        """See `Watching.watch`; like `launch`, it awaits nothing."""
        watched = Watched()

        def watch() -> None:
            try:
                watching = self._on_loop().watching
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
                self._on_loop().watching.forget(watched.watch)

        with contextlib.suppress(RuntimeError):  # the control plane has been closed
            self._loop.call(forget)

    def task_ended(self, launch: Launch) -> None:
        """A task has ended, or its run is gone: there may be room for another launch."""

        def ended() -> None:
            if launch.submission is not None:
                self._on_loop().launching.task_stopped(launch.submission)

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
        followed = Followed(self._loop, lambda: self._on_loop().output, sink)
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

        async def stop() -> StopResult:
            return await self._on_loop().stopping.stop(cluster, task, reason, shown=shown)

        result = await self._loop.run(stop())
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

        async def snapshot() -> dict[str, Any]:
            verbs = self._on_loop()
            return {"launching": verbs.launching.snapshot(), "watching": verbs.watching.live()}

        return await self._loop.run(snapshot())

    def tidy_up(self) -> None:
        """Let go of idle control planes from time to time, for as long as this one is there."""
        self._loop.call(_tidy_up)

    def close(self) -> None:
        """Let go of everything; runs that are being watched get no more changes."""
        self._let_go()

    def _on_loop(self) -> _Verbs:
        """The verbs; made by the first who asks, on the control loop."""
        if not self._made:
            clock = LoopClock()
            clients = Clients(
                self._access,
                Threads(_OTHER_CALLS, "call", all_at_once=True),
                Threads(MOST_CALLS, "launch"),
                connections=MOST_CALLS,
                watching=Threads(_WATCHING_CALLS, "watch", all_at_once=True),
                clock=clock,
            )
            ecs, logs = EcsApi(clients), LogsApi(clients)
            stopping = Stopping(ecs, clock)
            launching = Launching(ecs, clock, stopping)
            reads = Pacer(DESCRIBE_TASK_DEFINITION, clock, probing=False)
            verbs = _Verbs(
                clients=clients,
                ecs=ecs,
                pinning=Pinning(ecs, reads, clock, self._emit_event, self._waits),
                launching=launching,
                stopping=stopping,
                watching=Watching(
                    ecs, Pacer(DESCRIBE_TASKS, clock, probing=False), clock, stopping
                ),
                network=Network(Ec2Api(clients), clock, self._waits.reads),
                clusters=Clusters(ecs, clock, self._waits.reads),
                output=Output(logs, clock, in_region=logs.in_region),
                progress=Progress(launching.snapshot, self._emit_event, clock),
                clock=clock,
            )
            self._made.append(verbs)
        return self._made[0]

    async def _find_region(self) -> str:
        verbs = self._on_loop()
        if not verbs.region:
            try:
                verbs.region = await verbs.clients.region()
            except Fault as fault:
                raise as_error(fault, "cannot reach AWS") from fault
        return verbs.region

    async def _build(self, key: str, spec: DefinitionSpec) -> Desired:
        definitions = self._on_loop().definitions
        if key not in definitions:
            desired = make(spec)  # its fingerprint is computed, once, before others share it
            definitions[key] = desired
            if len(definitions) > _REMEMBERED_DEFINITIONS:
                definitions.popitem(last=False)
        return definitions[key]


_planes: Registry[ControlPlane] = Registry(_KEPT_PLANES, _KEPT_SECONDS)


def shared(access: Access, emit: Listener = ignore) -> ControlPlane:
    """The control plane of an access: one per key in a process.

    Events go to the listener of whoever asks first.
    """

    def make() -> ControlPlane:
        plane = ControlPlane(access, emit)
        plane.tidy_up()
        return plane

    return _planes.get(access.key, make)


def _tidy_up() -> None:
    """On the control loop of each plane, so that one in use lets go of those that are not."""
    _planes.tidy()
    asyncio.get_running_loop().call_later(_TIDY_SECONDS, _tidy_up)


def forget_all() -> None:
    """Begin afresh, as a new process would."""
    for plane in _planes.clear():
        plane.close()


def _let_go(loop: ControlLoop, made: list[_Verbs], process: int) -> None:
    """End what a control plane has begun: launches that nobody awaits, threads, connections."""
    if os.getpid() != process:
        return  # a forked child: none of it exists here, and the loop's files are the parent's
    if not made:
        loop.close()
        return
    verbs = made[0]

    async def wind_down() -> None:
        try:
            await verbs.launching.close()
            await verbs.watching.close()
        finally:
            verbs.clients.close()
            loop.close()

    with contextlib.suppress(RuntimeError):  # closed already
        loop.start(wind_down())
