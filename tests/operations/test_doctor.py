"""`doctor`: each planted fault is found by its check, and a healthy set-up passes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.settings import PREFECT_AGENT_QUERY_INTERVAL, temporary_settings

from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.operations.doctor import Finding, Status, doctor
from prefect_ecs_pinned.operations.doctor import examine as examining
from prefect_ecs_pinned.operations.doctor.role_checks import allows
from tests.operations.fixtures import ACCOUNT

OK, WARN, FAIL, SKIP = Status.OK, Status.WARN, Status.FAIL, Status.SKIP

TRUST = {
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
)
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com"


class SetUp:
    """A block that all is well with, with a deployment, and all that it names."""

    def __init__(self, ecs: LocalECS, save: Callable[..., str], deploy: Callable[..., None]):
        self.ecs = ecs
        self._save = save
        self._deploy = deploy
        ec2 = ecs.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        self.vpc = subnets[0]["VpcId"]
        # moto's backends belong to the process: what other tests made may be there still.
        self.tag = uuid4().hex[:8]
        group = ec2.create_security_group(GroupName=self.tag, Description="runs", VpcId=self.vpc)
        self.role = self.make_role("execution", TRUST)
        ecs.client("ecr").create_repository(repositoryName=self.tag)
        ecs.client("ecr").put_image(repositoryName=self.tag, imageTag="1", imageManifest=MANIFEST)
        ecs.client("logs").create_log_group(logGroupName=self.tag)
        self.secret = ecs.client("secretsmanager").create_secret(Name=self.tag, SecretString="s3")[
            "ARN"
        ]
        self.fields: dict[str, Any] = {
            "image": f"{REGISTRY}/{self.tag}:1",
            "cluster": "default",
            "cpu": 512,
            "memory": 1024,
            "subnets": [subnet["SubnetId"] for subnet in subnets],
            "security_groups": [group["GroupId"]],
            "execution_role_arn": self.role,
            "task_role_arn": self.make_role("task", TRUST),
            "secrets": {"PREFECT_API_KEY": self.secret},
            "configure_cloudwatch_logs": True,
            "cloudwatch_logs_options": {
                "awslogs-group": self.tag,
                "awslogs-create-group": "false",
            },
            "env": {"PREFECT_API_URL": "https://prefect.example.com/api"},
        }
        self.overrides: dict[str, Any] = {"cpu": 1024, "memory": 2048}
        self.after: list[Callable[[], Any]] = []

    def make_role(self, name: str, trust: Any, path: str = "/") -> str:
        iam, name = self.ecs.client("iam"), f"{name}-{self.tag}"
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Path=path)
        statement = {
            "Effect": "Allow",
            "Action": ["secretsmanager:Get*", "ssm:GetParameters"],
            "Resource": "*",
        }
        iam.put_role_policy(
            RoleName=name,
            PolicyName="read",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement}),
        )
        return str(role["Role"]["Arn"])

    def examine(self) -> list[Finding]:
        """Save, deploy, let things go wrong, and see what the doctor says."""
        block = self._save("etl", **self.fields)
        self._deploy("flow/prod", block, self.overrides)
        asyncio.run(_with_queue())
        for spoil in self.after:
            spoil()
        self.ecs.reset()
        return asyncio.run(doctor("etl"))


async def _with_queue() -> None:
    async with get_client() as client:
        try:
            await client.read_work_queue_by_name("default")
        except Exception:  # noqa: BLE001 - whatever it is, it is shown or counted
            await client.create_work_queue("default")


@pytest.fixture
def healthy(ecs, save, deploy, monkeypatch) -> Iterator[SetUp]:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    with temporary_settings({PREFECT_AGENT_QUERY_INTERVAL: 5}):
        yield SetUp(ecs, save, deploy)


def of(findings: list[Finding], status: Status) -> dict[str, str]:
    """Check -> what is said, with this status."""
    return {finding.check: finding.detail for finding in findings if finding.status is status}


def test_a_healthy_set_up_passes(healthy):
    """All checks are made, all are OK, for the block and for its deployment."""
    findings = healthy.examine()
    assert {f.status for f in findings} == {OK}
    assert {f.check for f in findings} == {
        "loads", "agent", "picked up", "Region", "credentials", "definition", "image set",
        "container", "size",
        "overrides", "Prefect API URL", "cluster", "subnets", "security groups", "roles", "image",
        "log group", "secrets", "revision", "revisions left",
    }  # fmt: skip
    (cluster,) = [f for f in findings if f.check == "cluster"]
    assert cluster.subjects == ("pinned-ecs-task/etl", "flow/prod")


def test_nothing_is_changed(healthy):
    """Every call is a read, and each is made once for the block and its deployment."""
    healthy.examine()
    assert {
        name for name in healthy.ecs.calls if not name.startswith(("Get", "List", "Describe"))
    } == set()
    assert healthy.ecs.count("DescribeClusters") == 1
    assert healthy.ecs.count("GetSecretValue") == 0


def set_field(name: str, value: Any) -> Callable[[SetUp], None]:
    return lambda s: s.fields.__setitem__(name, value)


def override(name: str, value: Any) -> Callable[[SetUp], None]:
    return lambda s: s.overrides.__setitem__(name, value)


def inactive_cluster(s: SetUp) -> None:
    s.ecs.client("ecs").create_cluster(clusterName="old")
    s.ecs.model._regions["us-east-1"].clusters["old"]["status"] = "INACTIVE"
    s.fields["cluster"] = "old"


def group_of_another_vpc(s: SetUp) -> None:
    ec2 = s.ecs.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="there", Description="x", VpcId=vpc)
    s.fields["security_groups"] = [group["GroupId"]]


def subnets_of_two_vpcs(s: SetUp) -> None:
    ec2 = s.ecs.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    s.fields.update(subnets=[s.fields["subnets"][0], subnet], security_groups=None)


def few_addresses(s: SetUp) -> None:
    ec2 = s.ecs.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/28")["Subnet"]["SubnetId"]
    s.fields.update(subnets=[subnet], security_groups=None)


def vpc_without_subnets(s: SetUp) -> None:
    vpc = s.ecs.client("ec2").create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    s.fields.update(subnets=None, security_groups=None, vpc_id=vpc)


def untrusting_role(s: SetUp) -> None:
    lambda_ = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}
    trust = {"Statement": [{**lambda_, "Action": "sts:AssumeRole"}]}
    s.fields["task_role_arn"] = s.make_role("untrusting", trust)


def other_tag(s: SetUp) -> None:
    s.fields["image"] = f"{REGISTRY}/{s.tag}:2"


def deleted_secret(s: SetUp) -> None:
    s.ecs.client("secretsmanager").delete_secret(SecretId=s.secret)


def role_that_may_not_read(s: SetUp) -> None:
    s.ecs.client("iam").delete_role_policy(RoleName=f"execution-{s.tag}", PolicyName="read")


def number_revisions(number: int) -> Callable[[SetUp], None]:
    def plant(s: SetUp) -> None:
        container = {"name": "prefect", "image": "old:1", "memory": 64}
        s.ecs.client("ecs").register_task_definition(
            family="prefect-etl", containerDefinitions=[container]
        )
        s.ecs.model.definitions()._families["prefect-etl"][-1]["revision"] = number

    return plant


def linked_inactive(s: SetUp) -> None:
    container = {"name": "prefect", "image": "old:1", "memory": 64}
    client = s.ecs.client("ecs")
    made = client.register_task_definition(family="linked", containerDefinitions=[container])
    arn = made["taskDefinition"]["taskDefinitionArn"]
    client.deregister_task_definition(taskDefinition=arn)
    s.fields["task_definition_arn"] = arn


def linked_and_fixed(s: SetUp) -> None:
    """The block's image would change the revision, which it may not."""
    container = {"name": "prefect", "image": "old:1", "memory": 64}
    client = s.ecs.client("ecs")
    made = client.register_task_definition(
        family="linked", containerDefinitions=[container], executionRoleArn=s.role
    )
    s.fields["task_definition_arn"] = made["taskDefinition"]["taskDefinitionArn"]
    s.fields["registration"] = "never"


def stored(change: Callable[[dict[str, Any]], Any]) -> Callable[[SetUp], None]:
    """As the UI stores it: no validator has seen the block's data."""

    async def store() -> None:
        async with get_client() as client:
            document = await client.read_block_document_by_name("etl", "pinned-ecs-task")
            data = dict(document.data)
            change(data)
            await client._client.patch(
                f"/block_documents/{document.id}", json={"data": data, "merge_existing_data": False}
            )

    return lambda s: s.after.append(lambda: asyncio.run(store()))


def bad_credentials(s: SetUp) -> None:
    fault = Fault(
        "error", "GetCallerIdentity", code="InvalidClientTokenId", message="no", status=403
    )
    s.after.append(lambda: s.ecs.faults(fault))


def queue_setting(**changes: Any) -> Callable[[SetUp], None]:
    async def change() -> None:
        async with get_client() as client:
            queue = await client.read_work_queue_by_name("default")
            await client.update_work_queue(queue.id, **changes)

    return lambda s: s.after.append(lambda: asyncio.run(change()))


@pytest.fixture(autouse=True)
def _queue_as_before(prefect):
    yield
    asyncio.run(_restore_queue())


async def _restore_queue() -> None:
    async with get_client() as client:
        await _with_queue()
        queue = await client.read_work_queue_by_name("default")
        await client._client.patch(
            f"/work_queues/{queue.id}", json={"is_paused": False, "concurrency_limit": None}
        )


#: What is planted -> (how, the check that finds it, its status, part of what it says)
PLANTED: dict[str, tuple[Callable[[SetUp], None], str, Status, str]] = {
    "a block that does not load": (
        stored(lambda data: data.update(secrets={"KEY": "hunter2"})),
        "loads",
        FAIL,
        "is not an ARN",
    ),
    "overrides that do not load": (override("cpu", "many"), "loads", FAIL, "cpu: "),
    "an override that leads nowhere": (override("no.where", 1), "loads", FAIL, "no 'no'"),
    "an image that is unset": (
        stored(lambda data: data.pop("image")),
        "image set",
        WARN,
        "prefecthq/prefect",
    ),
    "a container of another name": (
        stored(
            lambda data: data.update(
                task_definition={
                    "containerDefinitions": [
                        {"name": "etl", "image": "i"},
                        {"name": "side", "image": "i"},
                    ]
                }
            )
        ),
        "container",
        WARN,
        "is added to those of the definition: 'etl', 'side'",
    ),
    "no Region": (
        stored(lambda data: data["aws_credentials"].pop("region_name")),
        "Region",
        FAIL,
        "specify a region",
    ),
    "bad credentials": (bad_credentials, "credentials", FAIL, "InvalidClientTokenId"),
    "no such cluster": (set_field("cluster", "nowhere"), "cluster", FAIL, "'nowhere'"),
    "an inactive cluster": (inactive_cluster, "cluster", FAIL, "INACTIVE"),
    "no such subnet": (set_field("subnets", ["subnet-0"]), "subnets", FAIL, "subnet-0"),
    "subnets of two VPCs": (subnets_of_two_vpcs, "subnets", FAIL, "several VPCs"),
    "few addresses": (few_addresses, "subnets", WARN, "free addresses"),
    "a VPC without subnets": (vpc_without_subnets, "subnets", FAIL, "no subnets"),
    "no such security group": (
        set_field("security_groups", ["sg-0"]),
        "security groups",
        FAIL,
        "sg-0",
    ),
    "a group of another VPC": (group_of_another_vpc, "security groups", FAIL, "the subnets in"),
    "no such role": (
        set_field("task_role_arn", f"arn:aws:iam::{ACCOUNT}:role/x"),
        "roles",
        FAIL,
        "not exist",
    ),
    "a role of another account": (
        set_field("task_role_arn", "arn:aws:iam::999999999999:role/x"),
        "roles",
        FAIL,
        "another",
    ),
    "a role that ECS may not assume": (untrusting_role, "roles", FAIL, "not be assumed"),
    "no such image": (other_tag, "image", FAIL, "does not exist"),
    "no such repository": (
        set_field("image", f"{REGISTRY}/nothing:1"),
        "image",
        FAIL,
        "does not exist",
    ),
    "no log group": (
        set_field(
            "cloudwatch_logs_options",
            {"awslogs-group": "no", "awslogs-create-group": "false"},
        ),
        "log group",
        FAIL,
        "'no'",
    ),
    "a deleted secret": (deleted_secret, "secrets", FAIL, "PREFECT_API_KEY"),
    "no such parameter": (
        set_field("secrets", {"A": f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/a"}),
        "secrets",
        FAIL,
        "A: ",
    ),
    "a role that may not read it": (
        role_that_may_not_read,
        "secrets",
        WARN,
        "secretsmanager:GetSecretValue",
    ),
    "overrides that are too long": (
        override("env.BIG", "x" * 8000),
        "overrides",
        FAIL,
        "of 8132 characters",
    ),
    "overrides that are nearly too long": (
        override("env.BIG", "x" * 7200),
        "overrides",
        WARN,
        "of 8132 characters",
    ),
    "a size that Fargate lacks": (override("memory", 1500), "size", FAIL, "memory 1500"),
    "an API on this machine": (
        override("env.PREFECT_API_URL", "http://localhost:4200/api"),
        "Prefect API URL",
        FAIL,
        "localhost",
    ),
    "no API": (
        set_field("env", {"PREFECT_API_URL": None}),
        "Prefect API URL",
        FAIL,
        "no PREFECT_API_URL",
    ),
    "nothing to run from, and registering forbidden": (
        set_field("registration", "never"),
        "revision",
        FAIL,
        "'never'",
    ),
    "a linked revision that is inactive": (linked_inactive, "definition", FAIL, "deregistered"),
    "a linked revision that may not be changed": (
        linked_and_fixed,
        "definition",
        FAIL,
        "would change",
    ),
    "few revisions left": (number_revisions(950_000), "revisions left", WARN, "950,000"),
    "no revision left": (number_revisions(1_000_000), "revisions left", FAIL, "1,000,000"),
    "a paused queue": (queue_setting(is_paused=True), "picked up", WARN, "paused"),
    "a limited queue": (queue_setting(concurrency_limit=3), "picked up", WARN, "3 live runs"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(healthy, fault, monkeypatch):
    """By its own check, and nothing else goes wrong but what follows from it.

    The ECS is taken for AWS's own: the tasks of an embedded one do reach an API on this machine.
    """
    monkeypatch.setattr(examining, "is_embedded", lambda _: False)
    plant, check, status, part = PLANTED[fault]
    plant(healthy)
    findings = healthy.examine()
    assert part in of(findings, status).get(check, "")
    wrong = {f.check for f in findings if f.status in (WARN, FAIL)}
    assert wrong == {check}
    assert all(f.hint for f in findings if f.status in (WARN, FAIL))


def test_a_revision_that_customizations_name(healthy):
    """It is the one that is examined, and nothing of the block's own would be registered."""
    container = {"name": "prefect", "image": "patched:1", "memory": 64}
    client = healthy.ecs.client("ecs")
    client.register_task_definition(family="patched", containerDefinitions=[container])
    patch = {"op": "add", "path": "/taskDefinition", "value": "patched:1"}
    healthy.fields["task_customizations"] = [patch]
    findings = of(healthy.examine(), OK)
    assert findings["definition"] == "of family patched"
    assert findings["revision"] == "task_customizations name patched:1"


def test_a_revision_without_a_network_of_a_block_that_states_subnets(healthy):
    """Every run would be refused, and so is it here."""
    client = healthy.ecs.client("ecs")
    container = {"name": "prefect", "image": "patched:1", "memory": 64}
    client.register_task_definition(family="bridged", containerDefinitions=[container])
    patch = {"op": "add", "path": "/taskDefinition", "value": "bridged:1"}
    healthy.fields["task_customizations"] = [patch]
    assert "network mode 'bridge' does not use them" in of(healthy.examine(), FAIL)["subnets"]


def test_an_agent_that_seldom_looks(healthy):
    """Prefect's default: by queue name, ten runs every 15 s."""
    with temporary_settings({PREFECT_AGENT_QUERY_INTERVAL: 15}):
        assert "at most 40 a minute" in of(healthy.examine(), WARN)["agent"]


def test_what_may_not_be_looked_at_is_skipped(healthy):
    """Not knowing is not a fault; the hint says what to allow."""
    denied = Fault("error", "GetRole", code="AccessDenied", message="no", status=403)
    healthy.after.append(lambda: healthy.ecs.faults(denied))
    findings = healthy.examine()
    (roles,) = [f for f in findings if f.check == "roles"]
    assert (roles.status, roles.hint) == (SKIP, "allow iam:GetRole to the credentials")
    assert {f.status for f in findings} == {OK, SKIP}


def test_secrets_are_not_shown(healthy):
    """Neither values of variables nor of secrets stand in any finding."""
    healthy.fields["env"]["TOKEN"] = "hunter2"
    healthy.overrides["env.BIG"] = "hunter2" * 1200
    text = repr(healthy.examine())
    assert ("hunter2" in text, "s3'" in text) == (False, False)


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([("Allow", "secretsmanager:*", "*")], True),
        ([("Allow", "SecretsManager:getsecretvalue", "arn:key-*")], True),
        ([("Allow", "*", "*"), ("Deny", "secretsmanager:Get*", "*")], False),
        ([("Allow", "ssm:*", "*")], False),
        ([("Allow", "secretsmanager:*", "arn:other-*")], False),
        ([], False),
    ],
)
def test_what_policies_allow(statements, expected):
    """Wildcards, case of actions, Deny over Allow."""
    document = {"Statement": [{"Effect": e, "Action": a, "Resource": r} for e, a, r in statements]}
    assert allows([document], "secretsmanager:GetSecretValue", "arn:key-1") is expected
