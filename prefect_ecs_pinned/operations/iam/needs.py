"""What launching a saved block touches: account, family, cluster, roles, log group, secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.aws.pinning.linked_revision import LinkedRevision
from prefect_ecs_pinned.core.arn import cluster_name, parse_revision
from prefect_ecs_pinned.core.compare import Desired
from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.errors import TaskDefinitionNotFound
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.families import describe
from prefect_ecs_pinned.operations.iam.account import Account, read_account, stand_in
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.request import looks_up_subnets, undecided_cluster
from prefect_ecs_pinned.runs.revision import choose, make_now, named_revision
from prefect_ecs_pinned.runs.spec import RunSpec

#: ``ACCOUNT.dkr.ecr.REGION.amazonaws.com[.cn]/REPOSITORY[:TAG][@DIGEST]``
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^:@]+)"
)


@dataclass(frozen=True)
class Needs:
    """What launching one configuration touches.

    Attributes:
        partition: ``aws``, ``aws-cn`` or ``aws-us-gov``.
        region: AWS Region.
        account: Account ID.
        family: Family of the definition.
        revision: The only revision that is run, when it is given by name; as ``family:number``.
        registers: A revision is registered when the configuration has changed.
        tags_definition: Registering sets tags.
        reads_tags: Families whose revisions' tags are read.
        cluster: Name of the cluster.
        asks_cluster: Its default strategy is looked up.
        roles: ARNs of the roles that are handed to ECS.
        has_network: Tasks have a network of their own (awsvpc).
        looks_up_network: Subnets are looked up.
        has_security_groups: Security groups are stated.
        log_group: ARN of the group that the Prefect container writes to; empty for none.
        reads_output: Output is read from it.
        repository: ARN of the image's ECR repository; empty when it is elsewhere.
        secrets: ARNs of secrets and parameters.
    """

    partition: str
    region: str
    account: str
    family: str
    revision: str | None
    registers: bool
    tags_definition: bool
    reads_tags: frozenset[str]
    cluster: str
    asks_cluster: bool
    roles: frozenset[str]
    has_network: bool
    looks_up_network: bool
    has_security_groups: bool
    log_group: str
    reads_output: bool
    repository: str
    secrets: frozenset[str]

    def ecs(self, resource: str) -> str:
        """An ARN of ECS."""
        return f"arn:{self.partition}:ecs:{self.region}:{self.account}:{resource}"

    @property
    def revisions(self) -> str:
        """ARN of what is run: one revision, or any of the family."""
        return self.ecs(f"task-definition/{self.revision or self.family + ':*'}")

    @property
    def tasks(self) -> str:
        """ARNs of the tasks of the cluster."""
        return self.ecs(f"task/{self.cluster}/*")


async def needs(
    configuration: Configuration, where: Account | None = None, calls: Calls | None = None
) -> Needs:
    """What launching a configuration touches. Only its account and a linked revision are read.

    Args:
        configuration: The block, as saved or overridden.
        where: Its account, if it has been read; where AWS could not be asked, a linked revision
            is not read either.
        calls: Reach AWS with its credentials.
    """
    spec = configuration.of_a_run()
    calls = calls or Calls.of(configuration.access)
    where = where or await read_account(calls)
    partition, region, account = where.partition, where.region, where.account

    async def read(tags: bool) -> LinkedRevision | None:
        named = named_revision(spec)
        if named and where.unknown is not None:
            return LinkedRevision(stand_in(named, where, spec.container_name))
        return await _linked(spec, calls, tags)

    desired, given = await choose(spec, region, read, make_now)
    request = checked_request(spec, desired, given, ["subnet"], unasked=True)
    roles = {*_roles(desired.definition), *_roles(request.get("overrides") or {})}
    log_group = _log_group(desired, partition, region, account)
    return Needs(
        partition=partition,
        region=region,
        account=account,
        family=desired.family,
        revision=_numbered(given),
        registers=given is None and spec.may_register,
        tags_definition=bool(desired.definition.get("tags")),
        reads_tags=frozenset(_reads_tags(spec, desired) if given is None else ()),
        cluster=cluster_name(request.get("cluster") or "default"),
        asks_cluster=undecided_cluster(spec, desired, request) is not None,
        roles=frozenset(
            name if name.startswith("arn:") else f"arn:{partition}:iam::{account}:role/{name}"
            for name in roles
        ),
        has_network=desired.definition.get("networkMode") == "awsvpc",
        looks_up_network=looks_up_subnets(spec, desired),
        has_security_groups=bool(spec.security_groups),
        log_group=log_group,
        reads_output=bool(spec.stream_output and log_group),
        repository=_repository(str(desired.container.get("image", "")), partition),
        secrets=frozenset(s["valueFrom"] for s in desired.container.get("secrets") or []),
    )


def _log_group(desired: Desired, partition: str, region: str, account: str) -> str:
    logs = desired.container.get("logConfiguration") or {}
    options = logs.get("options") or {}
    if logs.get("logDriver") != "awslogs" or not options.get("awslogs-group"):
        return ""
    where = options.get("awslogs-region") or region
    return f"arn:{partition}:logs:{where}:{account}:log-group:{options['awslogs-group']}"


def _repository(image: str, partition: str) -> str:
    found = _ECR.match(image)
    if found is None:
        return ""
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{found['name']}"


async def _linked(spec: RunSpec, calls: Calls, tags: bool) -> LinkedRevision | None:
    named = named_revision(spec)
    if not named:
        return None
    described = await describe(calls, named, tags)
    if described is None:
        raise TaskDefinitionNotFound(
            f"cannot read {plain(named)!r}",
            "there is no such revision",
            "check task_definition_arn, and that it is in this account and Region",
        )
    return LinkedRevision(described)


def _reads_tags(spec: RunSpec, desired: Desired) -> list[str]:
    """The family, if tags are needed; and that of a linked revision, whose tags are kept."""
    named = named_revision(spec)
    linked = [parse_revision(named).family] if named else []
    return [*linked, *([desired.family] if desired.tags else [])]


def _numbered(revision: str | None) -> str | None:
    """``family:number``; of a family alone, any of its revisions."""
    if revision is None:
        return None
    name = parse_revision(revision)
    return str(name) if name.revision else f"{name.family}:*"


def _roles(structure: Mapping[str, Any]) -> list[str]:
    return [str(structure[n]) for n in ("executionRoleArn", "taskRoleArn") if structure.get(n)]
