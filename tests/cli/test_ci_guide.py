"""docs/guides/ci.md, played from top to bottom: two roles, two policies, 50 real flow runs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from prefect import get_client
from prefect.settings import PREFECT_API_URL

from prefect_ecs_pinned.local import LocalECS, Settings
from tests.docs.snippets import Snippet, snippets
from tests.operations.authorising import AuthorisingFront

pytestmark = [pytest.mark.walkthrough, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "ci.md"
RUNS = 50

#: Steps of the workflow that need Docker or a package index.
NOT_PLAYED = {"Install", "Build the image"}


class Shop:
    """A repository, a CI runner and an agent, each with an access key."""

    def __init__(self, home: Path, front: AuthorisingFront) -> None:
        self.home = home
        self.front = front
        demo = ROOT / "prefect_ecs_pinned" / "operations" / "demo"
        shutil.copy(demo / "healthcheck.py", home)
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "PREFECT_HOME": str(home / ".prefect"),
            "AWS_ENDPOINT_URL": front.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_SECRET_ACCESS_KEY": "local",
            "NO_COLOR": "1",
        }

    def play(self, key: str, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the page with a role's access key."""
        return subprocess.run(
            command,
            cwd=self.home,
            env={**self.environment, "AWS_ACCESS_KEY_ID": key, **more},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def workflow(
        self, workflow: Mapping[str, Any], commit: str, until: str = "Check"
    ) -> dict[str, str]:
        """Play the workflow for a commit, up to a step; name -> stdout of the steps that ran."""
        variables = {
            name: str(value).replace("${{ github.sha }}", commit)
            for name, value in workflow["env"].items()
            if not name.startswith("PREFECT_")
        }
        outputs = self.home / "github-output"
        outputs.write_text("")
        variables.update(FLOWS=str(self.home), GITHUB_OUTPUT=str(outputs))
        said: dict[str, str] = {}
        for step in self._steps(workflow, until):
            name = step["name"]
            if "if" in step and not _holds(step["if"], outputs.read_text()):
                continue
            # As the runner does: bash, ended by the first failure.
            done = self.play("ci", ["bash", "-eo", "pipefail", "-c", step["run"]], **variables)
            assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
            said[name] = done.stdout
        return said

    def _steps(self, workflow: Mapping[str, Any], until: str) -> list[Mapping[str, Any]]:
        steps = workflow["jobs"]["deploy"]["steps"]
        last = next(number for number, step in enumerate(steps) if step.get("name") == until)
        return [s for s in steps[: last + 1] if "run" in s and s["name"] not in NOT_PLAYED]


def _holds(condition: str, outputs: str) -> bool:
    """``steps.plan.outputs.NAME == 'VALUE'``."""
    match = re.fullmatch(r"steps\.plan\.outputs\.(\w+) == '(\w+)'", condition)
    assert match, f"the test cannot read {condition!r}"
    return f"{match[1]}={match[2]}" in outputs.splitlines()


@pytest.fixture
def shop(prefect: None, tmp_path: Path) -> Iterator[Shop]:
    with LocalECS(Settings(execute=True)) as ecs, AuthorisingFront(ecs) as front:
        shop = Shop(tmp_path, front)
        shop.ecs = ecs  # type: ignore[attr-defined]
        yield shop


@pytest.fixture
def agent(shop: Shop) -> Iterator[Any]:
    """Starts the page's agent, quick to look for runs; and ends it."""
    processes = []
    log = (shop.home / "agent.log").open("wb")

    def start(command: list[str]) -> None:
        settings = {
            "AWS_ACCESS_KEY_ID": "agent",
            "PREFECT_AGENT_QUERY_INTERVAL": "1",
            "PREFECT_EXPERIMENTAL_ENABLE_ENHANCED_CANCELLATION": "false",
        }
        environment = {**shop.environment, **settings}
        processes.append(
            subprocess.Popen(
                command,
                cwd=shop.home,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    log.close()


def test_the_walk_through(shop: Shop, agent: Any) -> None:
    """50 runs complete by a role that may not register, with 0 registrations and 0 denials."""
    page = list(snippets(PAGE))
    save_block = _one(page, "python", "PinnedECSTask(")
    assert shop.play("admin", [sys.executable, "-c", save_block.text]).returncode == 0
    made = shop.play("admin", ["bash", "-e", "-c", _one(page, "bash", "pinned-ecs iam").text])
    assert made.returncode == 0, made.stderr
    for key in ("ci", "agent"):
        shop.front.policies[key] = json.loads((shop.home / f"{key}-policy.json").read_text())

    workflow = yaml.safe_load(_one(page, "yaml", "pinned-ecs plan").text)
    said = shop.workflow(workflow, "c0ffee")
    assert list(said) == ["Plan", "Pin", "Deploy", "Check"]
    assert "+ containerDefinitions.prefect.image: 123456789012.dkr.ecr" in said["Plan"]
    pinned = said["Pin"].strip()
    assert pinned.endswith(":task-definition/healthcheck:1")
    assert shop.ecs.count("RegisterTaskDefinition") == 1  # type: ignore[attr-defined]

    shop.ecs.reset()  # type: ignore[attr-defined]
    agent(_one(page, "bash", "prefect agent start").text.split())
    ids = asyncio.run(_create_runs())
    states = _until_all_have_ended(ids)
    log = (shop.home / "agent.log").read_text()
    assert states == {"COMPLETED": RUNS}, log[-3000:]
    assert len({launch["flow_run_id"] for launch in shop.ecs.launches}) == RUNS  # type: ignore[attr-defined]
    assert {launch["revision"] for launch in shop.ecs.launches} == {pinned}  # type: ignore[attr-defined]
    assert shop.ecs.count("RunTask") == RUNS  # type: ignore[attr-defined]
    assert "RegisterTaskDefinition" not in shop.ecs.calls  # type: ignore[attr-defined]
    assert shop.ecs.calls["DescribeTaskDefinition"]["calls"] == 1  # type: ignore[attr-defined]
    assert not any(shop.front.denied.values())
    _may_not_register(shop)

    again = shop.workflow(workflow, "c0ffee", until="Pin")
    assert list(again) == ["Plan"], "the same commit needs no registration: Pin is skipped"
    assert f"found: {pinned}" in again["Plan"]
    pruned = shop.play("admin", ["bash", "-c", _one(page, "bash", "pinned-ecs prune").text])
    assert pruned.returncode == 0
    assert "0 to deregister, 1 to keep" in pruned.stderr


def _one(page: list[Snippet], language: str, text: str) -> Snippet:
    (found,) = [s for s in page if s.language == language and text in s.text]
    return found


async def _create_runs() -> list[Any]:
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("healthcheck/prod")
        runs = [await client.create_flow_run_from_deployment(deployment.id) for _ in range(RUNS)]
    return [run.id for run in runs]


async def _states(ids: list[Any]) -> Counter[str]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async with get_client() as client:
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids))
        runs = await client.read_flow_runs(flow_run_filter=wanted, limit=RUNS)
    return Counter(run.state.type.value for run in runs)


def _until_all_have_ended(ids: list[Any]) -> Counter[str]:
    deadline = time.monotonic() + 300
    while True:
        states = asyncio.run(_states(ids))
        ended = sum(states[name] for name in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"))
        if ended == RUNS or time.monotonic() > deadline:
            return states
        time.sleep(1)


def _may_not_register(shop: Shop) -> None:
    import boto3

    client = boto3.client(
        "ecs",
        endpoint_url=shop.front.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="agent",
        aws_secret_access_key="local",
    )
    with pytest.raises(ClientError, match="not authorized to perform: ecs:RegisterTaskDefinition"):
        client.register_task_definition(family="healthcheck", containerDefinitions=[])
