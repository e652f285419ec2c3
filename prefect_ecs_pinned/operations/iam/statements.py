"""The statements of a policy, made of what is touched. Nothing is read.

Which actions can be limited to resources, and by which conditions:
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
(actions without a resource type take ``*``), for PassRole
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from prefect_ecs_pinned.operations.iam.needs import Needs

Statement = dict[str, Any]


class Role(str, Enum):
    """Who is to be allowed what."""

    #: Launches flow runs, watches and cancels them.
    agent = "agent"
    #: Runs `plan` and `pin`.
    ci = "ci"
    #: Runs every command on what is saved: `show`, `prune`, `doctor`, `reconcile`.
    operator = "operator"


def statements(role: Role, found: Sequence[Needs]) -> list[Statement]:
    """The least that a role has to be allowed for these configurations."""
    return {Role.agent: _agent, Role.ci: _ci, Role.operator: _operator}[role](found)


def _agent(found: Sequence[Needs]) -> list[Statement]:
    clusters = [n.ecs(f"cluster/{n.cluster}") for n in found]
    tasks = [n.tasks for n in found]
    on_clusters = {"ArnEquals": {"ecs:cluster": _unique(clusters)}}
    return _without_empty(
        [
            _allow("Launch", ["ecs:RunTask"], [n.revisions for n in found], on_clusters),
            _allow("Watch", ["ecs:DescribeTasks", "ecs:StopTask"], tasks),
            # A launch whose answer was lost is looked for by `startedBy` before it is given up.
            _allow("FindLaunches", ["ecs:ListTasks"], ["*"], on_clusters),
            _allow("TagTasks", ["ecs:TagResource"], tasks, _created_by("RunTask")),
            *_pin(found),
            _pass_roles(found),
            _network(found),
            _default_strategy(found),
            _output(found),
        ]
    )


def _ci(found: Sequence[Needs]) -> list[Statement]:
    found = [replace(n, registers=n.revision is None) for n in found]
    passing = [n for n in found if n.registers]
    return _without_empty(
        [*_pin(found), _pass_roles(passing), _network(found), _default_strategy(found)]
    )


def _operator(found: Sequence[Needs]) -> list[Statement]:
    pruned = [n.ecs(f"task-definition/{n.family}:*") for n in found if n.revision is None]
    lists = ["ecs:ListClusters", "ecs:ListTasks", "ecs:ListServices"]
    return _without_empty(
        [
            _allow("LookUp", ["ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions"], ["*"]),
            _read_tags(found),
            _allow("List", lists, ["*"]),
            _allow("Tasks", ["ecs:DescribeTasks"], [n.ecs("task/*") for n in found]),
            _allow("Services", ["ecs:DescribeServices"], [n.ecs("service/*") for n in found]),
            _allow("Stop", ["ecs:StopTask"], [n.tasks for n in found]),
            _allow("Deregister", ["ecs:DeregisterTaskDefinition"], ["*"] if pruned else []),
            _allow("Delete", ["ecs:DeleteTaskDefinitions"], pruned),
            # A tag may keep a revision. DescribeTaskDefinition asks for it when it includes tags
            # (jenkinsci/amazon-ecs-plugin#306).
            _allow("ReadKeepTags", ["ecs:ListTagsForResource"], pruned),
            *_examine(found),
        ]
    )


def _examine(found: Sequence[Needs]) -> list[Statement]:
    """What `doctor` checks, in addition to revisions."""
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
        _read_tags(found),
        _allow("TagRevisions", ["ecs:TagResource"], tagged, _created_by("RegisterTaskDefinition")),
    ]


def _read_tags(found: Sequence[Needs]) -> Statement:
    revisions = [n.ecs(f"task-definition/{family}:*") for n in found for family in n.reads_tags]
    return _allow("ReadTags", ["ecs:ListTagsForResource"], revisions)


def _pass_roles(found: Sequence[Needs]) -> Statement:
    roles = {role for n in found for role in n.roles}
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    return _allow("PassRoles", ["iam:PassRole"], roles, to_ecs)


def _network(found: Sequence[Needs]) -> Statement:
    looked_up = any(n.looks_up_network for n in found)
    actions = ["ec2:DescribeSubnets", "ec2:DescribeVpcs"]
    return _allow("LookUpNetwork", actions, ["*"] if looked_up else [])


def _default_strategy(found: Sequence[Needs]) -> Statement:
    asked = [n.ecs(f"cluster/{n.cluster}") for n in found if n.asks_cluster]
    return _allow("LookUpDefaultStrategy", ["ecs:DescribeClusters"], asked)


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
