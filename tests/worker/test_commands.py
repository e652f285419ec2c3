"""Commands on work pools: a real Prefect 3 server, the embedded ECS, three deployments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling
from prefect_aws import AwsClientParameters, AwsCredentials
from pydantic import SecretStr

from prefect_ecs_pinned.aws.calls.causes import HINTS, Cause
from prefect_ecs_pinned.local import LocalECS
from prefect_ecs_pinned.local.faults import Fault
from prefect_ecs_pinned.operations.pools.variables import check_value, typed
from prefect_ecs_pinned.worker import PinnedECSWorker
from tests.worker.commands import THREE, Pools


@pytest.fixture
def pools(ecs: LocalECS, _server: None, capsys: pytest.CaptureFixture[str]) -> Iterator[Pools]:
    made = Pools(ecs, capsys)
    made.forget()
    yield made
    made.forget()


NAMES = [f"extract/{name}" for name in THREE]


def test_plan_pin_show_prune(pools: Pools) -> None:
    """Three deployments, two definitions, two registrations, and nothing that is used goes."""
    pools.make("etl")
    said = pools.cli("plan", "--pool", "etl", "--exit-code", "--json")
    assert said.code == 2
    steps = said.data
    assert sorted(tuple(sorted(step["used_by"])) for step in steps) == [
        ("extract/hourly", "extract/nightly"),
        ("extract/weekly",),
    ]
    assert {step["family"] for step in steps} == {"prefect_etl"}
    assert {step["action"] for step in steps} == {"register"}
    assert "hunter2" not in said.out + said.err
    assert "next: pinned-ecs pin --pool etl" in said.err

    said = pools.cli("pin", "--pool", "etl")
    assert said.code == 0, said.err
    arns = said.out.split()
    assert [arn.rsplit("/", 1)[-1] for arn in arns] == ["prefect_etl:1", "prefect_etl:2"]
    assert pools.calls("RegisterTaskDefinition") == 2
    assert pools.cli("plan", "--pool", "etl", "--exit-code").code == 0

    said = pools.cli("show", "--pool", "etl", "--json")
    assert said.code == 0, said.err
    [family] = said.data
    assert (family["family"], family["active"]) == ("prefect_etl", 2)
    assert sorted(name for used in family["in_use"] for name in used["used_by"]) == sorted(NAMES)
    assert pools.cli("show", "--json").data == said.data, "all pools of the type"

    # One more revision, which nobody needs, and one that only the pool's own template does.
    assert pools.cli("pin", "--pool", "etl", "--override", "image=flows:0").code == 0
    said = pools.cli("prune", "--pool", "etl", "--keep", "1", "--min-age", "0s", "--json")
    assert said.code == 0, said.err
    [result] = said.data
    fates = {v["arn"].rsplit(":", 1)[-1]: v["kept"] for v in result["survey"]["verdicts"]}
    assert fates == {
        "3": "the newest",
        "2": "used by deployment extract/weekly",
        "1": "used by deployment extract/hourly, deployment extract/nightly",
    }


def test_a_revision_that_no_deployment_uses_goes(pools: Pools) -> None:
    """Once the deployments are gone, what they used is."""
    pools.make("etl", deployments={"old": {"image": "flows:1"}, "new": {"image": "flows:2"}})
    assert pools.cli("pin", "--pool", "etl", "--deployment", "extract/old").code == 0
    assert pools.cli("pin", "--pool", "etl", "--deployment", "extract/new").code == 0
    old = pools.deployment("old")
    pools.ask(lambda client: client.delete_deployment(old.id))
    said = pools.cli("prune", "--pool", "etl", "--keep", "1", "--min-age", "0s", "--yes", "--json")
    assert said.code == 0, said.err
    assert [arn.rsplit(":", 1)[-1] for arn in said.data[0]["pruned"]["deregistered"]] == ["1"]


def test_one_deployment_is_chosen_and_overridden(pools: Pools) -> None:
    """--deployment, --override with a path, and a name that is none."""
    pools.make("etl")
    said = pools.cli(
        *("plan", "--pool", "etl", "--deployment", "extract/hourly", "--json"),
        *("--override", "env.STAGE=test", "--override", "image=flows:9"),
    )
    [step] = said.data
    assert step["used_by"] == ["extract/hourly"]
    assert step["image"] == "flows:9"
    assert step["per_run"]["extract/hourly"]["environment"] == ["SECRET_TOKEN", "STAGE"]
    said = pools.cli("plan", "--pool", "etl", "--deployment", "extract/none")
    assert said.code == 1
    assert "no deployment of this name runs on work pool 'etl'" in said.err
    assert all(name in said.err for name in NAMES)


def test_words_of_the_command_line_are_read_by_the_schema(pools: Pools) -> None:
    """Numbers are numbers, texts stay texts, and objects are JSON."""
    pools.make("etl")
    words = ("cpu=2048", "memory=4096", "image=1.4", "env.LEVEL=5", 'subnets=["subnet-1"]')
    said = pools.cli(
        *("plan", "--pool", "etl", "--deployment", "extract/hourly", "--json"),
        *(part for word in words for part in ("--override", word)),
    )
    assert said.code == 0, said.err
    [step] = said.data
    sent = step["per_run"]["extract/hourly"]
    assert (sent["cpu"], sent["memory"], step["image"]) == ("2048", "4096", "1.4")
    assert sent["environment"] == ["LEVEL", "SECRET_TOKEN"]
    assert "subnet-1" in json.dumps(sent)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("imge=flows:9", "has nothing of this name\nhint: write image"),
        ("qwertz=1", "has nothing of this name\nhint: use one of: "),
        ("cpu=hunter2", "needs the type integer or the type null"),
        ("memory=2GB", "needs the type integer"),
        ("env=hunter2", "needs the type object"),
        ("launch_type=FARGAT", "needs EC2 or EXTERNAL or FARGATE"),
        ("registration=nevr", "needs never or on-change"),
        ("env.A.B=1", ""),
    ],
)
def test_an_override_that_no_deployment_could_have_is_refused(
    pools: Pools, word: str, says: str
) -> None:
    """Prefect's server refuses such values, and ignores such names."""
    pools.make("etl")
    said = pools.cli("plan", "--pool", "etl", "--deployment", "extract/nightly", "--override", word)
    assert says in said.err
    assert said.code == (1 if says else said.code)
    assert "hunter2" not in said.err
    assert "Traceback" not in said.err
    assert pools.calls("RegisterTaskDefinition") == 0


def test_every_variable_reads_its_own_default_as_a_word() -> None:
    """As `--override` would be typed: the kind is that of the schema."""
    template = PinnedECSWorker.get_default_base_job_template()
    tried = 0
    for name, schema in template["variables"]["properties"].items():
        if (default := schema.get("default")) is None or "$ref" in json.dumps(schema):
            continue
        word = default if isinstance(default, str) else json.dumps(default)
        assert typed(template, name, word) == default, name
        check_value(template, name, default)
        tried += 1
    assert tried > 5


def test_a_job_variable_that_is_ignored_is_reported(pools: Pools) -> None:
    """By doctor: Prefect saves it, and no worker reads it."""
    pools.make("etl", deployments={"typo": {"image": "flows:1", "memry": 4096}})
    said = pools.cli("doctor", "--pool", "etl", "--json")
    [found] = [f for f in said.data if f["check"] == "job variables"]
    assert (found["status"], found["hint"]) == ("WARN", "write memory")
    assert "'memry' is ignored" in found["detail"]


def test_blocks_in_a_template_are_resolved(pools: Pools) -> None:
    """By the client, as for the worker; one that is gone is one sentence."""
    credentials = AwsCredentials(
        aws_access_key_id=pools.ecs.access_key,
        aws_secret_access_key=SecretStr("local"),
        region_name="us-east-1",
        aws_client_parameters=AwsClientParameters(endpoint_url=pools.ecs.endpoint_url),
    )
    block = asyncio.run(credentials.asave("of-the-pool", overwrite=True))
    reference = {"$ref": {"block_document_id": str(block)}}
    pools.make("etl", template=pools.template(aws_credentials=reference))
    said = pools.cli("plan", "--pool", "etl", "--json")
    assert said.code == 0, said.err
    assert {step["region"] for step in said.data} == {"us-east-1"}
    pools.ask(lambda client: client.delete_block_document(block))
    said = pools.cli("plan", "--pool", "etl")
    assert said.code == 1
    assert "it refers to a block or a variable that does not exist" in said.err


def test_a_pool_without_a_template_has_the_default_one(pools: Pools) -> None:
    """The worker gives it that one when it begins to poll."""
    pools.make("bare", template={}, deployments={})
    said = pools.cli("doctor", "--pool", "bare", "--json")
    [loads] = [f for f in said.data if f["check"] == "loads"]
    assert (loads["status"], loads["subjects"]) == ("OK", ["work pool 'bare'"])


def test_iam_is_of_the_pool(pools: Pools) -> None:
    """Its family, and nothing of any other."""
    pools.make("etl")
    for role in ("agent", "ci", "operator"):
        said = pools.cli("iam", "--pool", "etl", "--role", role)
        assert said.code == 0, said.err
        assert said.data["Version"] == "2012-10-17"
        assert "task-definition/prefect_etl:*" in json.dumps(said.data) or role == "ci"


def test_doctor_looks_at_the_pool_its_queues_and_its_workers(pools: Pools) -> None:
    """Nobody polls it: FAIL. A worker that has sent a heartbeat: OK, with what is known of it."""
    pools.make("etl", concurrency_limit=5)
    said = pools.cli("doctor", "--pool", "etl", "--json")
    findings = {(f["check"], f["status"]): f for f in said.data}
    assert said.code == 1
    assert "no worker has ever polled it" in findings["workers", "FAIL"]["detail"]
    assert "prefect worker start --pool etl" in findings["workers", "FAIL"]["hint"]
    assert "allows 5 live runs" in findings["picked up", "WARN"]["detail"]
    assert sorted(findings["loads", "OK"]["subjects"]) == sorted(NAMES)
    assert "hunter2" not in said.out

    pools.ask(lambda client: client.send_worker_heartbeat("etl", "worker-1", 30))
    said = pools.cli("doctor", "--json")  # of all pools of the type
    found = [f for f in said.data if f["check"] == "workers"]
    assert [f["status"] for f in found] == ["OK", "OK"]
    assert "1 online: worker-1 (" in found[0]["detail"]
    assert "does not store its workers' versions" in found[1]["detail"]


def test_doctor_says_what_does_not_load(pools: Pools) -> None:
    """One deployment is wrong; the others are examined all the same."""
    broken = {"task_definition_arn": "etl:1", "secrets": {"TOKEN": "arn:aws:ssm:x"}}
    pools.make("etl", deployments={**THREE, "broken": broken})
    said = pools.cli("doctor", "--pool", "etl", "--json")
    [failed] = [f for f in said.data if (f["check"], f["status"]) == ("loads", "FAIL")]
    assert failed["subjects"] == ["extract/broken"]
    assert failed["detail"].startswith("a revision is used as it is when it is named")
    said = pools.cli("plan", "--pool", "etl")
    assert said.code == 1
    assert "with the job variables of deployment 'extract/broken'" in said.err


@pytest.mark.parametrize("kind", ["ecs:push", "cloud-run:push", "prefect:managed"])
def test_push_pools_are_launched_by_prefect_cloud(pools: Pools, kind: str) -> None:
    """Doctor says so, and how to move; the other commands refuse with the same."""
    pools.make("pushed", kind, template={}, deployments={})
    said = pools.cli("doctor", "--pool", "pushed")
    assert said.code == 1
    assert "Prefect Cloud launches those; a worker can't help" in said.out
    assert "prefect work-pool create NAME --type pinned-ecs" in said.out
    said = pools.cli("plan", "--pool", "pushed")
    assert said.code == 1
    assert "Prefect Cloud launches its runs" in said.err


def test_an_ecs_pool_is_planned_and_examined(pools: Pools) -> None:
    """Templates are the same, so what it would be is known before it is migrated."""
    pools.make("legacy", "ecs")
    assert pools.cli("plan", "--pool", "legacy", "--json").data[0]["family"] == "prefect_legacy"
    said = pools.cli("doctor", "--pool", "legacy", "--json")
    [kind] = [f for f in said.data if f["check"] == "type"]
    assert kind["status"] == "WARN"
    assert "pinned-ecs migrate --pool legacy" in kind["hint"]
    said = pools.cli("show").err
    assert f"There are no work pools of type pinned-ecs on {PREFECT_API_URL.value()}.\n" in said


@pytest.mark.parametrize("command", ["plan", "pin", "prune --keep 1", "iam", "migrate"])
def test_neither_block_nor_pool_is_one_sentence(pools: Pools, command: str) -> None:
    said = pools.cli(*command.split())
    assert said.code == 1
    error, hint, see = said.err.splitlines()
    assert see.endswith("/errors/ConfigurationError/")
    assert error.startswith("error: a block or work pool is missing: Prefect 3.")
    assert error.endswith(" is installed, which has work pools")
    assert hint == "hint: give --pool NAME"


@pytest.mark.parametrize("command", ["plan", "pin", "prune --keep 1", "iam", "doctor", "show"])
def test_a_pool_that_is_not_there_is_one_sentence(pools: Pools, command: str) -> None:
    said = pools.cli(*command.split(), "--pool", "nowhere")
    assert said.code == 1
    error, hint, _ = said.err.splitlines()
    assert error.startswith("error: cannot use work pool 'nowhere': there is no such work pool")
    assert "prefect work-pool ls" in hint


@pytest.mark.parametrize("command", ["plan", "pin", "prune --keep 1", "iam", "doctor", "show"])
def test_a_url_without_api_is_not_about_the_pool(pools: Pools, command: str) -> None:
    """The server answers 404 there, whatever the name is."""
    pools.make("etl")
    url = str(PREFECT_API_URL.value()).removesuffix("/api")
    with temporary_settings({PREFECT_API_URL: url}):
        said = pools.cli(*command.split(), "--pool", "etl")
    assert said.code == 1
    error, hint, _ = said.err.splitlines()
    assert error == f"error: cannot use the Prefect API: {url} is not the address of one"
    assert "it ends with /api" in hint


@pytest.fixture
def lost(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Cancelling flow run of a pool whose task was killed ten minutes ago; gives its id."""
    offset = pools.ecs.model._epoch_offset - timedelta(minutes=10).total_seconds()
    monkeypatch.setattr(pools.ecs.model, "_epoch_offset", offset)
    pools.make("etl")
    pools.ecs.change(task_seconds=3600)
    ecs = pools.ecs.client("ecs")
    ecs.register_task_definition(
        family="job", containerDefinitions=[{"name": "prefect", "image": "flows:1", "memory": 64}]
    )
    task = ecs.run_task(taskDefinition="job")["tasks"][0]["taskArn"]
    flow_run = pools.schedule("nightly")

    async def cancel() -> None:
        async with get_client() as client:
            await client.update_flow_run(flow_run, infrastructure_pid=f"default::{task}")
            await client.set_flow_run_state(flow_run, Cancelling(), force=True)

    asyncio.run(cancel())
    ecs.stop_task(task=task, reason="killed by hand")
    ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 0.1})
    return str(flow_run)


@pytest.mark.parametrize("which", [[], ["--pool", "etl"]], ids=["all", "one"])
def test_reconcile_ends_what_nobody_else_does(pools: Pools, lost: str, which: list[str]) -> None:
    """Shown first; then Cancelled, with the reason; then there is nothing to do."""
    said = pools.cli("reconcile", *which)
    assert said.code == 0, said.err
    _, row = said.out.splitlines()
    assert row.startswith(lost)
    assert "killed by hand" in row
    words = " ".join(["reconcile", *which])
    assert said.err.splitlines()[-1] == f"next: pinned-ecs {words} --yes"
    said = pools.cli("reconcile", *which, "--yes")
    assert (said.code, said.err) == (0, "1 cancelled, 0 unchanged.\n")
    run = pools.ask(lambda client: client.read_flow_run(lost))
    assert run.state.is_cancelled()
    assert pools.cli("reconcile", *which, "--yes").out == ""


def test_reconcile_judges_only_the_pool_that_is_named(pools: Pools, lost: str) -> None:
    pools.make("other", deployments={"rarely": {"image": "flows:1"}})
    said = pools.cli("reconcile", "--pool", "other", "--json")
    assert said.data["flow_runs"] == []


def test_reconcile_without_any_pool_has_no_credentials(pools: Pools) -> None:
    said = pools.cli("reconcile")
    assert said.code == 1
    assert "there is no work pool of type 'pinned-ecs'" in said.err


COMMANDS = ("plan", "pin", "show", "prune", "doctor", "reconcile", "iam")
EXPIRED = "The security token included in the request is expired"


@pytest.mark.parametrize("cause", [Cause.NO_CREDENTIALS, Cause.EXPIRED, Cause.NO_REGION])
def test_hints_fit_a_pool_as_they_fit_a_block(
    pools: Pools, cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in docs/reference/causes.md; each names the work pool as a place of the credentials."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/missing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    template = pools.template()
    credentials = template["job_configuration"]["aws_credentials"]
    if cause is Cause.NO_CREDENTIALS:
        del credentials["aws_access_key_id"], credentials["aws_secret_access_key"]
    elif cause is Cause.NO_REGION:
        del credentials["region_name"]
    else:
        pools.ecs.faults(Fault("error", code="ExpiredTokenException", message=EXPIRED))
    pools.make("etl", template=template)
    for command in COMMANDS:
        keep = ("--keep", "1") if command == "prune" else ()
        said = pools.cli(command, "--pool", "etl", *keep)
        assert said.code == (0 if command == "iam" else 1), said
        assert HINTS[cause] in " ".join((said.out + said.err).split()), (command, said)
        assert "block or work pool" in HINTS[cause]
    assert pools.calls("RegisterTaskDefinition") == 0
