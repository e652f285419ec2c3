"""`plan`, `pin` and `show`: data on stdout, messages on stderr, exit codes."""

from __future__ import annotations

import json
import warnings

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ecs_pinned.operations.blocks import configurations
from tests.operations.fixtures import EXECUTION_ROLE, FAMILY_ARN

SUBNETS = {"subnets": ["subnet-1"]}


@pytest.fixture
def etl(save, deploy):
    """A block; one deployment that differs in size, one that differs in image."""
    save("etl", env={"REGION": "eu"}, **SUBNETS)
    deploy("flow/small", "etl", {"cpu": 512, "memory": 1024, "env.TOKEN": "hush"})
    deploy("flow/other", "etl", {"image": "flows:2"})
    return "pinned-ecs-task/etl"


def test_plan_shows_what_a_first_revision_would_hold(pinned_ecs, save):
    """To the letter."""
    save("etl", **SUBNETS)
    said = pinned_ecs("plan", "etl")
    assert said.code == 0
    assert said.out == (
        "pinned-ecs-task/etl\n"
        "  register a revision of prefect-etl in us-east-1\n"
        "  the family has no revision yet; the first one would have\n"
        "    + containerDefinitions.prefect.image: flows:1\n"
        "    + cpu: any\n"
        "    + memory: any\n"
        "    + networkMode: awsvpc\n"
        '    + requiresCompatibilities: ["FARGATE"]\n'
        "  sent with each launch, without a revision\n"
        "    cpu: 1024\n"
        "    launchType: FARGATE\n"
        "    memory: 2048\n"
        '    networkConfiguration: {"awsvpcConfiguration": {"assignPublicIp": "ENABLED", '
        '"securityGroups": [], "subnets": ["subnet-1"]}}\n'
    )
    assert said.err == "1 to register, 0 in place\nnext: pinned-ecs pin etl\n"


def test_plan_shows_the_difference_from_the_newest_revision(pinned_ecs, save):
    """What is new, what is gone, what has another value."""
    save("etl", image="flows:1", task_definition={"volumes": [{"name": "scratch"}]}, **SUBNETS)
    assert pinned_ecs("pin", "etl").code == 0
    secrets = {"KEY": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"}
    save("etl", image="flows:2", secrets=secrets, execution_role_arn=EXECUTION_ROLE, **SUBNETS)
    lines = pinned_ecs("plan", "etl").out.splitlines()
    assert lines[2:7] == [
        "  new in it, compared with prefect-etl:1",
        "    ~ containerDefinitions.prefect.image: flows:1 -> flows:2",
        f"    + containerDefinitions.prefect.secrets.KEY.valueFrom: {secrets['KEY']}",
        f"    + executionRoleArn: {EXECUTION_ROLE}",
        "    - volumes.scratch.name: scratch",
    ]


@pytest.mark.parametrize("command", ["plan", "pin", "doctor"])
def test_a_member_that_ecs_describes_otherwise_is_shown(pinned_ecs, save, ecs, command):
    """Of a revision of one's own, where nobody knows how ECS describes the member."""
    policy = {"restartPolicy": {"enabled": True, "restartAttemptPeriod": 60}}
    definition = {"containerDefinitions": [{"name": "prefect", **policy}]}
    save("etl", task_definition=definition, **SUBNETS)
    assert pinned_ecs("pin", "etl").code == 0
    described = ecs.model.definitions("us-east-1").find("prefect-etl")
    described["containerDefinitions"][0]["restartPolicy"]["restartAttemptPeriod"] = 61
    described["registeredBy"] = ecs.client("sts").get_caller_identity()["Arn"]
    said = pinned_ecs(command, "etl")
    text = " ".join((said.out + said.err).split())
    member = "containerDefinitions.prefect.restartPolicy.restartAttemptPeriod"
    assert f"prefect-etl:1: ECS describes {member} differently from the request" in text
    assert ecs.calls["RegisterTaskDefinition"]["calls"] == 1


@pytest.mark.parametrize("command", ["plan", "pin", "doctor"])
@pytest.mark.parametrize("linked", [False, True], ids=["own", "linked"])
def test_a_container_that_is_added_to_others_is_shown(pinned_ecs, save, ecs, command, linked):
    """Whose definition has one of another name runs two; one that lists it means it."""
    others = [{"name": "etl", "image": "e:1"}, {"name": "side", "image": "s:1"}]
    meant = [{"name": "prefect", "image": "e:1"}, *others]

    def saved(containers):
        fields = {"task_definition": {"containerDefinitions": containers}}
        if linked:
            fargate = {"requiresCompatibilities": ["FARGATE"], "cpu": "1024", "memory": "2048"}
            definition = {**fields["task_definition"], **fargate, "networkMode": "awsvpc"}
            registered = ecs.client("ecs").register_task_definition(family="theirs", **definition)
            fields = {"task_definition_arn": registered["taskDefinition"]["taskDefinitionArn"]}
        save("etl", **fields, **SUBNETS)
        said = pinned_ecs(command, "etl")
        return " ".join((said.out + said.err).split())

    text = saved(others)
    assert "'prefect' of flows:1 is added to those of the definition" in text
    assert "definition: 'etl', 'side'" in text or "definition: 'side', 'etl'" in text
    assert "in container_name" in text
    assert "is added to" not in saved(meant)


def test_a_family_that_was_written_in_lower_case_is_named(pinned_ecs, save):
    """By `doctor`, and by the error of whoever may not register; not when it has a revision."""
    save("old", family="teametl", **SUBNETS)
    assert pinned_ecs("pin", "old").code == 0
    save("etl", family="TeamETL", **SUBNETS)
    hint = "To keep using them, set family to 'teametl'"
    assert hint in " ".join(pinned_ecs("doctor", "etl").out.split())
    save("etl", family="TeamETL", registration="never", **SUBNETS)
    assert hint in " ".join(pinned_ecs("doctor", "etl").out.split())
    assert pinned_ecs("pin", "etl").code == 0
    assert hint not in " ".join(pinned_ecs("doctor", "etl").out.split())


def test_plan_changes_nothing(pinned_ecs, etl, ecs):
    """Twice the same, and not one call that writes."""
    first = pinned_ecs("plan", etl, "--all")
    assert first == pinned_ecs("plan", etl, "--all")
    writes = {"RegisterTaskDefinition", "DeregisterTaskDefinition", "RunTask", "TagResource"}
    assert not writes & set(ecs.calls)


def test_the_exit_code_says_whether_there_is_something_to_do(pinned_ecs, etl):
    """2 before, 0 after; without --exit-code 0 in both cases."""
    assert pinned_ecs("plan", etl, "--all").code == 0
    assert pinned_ecs("plan", etl, "--all", "--exit-code").code == 2
    assert pinned_ecs("pin", etl, "--all").code == 0
    after = pinned_ecs("plan", etl, "--all", "--exit-code")
    assert (after.code, after.err) == (0, "Nothing to register.\n")


def test_plan_as_json_groups_deployments_by_revision(pinned_ecs, etl):
    """Size and environment are no reason for another revision, the image is."""
    steps = json.loads(pinned_ecs("plan", etl, "--all", "--json").out)
    assert [step["used_by"] for step in steps] == [
        ["pinned-ecs-task/etl", "flow/small"],
        ["flow/other"],
    ]
    assert [step["action"] for step in steps] == ["register", "register"]
    image = {"path": "containerDefinitions.prefect.image", "before": None, "after": "flows:2"}
    assert image in steps[1]["changes"]
    small = steps[0]["per_run"]["flow/small"]
    assert (small["cpu"], small["memory"]) == ("512", "1024")
    assert small["environment"] == ["REGION", "TOKEN"]


def test_no_value_of_a_variable_is_shown(pinned_ecs, save, deploy):
    """Neither of the block, nor of a deployment, nor of the definition; log tokens neither."""
    container = {
        "name": "prefect",
        "environment": [{"name": "DB", "value": "hush-definition"}],
        "logConfiguration": {"logDriver": "splunk", "options": {"splunk-token": "hush-token"}},
    }
    definition = {"containerDefinitions": [container]}
    save("etl", env={"A": "hush-block"}, task_definition=definition, **SUBNETS)
    deploy("flow/small", "etl", {"env.B": "hush-override"})
    said = pinned_ecs("plan", "etl", "--all")
    assert "+ containerDefinitions.prefect.environment.DB.value: ***" in said.out
    assert "+ containerDefinitions.prefect.logConfiguration.options.splunk-token: ***" in said.out
    for more in (pinned_ecs("plan", "etl", "--all", "--json"), pinned_ecs("pin", "etl"), said):
        assert more.code == 0
        assert "hush" not in more.out + more.err


def test_pin_prints_nothing_but_arns(pinned_ecs, etl, ecs):
    """One a line; who needs it, and why it was registered, are messages."""
    said = pinned_ecs("pin", etl, "--all")
    assert said.out == f"{FAMILY_ARN}prefect-etl:1\n{FAMILY_ARN}prefect-etl:2\n"
    assert said.err == (
        f"registered: {FAMILY_ARN}prefect-etl:1 for pinned-ecs-task/etl, flow/small "
        "(family 'prefect-etl' has no revision yet)\n"
        f"registered: {FAMILY_ARN}prefect-etl:2 for flow/other "
        "(changed: containerDefinitions.prefect.image)\n"
        "next: pinned-ecs show pinned-ecs-task/etl\n"
    )
    assert ecs.count("RegisterTaskDefinition") == 2


def test_pinning_again_registers_nothing(pinned_ecs, etl, ecs):
    """And prints the same ARNs."""
    first = pinned_ecs("pin", etl, "--all")
    again = pinned_ecs("pin", etl, "--all")
    assert again.out == first.out
    assert [line.partition(":")[0] for line in again.err.splitlines()] == ["found", "found", "next"]
    assert ecs.count("RegisterTaskDefinition") == 2


def test_pin_one_deployment(pinned_ecs, etl, ecs):
    """With its overrides, and nothing else."""
    said = pinned_ecs("pin", etl, "--deployment", "flow/other", "--json")
    (made,) = json.loads(said.out)
    assert (made["used_by"], made["image"], made["how"]) == (
        ["flow/other"],
        "flows:2",
        "registered",
    )
    assert ecs.count("RegisterTaskDefinition") == 1


def test_an_override_is_pinned_before_it_is_deployed(pinned_ecs, etl, deploy, ecs):
    """So that no run of an agent that may not register falls into a gap."""
    override = ("--override", "image=flows:3")
    said = pinned_ecs("plan", etl, *override, "--exit-code")
    assert said.code == 2
    assert "+ containerDefinitions.prefect.image: flows:3" in said.out
    assert said.err.endswith(f"next: pinned-ecs pin {etl} --override image=flows:3\n")
    made = pinned_ecs("pin", etl, *override).out
    deploy("flow/other", "etl", {"image": "flows:3"})
    assert pinned_ecs("plan", etl, "--deployment", "flow/other", "--exit-code").code == 0
    assert pinned_ecs("pin", etl, "--deployment", "flow/other").out == made
    assert ecs.count("RegisterTaskDefinition") == 1


@pytest.mark.parametrize(
    ("word", "hint"),
    [("imge=flows:3", "write image"), ("env_A=1", "write env"), ("qwertz=1", "use one of: ")],
)
def test_an_override_that_would_be_ignored_is_refused(pinned_ecs, etl, ecs, word, hint):
    """Prefect keeps values of a block that are no fields of it."""
    said = pinned_ecs("plan", etl, "--override", word)
    assert said.code == 1
    assert "has nothing of this name" in said.err
    assert f"hint: {hint}" in said.err


def test_an_override_of_a_deployment_that_is_ignored_is_reported(pinned_ecs, etl, deploy):
    """By doctor."""
    deploy("flow/typo", "etl", {"memry": 4096, "env.A": "1"})
    said = pinned_ecs("doctor", etl)
    assert "WARN  overrides: 'memry' is ignored" in said.out
    assert "hint: write memory" in said.out
    assert said.out.count("is ignored") == 1


def test_an_override_without_a_value_is_refused(pinned_ecs, etl):
    """With an example."""
    said = pinned_ecs("plan", etl, "--override", "image")
    assert (said.code, said.out) == (1, "")
    assert "hint: write it as image=repository:tag" in said.err


def test_pin_registers_for_a_block_that_may_not(pinned_ecs, save, ecs):
    """`registration` is for launches; this is what makes "never" possible."""
    save("etl", registration="never", **SUBNETS)
    assert pinned_ecs("pin", "etl").code == 0
    assert ecs.count("RegisterTaskDefinition") == 1


def test_plan_warns_of_launches_that_would_be_refused(pinned_ecs, save):
    """With registration "never", until it is pinned."""
    save("etl", registration="never", **SUBNETS)
    before = pinned_ecs("plan", "etl")
    assert "registration is never, so launches are refused until" in before.err
    assert pinned_ecs("pin", "etl").code == 0
    assert pinned_ecs("plan", "etl").err == "Nothing to register.\n"


def test_a_linked_revision_is_given(pinned_ecs, save, ecs):
    """Used as it is: no registration, and its ARN is what pin prints."""
    save("etl", **SUBNETS)
    arn = pinned_ecs("pin", "etl").out.strip()
    save("linked", image=None, task_definition_arn=arn, registration="never", **SUBNETS)
    assert pinned_ecs("plan", "linked", "--exit-code").code == 0
    said = pinned_ecs("pin", "linked")
    assert said.out.strip() == arn
    assert "given: " in said.err
    assert ecs.count("RegisterTaskDefinition") == 1


def test_an_unset_image_is_warned_of(pinned_ecs, save, prefect):
    """As the UI saves it: it would follow the Prefect version of whoever loads the block."""
    import asyncio

    from prefect import get_client
    from prefect.client.schemas.actions import BlockDocumentUpdate

    save("etl", **SUBNETS)

    async def unset() -> None:
        async with get_client() as client:
            document = await client.read_block_document_by_name("etl", "pinned-ecs-task")
            data = {name: value for name, value in document.data.items() if name != "image"}
            update = BlockDocumentUpdate(data=data, merge_existing_data=False)
            await client.update_block_document(document.id, update)

    asyncio.run(unset())
    for command in ("plan", "pin"):
        said = pinned_ecs(command, "etl")
        assert said.code == 0
        assert "warning: pinned-ecs-task/etl: image is not set" in said.err
        assert "warning" not in said.out


def test_wrong_names_are_distinguished_from_wrong_blocks(pinned_ecs, etl):
    """Each with a hint, exit code 1, no data."""
    cases = {
        ("plan", "nothing"): "see `prefect block ls`",
        ("pin", "ecs-task/etl"): "pinned-ecs migrate ecs-task/etl",
        ("plan", etl, "--deployment", "flow/none"): "flow/other, flow/small",
        ("plan", etl, "--all", "--deployment", "flow/small"): "--all includes every deployment",
    }
    for arguments, hint in cases.items():
        said = pinned_ecs(*arguments)
        assert (said.code, said.out) == (1, "")
        message, remedy, see = said.err.splitlines()
        assert see.startswith("see: ")
        assert message.startswith("error: cannot ")
        assert remedy.startswith("hint: ")
        assert hint in remedy


def test_a_deployment_that_does_not_load_is_named_before_anything_is_registered(
    pinned_ecs, etl, deploy, ecs
):
    """With the validation's own reason, as the agent would meet it later."""
    deploy("flow/bad", "etl", {"registration": "sometimes"})
    said = pinned_ecs("pin", etl, "--all")
    assert (said.code, said.out) == (1, "")
    assert "with the overrides of deployment 'flow/bad': registration: unexpected" in said.err
    assert ecs.count("RegisterTaskDefinition") == 0


def test_an_api_that_is_not_there_is_an_error(pinned_ecs, prefect):
    """With its address."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        said = pinned_ecs("plan", "etl")
    assert (said.code, said.out) == (1, "")
    assert "cannot reach the Prefect API: http://127.0.0.1:9/api" in said.err
    assert "hint: check PREFECT_API_URL" in said.err


def test_show_lists_revisions_who_and_what_is_live(pinned_ecs, etl, ecs):
    """Two revisions in use, two tasks of one of them, in any cluster."""
    pinned_ecs("pin", etl, "--all")
    client = ecs.client("ecs")
    client.create_cluster(clusterName="other")
    subnet = ecs.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    for cluster in ("default", "other"):
        client.run_task(
            cluster=cluster,
            taskDefinition="prefect-etl:1",
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )
    (family,) = json.loads(pinned_ecs("show", etl, "--json").out)
    assert family["live"] == {f"{FAMILY_ARN}prefect-etl:1": 2}
    assert (family["active"], family["newest"]) == (2, f"{FAMILY_ARN}prefect-etl:2")
    first, second = family["in_use"]
    assert first["used_by"] == ["pinned-ecs-task/etl", "flow/small"]
    assert first["registered_by"] == "arn:aws:iam::123456789012:root"
    assert first["registered_at"].startswith("20")
    assert second["revision"] == f"{FAMILY_ARN}prefect-etl:2"
    said = pinned_ecs("show", etl)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "prefect-etl in us-east-1: 2 revisions, newest prefect-etl:2"
    assert lines[-2].split() == ["live", "tasks:", "2"]
    assert lines[-1].split() == ["prefect-etl:1", "2"]


def test_show_without_a_block_shows_all(pinned_ecs, save):
    """By family; one that has no revision says what comes next."""
    save("one", **SUBNETS)
    save("two", **SUBNETS)
    pinned_ecs("pin", "one")
    said = pinned_ecs("show")
    assert said.code == 0
    assert "prefect-one in us-east-1: 1 revision, newest prefect-one:1" in said.out
    assert "prefect-two in us-east-1: 0 revisions" in said.out
    assert said.err == "next: pinned-ecs plan BLOCK --all\n"


def test_show_of_nothing(pinned_ecs, prefect):
    """No data; empty JSON."""
    said = pinned_ecs("show")
    assert (said.code, said.out) == (0, "")
    assert json.loads(pinned_ecs("show", "--json").out) == []


def test_a_registration_that_is_denied_says_what_to_allow(pinned_ecs, save, ecs):
    """AWS's reason, our hint."""
    from prefect_ecs_pinned.local.faults import Fault

    save("etl", **SUBNETS)
    ecs.faults(Fault("error", "RegisterTaskDefinition", code="AccessDeniedException", message="no"))
    said = pinned_ecs("pin", "etl")
    assert (said.code, said.out) == (1, "")
    message, hint, see = said.err.splitlines()
    assert see.endswith("/errors/AccessDenied/")
    assert message.startswith("error: cannot register a revision of 'prefect-etl'")
    assert "allow ecs:RegisterTaskDefinition and iam:PassRole" in hint


def test_a_deployment_on_a_block_worker_counts(pinned_ecs, save, prefect):
    """Its block stands in the work pool, and its overrides apply all the same."""
    import asyncio

    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    from prefect_ecs_pinned import PinnedECSTask

    save("etl", **SUBNETS)

    async def deploy() -> None:
        block = await PinnedECSTask.load("etl")
        template = await block.generate_work_pool_base_job_template()
        async with get_client() as client:
            pool = WorkPoolCreate(name="blocks", type="block", base_job_template=template)  # type: ignore[call-arg]
            await client.create_work_pool(pool)
            flow = await client.create_flow_from_name("flow")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await client.create_deployment(
                    flow_id=flow,
                    name="worked",
                    work_pool_name="blocks",
                    infra_overrides={"image": "flows:7", "command": "echo 'a b'"},
                )

    async def clear() -> None:
        async with get_client() as client:
            await client.delete_work_pool("blocks")

    asyncio.run(deploy())
    try:
        (step,) = json.loads(pinned_ecs("plan", "etl", "--deployment", "flow/worked", "--json").out)
        assert step["image"] == "flows:7"
        assert step["per_run"]["flow/worked"]["command"] == "***"
        (worked,) = asyncio.run(configurations("etl", "flow/worked"))
        assert worked.spec.command == ["echo", "a b"]
    finally:
        asyncio.run(clear())
