"""Where configurations come from: saved blocks under Prefect 2, work pools under Prefect 3.

Commands name one or the other by a `Holder`, and need not know which major is installed. A
source is imported when it is asked for, since each is made of its own major's Prefect.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.claims import Claim
from prefect_ecs_pinned.operations.configuration import Configuration


@dataclass(frozen=True)
class Pool:
    """A work pool, named by a person.

    Attributes:
        name: Of the pool.
    """

    name: str


#: What configurations are of: a saved block, `pinned-ecs-task/NAME` or `NAME`; or a work pool.
Holder = str | Pool


@dataclass(frozen=True)
class Candidate:
    """A configuration that flow runs may use, or why there is none.

    Attributes:
        name: How it is called in messages.
        deployment_id: Of the deployment whose runs use it; None for none.
        configuration: What they ask for; None when it does not load.
        problem: Why it does not.
    """

    name: str
    deployment_id: UUID | None
    configuration: Configuration | None = None
    problem: PinnedECSError | None = None


def no_deployment(name: str, holder: str, there: Iterable[str]) -> ConfigurationError:
    """A deployment is named that does not run on a block or pool.

    Args:
        name: The one that is named.
        holder: How the block or pool is called in messages.
        there: Names of those that do.
    """
    return ConfigurationError(
        f"cannot use deployment {name!r}",
        f"no deployment of this name runs on {holder}",
        f"deployments that do: {', '.join(there) or 'none'}",
    )


class Source(Protocol):
    """A module that reads configurations; `operations.blocks` and `operations.pools` are two."""

    async def configurations(
        self,
        reference: Any,
        deployment: str | None = None,
        every: bool = False,
        more: Mapping[str, Any] | None = None,
    ) -> list[Configuration]:
        """What a reference means.

        Args:
            reference: The block or the pool.
            deployment: ``flow/deployment``, to have what it overrides applied.
            every: Each deployment on it, and what it is without them.
            more: Overrides, by dotted path, that are not saved yet; they win.

        Raises:
            ConfigurationError: There is no such thing, or it does not load.
            Unavailable: The Prefect API can not be reached.
        """

    async def candidates(
        self, client: PrefectClient, reference: Any, unnamed: bool = False
    ) -> list[Candidate]:
        """What flow runs may use, loading or not.

        Args:
            client: Of the Prefect API.
            reference: The block or the pool; None for all of them.
            unnamed: Of all of them, those without a name too.

        Raises:
            ConfigurationError: There is no such thing.
        """

    async def read_claims(self, calls: Calls, family: str) -> list[Claim]:
        """What everything that is saved on this Prefect server claims of a family.

        Raises:
            ConfigurationError: Something that may belong to the family does not load.
            PinnedECSError: AWS or Prefect refused, or could not be reached.
        """


_BLOCKS, _POOLS = "prefect_ecs_pinned.operations.blocks", "prefect_ecs_pinned.operations.pools"


def face_of(reference: Holder | None) -> majors.Face:
    """The face that a reference goes with; None goes with the installed one.

    Raises:
        WrongPrefect: It is the other major's.
    """
    if reference is None:
        return majors.face()
    wanted = majors.WORKER if isinstance(reference, Pool) else majors.BLOCK
    majors.require(wanted)
    return wanted


def name_of(reference: Holder | None) -> str | None:
    """As the source takes it."""
    return reference.name if isinstance(reference, Pool) else reference


def source_of(reference: Holder | None) -> Source:
    """The source of a reference; of None, that of the installed Prefect.

    Raises:
        WrongPrefect: It is the other major's.
    """
    module = _BLOCKS if face_of(reference) is majors.BLOCK else _POOLS
    return cast(Source, importlib.import_module(module))


async def configurations(
    reference: Holder,
    deployment: str | None = None,
    every: bool = False,
    more: Mapping[str, Any] | None = None,
) -> list[Configuration]:
    """See `Source.configurations`."""
    source = source_of(reference)
    return await source.configurations(name_of(reference), deployment, every, more)


async def candidates(
    client: PrefectClient, reference: Holder | None, unnamed: bool = False
) -> list[Candidate]:
    """See `Source.candidates`."""
    return await source_of(reference).candidates(client, name_of(reference), unnamed)


async def read_claims(calls: Calls, family: str) -> list[Claim]:
    """See `Source.read_claims`."""
    return await source_of(None).read_claims(calls, family)
