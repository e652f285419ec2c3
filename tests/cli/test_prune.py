"""`prune` from the command line, against claims of a real Prefect API."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.block.spec import run_spec
from prefect_ecs_pinned.core.definition import build
from prefect_ecs_pinned.core.fingerprint import labelled
from prefect_ecs_pinned.core.plan import Desired
from prefect_ecs_pinned.runs.revision import definition_spec
from tests.operations.fixtures import FAMILY_ARN

UNSEEN = (
    "Not checked: EventBridge rules; EventBridge Scheduler; Step Functions; ECS services of "
    "other accounts and Regions, and the revision to which a service would roll back; other "
    "Prefect "
    "servers; deployments of other accounts; scripts and pipelines.\n"
    "To keep a revision that one of them uses: --keep-referenced, or the tag pinned-ecs:keep.\n"
)
SUBNETS = {"subnets": ["subnet-1"]}
SCRIPT = str(Path(sys.executable).with_name("pinned-ecs"))


@pytest.fixture
def family(save, ecs):
    """``family(n)``: n revisions of the block `etl`, images 1 to n; the block has the last."""

    def family(count: int) -> str:
        client = ecs.client("ecs")
        for number in range(1, count + 1):
            block = PinnedECSTask(image=f"flows:{number}", family="etl", **SUBNETS)
            wanted = Desired(build(definition_spec(run_spec(block), "us-east-1")))
            client.register_task_definition(**labelled(wanted.definition, wanted.fingerprint))
        return str(save("etl", image=f"flows:{count}", family="etl", **SUBNETS))

    return family


def numbers(ecs, status: str = "ACTIVE") -> list[int]:
    return [d["revision"] for d in ecs.model.definitions().all() if d["status"] == status]


def arn(number: int) -> str:
    return f"{FAMILY_ARN}etl:{number}"


def test_a_dry_run_changes_nothing_and_says_so(pinned_ecs, family, ecs):
    """A line for each revision on stdout, with its fate and why."""
    block = family(4)
    said = pinned_ecs("prune", block, "--keep", "2", "--min-age", "0s")
    assert said.code == 0
    assert [line.split(maxsplit=2) for line in said.out.splitlines()] == [
        ["revision", "fate", "why"],
        [arn(4), "keep", "one of the 2 newest"],
        [arn(3), "keep", "one of the 2 newest"],
        [arn(2), "deregister"],
        [arn(1), "deregister"],
    ]
    assert said.err == (
        f"etl in us-east-1: 2 to deregister, 2 to keep.\n{UNSEEN}"
        "Dry run: nothing was changed. Apply the changes with --yes.\n"
        f"next: pinned-ecs prune {block} --keep 2 --min-age 0s --yes\n"
    )
    assert numbers(ecs) == [1, 2, 3, 4]


def test_what_saved_blocks_and_deployments_run_from_stays(pinned_ecs, family, save, deploy, ecs):
    """By fingerprint, by link, of any block on the server; plain ECSTask blocks' links too."""
    block = family(9)
    deploy("flow/override", "etl", {"image": "flows:2"})
    save("other", image="flows:3", family="etl", **SUBNETS)
    save("linked", image=None, task_definition_arn=arn(4), registration="never", **SUBNETS)
    deploy("flow/linked", "linked", {"task_definition_arn": "etl:5"})
    from prefect_aws.ecs import ECSTask

    plain = ECSTask(task_definition_arn=arn(6))
    plain.save("plain", overwrite=True)
    said = pinned_ecs("prune", block, "--keep", "1", "--min-age", "0s", "--yes", "--json")
    assert said.code == 0
    assert numbers(ecs) == [2, 3, 4, 5, 6, 9]
    (result,) = json.loads(said.out)
    assert result["pruned"]["deregistered"] == [arn(1), arn(7), arn(8)]
    why = {verdict["arn"]: verdict["kept"] for verdict in result["survey"]["verdicts"]}
    assert why == {
        arn(9): "the newest",
        arn(8): "",
        arn(7): "",
        arn(6): "used by ecs-task/plain",
        arn(5): "used by flow/linked",
        arn(4): "used by pinned-ecs-task/linked",
        arn(3): "used by pinned-ecs-task/other",
        arn(2): "used by flow/override",
        arn(1): "",
    }
    assert said.err == f"etl in us-east-1: 3 deregistered, 6 kept.\n{UNSEEN}"
    assert result["unseen"][0] == "EventBridge rules"
    assert all(what in UNSEEN for what in result["unseen"])


def test_a_terminal_is_shown_a_progress_bar(pinned_ecs, family, monkeypatch):
    """On stderr, for looking and for deregistering; none where there is no terminal."""
    block = family(3)
    arguments = ("prune", block, "--keep", "1", "--min-age", "0s")
    assert "looking at revisions" not in pinned_ecs(*arguments).err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    said = pinned_ecs(*arguments, "--yes")
    assert "looking at revisions" in said.err
    assert "deregistering" in said.err
    assert "2/2" in said.err
    assert "deregistering" not in said.out


def test_the_default_is_to_keep_a_month(pinned_ecs, family, ecs):
    """All of them have been registered just now."""
    said = pinned_ecs("prune", family(4), "--keep", "1", "--yes")
    assert said.code == 0
    assert re.search(r"registered \d+s ago", said.out)
    assert numbers(ecs) == [1, 2, 3, 4]


def test_delete_goes_on_where_deregistering_has_ended(pinned_ecs, family, ecs):
    """First without, then with --delete: what was deregistered before is deleted."""
    block = family(4)
    arguments = ("prune", block, "--keep", "2", "--min-age", "0s", "--yes")
    assert pinned_ecs(*arguments).code == 0
    assert numbers(ecs, "INACTIVE") == [1, 2]
    said = pinned_ecs(*arguments, "--delete")
    assert said.code == 0
    assert said.err == f"etl in us-east-1: 0 deregistered, 2 deleted, 2 kept.\n{UNSEEN}"
    assert numbers(ecs, "DELETE_IN_PROGRESS") == [1, 2]


def test_a_block_of_the_family_that_does_not_load_stops_it(pinned_ecs, family, deploy, ecs):
    """It is unknown what it claims; one of another family is no matter."""
    block = family(4)
    arguments = ("prune", block, "--keep", "1", "--min-age", "0s", "--yes")
    deploy("flow/bad", "etl", {"registration": "sometimes"})
    said = pinned_ecs(*arguments)
    assert (said.code, said.out) == (1, "")
    assert "with the overrides of deployment 'flow/bad'" in said.err
    assert numbers(ecs) == [1, 2, 3, 4]


def test_what_is_named_or_tagged_is_kept(pinned_ecs, family, ecs):
    """Shown before, with the command that does it; then done."""
    block = family(5)
    tags = [{"key": "pinned-ecs:keep", "value": "EventBridge rule nightly"}]
    ecs.client("ecs").tag_resource(resourceArn=arn(2), tags=tags)
    arguments = ("prune", block, "--keep", "1", "--min-age", "0s")
    named = ("--keep-referenced", arn(1), "--keep-referenced", "etl:3")
    dry = pinned_ecs(*arguments, *named)
    assert [line.split(maxsplit=2)[1:] for line in dry.out.splitlines()[1:]] == [
        ["keep", "the newest"],
        ["deregister"],
        ["keep", "named by --keep-referenced etl:3"],
        ["keep", "it has the tag pinned-ecs:keep"],
        ["keep", f"named by --keep-referenced {arn(1)}"],
    ]
    suggested = f"next: pinned-ecs prune {block} --keep 1 --min-age 0s {' '.join(named)} --yes"
    assert dry.err.splitlines()[-1] == suggested
    assert pinned_ecs(*suggested.split()[2:]).code == 0
    assert numbers(ecs) == [1, 2, 3, 5]


@pytest.mark.parametrize("reference", ["etl:0", "etl:9", "other:1", "etl:*", "", arn(9)])
def test_a_reference_that_keeps_nothing_is_refused(pinned_ecs, family, reference, ecs):
    """It may be a slip of the pen; before anything is changed, whatever else is named."""
    arguments = ("prune", family(3), "--keep", "1", "--min-age", "0s", "--yes")
    said = pinned_ecs(*arguments, "--keep-referenced", "etl:1", "--keep-referenced", reference)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"error: cannot keep {reference!r}: ")
    assert "\nhint: " in said.err
    assert numbers(ecs) == [1, 2, 3]


def test_another_familys_broken_block_does_not(pinned_ecs, family, save, deploy, ecs):
    """It can not run from this one."""
    block = family(3)
    save("other", **SUBNETS)
    deploy("flow/bad", "other", {"registration": "sometimes"})
    assert pinned_ecs("prune", block, "--keep", "1", "--min-age", "0s", "--yes").code == 0
    assert numbers(ecs) == [3]


def test_a_family_that_is_only_linked_is_left_alone(pinned_ecs, family, save, ecs):
    """It belongs to somebody else."""
    family(3)
    save("linked", image=None, task_definition_arn=arn(2), registration="never", **SUBNETS)
    said = pinned_ecs("prune", "linked", "--keep", "1", "--min-age", "0s", "--yes")
    assert (said.code, said.out) == (1, "")
    assert "hint: prune it where it is registered" in said.err
    assert numbers(ecs) == [1, 2, 3]


@pytest.mark.parametrize("arguments", [("--keep", "0"), ("--keep", "1", "--min-age", "soon"), ()])
def test_wrong_options_are_refused(pinned_ecs, family, arguments, ecs):
    """--keep has no default; the newest revision always stays."""
    said = pinned_ecs("prune", family(2), *arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("error: ")
    assert "\nhint: " in said.err


def test_ctrl_c_ends_it_and_it_can_be_repeated(pinned_ecs, family, ecs, tmp_path):
    """SIGINT in the middle: exit code 130, nothing half done; the second time it comes to its end.

    22 revisions, of which 18 go at once, and the others at 0.9 a second.
    """
    arguments = ("prune", family(23), "--keep", "1", "--min-age", "0s", "--yes")
    environment = {
        **os.environ,
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(tmp_path),
        "NO_COLOR": "1",
    }
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + 120
        while len(numbers(ecs, "INACTIVE")) < 18 and time.monotonic() < until:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("interrupted: ")
    assert len(numbers(ecs)) > 1
    again = pinned_ecs(*arguments)
    assert again.code == 0
    assert numbers(ecs) == [23]
    assert arn(23) in again.out
