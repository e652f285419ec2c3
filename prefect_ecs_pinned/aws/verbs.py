"""Composition root: how the verbs are put together, once per credentials and Region."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_ecs_pinned.aws.calls.api import Ec2Api, EcsApi, LogsApi
from prefect_ecs_pinned.aws.calls.clients import Access, Clients
from prefect_ecs_pinned.aws.calls.pacing import (
    DESCRIBE_TASK_DEFINITION,
    DESCRIBE_TASKS,
    MOST_CALLS,
    Pacer,
)
from prefect_ecs_pinned.aws.calls.ports import Clock
from prefect_ecs_pinned.aws.calls.retrying import Waits
from prefect_ecs_pinned.aws.events import Event, Listener, RevisionPinned
from prefect_ecs_pinned.aws.launching.clusters import Clusters
from prefect_ecs_pinned.aws.launching.launch import Launching
from prefect_ecs_pinned.aws.launching.network import Network
from prefect_ecs_pinned.aws.launching.progress import Progress
from prefect_ecs_pinned.aws.loop.control_loop import LoopClock
from prefect_ecs_pinned.aws.loop.threads import Threads
from prefect_ecs_pinned.aws.measuring import Measuring
from prefect_ecs_pinned.aws.output.streams import Output
from prefect_ecs_pinned.aws.pinning.resolving import Pinning
from prefect_ecs_pinned.aws.stopping import Stopping
from prefect_ecs_pinned.aws.watching.watcher import Watching

#: Threads for DescribeTasks and StopTask, and for every call but these and RunTask. A look for a
#: task whose launch has lost its answer has its own: it waits for no read of logs, and no launch.
_WATCHING_CALLS = 2
_LOOKING_CALLS = 2
_OTHER_CALLS = 2


@dataclass
class Verbs:
    """All that works on a control loop. It is used there only, except for what is remembered."""

    clock: Clock
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
    measuring: Measuring

    @classmethod
    def of(cls, access: Access, emit: Listener, waits: Waits) -> Verbs:
        """Those of one set of credentials; nothing runs before the first is used.

        Args:
            access: The credentials and Region.
            emit: Called with events, on the control loop.
            waits: How long what may pass is waited out.
        """
        clock, measuring = LoopClock(), Measuring()

        def pinned(event: Event) -> None:
            if isinstance(event, RevisionPinned):
                measuring(event)
            emit(event)

        clients = Clients(
            access,
            Threads(_OTHER_CALLS, "call"),
            Threads(MOST_CALLS, "launch"),
            connections=MOST_CALLS,
            watching=Threads(_WATCHING_CALLS, "watch"),
            looking=Threads(_LOOKING_CALLS, "look"),
            clock=clock,
            timeouts=(waits.connect, waits.answer),
            measure=measuring,
        )
        ecs, logs = EcsApi(clients), LogsApi(clients)
        stopping = Stopping(ecs, clock)
        launching = Launching(ecs, clock, stopping, measuring)
        reads = Pacer(DESCRIBE_TASK_DEFINITION, clock, probing=False)
        polls = Pacer(DESCRIBE_TASKS, clock, probing=False)
        watching = Watching(ecs, polls, clock, stopping, measuring)
        measuring.observe(launching.snapshot, watching.live_by_cluster)
        return cls(
            clock=clock,
            clients=clients,
            ecs=ecs,
            pinning=Pinning(ecs, reads, clock, pinned, waits),
            launching=launching,
            stopping=stopping,
            watching=watching,
            network=Network(Ec2Api(clients), clock, waits.reads),
            clusters=Clusters(ecs, clock, waits.reads),
            output=Output(logs, clock, in_region=logs.in_region),
            progress=Progress(launching.snapshot, emit, clock),
            measuring=measuring,
        )

    async def close(self) -> None:
        """Withdraw what is open, and release threads and connections."""
        try:
            await self.launching.close()
            await self.watching.close()
        finally:
            self.measuring.close()
            self.clients.close()
