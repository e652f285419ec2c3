"""From a run's spec to what is pinned and what is sent, before anything is changed.

Everything that can be known to be wrong is found here. Only reads are made: of the linked
revision, of the VPC's subnets, and of the cluster where it alone decides about a public IP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.request import (
    check_network,
    looks_up_subnets,
    subnets_of,
    undecided_cluster,
)
from prefect_ecs_pinned.runs.revision import choose, named_revision
from prefect_ecs_pinned.runs.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one run needs, decided.

    Attributes:
        desired: The definition that it will run.
        revision: ARN or name of a revision that is used as it is; None when it is to be pinned.
        may_register: Whether a revision may be made.
        linked_changed: The spec changes the revision that it names.
        request: RunTask's parameters; ``taskDefinition`` is filled in when it is pinned.
        subnets_found: Its subnets were looked up, and may be again.
        started_by: Its own ``startedBy``; empty when customizations have set another one.
    """

    desired: Desired
    revision: str | None
    may_register: bool
    linked_changed: bool
    request: Mapping[str, Any] = field(repr=False)  # variables may be secrets
    subnets_found: bool = False
    started_by: str = ""


async def prepare(spec: RunSpec, plane: ControlPlane) -> Prepared:
    """Decide what a run pins and sends.

    Raises:
        ConfigurationError: What is asked for cannot work.
        PinnedECSError: AWS refused a look-up, or could not be reached.
    """
    named = named_revision(spec)

    async def read(tags: bool) -> LinkedRevision | None:
        return await plane.linked(named, tags) if named else None

    desired, revision = await choose(spec, await plane.region(), read, plane.desired)
    check_network(spec, desired)  # before subnets are looked up
    looked_up = looks_up_subnets(spec, desired)
    subnets = list(await plane.subnets(spec.vpc_id)) if looked_up else []
    request = checked_request(spec, desired, revision, subnets, unasked=True)
    if cluster := undecided_cluster(spec, desired, request):
        default = await plane.default_strategy(cluster)
        request = checked_request(spec, desired, revision, subnets, default)
    flow_run_id = spec.flow_run_id or ""
    return Prepared(
        desired=desired,
        revision=revision,
        may_register=spec.may_register,
        linked_changed=bool(named) and revision is None,
        request=request,
        subnets_found=looked_up and subnets_of(request) == subnets,
        started_by=flow_run_id if request.get("startedBy") == flow_run_id else "",
    )
