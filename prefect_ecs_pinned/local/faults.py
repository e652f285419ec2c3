"""Faults that can be switched on: what AWS does when something is wrong.

A rule says which calls it is for, when and how often it hits, and its kind. Kinds:

- ``error``: ``code``, ``message`` and ``status`` of your own, before anything is done
- ``throttle``: ThrottlingException, Rate exceeded
- ``server-error``: HTTP 500 ServerException
- ``hidden-throttle``: the InvalidParameterException that hides a throttle of EC2's API
- ``in-band``: a 200 without tasks, with these ``failures``, or with ``message`` as the one reason
- ``raw``: an answer that is not AWS's: ``message`` as its body, with ``status``, as a proxy sends
- ``slow``: ``seconds`` more before the answer; another rule may hit the same call
- ``reset``: the connection is cut before anything is done
- ``lost-reply``: everything is done, then the connection is cut without an answer
- ``rewrite``: everything is done, then ``members`` of the answer are changed
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from prefect_ecs_pinned.local import matching
from prefect_ecs_pinned.local.errors import AwsRefusal, RawAnswer, invalid, throttled
from prefect_ecs_pinned.local.facts import Facts
from prefect_ecs_pinned.local.settings import check_kind

KINDS = (
    "error",
    "throttle",
    "server-error",
    "hidden-throttle",
    "in-band",
    "raw",
    "slow",
    "reset",
    "lost-reply",
    "rewrite",
)

HIDDEN_THROTTLE = (
    "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: Throttling)"
)


@dataclass
class Fault:
    """One rule.

    Attributes:
        kind: One of `KINDS`.
        action: The API action, several with commas, or ``*`` for all.
        probability: Share of the calls that are hit.
        times: How many calls are hit at most; None for all.
        code: For ``error``.
        message: For ``error``, ``in-band`` and ``raw``.
        status: For ``error`` and ``raw``.
        seconds: For ``slow``.
        skip: How many calls it is for are left alone first.
        every: Hits every second, third … of the calls that it is for; 1 for each.
        start: Seconds from its being switched on until it hits.
        duration: Seconds for which it hits then; None forever.
        match: Path of a member -> condition (see `matching`): only requests that fulfil all.
            Below ``definition`` is the revision that RunTask names, as it is described.
        cluster: Only requests to the cluster of that name.
        family: Only requests for task definitions of that family.
        subnet: Only requests that name that subnet.
        caller: Only requests of principals whose ARN is like this pattern, such as ``*:user/ci``.
        min_cpu: Only tasks of at least so many CPU units, overrides included.
        min_memory: Only tasks of at least so many MiB, overrides included.
        gpu: Only tasks that need a GPU (True), or none (False).
        failures: For ``in-band``: reasons, or mappings with ``arn``, ``reason`` and ``detail``.
        members: For ``rewrite``: path in the answer -> value; None removes the member.
        hits: How many calls have been hit.
    """

    kind: str
    action: str = "*"
    probability: float = 1.0
    times: int | None = None
    code: str = "ClientException"
    message: str = ""
    status: int = 400
    seconds: float = 1.0
    skip: int = 0
    every: int = 1
    start: float = 0.0
    duration: float | None = None
    match: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""
    family: str = ""
    subnet: str = ""
    caller: str = ""
    min_cpu: int | None = None
    min_memory: int | None = None
    gpu: bool | None = None
    failures: Sequence[Any] = ()
    members: Mapping[str, Any] = field(default_factory=dict)
    hits: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False, repr=False)
    _on: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}: one of {', '.join(KINDS)}")
        for item in fields(self):
            check_kind(item.name, str(item.type), getattr(self, item.name))
        if self.every < 1:
            raise ValueError("every is 1 or more")
        for path, condition in self.match.items():
            matching.parse(path)
            matching.check(condition)
        for path in self.members:
            matching.parse(path)

    def refusal(self) -> AwsRefusal | RawAnswer | None:
        """The answer instead of doing anything, for the kinds that have one."""
        if self.kind == "raw":
            return RawAnswer(self.status, self.message)
        if self.kind == "error":
            return AwsRefusal(self.code, self.message, self.status)
        if self.kind == "throttle":
            return throttled()
        if self.kind == "server-error":
            return AwsRefusal(
                "ServerException", "Service Unavailable. Please try again later.", 500
            )
        if self.kind == "hidden-throttle":
            return invalid(HIDDEN_THROTTLE)
        return None

    def in_band(self) -> dict[str, Any]:
        """The answer of an ``in-band`` rule."""
        entries = self.failures or [self.message]
        return {
            "tasks": [],
            "failures": [
                {"arn": "", **entry} if isinstance(entry, Mapping) else {"arn": "", "reason": entry}
                for entry in entries
            ],
        }

    def strikes(self, facts: Facts, now: float, draw: Callable[[], float]) -> bool:
        """Whether it hits a call; counted if so.

        Args:
            facts: What the call is.
            now: Seconds on the clock by which the rule was switched on.
            draw: A random number from 0 to 1.
        """
        if not self._is_on(now) or not self._is_for(facts):
            return False
        self._seen += 1
        counted = self._seen - self.skip
        if counted < 1 or counted % self.every or self.hits == self.times:
            return False
        if draw() >= self.probability:
            return False
        self.hits += 1
        return True

    def switch_on(self, now: float) -> None:
        """Begin the rule's time, and count from zero."""
        self._on, self._seen, self.hits = now, 0, 0

    def _is_on(self, now: float) -> bool:
        begun = now - self._on - self.start
        return begun >= 0 and (self.duration is None or begun < self.duration)

    def _is_for(self, facts: Facts) -> bool:
        if self.action != "*" and facts.action not in map(str.strip, self.action.split(",")):
            return False
        return (
            self.cluster in ("", facts.cluster)
            and self.family in ("", facts.family)
            and (not self.subnet or self.subnet in facts.subnets)
            and (not self.caller or fnmatchcase(facts.caller, self.caller))
            and (self.min_cpu is None or facts.cpu >= self.min_cpu)
            and (self.min_memory is None or facts.memory >= self.min_memory)
            and self.gpu in (None, facts.gpu)
            and all(matching.holds(c, facts.values(path)) for path, c in self.match.items())
        )


@dataclass
class Faults:
    """The rules that are on.

    Attributes:
        random: For the share of calls that are hit.
        now: Seconds on a clock that never goes back.
        rules: The rules, in the order in which they are asked.
    """

    random: random.Random
    now: Callable[[], float] = time.monotonic
    rules: list[Fault] = field(default_factory=list)

    def switch(self, rules: Sequence[Fault], more: bool = False) -> None:
        """Switch on these rules: instead of those that are on, or after them."""
        for rule in rules:
            rule.switch_on(self.now())
        self.rules = [*self.rules, *rules] if more else list(rules)

    def strike(self, facts: Facts) -> list[Fault]:
        """The rules that hit a call: all ``slow`` ones up to the first of another kind."""
        hit = []
        for rule in self.rules:
            if rule.strikes(facts, self.now(), self.random.random):
                hit.append(rule)
                if rule.kind != "slow":
                    break
        return hit
