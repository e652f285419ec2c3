"""Checks of what a task needs to start: its image, its log group, its secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.core.shown import arn, named
from prefect_ecs_pinned.errors import AccessDenied
from prefect_ecs_pinned.operations.doctor.findings import Answer, fail, ok, skip, warn
from prefect_ecs_pinned.operations.doctor.role_checks import allows, policies
from prefect_ecs_pinned.operations.doctor.subject import Subject

#: ``ACCOUNT.dkr.ecr.REGION.amazonaws.com[.cn]/REPOSITORY[:TAG][@DIGEST]``
_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>.+))?"
)

_NO_IMAGE = ("ImageNotFoundException", "RepositoryNotFoundException")

#: Service of a secret's ARN -> what the execution role needs to read it.
_READS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameters"}

#: Of Secrets Manager or of SSM (API_Secret, "valueFrom").
_SECRET_ARN = re.compile(r"arn:[^:]+:(secretsmanager:[^:]+:\d*:secret:|ssm:[^:]+:\d*:parameter).+")


async def image(subject: Subject) -> list[Answer]:
    """An image in ECR exists."""
    name = subject.desired.image
    parts = _ECR.fullmatch(name)
    if parts is None:
        return [skip(f"{name} is not in ECR")]
    wanted = (
        {"imageDigest": parts["digest"]}
        if parts["digest"]
        else {"imageTag": parts["tag"] or "latest"}
    )
    answer = await subject.look.in_region(parts["region"]).find(
        "ecr",
        "DescribeImages",
        _NO_IMAGE,
        registryId=parts["account"],
        repositoryName=parts["repository"],
        imageIds=[wanted],
    )
    if answer is None or not answer["imageDetails"]:
        return [fail(f"{name} does not exist", "push it, or correct image")]
    return [ok(name)]


async def log_group(subject: Subject) -> list[Answer]:
    """The log group exists, or is created by the first task."""
    logs = subject.desired.container.get("logConfiguration") or {}
    if logs.get("logDriver") != "awslogs":
        return [skip("the container does not log to CloudWatch")]
    options: Mapping[str, str] = logs.get("options") or {}
    group = options.get("awslogs-group", "")
    look = subject.look.in_region(options.get("awslogs-region") or subject.region)
    answer = await look.ask("logs", "DescribeLogGroups", logGroupNamePrefix=group)
    if any(found["logGroupName"] == group for found in answer["logGroups"]):
        return [ok(group)]
    if options.get("awslogs-create-group") == "true":
        return [ok(f"{group} is created by the first task")]
    hint = "create it, or set awslogs-create-group to 'true' in cloudwatch_logs_options"
    return [fail(f"there is no log group {group!r}", hint)]


async def secrets(subject: Subject) -> list[Answer]:
    """Secrets exist, and the execution role's policies allow to read them."""
    references = [
        (named(secret["name"]), str(secret["valueFrom"]))
        for container in subject.desired.definition.get("containerDefinitions") or []
        for secret in container.get("secrets") or []
    ]
    if not references:
        return [skip("not set")]
    return [await _secret(subject, *reference) for reference in sorted(references)]


async def _secret(subject: Subject, name: str, reference: str) -> Answer:
    if reference.startswith("arn:") and not _SECRET_ARN.fullmatch(reference):
        return fail(
            f"{name}: {arn(reference)} is not the ARN of a secret", f"correct the ARN of {name}"
        )
    if not reference.startswith("arn:"):  # SSM, in the Region of the task (API_Secret)
        found, service = await _parameter(subject, subject.region, reference), "ssm"
    else:
        _, _, service, region, *_ = reference.split(":")
        if service == "ssm":
            found = await _parameter(subject, region, reference.split(":parameter", 1)[-1])
        else:
            found = await _secret_of_manager(subject, region, reference)
    if not found:
        hint = f"create it, or correct the ARN of {name}"
        what = f"{name}: {arn(reference)} does not exist, or is about to be deleted"
        return fail(what, hint)
    return await _readable(subject, name, service, reference)


async def _secret_of_manager(subject: Subject, region: str, reference: str) -> bool:
    # arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME[:KEY:STAGE:VERSION]
    secret = ":".join(reference.split(":")[:7])
    answer = await subject.look.in_region(region).find(
        "secretsmanager", "DescribeSecret", ("ResourceNotFoundException",), SecretId=secret
    )
    return answer is not None and not answer.get("DeletedDate")


async def _parameter(subject: Subject, region: str, name: str) -> bool:
    wanted: list[dict[str, Any]] = [{"Key": "Name", "Values": [name, name.lstrip("/")]}]
    answer = await subject.look.in_region(region).ask(
        "ssm", "DescribeParameters", ParameterFilters=wanted
    )
    return bool(answer["Parameters"])


async def _readable(subject: Subject, name: str, service: str, reference: str) -> Answer:
    role = (subject.request.get("overrides") or {}).get("executionRoleArn")
    role = role or subject.desired.definition.get("executionRoleArn")
    if not role:  # on EC2 the instance's role reads it
        return ok(f"{name} exists")
    try:
        documents = await policies(subject.look, str(role))
    except AccessDenied as error:
        return skip(f"{name} exists; {error.why}", error.hint)
    action = _READS.get(service, f"{service}:*")
    resource = ":".join(reference.split(":")[:7]) if reference.startswith("arn:") else "*"
    if allows(documents, action, resource):
        return ok(f"{name} exists, and {role} may read it")
    return warn(
        f"{name}: no policy of {role} allows {action} on it",
        "allow it, unless the secret's own policy does",
    )
