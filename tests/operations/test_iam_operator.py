"""The operator's policy is enough for `doctor` and `reconcile`, and holds nothing for lack of use.

What it takes to show and to prune is tested in `test_iam`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from prefect.states import Completed

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.operations.doctor import Status, doctor
from prefect_ecs_pinned.operations.iam import Role, policy
from prefect_ecs_pinned.operations.reconcile import carry_out as reconcile
from prefect_ecs_pinned.operations.reconcile import survey as look_for_lost_runs
from tests.operations.authorising import AuthorisingFront, without
from tests.operations.fixtures import credentials
from tests.operations.test_doctor import SetUp
from tests.operations.test_reconcile import World as FlowRuns
from tests.operations.test_reconcile import later

DOCTOR = {
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ecr:DescribeImages",
    "ecs:DescribeClusters",
    "ecs:DescribeTaskDefinition",
    "iam:GetPolicy",
    "iam:GetPolicyVersion",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListRolePolicies",
    "logs:DescribeLogGroups",
    "secretsmanager:DescribeSecret",
}


@pytest.fixture
def patient(ecs, save, deploy, monkeypatch) -> Iterator[tuple[SetUp, AuthorisingFront]]:
    """A set-up that all is well with, behind a front; its execution role has a managed policy."""
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    with AuthorisingFront(ecs) as front:
        set_up = SetUp(ecs, save, deploy)
        iam = ecs.client("iam")
        read = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": read})
        arn = iam.create_policy(PolicyName=f"logs-{set_up.tag}", PolicyDocument=document)["Policy"][
            "Arn"
        ]
        iam.attach_role_policy(RoleName=set_up.role.rsplit("/", 1)[-1], PolicyArn=arn)
        yield set_up, front


def examined_by(set_up: SetUp, front: AuthorisingFront, key: str, less: str = "") -> set[Status]:
    """What the doctor finds with the operator's policy, or with one action less."""
    front.policies.pop(key, None)
    block = PinnedECSTask(aws_credentials=credentials(front.endpoint_url, key), **set_up.fields)
    block.save(key, overwrite=True)
    front.policies[key] = without(asyncio.run(policy(key, Role.operator)), less)
    return {finding.status for finding in asyncio.run(doctor(key))}


@pytest.mark.walkthrough
def test_the_operators_policy_is_what_the_doctor_needs(patient):
    """With it every check is made, none skipped; without any action one of them can not be."""
    set_up, front = patient
    assert examined_by(set_up, front, "whole") == {Status.OK}
    assert not front.denied["whole"]
    assert front.allowed["whole"] == DOCTOR
    for number, action in enumerate(sorted(DOCTOR)):
        key = f"less-{number}"
        assert examined_by(set_up, front, key, less=action) != {Status.OK}, action
        assert front.denied[key] == {action}


async def test_the_operators_policy_is_enough_to_reconcile(save, deploy, ecs):
    """A task that outlived its flow run is found by its flow run, described, and stopped."""
    with AuthorisingFront(ecs) as front:
        fields = {"subnets": ["subnet-1"], "family": "job"}
        mine = credentials(front.endpoint_url, "operator")
        await asyncio.to_thread(save, "etl", **fields)
        await asyncio.to_thread(deploy, "flow/etl", "etl")
        block = PinnedECSTask(aws_credentials=mine, image="flows:1", **fields)
        await block.save("etl", overwrite=True)
        ecs.client("ecs").register_task_definition(
            family="job",
            containerDefinitions=[{"name": "prefect", "image": "flows:1", "memory": 64}],
        )
        world = FlowRuns(ecs, "flow/etl")
        _, task = await world.run(Completed())
        front.policies["operator"] = await policy("etl", Role.operator)
        survey = await look_for_lost_runs("etl", now=later(hours=1))
        assert [outcome.done for outcome in await reconcile(survey)] == [True]
        assert task not in world.live()  # type: ignore[attr-defined]
        assert not front.denied["operator"]
        assert front.allowed["operator"] == {
            *("ecs:DescribeTasks", "ecs:ListClusters", "ecs:ListTasks", "ecs:StopTask")
        }
