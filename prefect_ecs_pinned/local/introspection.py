"""The paths under ``/_local/``: numbers for tests and for people, and switches.

``GET calls``, ``launches``, ``tasks``, ``revisions``, ``settings``; ``PUT faults`` switches
faults, ``PATCH settings`` changes settings, ``POST reset`` zeroes the counters. Bodies and answers
are JSON. Requests carry the access key: see `access`.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from prefect_ecs_pinned.local.errors import AwsRefusal
from prefect_ecs_pinned.local.faults import Faults
from prefect_ecs_pinned.local.model import EmbeddedECS
from prefect_ecs_pinned.local.settings import Settings, check_kind
from prefect_ecs_pinned.local.wire import read_json, serialization


class Introspection:
    """What can be read of an embedded ECS, and changed while it runs.

    Args:
        ecs: The ECS.
        faults: The rules that are on.
    """

    def __init__(self, ecs: EmbeddedECS, faults: Faults) -> None:
        self.ecs = ecs
        self.faults = faults
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
        }
        if method == "GET" and name in readings:
            return readings[name]()
        if (method, name) == ("POST", "reset"):
            self.reset()
            return {}
        try:
            if (method, name) == ("PUT", "faults"):
                self.faults.replace(_of_kind(list, read_json(body)))
                return {}
            if (method, name) == ("PATCH", "settings"):
                self.change(**_of_kind(dict, read_json(body)))
                return {}
        except (TypeError, ValueError) as error:
            raise AwsRefusal("ValidationException", str(error)) from error
        raise AwsRefusal("NotFoundException", f"no such thing: {method} /_local/{name}", 404)

    def reset(self) -> None:
        """Zero the counters."""
        self.counts.clear()
        self.ecs.launches.clear()

    def change(self, **changes: Any) -> None:
        """Change settings while the server runs.

        Raises:
            ValueError: There are no such settings; none is changed.
            TypeError: A value is of another type than its setting; none is changed.
        """
        known = {item.name: str(item.type) for item in dataclasses.fields(Settings)}
        if unknown := sorted(changes.keys() - known.keys()):
            raise ValueError(f"no such settings: {', '.join(unknown)}")
        for name, value in changes.items():
            check_kind(name, known[name], value)
        if isinstance(changes.get("phases"), dict):
            changes["phases"] = dataclasses.replace(self.ecs.settings.phases, **changes["phases"])
        for name, value in changes.items():
            setattr(self.ecs.settings, name, value)
        self.ecs.buckets.scale = self.ecs.settings.quota_scale


def _of_kind(kind: type, document: Any) -> Any:
    if not isinstance(document, kind):
        raise serialization(f"a JSON {'array' if kind is list else 'object'} is expected")
    return document
