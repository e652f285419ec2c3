"""The template, the Dockerfile and the workflows are what their tools and the Makefile accept."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEMPLATES = sorted(DEPLOY.glob("*.yaml"))
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile*"))
BINARIES = Path(sys.executable).parent


def _name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("template", TEMPLATES, ids=_name)
def test_cfn_lint_has_nothing_to_say(template: Path) -> None:
    found = subprocess.run([BINARIES / "cfn-lint", template], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=_name)
def test_hadolint_has_nothing_to_say(dockerfile: Path) -> None:
    found = subprocess.run([BINARIES / "hadolint", dockerfile], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=_name)
def test_the_dockerfile_copies_what_exists(dockerfile: Path) -> None:
    lines = dockerfile.read_text().splitlines()
    sources = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert sources
    assert all((ROOT / source).exists() for source in sources)


WORKFLOWS = [
    path
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    if path.name != "codeql.yml"  # it has a build of its own
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_workflows_make_what_can_be_made(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    made = {
        word
        for line in re.findall(r"make ([a-z -]+)", workflow.read_text())
        for word in line.split()
    }
    assert made
    assert made <= targets


#: Template -> the parameters that name what is started, and the end of its command line.
STARTED = {
    "agents.yaml": ({"AgentImage": "a:1", "WorkQueue": "prod", "Agents": "2"}, ["-q", "prod"]),
    "workers.yaml": ({"WorkerImage": "w:1", "WorkPool": "etl", "Workers": "2"}, ["--pool", "etl"]),
}


def test_all_templates_are_tested() -> None:
    assert [path.name for path in TEMPLATES] == list(STARTED)


@pytest.mark.parametrize("template", STARTED)
@pytest.mark.parametrize("key", ["", "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"])
def test_the_template_deploys(template: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        subnets = boto3.client("ec2").describe_subnets()["Subnets"][:2]
        parameters = {
            "VpcId": subnets[0]["VpcId"],
            "SubnetIds": ",".join(subnet["SubnetId"] for subnet in subnets),
            "PrefectApiUrl": "https://prefect.example.com/api",
            "PrefectApiKeySecretArn": key,
            **STARTED[template][0],
        }
        outputs = _deploy(DEPLOY / template, parameters)
        ecs = boto3.client("ecs")
        (service,) = ecs.describe_services(
            cluster=outputs["Cluster"],
            services=ecs.list_services(cluster=outputs["Cluster"])["serviceArns"],
        )["services"]
        described = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    assert service["desiredCount"] == 2
    (container,) = described["taskDefinition"]["containerDefinitions"]
    assert container["command"][-2:] == STARTED[template][1]
    assert [s["valueFrom"] for s in container.get("secrets", [])] == ([key] if key else [])


def _deploy(template: Path, parameters: dict[str, str]) -> dict[str, str]:
    """The outputs of a stack."""
    formation = boto3.client("cloudformation")
    formation.create_stack(
        StackName="prefect",
        TemplateBody=template.read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
    )
    (stack,) = formation.describe_stacks(StackName="prefect")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, read as {"Fn": argument}."""


def _short_form(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.ScalarNode):
        return {tag: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {tag: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {tag: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


@pytest.mark.parametrize(("name", "role"), [("agents", "AgentRole"), ("workers", "WorkerRole")])
def test_the_role_is_what_the_command_line_prints(name: str, role: str) -> None:
    """`pinned-ecs iam` for what registers, finds its network and streams no output."""
    from prefect_ecs_pinned.operations.iam import Needs, Role, statements

    template = yaml.load((DEPLOY / f"{name}.yaml").read_text(), _Loader)
    (granted,) = template["Resources"][role]["Properties"]["Policies"]
    needs = Needs(
        partition="aws",
        region="us-east-1",
        account="123456789012",
        family="prefect-etl",
        revision=None,
        registers=True,
        tags_definition=False,
        reads_tags=frozenset(),
        cluster="etl",
        asks_cluster=False,
        roles=frozenset({"arn:aws:iam::123456789012:role/execution"}),
        has_network=True,
        looks_up_network=True,
        has_security_groups=False,
        log_group="arn:aws:logs:us-east-1:123456789012:log-group:flows",
        reads_output=False,
        repository="",
        secrets=frozenset(),
    )
    needed = {s["Sid"]: sorted(s["Action"]) for s in statements(Role.agent, [needs])}
    found = {
        s["Sid"]: sorted([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
        for s in granted["PolicyDocument"]["Statement"]
    }
    assert found == needed
