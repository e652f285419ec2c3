"""The paths under ``/_local/``: numbers for tests and for people, and switches.

``GET`` reads ``calls``, ``launches``, ``tasks``, ``revisions``, ``settings`` and ``faults``, these
with how often each has hit. ``PUT faults`` switches on rules and no others, ``POST faults`` further
ones. ``PATCH settings`` changes settings. ``POST logs`` writes lines to a log stream: ``group``,
``stream``, ``lines`` and, unless it is us-east-1, ``region``. ``POST reset`` zeroes the counters.
Bodies and answers are JSON; requests carry the access key.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from prefect_ecs_pinned.local import matching
from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.faults import Fault, Faults
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.moto_services import MotoServices
from prefect_ecs_pinned.local.settings import DEFAULT_REGION, Settings, check_kind
from prefect_ecs_pinned.local.wire import read_json, serialization


class Introspection:
    """What can be read of an embedded ECS, and changed while it runs.

    Args:
        ecs: The ECS.
        faults: The rules that are on.
        moto: Keeps logs.
    """

    def __init__(self, ecs: EmbeddedECS, faults: Faults, moto: MotoServices) -> None:
        self.ecs = ecs
        self.faults = faults
        self.moto = moto
        self.counts: dict[str, dict[str, int]] = defaultdict(
            lambda: {"calls": 0, "throttled": 0, "errors": 0}
        )

    def answer(self, method: str, name: str, body: bytes) -> Any:
        """Answer a request.

        Args:
            method: Of HTTP.
            name: The path behind ``/_local/``.
            body: JSON, for the requests that have one.

        Raises:
            AwsRefusal: There is no such path, or its body is not what it takes.
        """
        readings: dict[str, Callable[[], Any]] = {
            "calls": lambda: self.counts,
            "launches": lambda: self.ecs.launches,
            "tasks": self.ecs.summary,
            "revisions": lambda: self.ecs.definitions().all(),
            "settings": lambda: dataclasses.asdict(self.ecs.settings),
            "faults": lambda: [_shown(rule) for rule in self.faults.rules],
        }
        writings: dict[tuple[str, str], Callable[[Any], None]] = {
            ("PUT", "faults"): lambda rules: self.faults.switch(_rules(rules)),
            ("POST", "faults"): lambda rules: self.faults.switch(_rules(rules), more=True),
            ("PATCH", "settings"): lambda changes: self.change(**_of_kind(dict, changes)),
            ("POST", "logs"): lambda lines: self.log(**_of_kind(dict, lines)),
        }
        if method == "GET" and name in readings:
            return readings[name]()
        if (method, name) == ("POST", "reset"):
            self.reset()
        elif write := writings.get((method, name)):
            try:
                write(read_json(body))
            except (TypeError, ValueError) as error:
                raise AwsRefusal("ValidationException", str(error)) from error
        else:
            raise AwsRefusal("NotFoundException", f"no such thing: {method} /_local/{name}", 404)
        return {}

    def log(
        self, group: str, stream: str, lines: Sequence[str], region: str = DEFAULT_REGION
    ) -> None:
        """Write lines to a stream of CloudWatch Logs; both are made if they are missing.

        Raises:
            TypeError: The lines are not a list of texts.
        """
        texts = [group, stream, region, *_of_kind(list, lines)]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("group, stream, region and each of the lines are texts")
        self.moto.put_lines(region, group, stream, lines)

    def reset(self) -> None:
        """Zero the counters."""
        self.counts.clear()
        self.ecs.launches.clear()

    def change(self, **changes: Any) -> None:
        """Change settings while the server runs.

        Raises:
            ValueError: There are no such settings; nothing is changed.
            TypeError: A value is of another type than its setting; nothing is changed.
        """
        known = {item.name: str(item.type) for item in dataclasses.fields(Settings)}
        if unknown := sorted(changes.keys() - known.keys()):
            raise ValueError(f"no such settings: {', '.join(unknown)}")
        for name, value in changes.items():
            check_kind(name, known[name], value)
        for path in changes.get("rewrites", ()):
            matching.parse(path)
        if isinstance(changes.get("phases"), dict):
            changes["phases"] = dataclasses.replace(self.ecs.settings.phases, **changes["phases"])
        for name, value in changes.items():
            setattr(self.ecs.settings, name, value)
        self.ecs.buckets.scale = self.ecs.settings.quota_scale


def _rules(document: Any) -> list[Fault]:
    return [Fault(**_of_kind(dict, rule)) for rule in _of_kind(list, document)]


def _shown(rule: Fault) -> dict[str, Any]:
    """A rule as it was switched on, and how often it has hit."""
    members = dataclasses.asdict(rule)
    return {name: value for name, value in members.items() if not name.startswith("_")}


def _of_kind(kind: type, document: Any) -> Any:
    if not isinstance(document, kind):
        raise serialization(f"a JSON {'array' if kind is list else 'object'} is expected")
    return document
