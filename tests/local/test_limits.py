"""What ECS refuses, how it describes what it took, and who registered it."""

from __future__ import annotations

import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ecs_pinned.local import AwsRefusal, EmbeddedECS, LocalECS, Settings
from prefect_ecs_pinned.local.tags import check_tags

CONTAINER = {"name": "prefect", "image": "flows:1", "memory": 128}
ROLE = "arn:aws:iam::123456789012:role/"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def made(clock, **settings) -> EmbeddedECS:
    return EmbeddedECS(Settings(quota_scale=None, **settings), clock)


def register(ecs, caller=None, **members):
    request = {"family": "etl", "containerDefinitions": [CONTAINER], **members}
    more = {} if caller is None else {"caller": caller}
    return ecs.call("RegisterTaskDefinition", request, **more)["taskDefinition"]


def describe(ecs, name="etl", **members):
    return ecs.call("DescribeTaskDefinition", {"taskDefinition": name, **members})


def run(ecs, **members):
    return ecs.call("RunTask", {"taskDefinition": "etl", "launchType": "EC2", **members})


def tag(key="k", value="v"):
    return {"key": key, "value": value}


# -- limits of RegisterTaskDefinition --------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"tags": []}, "ClientException: Tags can not be empty"),
        ({"tags": [tag(str(n)) for n in range(51)]}, "at most 50"),
        ({"containerDefinitions": [{**CONTAINER, "name": f"c{n}"} for n in range(11)]}, "and 10"),
        ({"containerDefinitions": [CONTAINER, CONTAINER]}, "unique: 'prefect'"),
        ({"containerDefinitions": [{**CONTAINER, "name": "a b"}]}, "Container.name contains"),
        ({"containerDefinitions": [{**CONTAINER, "name": ""}]}, "Container.name should not"),
        (
            {"containerDefinitions": [{**CONTAINER, "memoryReservation": 129}]},
            "'memory' must be greater than or equal to 'memoryReservation'",
        ),
        (
            {"memory": "127"},
            "'memory' setting for container 'prefect' is greater than for the task",
        ),
        (
            {
                "memory": "200",
                "containerDefinitions": [
                    {"name": name, "image": "a", "memoryReservation": 101} for name in "ab"
                ],
            },
            "The sum of all container 'memoryReservation' values",
        ),
        ({"memory": "much"}, "Invalid 'memory' setting"),
        ({"cpu": "1 vCPUs"}, "Invalid 'cpu' setting"),
        ({"containerDefinitions": [{**CONTAINER, "command": ["x" * 65_536]}]}, "64 KiB"),
        ({"family": "x" * 256}, "Family"),
    ],
)
def test_a_definition_beyond_a_limit_is_refused(clock, members, message):
    """And makes no revision."""
    ecs = made(clock)
    with pytest.raises(AwsRefusal, match=message):
        register(ecs, **members)
    assert ecs.definitions().all() == []


@pytest.mark.parametrize(
    "members",
    [
        {"containerDefinitions": [{**CONTAINER, "memoryReservation": 128}]},
        {"containerDefinitions": [{"name": "a", "image": "b", "memoryReservation": 64}]},
        {"memory": "128"},
        {"containerDefinitions": [{**CONTAINER, "name": f"c{n}"} for n in range(10)]},
        {"containerDefinitions": [{**CONTAINER, "command": ["x" * 65_000]}]},
        {"tags": [tag(f"{'k' * 126}{n}", "v" * 256) for n in range(10, 60)]},
        {"family": "--Etl--"},
    ],
    ids=range(7),
)
def test_a_definition_at_a_limit_is_taken(clock, members):
    assert register(made(clock), **members)["revision"] == 1


def test_fargate_has_32_vcpus(clock):
    """Since 2026; with three sizes of memory."""
    fargate = {"requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}
    for memory in ("60 GB", "120 GB", "244 GB"):
        register(made(clock), cpu="32 vCPU", memory=memory, **fargate)
    with pytest.raises(AwsRefusal, match="No Fargate configuration"):
        register(made(clock), cpu="32 vCPU", memory="100 GB", **fargate)


# -- limits of RunTask -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"subnets": [f"subnet-{n}" for n in range(17)]}, "subnets can have at most 16 items."),
        (
            {"subnets": ["subnet-1"], "securityGroups": [f"sg-{n}" for n in range(6)]},
            "securityGroups can have at most 5 items.",
        ),
        ({"subnets": []}, "subnets can not be empty"),
    ],
)
def test_a_network_beyond_a_limit_is_refused(clock, network, message):
    ecs = made(clock)
    register(ecs, networkMode="awsvpc")
    with pytest.raises(AwsRefusal, match=message):
        run(ecs, networkConfiguration={"awsvpcConfiguration": network})
    assert ecs.launches == []


def test_a_network_at_its_limits_is_taken(clock):
    ecs = made(clock)
    register(ecs, networkMode="awsvpc")
    network = {
        "subnets": [f"subnet-{n}" for n in range(16)],
        "securityGroups": [f"sg-{n}" for n in range(5)],
    }
    assert run(ecs, networkConfiguration={"awsvpcConfiguration": network})["tasks"]


BAD_TAGS = [
    [tag("k" * 129)],
    [tag("")],
    [{"value": "v"}],
    [tag("k", "v" * 257)],
    [tag("aws:k")],
    [tag("AWS:k")],
    [tag("k"), tag("k", "w")],
    [tag("k!")],
    [tag("k", "v#")],
    [tag("k", "a\nb")],
    [tag(str(n)) for n in range(51)],
]


@pytest.mark.parametrize("tags", BAD_TAGS, ids=range(len(BAD_TAGS)))
def test_tags_beyond_a_limit_are_refused(clock, tags):
    """By RunTask, RegisterTaskDefinition and TagResource alike."""
    ecs = made(clock)
    arn = register(ecs)["taskDefinitionArn"]
    for call in (
        lambda: run(ecs, tags=tags),
        lambda: register(ecs, tags=tags),
        lambda: ecs.call("TagResource", {"resourceArn": arn, "tags": tags}),
    ):
        with pytest.raises(AwsRefusal, match=r"InvalidParameterException: Tag"):
            call()
    assert ecs.launches == []
    assert len(ecs.definitions().all()) == 1


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=128),
        st.text(st.characters(categories=["L", "N", "Zs"], include_characters="_.:/=+-@")),
        max_size=50,
    )
)
def test_letters_numbers_and_spaces_of_all_languages_are_taken(tags):
    """As the pattern of API_Tag has it."""
    check_tags([tag(key, value[:256]) for key, value in tags.items()])


def test_a_resource_has_fifty_tags_in_all(clock):
    """The old ones count."""
    ecs = made(clock)
    arn = register(ecs, tags=[tag(str(n)) for n in range(50)])["taskDefinitionArn"]
    ecs.call("TagResource", {"resourceArn": arn, "tags": [tag("49", "new")]})
    with pytest.raises(AwsRefusal, match="at most 50"):
        ecs.call("TagResource", {"resourceArn": arn, "tags": [tag("50")]})


# -- how it is described back ----------------------------------------------------------------------


def test_roles_given_by_name_come_back_as_arns(clock):
    """ARNs stay."""
    ecs = made(clock)
    register(ecs, taskRoleArn="task", executionRoleArn=f"{ROLE}path/execution")
    described = describe(ecs)["taskDefinition"]
    assert described["taskRoleArn"] == f"{ROLE}task"
    assert described["executionRoleArn"] == f"{ROLE}path/execution"


def test_tags_come_with_include_only(clock):
    """Those of a definition, and those of a task; RunTask answers its own."""
    ecs = made(clock)
    register(ecs, tags=[tag()])
    assert "tags" not in describe(ecs)
    assert describe(ecs, include=["TAGS"])["tags"] == [tag()]
    task = run(ecs, tags=[tag("t")])["tasks"][0]
    assert task["tags"] == [tag("t")]
    for include, tags in (([], []), (["TAGS"], [tag("t")])):
        request = {"tasks": [task["taskArn"]], "include": include}
        assert ecs.call("DescribeTasks", request)["tasks"][0]["tags"] == tags


def test_a_reservation_alone_stays_alone(clock):
    """No hard limit is added."""
    ecs = made(clock)
    register(ecs, containerDefinitions=[{"name": "a", "image": "b", "memoryReservation": 64}])
    assert "memory" not in describe(ecs)["taskDefinition"]["containerDefinitions"][0]


@pytest.mark.parametrize(
    ("path", "value", "there"),
    [
        ("containerDefinitions[].startTimeout", 9, lambda d: d["containerDefinitions"][0]),
        ("containerDefinitions[name=prefect].image", "b", lambda d: d["containerDefinitions"][0]),
        ("ephemeralStorage.sizeInGiB", 22, lambda d: d["ephemeralStorage"]),
        ("pidMode", "task", lambda d: d),
    ],
)
def test_a_member_is_described_in_other_words(clock, path, value, there):
    """In the answer to the registration too; what was registered is not changed by it."""
    ecs = made(clock)
    ecs.settings.rewrites = {path: value}
    name = path.rpartition(".")[2]
    for described in (register(ecs), describe(ecs)["taskDefinition"], ecs.definitions().all()[0]):
        assert there(described)[name] == value
    ecs.settings.rewrites = {}
    assert "startTimeout" not in describe(ecs)["taskDefinition"]["containerDefinitions"][0]
    assert describe(ecs)["taskDefinition"]["containerDefinitions"][0]["image"] == "flows:1"


def test_a_member_is_left_out(clock):
    ecs = made(clock)
    ecs.settings.rewrites = {"containerDefinitions[].environment": None}
    assert "environment" not in register(ecs)["containerDefinitions"][0]


def test_a_function_rewrites(clock):
    """For what a path cannot say."""

    def shout(definition):
        for container in definition["containerDefinitions"]:
            container["image"] = container["image"].upper()

    ecs = made(clock)
    ecs.rewrite = shout
    assert register(ecs)["containerDefinitions"][0]["image"] == "FLOWS:1"
    ecs.rewrite = None
    assert describe(ecs)["taskDefinition"]["containerDefinitions"][0]["image"] == "flows:1"


# -- new revisions that are not seen yet -----------------------------------------------------------


def test_a_new_revision_is_not_seen_by_run_task_for_a_while(clock):
    """Nor by the others, each for its own time; the one before is."""
    ecs = made(clock)
    old = register(ecs)["taskDefinitionArn"]
    clock.now += 60
    ecs.settings.invisible_seconds = {"RunTask": 5.0, "DescribeTaskDefinition": 2.0}
    new = register(ecs)["taskDefinitionArn"]
    with pytest.raises(AwsRefusal, match="ClientException: TaskDefinition not found"):
        run(ecs, taskDefinition=new)
    with pytest.raises(AwsRefusal, match="ClientException: Unable to describe"):
        describe(ecs, new)
    assert run(ecs)["tasks"][0]["taskDefinitionArn"] == old
    assert describe(ecs)["taskDefinition"]["taskDefinitionArn"] == old
    assert len(ecs.call("ListTaskDefinitions", {"familyPrefix": "etl"})["taskDefinitionArns"]) == 2
    clock.now += 2
    assert describe(ecs, new)["taskDefinition"]["taskDefinitionArn"] == new
    with pytest.raises(AwsRefusal, match="not found"):
        run(ecs, taskDefinition=new)
    clock.now += 3
    assert run(ecs, taskDefinition=new)["tasks"]


def test_a_listing_may_not_see_it_either(clock):
    """``*`` is for every action that looks."""
    ecs = made(clock, invisible_seconds={"*": 5.0})
    register(ecs)
    assert ecs.call("ListTaskDefinitions", {"familyPrefix": "etl"})["taskDefinitionArns"] == []
    with pytest.raises(AwsRefusal, match="Unable to describe"):
        describe(ecs)
    clock.now += 5
    assert describe(ecs)["taskDefinition"]["revision"] == 1


# -- who -------------------------------------------------------------------------------------------


def test_a_revision_names_the_principal_that_registered_it():
    """Root, a user, a role's session: as GetCallerIdentity names them."""
    with LocalECS(Settings(latencies={})) as ecs:
        callers = {
            "root": {},
            "user/ci": {"user": "ci"},
            "assumed-role/deploy/build-7": ecs.role_credentials("deploy", "build-7"),
        }
        for name, who in callers.items():
            registered = ecs.client("ecs", **who).register_task_definition(
                family="etl", containerDefinitions=[CONTAINER]
            )["taskDefinition"]["registeredBy"]
            assert registered.endswith(f"::123456789012:{name}")
            assert ecs.client("sts", **who).get_caller_identity()["Arn"] == registered


# -- room ------------------------------------------------------------------------------------------

FARGATE = {
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "1024",
    "memory": "2048",
    "containerDefinitions": [{"name": "prefect", "image": "a"}],
}
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"]}}
SPOT = [{"capacityProvider": "FARGATE_SPOT"}]


def placed(ecs, cpu=None, **members):
    """Reasons why a task was not started; none when it was."""
    sizes = {"cpu": str(cpu), "memory": str(2 * cpu)} if cpu else {}
    request = {"launchType": "FARGATE", "networkConfiguration": NETWORK, "overrides": sizes}
    request.update(members)
    return [f["reason"] for f in run(ecs, **request)["failures"]]


def test_a_large_run_beside_small_ones_under_a_quota_of_six(clock):
    """4 + 1 + 1 vCPUs are six; each by its own size, overrides included."""
    ecs = made(clock, vcpu_quota=6, task_seconds=10)
    register(ecs, **FARGATE)
    assert placed(ecs, 4096) == placed(ecs) == placed(ecs, 1024) == []
    for cpu in (256, 1024, 4096):
        assert "limit on the number of vCPUs" in placed(ecs, cpu)[0]
    clock.now += 20
    assert placed(ecs, 2048) == placed(ecs, 4096) == []
    assert placed(ecs, 256)


def test_spot_has_a_quota_of_its_own(clock):
    ecs = made(clock, vcpu_quota=2)
    register(ecs, **FARGATE)
    spot = {"launchType": None, "capacityProviderStrategy": SPOT}
    assert placed(ecs) == placed(ecs) == placed(ecs, **spot) == placed(ecs, **spot) == []
    assert placed(ecs)
    assert placed(ecs, **spot)


def test_a_task_has_to_fit_on_one_instance(clock):
    """Two of 2 vCPUs have no room for 3; each says what it lacks."""
    size = {"cpu": 2048, "memory": 4096}
    ecs = made(clock, container_instances=2, instance_size=size, task_seconds=10)
    register(ecs)

    def place(cpu, memory, **more):
        container = {"name": "prefect", "cpu": cpu, "memory": memory, **more}
        answer = run(ecs, overrides={"containerOverrides": [container]})
        return [failure["reason"] for failure in answer["failures"]]

    assert place(3072, 100) == ["RESOURCE:CPU"] * 2
    assert place(2048, 4096) == []
    assert place(1024, 3072) == []
    assert place(512, 2048) == ["RESOURCE:CPU", "RESOURCE:MEMORY"]
    gpu = [{"type": "GPU", "value": "1"}]
    assert place(1, 1, resourceRequirements=gpu) == ["RESOURCE:CPU", "RESOURCE:GPU"]
    assert place(512, 1024) == []
    clock.now += 20
    assert place(512, 2048) == []


# -- subnets ---------------------------------------------------------------------------------------


def test_a_subnet_that_is_deleted_is_refused_from_then_on():
    """In ECS's disguise of EC2's error; another that is made is known at once."""
    with LocalECS(Settings(latencies={})) as ecs:
        client, ec2 = ecs.client("ecs"), ecs.client("ec2")
        client.register_task_definition(
            family="etl", networkMode="awsvpc", containerDefinitions=[CONTAINER]
        )
        first, second = [s["SubnetId"] for s in ec2.describe_subnets()["Subnets"][:2]]

        def run(*subnets):
            network = {"awsvpcConfiguration": {"subnets": list(subnets)}}
            return client.run_task(
                taskDefinition="etl", launchType="EC2", networkConfiguration=network
            )

        assert run(first, second)["tasks"]
        ec2.delete_subnet(SubnetId=second)
        with pytest.raises(botocore.exceptions.ClientError) as error:
            run(first, second)
        assert error.value.response["Error"] == {
            "Code": "InvalidParameterException",
            "Message": f"Error retrieving subnet information for [{first}, {second}]: The subnet "
            f"ID '{second}' does not exist (ErrorCode: InvalidSubnetID.NotFound)",
        }
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        new = ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.240.0/24")["Subnet"]["SubnetId"]
        assert run(first, new)["tasks"]
