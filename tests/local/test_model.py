"""The embedded ECS refuses what ECS refuses, on a clock of its own."""

from __future__ import annotations

import json

import pytest

from prefect_ecs_pinned.local import AwsRefusal, EmbeddedECS, Phases, Settings

NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ecs_with(clock, **settings) -> EmbeddedECS:
    return EmbeddedECS(Settings(**settings), clock)


def definition(**members):
    return {
        "family": "etl",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1 vCPU",
        "memory": "2GB",
        "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
        **members,
    }


def run(ecs, **members):
    request = {"taskDefinition": "etl", "launchType": "FARGATE", "networkConfiguration": NETWORK}
    return ecs.call("RunTask", {**request, **members})


@pytest.fixture
def ecs(clock):
    ecs = ecs_with(clock)
    ecs.call("RegisterTaskDefinition", definition())
    return ecs


def test_the_twenty_first_fargate_run_task_in_one_instant_is_throttled(ecs, clock):
    """And a second later there are twenty more."""
    for _ in range(20):
        run(ecs)
    with pytest.raises(AwsRefusal, match="ThrottlingException: Rate exceeded"):
        run(ecs)
    clock.now += 1
    for _ in range(20):
        run(ecs)
    with pytest.raises(AwsRefusal):
        run(ecs)


def test_spot_has_a_bucket_of_its_own(ecs):
    """Twenty on demand and twenty on Spot in one instant."""
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    for _ in range(20):
        run(ecs)
        run(ecs, launchType=None, capacityProviderStrategy=strategy)


def test_the_twenty_first_registration_in_one_instant_is_throttled(clock):
    """Then one a second."""
    ecs = ecs_with(clock)
    for _ in range(20):
        ecs.call("RegisterTaskDefinition", definition())
    for _ in range(2):
        with pytest.raises(AwsRefusal, match="ThrottlingException"):
            ecs.call("RegisterTaskDefinition", definition())
        clock.now += 1
        ecs.call("RegisterTaskDefinition", definition())


def test_quotas_scale_and_switch_off(clock):
    """Five times the quota is a hundred calls at once; without, there is no end."""
    for scale, allowed in ((5.0, 100), (None, 500)):
        ecs = ecs_with(clock, quota_scale=scale)
        ecs.call("RegisterTaskDefinition", definition())
        for _ in range(allowed):
            run(ecs)


def test_overlapping_registrations_of_a_family_are_refused(ecs):
    """The first wins; another family is another matter."""
    definitions = ecs.definitions()
    definitions.begin(definition())
    with pytest.raises(AwsRefusal, match="Too many concurrent attempts"):
        definitions.begin(definition())
    definitions.begin(definition(family="other"))
    definitions.end("etl")
    definitions.begin(definition())


def test_a_token_replays_an_acceptance(ecs):
    """The same task, however often it is asked for."""
    first = run(ecs, clientToken="t")["tasks"][0]["taskArn"]
    assert run(ecs, clientToken="t")["tasks"][0]["taskArn"] == first
    assert len(ecs.launches) == 1


def test_a_token_replays_a_refusal(clock):
    """There is room by now, and the token still says that there is not."""
    ecs = ecs_with(clock, vcpu_quota=0.5)
    ecs.call("RegisterTaskDefinition", definition())
    refused = run(ecs, clientToken="t")
    assert "limit on the number of vCPUs" in refused["failures"][0]["reason"]
    ecs.settings.vcpu_quota = None
    assert run(ecs, clientToken="t") == refused
    assert run(ecs, clientToken="u")["tasks"]


def test_a_token_with_other_parameters_is_a_conflict(ecs):
    """It names the task that the token belongs to."""
    arn = run(ecs, clientToken="t")["tasks"][0]["taskArn"]
    with pytest.raises(AwsRefusal, match="ConflictException") as conflict:
        run(ecs, clientToken="t", startedBy="someone-else")
    assert conflict.value.members == {"resourceIds": [arn]}


def test_an_inactive_revision_is_not_run(ecs):
    """By ARN it is inactive; by family there is none."""
    arn = ecs.call("DescribeTaskDefinition", {"taskDefinition": "etl"})["taskDefinition"][
        "taskDefinitionArn"
    ]
    ecs.call("DeregisterTaskDefinition", {"taskDefinition": arn})
    with pytest.raises(AwsRefusal, match="TaskDefinition is inactive"):
        run(ecs, taskDefinition=arn)
    with pytest.raises(AwsRefusal, match="Unable to describe task definition"):
        ecs.call("DescribeTaskDefinition", {"taskDefinition": "etl"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cluster": "nowhere"}, "Cluster not found"),
        ({"taskDefinition": "nothing"}, "TaskDefinition not found"),
        ({"networkConfiguration": None}, "Network Configuration must be provided"),
        ({"startedBy": "a" * 129}, "startedBy"),
        ({"count": 11}, "count"),
        ({"overrides": {"cpu": "300"}}, "No Fargate configuration exists"),
        ({"overrides": {"containerOverrides": [{"name": "x"}]}}, "is not a container"),
        (
            {"overrides": {"containerOverrides": [{"name": "prefect", "command": ["x" * 8200]}]}},
            "at most 8192",
        ),
    ],
)
def test_run_task_refuses(ecs, change, message):
    """Each with ECS's own words, and nothing is started."""
    with pytest.raises(AwsRefusal, match=message):
        run(ecs, **change)
    assert ecs.launches == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networkMode": "bridge"}, "awsvpc"),
        ({"cpu": "300"}, "No Fargate configuration exists"),
        ({"containerDefinitions": []}, "between 1 and 10"),
        ({"containerDefinitions": [{"name": "prefect"}]}, "image should not be null"),
        ({"family": "a b"}, "Family contains invalid characters"),
    ],
)
def test_registration_refuses(clock, change, message):
    """And makes no revision."""
    ecs = ecs_with(clock)
    with pytest.raises(AwsRefusal, match=message):
        ecs.call("RegisterTaskDefinition", definition(**change))
    assert ecs.definitions().all() == []


def test_a_name_in_environment_and_in_secrets_is_refused(clock):
    """Of one container."""
    container = {
        "name": "prefect",
        "image": "flows:1",
        "environment": [{"name": "KEY", "value": "clear"}],
        "secrets": [{"name": "KEY", "valueFrom": "arn:aws:ssm:us-east-1:1:parameter/k"}],
    }
    with pytest.raises(AwsRefusal, match="secret name must be unique"):
        ecs_with(clock).call("RegisterTaskDefinition", definition(containerDefinitions=[container]))


def test_a_definition_is_described_back_in_other_words(ecs):
    """Sizes in digits, defaults filled in, members added."""
    described = ecs.call("DescribeTaskDefinition", {"taskDefinition": "etl:1"})["taskDefinition"]
    assert (described["cpu"], described["memory"]) == ("1024", "2048")
    assert described["containerDefinitions"][0]["essential"] is True
    assert described["containerDefinitions"][0]["cpu"] == 0
    assert described["compatibilities"] == ["EC2", "FARGATE"]
    assert described["revision"] == 1


def test_a_listing_is_sorted_and_paged(clock):
    """Two hundred and fifty revisions: three pages, newest first when asked."""
    ecs = ecs_with(clock, quota_scale=None)
    for _ in range(250):
        ecs.call("RegisterTaskDefinition", definition())
    request = {"familyPrefix": "etl", "sort": "DESC"}
    numbers, pages = [], 0
    while True:
        answer = ecs.call("ListTaskDefinitions", request)
        numbers += [int(arn.rsplit(":", 1)[-1]) for arn in answer["taskDefinitionArns"]]
        pages += 1
        if "nextToken" not in answer:
            break
        request["nextToken"] = answer["nextToken"]
    assert pages == 3
    assert numbers == list(range(250, 0, -1))


def test_describe_tasks_takes_a_hundred(ecs, clock):
    """Not a hundred and one, and not none."""
    arn = run(ecs)["tasks"][0]["taskArn"]
    assert len(ecs.call("DescribeTasks", {"tasks": [arn] * 100})["tasks"]) == 100
    with pytest.raises(AwsRefusal, match="at most 100"):
        ecs.call("DescribeTasks", {"tasks": [arn] * 101})
    with pytest.raises(AwsRefusal, match="cannot be empty"):
        ecs.call("DescribeTasks", {"tasks": []})


def describe(ecs, arn):
    answer = ecs.call("DescribeTasks", {"tasks": [arn]})
    return answer["tasks"][0] if answer["tasks"] else None


def test_the_life_of_a_task(clock):
    """Every status in its time, the exit code only at the end."""
    ecs = ecs_with(clock, phases=Phases(1, 1, 1, 1, 1, 1), task_seconds=10, exit_code=3)
    ecs.call("RegisterTaskDefinition", definition())
    arn = run(ecs)["tasks"][0]["taskArn"]
    seen = []
    for _ in range(18):
        task = describe(ecs, arn)
        seen.append(task["lastStatus"])
        if task["lastStatus"] == "RUNNING":
            assert "exitCode" not in task["containers"][0]
        clock.now += 1
    expected = ["PROVISIONING", "PENDING", "ACTIVATING", *["RUNNING"] * 10]
    assert seen == [*expected, "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED", "STOPPED"]
    assert describe(ecs, arn)["containers"][0]["exitCode"] == 3
    assert describe(ecs, arn)["stopCode"] == "EssentialContainerExited"
    clock.now += 3601
    assert describe(ecs, arn) is None


def test_a_task_keeps_the_phases_with_which_it_was_started(clock):
    """No setting takes a task that runs back to PROVISIONING."""
    ecs = ecs_with(clock, phases=Phases(0, 0, 0, 0, 0, 0), task_seconds=10)
    ecs.call("RegisterTaskDefinition", definition())
    old = run(ecs)["tasks"][0]["taskArn"]
    ecs.settings.phases = Phases(100, 0, 0, 0, 0, 0)
    new = run(ecs)["tasks"][0]["taskArn"]
    clock.now += 5
    assert [describe(ecs, arn)["lastStatus"] for arn in (old, new)] == ["RUNNING", "PROVISIONING"]


def test_a_task_that_fails_to_start(clock):
    """It never runs, and says why."""
    ecs = ecs_with(clock)
    ecs.call("RegisterTaskDefinition", definition())
    ecs.start_failures.append(("TaskFailedToStart", "CannotPullContainerError: no such image"))
    arn = run(ecs)["tasks"][0]["taskArn"]
    clock.now += 60
    task = describe(ecs, arn)
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "TaskFailedToStart")
    assert "startedAt" not in task
    assert "exitCode" not in task["containers"][0]


def test_stop_task_ends_a_task_for_good(ecs, clock):
    """Twice is as good as once."""
    arn = run(ecs)["tasks"][0]["taskArn"]
    clock.now += 5
    for _ in range(2):
        ecs.call("StopTask", {"task": arn, "reason": "enough"})
    clock.now += 5
    task = describe(ecs, arn)
    assert (task["lastStatus"], task["stopCode"]) == ("STOPPED", "UserInitiated")
    assert task["stoppedReason"] == "enough"
    with pytest.raises(AwsRefusal, match="referenced task was not found"):
        ecs.call("StopTask", {"task": "0" * 32})


def test_six_vcpus_are_six_tasks_at_once(clock):
    """The seventh is refused inside a 200, until one has stopped."""
    ecs = ecs_with(clock, vcpu_quota=6, task_seconds=5)
    ecs.call("RegisterTaskDefinition", definition())
    answers = [run(ecs) for _ in range(7)]
    assert [len(answer["tasks"]) for answer in answers] == [1] * 6 + [0]
    clock.now += 10
    assert run(ecs)["tasks"]


def test_a_new_task_may_be_missing(clock):
    """ECS is eventually consistent."""
    ecs = ecs_with(clock, missing_seconds=5)
    ecs.call("RegisterTaskDefinition", definition())
    arn = run(ecs)["tasks"][0]["taskArn"]
    assert describe(ecs, arn) is None
    clock.now += 5
    assert describe(ecs, arn)["taskArn"] == arn


def test_tasks_are_listed_by_who_started_them(ecs, clock):
    """RUNNING unless asked for STOPPED; no other filter beside it."""
    arn = run(ecs, startedBy="run-1")["tasks"][0]["taskArn"]
    run(ecs, startedBy="run-2")
    assert ecs.call("ListTasks", {"startedBy": "run-1"})["taskArns"] == [arn]
    with pytest.raises(AwsRefusal):
        ecs.call("ListTasks", {"startedBy": "run-1", "family": "etl"})
    clock.now += 3000
    assert ecs.call("ListTasks", {"startedBy": "run-1"})["taskArns"] == []
    stopped = ecs.call("ListTasks", {"startedBy": "run-1", "desiredStatus": "STOPPED"})
    assert stopped["taskArns"] == [arn]


def test_a_described_task_is_as_large_as_on_aws(ecs):
    """About 2.5 KB: benchmarks of watching count on it."""
    environment = [{"name": f"PREFECT_SETTING_{n}", "value": "x" * 20} for n in range(5)]
    overrides = {"containerOverrides": [{"name": "prefect", "environment": environment}]}
    arn = run(ecs, overrides=overrides)["tasks"][0]["taskArn"]
    assert 2000 <= len(json.dumps(describe(ecs, arn))) <= 4000
