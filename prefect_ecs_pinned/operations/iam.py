"""The least that a role has to be allowed, for exactly the blocks that are saved.

Which actions can be limited to resources, and by which conditions:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
(actions without a resource type take ``*``), for PassRole
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.block.prepare import (
    awsvpc,
    definition_spec,
    launch_request,
    patched_revision,
    registrable,
)
from prefect_ecs_pinned.core.arn import cluster_name, parse_revision
from prefect_ecs_pinned.core.definition import build
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.core.request import Sizes
from prefect_ecs_pinned.errors import TaskDefinitionNotFound
from prefect_ecs_pinned.operations.blocks import Configuration, configurations
from prefect_ecs_pinned.operations.calls import Calls
from prefect_ecs_pinned.operations.families import describe

Statement = dict[str, Any]

#: ``ACCOUNT.dkr.ecr.REGION.amazonaws.com[.cn]/REPOSITORY[:TAG][@DIGEST]``
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^:@]+)"
)


class Role(str, Enum):
    """Who is to be allowed what."""

    #: Launches flow runs, watches and cancels them.
    agent = "agent"
    #: Runs `plan` and `pin`.
    ci = "ci"
    #: Runs every command on what is saved: `show`, `prune`, `doctor`, `reconcile`.
    operator = "operator"


class Registration(str, Enum):
    """Whether a role registers revisions: the block's ``registration``."""

    on_change = "on-change"
    never = "never"


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
        cluster: Name of the cluster.
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
    cluster: str
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
        return self.ecs(f"task/{self.cluster}/*")


async def policy(
    reference: str,
    role: Role = Role.agent,
    registration: Registration | None = None,
    deployment: str | None = None,
    every: bool = False,
) -> dict[str, Any]:
    """An IAM policy document; see `blocks.configurations` for what it covers.

    Args:
        reference: The saved block.
        role: Who it is for.
        registration: Whether an agent registers; None for what the block says.
        deployment: See `blocks.configurations`.
        every: See there.

    Raises:
        ConfigurationError: No such block, or it can not become a definition.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    return await policy_for(await configurations(reference, deployment, every), role, registration)


async def policy_for(
    wanted: Sequence[Configuration],
    role: Role = Role.agent,
    registration: Registration | None = None,
) -> dict[str, Any]:
    """As `policy`, for configurations that have been read."""
    found = [await needs(configuration) for configuration in wanted]
    if registration is not None:
        found = [replace(n, registers=registration is Registration.on_change) for n in found]
    statements = {Role.agent: _agent, Role.ci: _ci, Role.operator: _operator}[role](found)
    return {"Version": "2012-10-17", "Statement": statements}


async def needs(configuration: Configuration) -> Needs:
    """What launching a configuration touches. Only its account and a linked revision are read."""
    block = configuration.block
    calls = Calls.of(block.aws_credentials)
    region = await calls.region()
    identity = await calls.call("sts", "GetCallerIdentity")
    partition, account = str(identity["Arn"]).split(":")[1], str(identity["Account"])
    desired, given = await _desired(block, calls, region)
    on_awsvpc = desired.definition.get("networkMode") == "awsvpc"
    network = awsvpc(block, block.subnets or ["subnet"]) if on_awsvpc else None
    request = launch_request(block, desired, Sizes(), network)
    revision = patched_revision(block) or given
    roles = {*_roles(desired.definition), *_roles(request.get("overrides") or {})}
    log_group = _log_group(desired, partition, region, account)
    return Needs(
        partition=partition,
        region=region,
        account=account,
        family=desired.family,
        revision=_numbered(revision),
        registers=revision is None and block.registration == "on-change",
        tags_definition=bool(desired.definition.get("tags")),
        cluster=cluster_name(request.get("cluster") or "default"),
        roles=frozenset(
            name if name.startswith("arn:") else f"arn:{partition}:iam::{account}:role/{name}"
            for name in roles
        ),
        has_network=on_awsvpc,
        looks_up_network=on_awsvpc and not block.subnets,
        has_security_groups=bool(block.security_groups),
        log_group=log_group,
        reads_output=bool(block.stream_output and log_group),
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


async def _desired(block: PinnedECSTask, calls: Calls, region: str) -> tuple[Desired, str | None]:
    """The desired definition, and the linked revision when it is used as it is."""
    if not block.task_definition_arn:
        return Desired(build(definition_spec(block, region))), None
    described = await describe(calls, block.task_definition_arn)
    if described is None:
        raise TaskDefinitionNotFound(
            f"cannot read {block.task_definition_arn!r}",
            "there is no such revision",
            "check task_definition_arn, and that it is in this account and Region",
        )
    linked = Desired(registrable(described))
    desired = Desired(build(definition_spec(block, region, described)))
    same = desired.fingerprint == linked.fingerprint and desired.family == linked.family
    if same or block.registration == "never":
        return linked, block.task_definition_arn
    return desired, None


def _numbered(revision: str | None) -> str | None:
    """``family:number``; of a family alone, any of its revisions."""
    if revision is None:
        return None
    name = parse_revision(revision)
    return str(name) if name.revision else f"{name.family}:*"


def _roles(structure: Mapping[str, Any]) -> list[str]:
    return [str(structure[n]) for n in ("executionRoleArn", "taskRoleArn") if structure.get(n)]


def _agent(found: Sequence[Needs]) -> list[Statement]:
    clusters = [n.ecs(f"cluster/{n.cluster}") for n in found]
    tasks = [n.tasks for n in found]
    on_clusters = {"ArnEquals": {"ecs:cluster": _unique(clusters)}}
    return _without_empty(
        [
            _allow("Launch", ["ecs:RunTask"], [n.revisions for n in found], on_clusters),
            _allow("Watch", ["ecs:DescribeTasks", "ecs:StopTask"], tasks),
            _allow("TagTasks", ["ecs:TagResource"], tasks, _created_by("RunTask")),
            *_pin(found),
            _pass_roles(found),
            _network(found),
            _output(found),
        ]
    )


def _ci(found: Sequence[Needs]) -> list[Statement]:
    found = [replace(n, registers=n.revision is None) for n in found]
    passing = [n for n in found if n.registers]
    return _without_empty([*_pin(found), _pass_roles(passing), _network(found)])


def _operator(found: Sequence[Needs]) -> list[Statement]:
    pruned = [n.ecs(f"task-definition/{n.family}:*") for n in found if n.revision is None]
    lists = ["ecs:ListClusters", "ecs:ListTasks", "ecs:ListServices"]
    return _without_empty(
        [
            _allow("LookUp", ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"], ["*"]),
            _allow("List", lists, ["*"]),
            _allow("Tasks", ["ecs:DescribeTasks"], [n.ecs("task/*") for n in found]),
            _allow("Services", ["ecs:DescribeServices"], [n.ecs("service/*") for n in found]),
            _allow("Stop", ["ecs:StopTask"], [n.tasks for n in found]),
            _allow("Deregister", ["ecs:DeregisterTaskDefinition"], ["*"] if pruned else []),
            _allow("Delete", ["ecs:DeleteTaskDefinitions"], pruned),
            *_examine(found),
        ]
    )


def _examine(found: Sequence[Needs]) -> list[Statement]:
    """What `doctor` looks at, besides revisions."""
    clusters = [n.ecs(f"cluster/{n.cluster}") for n in found]
    groups = ["ec2:DescribeSecurityGroups"] if any(n.has_security_groups for n in found) else []
    vpcs = ["ec2:DescribeVpcs"] if any(n.looks_up_network for n in found) else []
    subnets = ["ec2:DescribeSubnets"] if any(n.has_network for n in found) else []
    logs = [n.log_group.rpartition(":")[0] + ":*" for n in found if n.log_group]
    secrets = {arn for n in found for arn in n.secrets}
    in_manager = [":".join(arn.split(":")[:7]) for arn in secrets if ":secretsmanager:" in arn]
    parameters = len(in_manager) < len(secrets)
    return [
        _allow("LookAtClusters", ["ecs:DescribeClusters"], clusters),
        _allow("LookAtNetwork", [*groups, *vpcs, *subnets], ["*"]),
        _allow("LookAtImages", ["ecr:DescribeImages"], [n.repository for n in found]),
        _allow("LookAtLogGroups", ["logs:DescribeLogGroups"], logs),
        _allow("LookAtRoles", ["iam:GetRole"], {role for n in found for role in n.roles}),
        *_look_at_policies([n for n in found if n.secrets]),
        _allow("LookAtSecrets", ["secretsmanager:DescribeSecret"], in_manager),
        _allow("LookAtParameters", ["ssm:DescribeParameters"], ["*"] if parameters else []),
    ]


def _look_at_policies(found: Sequence[Needs]) -> list[Statement]:
    """Whether the execution role may read the secrets; AWS's own policies are of no account."""
    roles = {role for n in found for role in n.roles}
    policies = [
        f"arn:{n.partition}:iam::{owner}:policy/*" for n in found for owner in (n.account, "aws")
    ]
    lists = ["iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"]
    return [
        _allow("LookAtRolePolicies", lists, roles),
        _allow("LookAtPolicies", ["iam:GetPolicy", "iam:GetPolicyVersion"], policies),
    ]


def _pin(found: Sequence[Needs]) -> list[Statement]:
    pinned = any(n.revision is None for n in found)
    linked = any(n.revision is not None for n in found)
    reads = ["ecs:DescribeTaskDefinition"] if pinned or linked else []
    if pinned:
        reads.append("ecs:ListTaskDefinitions")
    registering = [n for n in found if n.registers]
    tagged = [n.ecs(f"task-definition/{n.family}:*") for n in registering if n.tags_definition]
    return [
        _allow("LookUp", reads, ["*"]),
        _allow("Register", ["ecs:RegisterTaskDefinition"], ["*"] if registering else []),
        _allow("TagRevisions", ["ecs:TagResource"], tagged, _created_by("RegisterTaskDefinition")),
    ]


def _pass_roles(found: Sequence[Needs]) -> Statement:
    roles = {role for n in found for role in n.roles}
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return _allow("PassRoles", ["iam:PassRole"], roles, to_ecs)


def _network(found: Sequence[Needs]) -> Statement:
    looked_up = any(n.looks_up_network for n in found)
    actions = ["ec2:DescribeSubnets", "ec2:DescribeVpcs"]
    return _allow("LookUpNetwork", actions, ["*"] if looked_up else [])


def _output(found: Sequence[Needs]) -> Statement:
    groups = [f"{n.log_group}:*" for n in found if n.reads_output]
    return _allow("ReadOutput", ["logs:FilterLogEvents", "logs:GetLogEvents"], groups)


def _created_by(action: str) -> Mapping[str, Any]:
    return {"StringEquals": {"ecs:CreateAction": action}}


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Iterable[str],
    condition: Mapping[str, Any] | None = None,
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": _unique(filter(None, resources)),
    }
    return {**statement, "Condition": dict(condition)} if condition else statement


def _unique(items: Iterable[str]) -> list[str]:
    return sorted(set(items))


def _without_empty(statements: Iterable[Statement]) -> list[Statement]:
    return [s for s in statements if s["Action"] and s["Resource"]]
