"""Faults that can be switched on: what AWS does on a bad day.

A rule names an action (``*`` for all), a kind, and how often. Kinds:

- ``error``: ``code``, ``message`` and ``status`` of your own, before anything is done
- ``throttle``: ThrottlingException, Rate exceeded
- ``server-error``: HTTP 500 ServerException
- ``hidden-throttle``: the InvalidParameterException that hides a throttle of EC2's API
- ``in-band``: RunTask answers 200 with ``failures`` and this ``message`` as the reason
- ``slow``: ``seconds`` more before the answer
- ``reset``: the connection is cut before anything is done
- ``lost-reply``: everything is done, then the connection is cut without an answer
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.local.errors import AwsRefusal, invalid, throttled

KINDS = (
    "error",
    "throttle",
    "server-error",
    "hidden-throttle",
    "in-band",
    "slow",
    "reset",
    "lost-reply",
)

HIDDEN_THROTTLE = (
    "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: Throttling)"
)


@dataclass
class Fault:
    """One rule.

    Attributes:
        kind: One of `KINDS`.
        action: The API action, or ``*``.
        probability: Share of the calls that are hit.
        times: How many calls are hit at most; None for all.
        code: For ``error``.
        message: For ``error`` and ``in-band``.
        status: For ``error``.
        seconds: For ``slow``.
    """

    kind: str
    action: str = "*"
    probability: float = 1.0
    times: int | None = None
    code: str = "ClientException"
    message: str = ""
    status: int = 400
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}: one of {', '.join(KINDS)}")

    def refusal(self) -> AwsRefusal | None:
        """The answer instead of doing anything, for the kinds that have one."""
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


@dataclass
class Faults:
    """The rules that are on."""

    random: random.Random
    rules: list[Fault] = field(default_factory=list)

    def replace(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Switch on these rules, and no others."""
        self.rules = [Fault(**rule) for rule in rules]

    def strike(self, action: str) -> Fault | None:
        """The first rule that hits a call."""
        for rule in self.rules:
            if rule.action not in ("*", action) or rule.times == 0:
                continue
            if self.random.random() < rule.probability:
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None
