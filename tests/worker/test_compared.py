"""What `ECSWorker` registers and sends for forty configurations, and what this worker does.

Both are the same, but for the differences that are listed here, each with its reason; the page
``docs/deviations-worker.md`` has the same list. A difference says what it makes of `ECSWorker`'s
request, so none hides another. Order of variables, secrets and tags does not count.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prefect.settings import PREFECT_API_KEY, temporary_settings
from prefect_aws.workers.ecs_worker import ECSJobConfiguration, ECSWorker

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.worker.configuration import PinnedECSJobConfiguration
from prefect_ecs_pinned.worker.spec import named_revision, run_spec
from tests.worker.jobs import DEPLOYMENT, FLOW_RUN, POOL, edited, flow_run, job

REGION = "us-east-1"
SUBNETS = ["subnet-1", "subnet-2"]
ROLE = "arn:aws:iam::123456789012:role/execution"
TASK_ROLE = "arn:aws:iam::123456789012:role/task"
KEY = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"
AUTH = "arn:aws:secretsmanager:us-east-1:123456789012:secret:auth"
REVISION = "arn:aws:ecs:us-east-1:123456789012:task-definition/etl:7"
TEMPLATE = ECSWorker.get_default_base_job_template()
DEFINITION = TEMPLATE["job_configuration"]["task_definition"]
REQUEST = TEMPLATE["job_configuration"]["task_run_request"]

Difference = Callable[["Sent"], None]


@dataclass
class Sent:
    """What is registered, and what is launched; None for a revision that is named."""

    definition: dict[str, Any] | None
    request: dict[str, Any]
    launch_type: str | None

    @property
    def override(self) -> dict[str, Any]:
        return self.request["overrides"]["containerOverrides"][0]


# -- the differences -------------------------------------------------------------------------------


def started_by(sent: Sent) -> None:
    """A task is found by the flow run's id (ListTasks), whoever has launched it."""
    sent.request.setdefault("startedBy", str(FLOW_RUN))


def no_deployment_in_names(sent: Sent) -> None:
    """One family and one log prefix for each pool, so that equal definitions share a revision."""
    if sent.definition is None:
        return
    suffix = f"_{DEPLOYMENT}"
    sent.definition["family"] = sent.definition["family"].removesuffix(suffix)
    for container in sent.definition["containerDefinitions"]:
        options = container.get("logConfiguration", {}).get("options", {})
        if "awslogs-stream-prefix" in options:
            prefix = options["awslogs-stream-prefix"]
            options["awslogs-stream-prefix"] = prefix.removesuffix(suffix)


def sizes_with_the_launch(sent: Sent) -> None:
    """Jobs that differ in size share a revision, so each launch says its own."""
    definition, overrides = sent.definition, sent.request.setdefault("overrides", {})
    if definition is None:
        return
    for size in ("cpu", "memory"):
        if definition.get(size):
            overrides.setdefault(size, definition[size])
    if not overrides.get("containerOverrides"):
        return
    name = sent.override["name"]
    container = next(c for c in definition["containerDefinitions"] if c["name"] == name)
    if "FARGATE" not in definition.get("requiresCompatibilities", []):
        for size in ("cpu", "memory"):
            if container.get(size) and "memoryReservation" not in sent.override:
                sent.override.setdefault(size, container[size])


ALWAYS: tuple[Difference, ...] = (started_by, no_deployment_in_names, sizes_with_the_launch)


def no_public_ip_off_fargate(sent: Sent) -> None:
    """ECS refuses one there: "Assign public IP is not supported for this launch type"."""
    del sent.request["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"]


def lower_case_family(sent: Sent) -> None:
    """A family that ECS refuses is made one that it takes; `ECSWorker` drops what it computes."""
    assert sent.definition is not None
    sent.definition["family"] = "my-etl-family"


def zero_is_a_value(sent: Sent) -> None:
    """`ECSWorker` drops zeros, and ECS then refuses the definition, or takes its own default."""
    assert sent.definition is not None
    sent.definition["containerDefinitions"][0]["ulimits"] = [
        {"name": "core", "softLimit": 0, "hardLimit": 0}
    ]


def empty_text_is_a_value(sent: Sent) -> None:
    """Of a variable: `ECSWorker` registers it without a value."""
    assert sent.definition is not None
    for variable in sent.definition["containerDefinitions"][0]["environment"]:
        variable.setdefault("value", "")


def unset_in_the_definition(sent: Sent) -> None:
    """`ECSWorker` means to remove them there, but forgets before that which are unset."""
    assert sent.definition is not None
    container = sent.definition["containerDefinitions"][0]
    container["environment"] = [v for v in container["environment"] if v["name"] != "UNSET"]


def reservation_is_a_size(sent: Sent) -> None:
    """``memoryReservation`` alone is one on EC2; a hard limit would be added to it."""
    assert sent.definition is not None
    del sent.definition["containerDefinitions"][0]["memory"]
    sent.override.pop("memory", None)


def looks_for_fargate(sent: Sent) -> None:
    """Without any launch type it is Fargate's, in the definition too: ECS refuses the mixture."""
    definition = sent.definition
    assert definition is not None
    container = definition["containerDefinitions"][0]
    definition.update(
        cpu=str(container.pop("cpu")),
        memory=str(container.pop("memory")),
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
    )
    sent.request["networkConfiguration"] = {
        "awsvpcConfiguration": {
            "subnets": SUBNETS,
            "assignPublicIp": "ENABLED",
            "securityGroups": [],
        }
    }


def fargate_by_its_providers(sent: Sent) -> None:
    """As above, where the capacity providers are Fargate's."""
    looks_for_fargate(sent)


def the_container_is_always_overridden(sent: Sent) -> None:
    """Otherwise the task would not be given its flow run."""
    listed = sent.request.setdefault("overrides", {}).setdefault("containerOverrides", [])
    if not any(o["name"] == "prefect" for o in listed):
        listed.append(
            {"name": "prefect", "command": ["prefect", "flow-run", "execute"], "environment": ENV}
        )


def one_is_the_count_anyway(sent: Sent) -> None:
    """``count`` 1 is what RunTask assumes; any other is refused."""
    del sent.request["count"]


def subnets_of_the_vpc(sent: Sent) -> None:
    """A network configuration without subnets gets those of its VPC, as without one."""
    network = sent.request["networkConfiguration"]["awsvpcConfiguration"]
    network.update(subnets=SUBNETS, assignPublicIp="ENABLED")


def no_deregistering(sent: Sent) -> None:
    """A shared revision is not to be deregistered when the first run ends."""
    key = "prefect.io/degregister-task-definition"
    sent.request["tags"] = [tag for tag in sent.request["tags"] if tag["key"] != key]


ENV: list[dict[str, str]] = []


# -- the configurations ----------------------------------------------------------------------------


@dataclass
class Case:
    """A configuration.

    Attributes:
        variables: Job variables.
        edits: Members of the job configuration that somebody has edited.
        differences: Beside `ALWAYS`.
        described: The revision that is named, as ECS describes it.
        template: Of the work pool.
    """

    variables: Mapping[str, Any]
    edits: Mapping[str, Any]
    differences: tuple[Difference, ...] = ()
    described: Mapping[str, Any] | None = None
    template: Mapping[str, Any] = field(default_factory=lambda: TEMPLATE)


def case(
    *differences: Difference, edits: Any = None, described: Any = None, **variables: Any
) -> Case:
    return Case(variables, edits or {}, differences, described)


def definition(**members: Any) -> dict[str, Any]:
    return {"task_definition": {**DEFINITION, **members}}


def container(**members: Any) -> dict[str, Any]:
    own = {**DEFINITION["containerDefinitions"][0], **members}
    return definition(containerDefinitions=[own])


def request(**members: Any) -> dict[str, Any]:
    return {"task_run_request": {**REQUEST, **members}}


EC2 = {"launch_type": "EC2"}
OWN_PROVIDER = [{"capacityProvider": "own", "weight": 1, "base": 0}]
SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]
SIDECAR = {"name": "proxy", "image": "proxy:1", "essential": False}
DESCRIBED = {
    "taskDefinitionArn": REVISION,
    "family": "etl",
    "revision": 7,
    "status": "ACTIVE",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "512",
    "memory": "1024",
    "containerDefinitions": [{"name": "main", "image": "flows:7"}, SIDECAR],
}
NETWORK = {
    "subnets": ["subnet-2"],
    "securityGroups": ["sg-1"],
    "assignPublicIp": "DISABLED",
}
STATIC_NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-9"], "securityGroups": ["sg-9"]}}

CASES: dict[str, Case] = {
    "nothing": case(),
    "image": case(image="flows:1"),
    "sizes": case(image="flows:1", cpu=2048, memory=4096),
    "spot": case(image="flows:1", launch_type="FARGATE_SPOT"),
    "ec2": case(image="flows:1", **EC2),
    "ec2-sizes": case(image="flows:1", cpu=512, memory=1024, **EC2),
    "ec2-awsvpc": case(
        no_public_ip_off_fargate, edits=definition(networkMode="awsvpc"), image="flows:1", **EC2
    ),
    "ec2-required": case(edits=definition(requiresCompatibilities=["EC2"]), image="f:1", **EC2),
    "ec2-reservation": case(
        reservation_is_a_size, edits=container(memoryReservation=256), image="flows:1", **EC2
    ),
    "external": case(image="flows:1", launch_type="EXTERNAL"),
    "own-provider": case(
        no_public_ip_off_fargate, image="flows:1", capacity_provider_strategy=OWN_PROVIDER
    ),
    "own-provider-no-launch-type": case(
        image="flows:1",
        capacity_provider_strategy=OWN_PROVIDER,
        launch_type=None,
        edits=request(launchType=""),
    ),
    "spot-provider": case(image="flows:1", capacity_provider_strategy=SPOT),
    "spot-provider-no-launch-type": case(
        fargate_by_its_providers,
        image="flows:1",
        capacity_provider_strategy=SPOT,
        edits=request(launchType=""),
    ),
    "no-launch-type": case(looks_for_fargate, image="flows:1", edits=request(launchType="")),
    "no-launch-type-ec2-required": case(
        image="flows:1",
        edits={**definition(requiresCompatibilities=["EC2"]), **request(launchType="")},
    ),
    "cluster": case(image="flows:1", cluster="etl"),
    "cluster-not-in-the-request": case(image="flows:1", cluster="etl", edits=request(cluster="")),
    "roles": case(image="flows:1", task_role_arn=TASK_ROLE, execution_role_arn=ROLE),
    "family": case(image="flows:1", family="my-etl"),
    "family-that-ecs-refuses": case(lower_case_family, image="flows:1", family="My ETL family"),
    "env": case(image="flows:1", env={"A": "1", "EMPTY": "", "UNSET": None}),
    "env-of-the-definition": case(
        unset_in_the_definition,
        image="flows:1",
        env={"UNSET": None},
        edits=container(
            environment=[{"name": "KEPT", "value": "1"}, {"name": "UNSET", "value": "1"}]
        ),
    ),
    "env-of-the-definition-empty": case(
        empty_text_is_a_value,
        image="flows:1",
        edits=container(environment=[{"name": "EMPTY", "value": ""}]),
    ),
    "env-of-the-request": case(
        image="flows:1",
        env={"A": "job"},
        edits=request(
            overrides={
                "containerOverrides": [
                    {
                        "name": "{{ container_name }}",
                        "environment": [
                            {"name": "A", "value": "static"},
                            {"name": "B", "value": "static"},
                        ],
                    }
                ]
            }
        ),
    ),
    "labels": case(image="flows:1", labels={"team": "data & ml", "Käse": "ä"}),
    "tags-of-the-request": case(
        image="flows:1",
        labels={"team": "ml"},
        edits=request(tags=[{"key": "team", "value": "x"}, {"key": "cost", "value": "42"}]),
    ),
    "command": case(image="flows:1", command="bash -c 'prefect flow-run execute'"),
    "container-name": case(image="flows:1", container_name="main"),
    "first-container": case(
        edits=definition(containerDefinitions=[{"name": "main", "image": "f:1"}, SIDECAR])
    ),
    "sidecar": case(
        image="flows:1",
        edits=definition(containerDefinitions=[*DEFINITION["containerDefinitions"], SIDECAR]),
    ),
    "sidecar-override": case(
        image="flows:1",
        edits={
            **definition(
                containerDefinitions=[{"name": "prefect", "image": "{{ image }}"}, SIDECAR]
            ),
            **request(
                overrides={
                    "containerOverrides": [
                        {"name": "prefect", "command": "x", "environment": "{{ env }}"},
                        {"name": "proxy", "environment": {"MODE": "quiet"}},
                    ]
                }
            ),
        },
    ),
    "no-override": case(
        the_container_is_always_overridden, image="flows:1", edits=request(overrides={})
    ),
    "logs": case(image="flows:1", configure_cloudwatch_logs=True, execution_role_arn=ROLE),
    "logs-options": case(
        image="flows:1",
        configure_cloudwatch_logs=True,
        execution_role_arn=ROLE,
        cloudwatch_logs_options={"awslogs-group": "etl", "mode": "non-blocking"},
        cloudwatch_logs_prefix="etl",
    ),
    "key-secret": case(
        image="flows:1",
        prefect_api_key_secret_arn=KEY,
        execution_role_arn=ROLE,
        env={"A": "1"},
    ),
    "both-secrets": case(
        image="flows:1",
        prefect_api_key_secret_arn=KEY,
        prefect_api_auth_string_secret_arn=AUTH,
        execution_role_arn=ROLE,
        edits=container(secrets=[{"name": "PREFECT_API_KEY", "valueFrom": "old"}]),
    ),
    "vpc": case(image="flows:1", vpc_id="vpc-1"),
    "network": case(image="flows:1", vpc_id="vpc-1", network_configuration=NETWORK),
    "network-without-subnets": case(
        subnets_of_the_vpc,
        image="flows:1",
        vpc_id="vpc-1",
        network_configuration={"securityGroups": ["sg-1"]},
    ),
    "network-of-the-request": case(
        image="flows:1", edits=request(networkConfiguration=STATIC_NETWORK)
    ),
    "network-on-bridge": case(
        image="flows:1", vpc_id="vpc-1", network_configuration=NETWORK, **EC2
    ),
    "arn": case(task_definition_arn=REVISION, described=DESCRIBED),
    "arn-with-more": case(
        task_definition_arn=REVISION,
        described=DESCRIBED,
        image="ignored:1",
        cpu=1024,
        memory=2048,
        env={"A": "1"},
        container_name="main",
        network_configuration=NETWORK,
        vpc_id="vpc-1",
    ),
    "arn-on-ec2": case(
        task_definition_arn=REVISION,
        described={**DESCRIBED, "requiresCompatibilities": ["EC2"], "networkMode": "bridge"},
        edits=request(launchType=""),
    ),
    "more-members": case(
        one_is_the_count_anyway,
        image="flows:1",
        edits=request(
            count=1,
            propagateTags="TASK_DEFINITION",
            enableECSManagedTags=True,
            platformVersion="1.4.0",
            group="nightly",
        ),
    ),
    "more-of-the-definition": case(
        zero_is_a_value,
        image="flows:1",
        edits={
            "task_definition": {
                **DEFINITION,
                "volumes": [{"name": "data", "host": {}}],
                "runtimePlatform": {"cpuArchitecture": "ARM64"},
                "ephemeralStorage": {"sizeInGiB": 40},
                "pidMode": None,
                "tags": [{"key": "owner", "value": "etl"}],
                "containerDefinitions": [
                    {
                        **DEFINITION["containerDefinitions"][0],
                        "ulimits": [{"name": "core", "softLimit": 0, "hardLimit": 0}],
                        "readonlyRootFilesystem": False,
                        "command": [],
                    }
                ],
            }
        },
    ),
    "deregister": case(no_deregistering, image="flows:1", auto_deregister_task_definition=True),
    "latest-in-family": case(
        image="flows:1", family="my-etl", match_latest_revision_in_family=True
    ),
}


# -- both ------------------------------------------------------------------------------------------


class Credentials:
    """Of a VPC with two subnets."""

    def get_client(self, _service: str) -> Any:
        return self

    def describe_vpcs(self, **_: Any) -> Any:
        return {"Vpcs": [{"VpcId": "vpc-1"}]}

    def describe_subnets(self, **_: Any) -> Any:
        return {"Subnets": [{"SubnetId": subnet} for subnet in SUBNETS]}


async def theirs(one: Case) -> Sent:
    template = edited(one.template, one.edits)
    configuration = await job(ECSJobConfiguration, template, one.variables)
    configuration.aws_credentials = Credentials()
    worker = ECSWorker(POOL)
    named = configuration.task_run_request.get("taskDefinition")
    made = None if named else worker._prepare_task_definition(configuration, REGION, flow_run())
    used = one.described if named else made
    worker._validate_task_definition(used, configuration)
    sent = worker._prepare_task_run_request(configuration, used, named or REVISION, not named)
    return Sent(made, sent, configuration.task_run_request.get("launchType"))


async def ours(one: Case) -> Sent:
    template = edited(one.template, one.edits)
    configuration = await job(PinnedECSJobConfiguration, template, one.variables)
    named = named_revision(configuration)
    spec = run_spec(
        configuration,
        POOL,
        flow_run().id,
        flow_run().name,
        one.described if named else None,
    )
    if named:
        desired = Desired(one.described or {}, spec.container_name)
        return Sent(None, sent_by_us(spec, desired, named), None)
    desired = make(definition_spec(spec, REGION))
    return Sent(copy.deepcopy(dict(desired.definition)), sent_by_us(spec, desired, None), None)


def sent_by_us(spec: Any, desired: Desired, revision: str | None) -> dict[str, Any]:
    return {**checked_request(spec, desired, revision, SUBNETS), "taskDefinition": REVISION}


def unordered(value: Any) -> Any:
    """Lists of named things as sets; numbers of sizes as text, as ECS takes them."""
    if isinstance(value, Mapping):
        return {key: unordered(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [unordered(item) for item in value]
        return sorted(items, key=repr) if items and isinstance(items[0], dict) else items
    return value


async def both(one: Case, differences: Sequence[Difference]) -> tuple[Any, Any]:
    with temporary_settings({PREFECT_API_KEY: "pnu_key"}):
        expected, actual = await theirs(one), await ours(one)
    ENV[:] = actual.override["environment"]
    for difference in differences:
        difference(expected)
    return (
        {"definition": unordered(expected.definition), "request": unordered(expected.request)},
        {"definition": unordered(actual.definition), "request": unordered(actual.request)},
    )


@pytest.mark.parametrize("name", CASES)
async def test_the_same_is_registered_and_sent(name):
    """But for the differences."""
    one = CASES[name]
    expected, actual = await both(one, [*one.differences, *ALWAYS])
    assert actual == expected


PAIRS = [(name, number) for name in CASES for number in range(len(CASES[name].differences))]
PAIRS += [("logs", -number - 1) for number in range(len(ALWAYS))]


@pytest.mark.parametrize(("name", "number"), PAIRS)
async def test_every_difference_is_one(name, number):
    """Without any of them the requests are not the same; each says why it is there."""
    differences = [*CASES[name].differences, *ALWAYS]
    left_out = differences.pop(number)
    assert left_out.__doc__
    expected, actual = await both(CASES[name], differences)
    assert actual != expected


def test_there_are_forty_of_them():
    assert len(CASES) >= 40
