"""What botocore computes for each session and each client, though the result is always the same.

Tests make some thousand clients, of 40 ms of CPU each. In a process of theirs, the methods of a
service's class are made once, and so are the names of events that have an alias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def compute_once() -> None:
    """Patch botocore in this process, until it ends."""
    from botocore.client import ClientCreator
    from botocore.hooks import EVENT_ALIASES, EventAliaser

    aliases: dict[str, str] = {}
    begin = EventAliaser.__init__

    def __init__(self: Any, event_emitter: Any, event_aliases: Any = None) -> None:  # noqa: N807
        begin(self, event_emitter, event_aliases)
        if self._event_aliases == EVENT_ALIASES:
            self._alias_name_cache = aliases

    made: dict[tuple[str, ...], dict[str, Callable[..., Any]]] = {}
    creator: Any = ClientCreator
    make = creator._create_methods

    def _create_methods(self: Any, model: Any) -> dict[str, Callable[..., Any]]:
        key = (model.service_name, model.api_version, *model.operation_names)
        if key not in made:
            made[key] = make(self, model)
        return dict(made[key])  # what listens to the making of a class adds to it

    EventAliaser.__init__ = __init__  # type: ignore[method-assign]
    creator._create_methods = _create_methods
