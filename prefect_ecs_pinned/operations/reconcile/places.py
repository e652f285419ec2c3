"""Which accounts and Regions are looked at, and which deployments launch into them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.reconcile.evidence import Place
from prefect_ecs_pinned.operations.saved import SLUG
from prefect_ecs_pinned.operations.sources import Candidate, Holder, candidates
from prefect_ecs_pinned.runs.spec import RunSpec

#: Name of a face -> why there is nothing to look with, and what to do.
_NOTHING = {
    majors.BLOCK.name: (
        f"no block of type {SLUG!r} is saved, so there are no credentials to use",
        "save one, or create one from an ECSTask with `pinned-ecs migrate`",
    ),
    majors.WORKER.name: (
        "there is no work pool of type 'pinned-ecs', so there are no credentials to use",
        "make one: `prefect work-pool create NAME --type pinned-ecs`",
    ),
}


@dataclass(frozen=True)
class Origin:
    """Where the flow runs of a deployment are launched.

    Attributes:
        place: Account and Region; None when they could not be found out.
        searchable: Tasks carry the id of their flow run as ``startedBy``.
    """

    place: Place | None
    searchable: bool


@dataclass
class Scope:
    """What a reconciliation covers.

    Attributes:
        places: Accounts and Regions that could be reached.
        origins: Id of a deployment -> where its flow runs are launched.
        only: Ids of the deployments whose flow runs are looked at; None for all flow runs.
        longest_launch: The longest `launch_timeout_seconds` of any block or deployment.
        problems: Blocks and credentials that allow no verdict, and why.
    """

    places: list[Place] = field(default_factory=list)
    origins: dict[UUID, Origin] = field(default_factory=dict)
    only: list[UUID] | None = None
    longest_launch: timedelta = timedelta()
    problems: list[PinnedECSError] = field(default_factory=list)


async def read_scope(client: PrefectClient, reference: Holder | None) -> Scope:
    """The scope of one saved block or pool and its deployments, or of all of them.

    Raises:
        ConfigurationError: There is no such thing, or none at all.
        PinnedECSError: None of the credentials work.
    """
    found = await candidates(client, reference, unnamed=True)
    if not found:
        raise ConfigurationError("cannot reconcile", *_NOTHING[majors.face().name])
    scope, reach = Scope(), _Reach()
    for candidate in found:
        await _enter(scope, reach, candidate)
    if reference is not None:
        scope.only = list(scope.origins)
    scope.places = list(reach.places.values())
    if not scope.places:
        raise scope.problems[0]
    return scope


async def _enter(scope: Scope, reach: _Reach, candidate: Candidate) -> None:
    origin = Origin(None, False)
    found = candidate.configuration
    try:
        if found is None:
            scope.problems += [candidate.problem] if candidate.problem is not None else []
        else:
            wait = timedelta(seconds=found.spec.launch_timeout_seconds)
            scope.longest_launch = max(scope.longest_launch, wait)
            origin = Origin(await reach.place(found.access), searchable(found.spec))
    except PinnedECSError as error:
        scope.problems.append(error)
    if candidate.deployment_id is not None:
        scope.origins[candidate.deployment_id] = origin


def searchable(spec: RunSpec) -> bool:
    """Whether the tasks of runs carry the flow run's id: the request may set another."""
    if (spec.job_request or {}).get("startedBy"):
        return False
    return not any(patch.get("path") in ("", "/startedBy") for patch in spec.task_customizations)


class _Reach:
    """Each account and Region once, whatever credentials lead to it."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], Place] = {}
        self._by_key: dict[str, Place | PinnedECSError] = {}

    async def place(self, access: Access) -> Place:
        key = access.key
        if key not in self._by_key:
            try:
                self._by_key[key] = await self._look_up(access)
            except PinnedECSError as error:
                self._by_key[key] = error
        found = self._by_key[key]
        if isinstance(found, PinnedECSError):
            raise found
        return found

    async def _look_up(self, access: Access) -> Place:
        calls = Calls.of(access)
        region = await calls.region()
        account = str((await calls.call("sts", "GetCallerIdentity"))["Account"])
        return self.places.setdefault((account, region), Place(account, region, calls))
