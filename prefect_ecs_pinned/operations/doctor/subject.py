"""One block, or a block with the overrides of one deployment, as its checks see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.core.compare import Desired
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import hidden_texts, plain
from prefect_ecs_pinned.errors import (
    AccessDenied,
    PinnedECSError,
    TaskDefinitionInactive,
    TaskDefinitionNotFound,
)
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.doctor.look import Look
from prefect_ecs_pinned.runs.check import well_formed_request
from prefect_ecs_pinned.runs.request import undecided_cluster
from prefect_ecs_pinned.runs.revision import choose, make_now, named_revision
from prefect_ecs_pinned.runs.spec import RunSpec

#: Placeholder for subnets that are looked up.
_LOOKED_UP = "looked up"


@dataclass(frozen=True)
class Subject:
    """What would be registered and sent for a flow run.

    Attributes:
        configuration: The block, as saved or overridden.
        look: Looks with its credentials.
        region: AWS Region.
        account: Account ID.
        desired: The definition that a flow run would run.
        revision: ARN or name of a revision that is used as it is; None when it is to be pinned.
        request: RunTask's parameters.
        embedded: AWS is an embedded ECS (`pinned-ecs local`), whose tasks run on this machine.
        default: The cluster's default capacity provider strategy, where it decides.
    """

    configuration: Configuration
    look: Look
    region: str
    account: str
    desired: Desired
    revision: str | None
    request: Mapping[str, Any] = field(repr=False)  # variables may be secrets
    embedded: bool = False
    default: Sequence[Mapping[str, Any]] | None = None

    @property
    def name(self) -> str:
        """Of the configuration."""
        return self.configuration.name

    @property
    def spec(self) -> RunSpec:
        """Of the configuration."""
        return self.configuration.spec

    @cached_property
    def hidden(self) -> frozenset[str]:
        """Texts that nothing may show which is said about it."""
        return hidden_texts(self.desired.definition, DEFINITION) | hidden_texts(
            self.request, REQUEST
        )

    @property
    def network(self) -> Mapping[str, Any]:
        """``awsvpcConfiguration`` of the request; empty off awsvpc."""
        whole = self.request.get("networkConfiguration") or {}
        return whole.get("awsvpcConfiguration") or {}

    @property
    def subnets(self) -> list[str]:
        """Subnets that are stated; none when they are looked up."""
        return [subnet for subnet in self.network.get("subnets") or [] if subnet != _LOOKED_UP]


async def make_subject(
    configuration: Configuration, look: Look, account: str, embedded: bool = False
) -> Subject:
    """Decide what a flow run would send, as `runs.prepare` does, the network left open.

    Raises:
        ConfigurationError: The block asks for what can not work.
        TaskDefinitionNotFound: There is no such revision as it links.
        TaskDefinitionInactive: The revision that it links was deregistered.
        PinnedECSError: AWS refused, or could not be reached.
    """
    region = await look.region()
    spec = configuration.of_a_run()

    async def read(tags: bool) -> LinkedRevision | None:
        return await _linked(spec, look, tags)

    desired, revision = await choose(spec, region, read, make_now)
    request = well_formed_request(spec, desired, revision, [_LOOKED_UP], unasked=True)
    default = None
    if cluster := undecided_cluster(spec, desired, request):
        default = await _default_strategy(cluster, look)
        request = well_formed_request(spec, desired, revision, [_LOOKED_UP], default)
    return Subject(
        configuration, look, region, account, desired, revision, request, embedded, default
    )


async def _default_strategy(cluster: str, look: Look) -> list[Mapping[str, Any]] | None:
    """See `aws.launching.clusters`."""
    try:
        answer = await look.ask("ecs", "DescribeClusters", clusters=[cluster])
    except PinnedECSError:
        return None  # the check of the cluster says why
    found = [c.get("defaultCapacityProviderStrategy") or [] for c in answer["clusters"]]
    return found[0] if found else None


async def _linked(spec: RunSpec, look: Look, tags: bool) -> LinkedRevision | None:
    arn = named_revision(spec)
    if not arn:
        return None
    missing = ("ClientException", "InvalidParameterException")
    which: dict[str, Any] = {"taskDefinition": arn, **({"include": ["TAGS"]} if tags else {})}
    try:
        answer = await look.find("ecs", "DescribeTaskDefinition", missing, **which)
    except AccessDenied:
        if not tags:
            raise
        return await _linked(spec, look, False)  # a denial counts as no tags
    if answer is None:
        raise TaskDefinitionNotFound(
            f"cannot run from {plain(arn)!r}",
            "there is no such revision",
            "check task_definition_arn, and that it is in this account and Region",
        )
    found: Mapping[str, Any] = answer["taskDefinition"]
    if found.get("status", "ACTIVE") != "ACTIVE":
        raise TaskDefinitionInactive(
            f"cannot run from {plain(arn)!r}",
            "it was deregistered",
            "link an ACTIVE revision, or leave task_definition_arn empty",
        )
    return LinkedRevision({**found, "tags": answer.get("tags")})
