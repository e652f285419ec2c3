"""What a cluster does with tasks that name neither a launch type nor a capacity provider."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind, as_error
from prefect_ecs_pinned.aws.calls.ports import Clock, ClusterApi
from prefect_ecs_pinned.aws.calls.retrying import PATIENCE_SECONDS, retry
from prefect_ecs_pinned.aws.loop.once import Once
from prefect_ecs_pinned.core.shown import plain

logger = logging.getLogger(__name__)

#: Seconds for which an answer is remembered: the default of a cluster can be changed.
REMEMBERED_SECONDS = 600.0

#: Clusters that are remembered.
_MOST_CLUSTERS = 256

#: Items of API_CapacityProviderStrategyItem.
Strategy = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class _Held:
    """What a cluster's default strategy is, None if it can not be known, and until when."""

    strategy: Strategy | None
    until: float


class Clusters:
    """Looks clusters up; lives on the control loop.

    Args:
        api: The call.
        clock: Time.
        patience: Seconds for which a call is tried again.
    """

    def __init__(self, api: ClusterApi, clock: Clock, patience: float = PATIENCE_SECONDS) -> None:
        self._api = api
        self._clock = clock
        self._patience = patience
        self._known: Once[str, _Held] = Once(_MOST_CLUSTERS)

    async def default_strategy(self, cluster: str) -> Strategy | None:
        """A cluster's default capacity provider strategy (API_Cluster).

        Args:
            cluster: Name or ARN.

        Returns:
            Its items; none when tasks go to EC2 by themselves. None when it is not known: the
            credentials may not look, or there is no such cluster, which RunTask will say.

        Raises:
            PinnedECSError: AWS could not be reached.
        """
        held = self._known.peek(cluster)
        if held is not None and self._clock.now() >= held.until:
            self._known.forget(cluster, held)
        try:
            held = await self._known.get(cluster, lambda: self._look_up(cluster))
        except Fault as fault:
            what = f"cannot look up the default strategy of cluster {plain(cluster)!r}"
            hint = "set launch_type, capacity_provider_strategy or assign_public_ip"
            raise as_error(fault, what, hint) from fault
        return held.strategy

    async def _look_up(self, cluster: str) -> _Held:
        strategy: Strategy | None = None
        try:
            found = await retry(
                lambda: self._api.describe_cluster(cluster), self._clock, self._patience
            )
            strategy = None if found is None else _items(found)
        except Fault as fault:
            if fault.passing:
                raise
            if fault.kind is Kind.DENIED:
                logger.warning(
                    "The credentials may not describe cluster %s: tasks without a launch type "
                    "get a public IP only if their task definition requires FARGATE. Allow "
                    "ecs:DescribeClusters, or set assign_public_ip.",
                    plain(cluster),
                )
        return _Held(strategy, self._clock.now() + REMEMBERED_SECONDS)


def _items(cluster: Mapping[str, Any]) -> Strategy:
    listed = cluster.get("defaultCapacityProviderStrategy")
    return [item for item in listed or () if isinstance(item, Mapping)]
