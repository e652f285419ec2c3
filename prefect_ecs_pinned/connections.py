"""Connections to Prefect's API that are kept, so that a call does not begin with making one.

Prefect's client opens 16 connections and keeps 8 (prefect 2.20 and 3.9, ``PrefectClient``).
httpcore closes one that becomes idle when more are *open* than may be kept, although they are in
use (httpcore 1.0.9, encode/httpcore pull request 1000). So while many runs call the API, each call
makes a connection of its own. That costs the client and the server more than some of the calls.

The worker of this package makes its client with `LIMITS`. An agent makes its own client before it
loads a block. So there it needs a setting of Prefect 2 (see `keep`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial

import httpx

from prefect_ecs_pinned.majors import prefect_major

#: Prefect's own limits, except that all connections are kept. A load balancer of Prefect Cloud
#: ends those that are idle for 30 s.
LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=25)

#: A comma-separated list of what Prefect 2 imports, and calls, when it is imported itself.
SETTING = "PREFECT_EXTRA_ENTRYPOINTS"

#: What it has to name.
ENTRY_POINT = f"{__name__}:keep"

#: The modules of Prefect 2 whose clients serve many runs: agents, and workers.
_LONG_LIVED = ("prefect.agent", "prefect.workers.base")


def keep() -> None:
    """Have the agents and workers of Prefect 2 in this process keep their connections.

    ``PREFECT_EXTRA_ENTRYPOINTS=prefect_ecs_pinned.connections:keep`` has Prefect call it. With
    Prefect 3 it does nothing.
    """
    if prefect_major() != 2:
        return
    for name in _LONG_LIVED:
        module = importlib.import_module(name)
        if not isinstance(module.get_client, partial):
            kept = partial(module.get_client, httpx_settings={"limits": LIMITS})
            module.get_client = kept  # type: ignore[attr-defined]


def passed_on(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The settings of an agent without `ENTRY_POINT`, for the container of a flow run.

    Its image may be without this package: Prefect would write a warning in each run.

    Args:
        variables: Name of an environment variable -> its value.
    """
    named = variables.get(SETTING, "").split(",")
    others = [each.strip() for each in named if not _is_ours(each)]
    if len(others) == len(named):
        return variables
    left = ",".join(each for each in others if each)
    rest = {name: value for name, value in variables.items() if name != SETTING}
    return {**rest, SETTING: left} if left else rest


def _is_ours(entry_point: str) -> bool:
    """With spaces and extras, as Python's entry points may have them."""
    return "".join(entry_point.split()).partition("[")[0] == ENTRY_POINT
