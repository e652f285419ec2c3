"""The one check of a run's requests: limits, public IPs, patches that do not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.runs.check import checked_request
from prefect_ecs_pinned.runs.request import undecided_cluster
from prefect_ecs_pinned.runs.revision import definition_spec
from prefect_ecs_pinned.runs.spec import RunSpec

BASE = RunSpec(default_family="prefect-etl", log_prefix="ECSTask", image="flows:1")
AWSVPC = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"]}
SPOT = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
OWN = [{"capacityProvider": "own-instances", "weight": 1}]
TYPE = "/launchType"
PUBLIC_IP = "/networkConfiguration/awsvpcConfiguration/assignPublicIp"


def request_of(default=None, unasked=False, **fields):
    """The request of a run with these fields, checked."""
    spec = replace(BASE, **fields)
    desired = make(definition_spec(spec, "us-east-1"))
    return checked_request(spec, desired, None, ["subnet-1"], default, unasked)


def public_ip(default=None, **fields):
    """``assignPublicIp`` of a run's request; None without."""
    network = request_of(default, **fields)["networkConfiguration"]["awsvpcConfiguration"]
    return network.get("assignPublicIp")


def add(path, value):
    return {"op": "add", "path": path, "value": value}


# -- public IP -------------------------------------------------------------------------------------

TO_EC2 = [{"op": "remove", "path": "/launchType"}, add("/capacityProviderStrategy", OWN)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "ENABLED"),
        ({"launch_type": "FARGATE_SPOT"}, "ENABLED"),
        ({"launch_type": "EC2", "task_definition": AWSVPC}, None),
        ({"launch_type": None, "task_definition": AWSVPC}, "ENABLED"),
        ({"launch_type": None, "task_definition": {"networkMode": "awsvpc"}}, None),
        (
            {
                "launch_type": None,
                "task_definition": {"networkMode": "awsvpc"},
                "task_customizations": [add("/capacityProviderStrategy", SPOT)],
            },
            "ENABLED",
        ),
        ({"task_customizations": TO_EC2}, None),
        ({"task_customizations": [add("/launchType", "EC2")]}, None),
        ({"task_customizations": TO_EC2, "assign_public_ip": "ENABLED"}, "ENABLED"),
        (
            {"launch_type": "EC2", "task_definition": AWSVPC, "assign_public_ip": "DISABLED"},
            "DISABLED",
        ),
        ({"task_customizations": [{"op": "remove", "path": PUBLIC_IP}]}, None),
        (
            {"task_customizations": [{"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"}]},
            "DISABLED",
        ),
        (
            {
                "launch_type": None,
                "task_definition": {"networkMode": "awsvpc"},
                "task_customizations": [
                    {"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"},
                    add("/capacityProviderStrategy", SPOT),
                ],
            },
            "DISABLED",
        ),
    ],
)
def test_a_public_ip_is_for_what_runs_on_fargate(fields, expected):
    """Asked of the patched request; what is stated is sent as stated."""
    assert public_ip(**fields) == expected


ON_BOTH = {"networkMode": "awsvpc", "requiresCompatibilities": ["EC2", "FARGATE"]}
SPOT_AND_FARGATE = [*SPOT, {"capacityProvider": "FARGATE", "base": 1}]


@pytest.mark.parametrize(
    ("default", "expected"),
    [(None, None), ([], None), (OWN, None), (SPOT, "ENABLED"), (SPOT_AND_FARGATE, "ENABLED")],
)
@pytest.mark.parametrize("definition", [{"networkMode": "awsvpc"}, ON_BOTH])
@pytest.mark.parametrize(
    "fields", [{"launch_type": None}, {"task_customizations": [{"op": "remove", "path": TYPE}]}]
)
def test_the_clusters_default_decides_where_nothing_else_does(
    fields, definition, default, expected
):
    """Of the patched request: what names a launch type or a provider is not asked about."""
    if "launch_type" not in fields and "requiresCompatibilities" not in definition:
        fields = {**fields, "launch_type": "EC2"}
    assert public_ip(default, task_definition=definition, **fields) == expected
    stated = {**fields, "assign_public_ip": "DISABLED"}
    assert public_ip(default, task_definition=definition, **stated) == "DISABLED"


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"launch_type": None, "task_definition": {"networkMode": "awsvpc"}}, "default"),
        (
            {"launch_type": None, "task_definition": ON_BOTH, "cluster": "etl"},
            "etl",
        ),
        (
            {
                "launch_type": None,
                "task_definition": {"networkMode": "awsvpc"},
                "task_customizations": [add("/cluster", "patched")],
            },
            "patched",
        ),
        (
            {
                "launch_type": "EC2",
                "task_definition": {"networkMode": "awsvpc"},
                "task_customizations": [{"op": "remove", "path": TYPE}],
            },
            "default",
        ),
        ({}, None),
        ({"launch_type": "EC2", "task_definition": {"networkMode": "awsvpc"}}, None),
        ({"launch_type": None, "task_definition": AWSVPC}, None),
        ({"launch_type": None}, None),
        ({"launch_type": "MANAGED_INSTANCES"}, None),
        ({"launch_type": None, "capacity_provider_strategy": OWN}, None),
        ({"launch_type": None, "capacity_provider_strategy": SPOT}, None),
        (
            {
                "launch_type": None,
                "task_definition": {"networkMode": "awsvpc"},
                "assign_public_ip": "ENABLED",
            },
            None,
        ),
    ],
)
def test_the_cluster_is_asked_only_where_it_decides(fields, asked):
    spec = replace(BASE, **fields)
    desired = make(definition_spec(spec, "us-east-1"))
    request = checked_request(spec, desired, None, ["subnet-1"])
    assert undecided_cluster(spec, desired, request) == asked


#: Patches that fit a request with a public IP only.
ONLY_WITH_PUBLIC_IP = {
    "replace": [{"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"}],
    "remove": [{"op": "remove", "path": PUBLIC_IP}],
    "test": [{"op": "test", "path": PUBLIC_IP, "value": "ENABLED"}],
    "copy": [{"op": "copy", "from": PUBLIC_IP, "path": "/group"}],
    "move": [{"op": "move", "from": PUBLIC_IP, "path": "/group"}],
    "two": [
        {"op": "test", "path": PUBLIC_IP, "value": "ENABLED"},
        {"op": "replace", "path": PUBLIC_IP, "value": "DISABLED"},
    ],
}


@pytest.mark.parametrize("patches", ONLY_WITH_PUBLIC_IP.values(), ids=ONLY_WITH_PUBLIC_IP)
@pytest.mark.parametrize("definition", [{"networkMode": "awsvpc"}, ON_BOTH])
def test_a_patch_that_fits_what_the_cluster_may_decide_is_refused_when_it_has(patches, definition):
    """Before that, only by who never asks; a patch that fits neither is refused at once."""
    fields = {
        "launch_type": None,
        "task_definition": definition,
        "task_customizations": patches,
        "cluster": "etl",
    }
    spec = replace(BASE, **fields)
    desired = make(definition_spec(spec, "us-east-1"))
    assert undecided_cluster(spec, desired, request_of(unasked=True, **fields)) == "etl"
    for default in (SPOT, SPOT_AND_FARGATE):
        assert request_of(default, **fields)
    for other in (None, [], OWN, [*SPOT, *OWN]):
        with pytest.raises(ConfigurationError, match="does not fit"):
            request_of(other, **fields)
    for more in (
        {"launch_type": "EC2"},
        {"capacity_provider_strategy": OWN},
        {"task_customizations": [*patches, {"op": "remove", "path": "/none"}]},
    ):
        with pytest.raises(ConfigurationError, match="does not fit"):
            request_of(unasked=True, **{**fields, **more})


@pytest.mark.parametrize(
    ("default", "fields", "why"),
    [
        (OWN, {"platform_version": "1.4.0"}, "on Fargate only"),
        ([], {"ephemeral_storage": 40}, "on Fargate only"),
        (
            SPOT,
            {"cpu": 256, "memory": 4096, "task_definition": {"networkMode": "awsvpc"}},
            "no size with cpu 256",
        ),
    ],
)
def test_what_the_clusters_default_can_not_run(default, fields, why):
    """Known only when the cluster was asked; otherwise left to ECS."""
    fields = {"task_definition": ON_BOTH, **fields, "launch_type": None}
    assert request_of(**fields)
    with pytest.raises(ConfigurationError, match=why):
        request_of(default, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"launch_type": "EC2"},
        {"launch_type": None},
        {"launch_type": "FARGATE", "task_customizations": [add("/overrides/cpu", "512")]},
    ],
)
def test_a_definition_that_requires_fargate_has_a_size_of_fargates(fields):
    """Whatever it is launched on, and whatever launches set: ECS would not register it."""
    sized = {**ON_BOTH, "cpu": "256", "memory": "4096"}
    assert request_of(launch_type="EC2", task_definition={**sized, "cpu": "512"})
    with pytest.raises(ConfigurationError, match="no size with cpu 256 and memory 4096"):
        request_of(task_definition=sized, **fields)


@pytest.mark.parametrize("op", ["replace", "remove"])
def test_a_patch_of_the_public_ip_that_ec2_does_not_get(op):
    """All patches that do not fit are named."""
    patch = {"op": op, "path": PUBLIC_IP, "value": "DISABLED"}
    with pytest.raises(ConfigurationError) as error:
        request_of(
            launch_type="EC2",
            task_definition={"networkMode": "awsvpc"},
            task_customizations=[patch, {"op": "remove", "path": "/none"}],
        )
    assert f"operation '{op}' of '{PUBLIC_IP}' (number 0" in error.value.why
    assert "operation 'remove' of '/none' (number 1" in error.value.why


@pytest.mark.parametrize(
    "patch",
    [
        add("", [1]),
        add("", None),
        add("/capacityProviderStrategy", "FARGATE"),
        add("/capacityProviderStrategy", ["FARGATE"]),
        add("/capacityProviderStrategy", [{"capacityProvider": ["x"]}]),
        add("/networkConfiguration", "none"),
        add("/overrides", None),
        add("/overrides/containerOverrides", [None]),
        add("/overrides/containerOverrides/0", 1),
        add("/tags", {"a": "b"}),
        add("/startedBy", ["x"]),
        add("/startedBy", "x" * 129),
        add("/launchType", {"a": 1}),
        add("/placementStrategy", [{"type": "random"}] * 6),
        {"op": "move", "path": "/tags/0", "from": "/tags"},
        {"op": "add", "path": "/tags/x", "value": 1},
        {"op": "add", "path": "/overrides/containerOverrides/0/name", "value": "other"},
    ],
)
def test_patches_that_make_no_request(patch):
    """One kind of error, whatever they make of it."""
    with pytest.raises(ConfigurationError) as error:
        request_of(task_customizations=[patch])
    assert error.value.hint


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"subnets": [f"subnet-{n}" for n in range(17)]}, "17 subnets, and ECS accepts 16"),
        ({"security_groups": [f"sg-{n}" for n in range(6)]}, "6 security groups"),
        ({"task_customizations": [add("/tags", [{"key": "aws:x", "value": ""}])]}, "reserved"),
        ({"cpu": 256, "memory": 4096}, "no size with cpu 256 and memory 4096"),
    ],
)
def test_a_limit_that_aws_documents(fields, why):
    with pytest.raises(ConfigurationError, match=why):
        request_of(**fields)


def test_the_most_that_aws_accepts_is_accepted():
    """So that the test above tests the limits."""
    subnets, groups = [f"subnet-{n}" for n in range(16)], [f"sg-{n}" for n in range(5)]
    assert request_of(subnets=subnets, security_groups=groups)
    containers = [{"name": f"c{n}", "image": "i"} for n in range(9)]
    assert request_of(task_definition={"containerDefinitions": containers})


@pytest.mark.parametrize("memory", [61440, 122880, 249856])
def test_a_size_that_is_newer_than_the_table_is_left_to_ecs(memory):
    assert request_of(cpu=32768, memory=memory)["overrides"]["cpu"] == "32768"


def test_labels_never_make_a_run_fail():
    """Too many, too long, of AWS's own prefix, and alike once they are made valid."""
    labels = {"a b": "1", "a-b": "2", "aws:x": "aws:y", "k" * 200: "v" * 300, "!": "lost"}
    labels |= {f"n{n}": "x" for n in range(60)}
    tags = request_of(labels=labels)["tags"]
    assert len(tags) == 50
    assert tags[:3] == [
        {"key": "a-b", "value": "1"},
        {"key": "x", "value": "y"},
        {"key": "k" * 128, "value": "v" * 256},
    ]


# -- sizes, containers -----------------------------------------------------------------------------


@pytest.mark.parametrize("launch_type", ["EC2", "EXTERNAL", None])
def test_sizes_are_the_containers_off_fargate(launch_type):
    """ECS refuses a container without memory when its task has none."""
    spec = DefinitionSpec("f", "us-east-1", image="i", launch_type=launch_type, memory=512)
    definition = make(spec).definition
    [container] = definition["containerDefinitions"]
    assert (container["cpu"], container["memory"]) == (1024, 512)
    assert not {"cpu", "memory"} & set(definition)


def test_an_unset_launch_type_of_a_definition_for_fargate_states_the_tasks_sizes():
    """Fargate has to have them there."""
    spec = DefinitionSpec("f", "us-east-1", image="i", launch_type=None, base=AWSVPC)
    definition = make(spec).definition
    assert (definition["cpu"], definition["memory"]) == ("1024", "2048")
    assert "memory" not in definition["containerDefinitions"][0]


def test_a_definition_of_another_container_only():
    """The containers that there are, and what to do."""
    base = {"containerDefinitions": [{"name": "app", "image": "i"}, {"name": "log"}]}
    with pytest.raises(ConfigurationError, match="its containers are 'app', 'log'") as error:
        make(DefinitionSpec("f", "us-east-1", base=base))
    assert "'prefect'" in error.value.hint


# -- networks, and what has no name ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "default", "why"),
    [
        ({"launch_type": "EC2", "assign_public_ip": "ENABLED"}, None, "get a public IP on Fargate"),
        ({"launch_type": "EXTERNAL", "assign_public_ip": "ENABLED"}, None, "on Fargate only"),
        (
            {
                "assign_public_ip": "ENABLED",
                "task_customizations": [
                    {"op": "add", "path": "/launchType", "value": "MANAGED_INSTANCES"}
                ],
            },
            None,
            "on Fargate only",
        ),
        ({"launch_type": None, "assign_public_ip": "ENABLED"}, [], "on Fargate only"),
        (
            {"launch_type": "EC2", "network_configuration": {"assignPublicIp": "ENABLED"}},
            None,
            "on Fargate only",
        ),
        ({"launch_type": "EC2", "assign_public_ip": "DISABLED"}, None, ""),
        ({"launch_type": None, "assign_public_ip": "ENABLED"}, None, ""),
        ({"launch_type": "FARGATE", "assign_public_ip": "ENABLED"}, None, ""),
        (
            {
                "launch_type": None,
                "assign_public_ip": "ENABLED",
                "capacity_provider_strategy": [{"capacityProvider": "mine"}],
            },
            [],
            "",
        ),
        (
            {"task_customizations": [{"op": "remove", "path": "/networkConfiguration"}]},
            None,
            "has no subnets",
        ),
        (
            {
                "launch_type": "EC2",
                "task_definition": {"networkMode": "bridge"},
                "task_customizations": [
                    {
                        "op": "add",
                        "path": "/networkConfiguration",
                        "value": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
                    }
                ],
            },
            None,
            "network mode 'bridge' does not use it",
        ),
        (
            {
                "task_customizations": [
                    {
                        "op": "add",
                        "path": "/overrides/containerOverrides/0/environment/-",
                        "value": {"value": "x"},
                    }
                ]
            },
            None,
            "containerOverrides[0].environment[0] has no name",
        ),
        (
            {"task_customizations": [{"op": "add", "path": "/startedBy", "value": "a:b"}]},
            None,
            "startedBy has other characters",
        ),
        (
            {"task_customizations": [{"op": "add", "path": "/overrides/cpu", "value": "much"}]},
            None,
            "cpu of the task is not a number",
        ),
    ],
    ids=str,
)
def test_what_ecs_refuses_of_a_request_is_refused_before(fields, default, why):
    """And nothing of a revision that was not read."""
    fields = {"task_definition": {"networkMode": "awsvpc"}, **fields}
    spec = RunSpec("prefect-etl", "ECSTask", image="flows:1", **fields)
    desired = make(definition_spec(spec, "us-east-1"))
    if not why:
        assert checked_request(spec, desired, None, ["subnet-1"], default)
        return
    with pytest.raises(ConfigurationError) as caught:
        checked_request(spec, desired, None, ["subnet-1"], default)
    assert why in caught.value.why
    assert caught.value.hint
