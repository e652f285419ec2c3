"""The queues of `launching`: a lane for each quota bucket, and gates that close for want of room.

Refusals for want of capacity close a gate: of the account's vCPUs the gate of the lane, of a
cluster's instances the gate of the cluster. Behind a closed gate only the head of the queue
tries, when a task has stopped or every few seconds, and nobody else is kept waiting.
"""

from __future__ import annotations

import asyncio
import heapq
import math

from prefect_ecs_pinned.aws.pacing import RUN_TASK, Pacer
from prefect_ecs_pinned.aws.ports import Clock
from prefect_ecs_pinned.aws.submission import State, Submission

#: The most RunTask calls under way at once: 100 a second at 300 ms, with room to spare.
MOST_CALLS = 48

#: Latency of RunTask in seconds that is assumed before one has been measured.
_ASSUMED_LATENCY = 0.3

#: Room above pace times latency, and the step in which calls under way become more, so that a
#: latency that varies a little adds no threads.
_ROOM = 1.1
_STEP = 8

#: Calls under way that are allowed at any pace: enough for 20 a second at 800 ms, and for as many
#: threads with two hundred runs as with a thousand.
_ALWAYS_ALLOWED = 16

#: Longest latency in seconds that adds calls. A machine that is short of CPU measures longer ones,
#: and more threads would only make it shorter.
_LONGEST_LATENCY = 1.0

#: Seconds between the tries of the head behind a closed gate.
PROBE_SECONDS = 2.5

#: Tries at once behind a closed gate at which it opens.
_OPEN_AT = 16


class Gate:
    """Closed while there is no capacity; then a few tries are let through.

    One at first, twice as many after each success, one again after a refusal; with
    `_OPEN_AT` it opens.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.closed = False
        self.trying = 0
        self.allowed = 1
        self.next_try = 0.0
        self.refused_at = 0.0
        self.spent = 0.0

    def lets_pass(self) -> bool:
        return not self.closed or (
            self.trying < self.allowed and self._clock.now() >= self.next_try
        )

    def refused(self, standing_still: bool) -> None:
        """Close, and count the time since the last refusal unless it stands still."""
        now = self._clock.now()
        if self.closed and not standing_still:
            self.spent += now - self.refused_at
        self.closed, self.refused_at, self.allowed = True, now, 1
        self.next_try = now + PROBE_SECONDS

    def passed(self) -> None:
        """A task was launched: there may be room for more."""
        self.spent, self.next_try = 0.0, 0.0
        self.allowed *= 2
        if self.allowed >= _OPEN_AT:
            self.closed, self.allowed = False, 1

    def capacity_freed(self) -> None:
        self.next_try = 0.0


class Lane:
    """The queue of one quota bucket, its pacer, and the calls under way."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.pacer = Pacer(RUN_TASK, clock)
        self.queue: list[Submission] = []
        self.changed = asyncio.Event()
        self.calls = 0
        self.latency = _ASSUMED_LATENCY
        self.live = 0
        self.launched = 0
        self.gate = Gate(clock)
        self.cluster_gates: dict[str, Gate] = {}
        self.dispatcher: asyncio.Task[None] | None = None

    def put(self, submission: Submission) -> None:
        submission.state = State.QUEUED
        heapq.heappush(self.queue, submission)
        self.changed.set()

    def most_calls(self) -> int:
        latency = min(self.latency, _LONGEST_LATENCY)
        steps = math.ceil(self.pacer.rate * latency * _ROOM / _STEP)
        return min(MOST_CALLS, max(_ALWAYS_ALLOWED, steps * _STEP))

    def gates(self, submission: Submission) -> list[Gate]:
        cluster = self.cluster_gates.get(submission.cluster)
        return [self.gate] if cluster is None else [self.gate, cluster]

    def probes(self) -> bool:
        """Whether a gate is closed, so that time alone may let somebody pass."""
        return self.gate.closed or any(gate.closed for gate in self.cluster_gates.values())

    def next(self) -> Submission | None:
        """Take the first submission whose gates are open, dropping those that are done."""
        passed_over = []
        taken = None
        while self.queue:
            submission = heapq.heappop(self.queue)
            if submission.state is not State.QUEUED:
                continue
            if all(gate.lets_pass() for gate in self.gates(submission)):
                taken = submission
                break
            passed_over.append(submission)
            if not self.gate.lets_pass():
                break  # nobody behind it passes either
        for submission in passed_over:
            heapq.heappush(self.queue, submission)
        return taken
