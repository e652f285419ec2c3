"""`pinned-ecs doctor`: stdout, stderr and exit code apart."""

from __future__ import annotations

import json

import pytest
from prefect.settings import PREFECT_AGENT_QUERY_INTERVAL, temporary_settings

URL = {"PREFECT_API_URL": "https://prefect.example.com/api"}


@pytest.fixture
def seldom():
    with temporary_settings({PREFECT_AGENT_QUERY_INTERVAL: 15}):
        yield


def test_what_is_well_and_what_warns(pinned_ecs, save, deploy, seldom):
    """Worst first, a hint below what is wrong, the sum as a message; a warning is no failure."""
    deploy("flow/well", save("well", env=URL), {"cpu": 512, "memory": 1024})
    said = pinned_ecs("doctor", "well")
    lines = said.out.splitlines()
    assert said.code == 0
    assert lines[0].startswith("WARN  agent: an agent polls for runs every 15 s")
    assert lines[1].startswith("      hint: set PREFECT_AGENT_QUERY_INTERVAL=5")
    assert "OK    cluster: default  [pinned-ecs-task/well, flow/well]" in lines
    assert "SKIP  image: flows:1 is not in ECR  [pinned-ecs-task/well, flow/well]" in lines
    (total,) = said.err.splitlines()
    assert total.startswith("1 WARN, ")


def test_a_failure(pinned_ecs, save):
    """Exit code 1, and nothing on stderr but the sum."""
    save("sick", env=URL, cluster="nowhere")
    said = pinned_ecs("doctor", "pinned-ecs-task/sick")
    message, hint = said.out.splitlines()[:2]
    assert said.code == 1
    assert message == (
        "FAIL  cluster: there is no cluster 'nowhere' in us-east-1  [pinned-ecs-task/sick]"
    )
    assert hint.startswith("      hint: check cluster")
    assert said.err.splitlines()[0].startswith("1 FAIL, ")
    assert len(said.err.splitlines()) == 1


def test_json(pinned_ecs, save):
    """Every finding, with its status and subjects; without a block, of all blocks."""
    save("one", env=URL)
    save("two", env=URL, cluster="nowhere")
    said = pinned_ecs("doctor", "--json")
    found = {(f["check"], f["status"]): f["subjects"] for f in json.loads(said.out)}
    assert said.code == 1
    assert found["cluster", "FAIL"] == ["pinned-ecs-task/two"]
    assert found["cluster", "OK"] == ["pinned-ecs-task/one"]
    assert found["loads", "OK"] == ["pinned-ecs-task/one", "pinned-ecs-task/two"]


def test_no_such_block(pinned_ecs, prefect):
    """One message and a hint."""
    said = pinned_ecs("doctor", "nowhere")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[0].startswith("error: cannot use block 'pinned-ecs-task/nowhere'")


@pytest.mark.parametrize("url", ["http://127.0.0.1:4200/api", "http://localhost:4200/api"])
def test_an_embedded_ecs_reaches_a_prefect_on_this_machine(pinned_ecs, save, seldom, url):
    """The quick start's block is fine: the embedded ECS runs its tasks here."""
    save("here", env={"PREFECT_API_URL": url})
    said = pinned_ecs("doctor", "here", "--json")
    found = {f["check"]: (f["status"], f["detail"]) for f in json.loads(said.out)}
    assert said.code == 0
    assert found["Prefect API URL"][0] == "OK"
    assert found["credentials"][1].endswith("of an embedded ECS")
    assert not [check for check, (status, _) in found.items() if status == "FAIL"]
