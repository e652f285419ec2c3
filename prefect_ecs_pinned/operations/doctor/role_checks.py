"""Checks of the roles that ECS is handed, and of what the execution role may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.operations.doctor.findings import Answer, fail, ok
from prefect_ecs_pinned.operations.doctor.look import Look
from prefect_ecs_pinned.operations.doctor.subject import Subject

#: Who has to be allowed to assume the roles of a task.
ECS_TASKS = "ecs-tasks.amazonaws.com"

_NO_ROLE = ("NoSuchEntity",)


async def roles(subject: Subject) -> list[Answer]:
    """Execution role and task role exist, and ECS may assume them."""
    sources = (subject.desired.definition, subject.request.get("overrides") or {})
    answers = []
    for member, field in (
        ("executionRoleArn", "execution_role_arn"),
        ("taskRoleArn", "task_role_arn"),
    ):
        stated = [str(plain(source[member])) for source in sources if source.get(member)]
        if stated:
            answers.append(await _role(subject, field, stated[-1]))
    return answers or [ok("not set")]


async def _role(subject: Subject, field: str, role: str) -> Answer:
    if role.startswith("arn:") and role.split(":")[4:5] != [subject.account]:
        detail = f"{field} {role} is of another account than {subject.account}"
        return fail(detail, "a role can be passed to ECS only in its own account")
    answer = await subject.look.find("iam", "GetRole", _NO_ROLE, RoleName=role.rsplit("/", 1)[-1])
    if answer is None:
        return fail(f"{field} {role} does not exist", f"check {field}, or create the role")
    if not _trusts(answer["Role"].get("AssumeRolePolicyDocument") or {}):
        hint = f"let {ECS_TASKS} assume it, in the role's trust relationships"
        return fail(f"{field} {role} can not be assumed by {ECS_TASKS}", hint)
    return ok(f"{field} {role}")


def _trusts(document: Mapping[str, Any]) -> bool:
    for statement in _many(document.get("Statement")):
        principal = statement.get("Principal") or {}
        services = _many(principal.get("Service")) if isinstance(principal, Mapping) else []
        actions = _many(statement.get("Action"))
        if statement.get("Effect") == "Allow" and ECS_TASKS in services:
            return any(fnmatchcase("sts:AssumeRole", str(action)) for action in actions)
    return False


async def policies(look: Look, role: str) -> list[Mapping[str, Any]]:
    """The documents of a role's policies, inline and attached.

    Raises:
        PinnedECSError: AWS refused, or could not be reached.
    """
    name = role.rsplit("/", 1)[-1]
    found: list[Mapping[str, Any]] = []
    inline = await look.ask("iam", "ListRolePolicies", RoleName=name)
    for policy in inline["PolicyNames"]:
        answer = await look.ask("iam", "GetRolePolicy", RoleName=name, PolicyName=policy)
        found.append(answer["PolicyDocument"])
    attached = await look.ask("iam", "ListAttachedRolePolicies", RoleName=name)
    for policy in attached["AttachedPolicies"]:
        arn = policy["PolicyArn"]
        version = (await look.ask("iam", "GetPolicy", PolicyArn=arn))["Policy"]["DefaultVersionId"]
        answer = await look.ask("iam", "GetPolicyVersion", PolicyArn=arn, VersionId=version)
        found.append(answer["PolicyVersion"]["Document"])
    return found


def allows(documents: Sequence[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Whether policies allow an action on a resource, whatever their conditions say."""
    effects = [
        statement.get("Effect")
        for statement in _statements(documents)
        if _matches(statement.get("Action"), action.lower(), lower=True)
        and _matches(statement.get("Resource"), resource)
    ]
    return "Allow" in effects and "Deny" not in effects


def _statements(documents: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for document in documents:
        yield from _many(document.get("Statement"))


def _matches(patterns: Any, text: str, lower: bool = False) -> bool:
    return any(
        fnmatchcase(text, str(pattern).lower() if lower else str(pattern))
        for pattern in _many(patterns)
    )


def _many(value: Any) -> list[Any]:
    """IAM writes one item without its list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
