"""One agent process that is measured: ``python -m benchmarks.subject TASK``.

``TASK`` is JSON: ``what`` (`pinned`, `plain` or `watch`), ``runs``, ``deployments``, ``warm``. It
prints ``ready``, waits for a line on its standard input so that several can begin together,
and prints its report as one line of JSON. `AWS_ENDPOINT_URL` and `PREFECT_API_URL` say where.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import boto3
import pendulum
import prefect_aws
import prefect_aws.ecs
from prefect.client.schemas.objects import Flow, FlowRun

from benchmarks.own_cost import Meter, resident_kb
from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws import control_plane
from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeQueue
from prefect_ecs_pinned.core.task_state import snapshot
from prefect_ecs_pinned.faces.access import access_of

#: Tasks that one RunTask call may start (API_RunTask, "count").
_TASKS_PER_CALL = 10

#: Seconds in which a process that has nothing more to do lets go of what it can.
_SETTLING_SECONDS = 1.0

#: Seconds between polls of the watched tasks, and for which they are watched.
WATCH_INTERVAL = 10.0
WATCH_SECONDS = 60.0


def credentials() -> prefect_aws.AwsCredentials:
    return prefect_aws.AwsCredentials(
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )


def block(what: str, deployment: int) -> Any:
    """A block as an agent has it for one deployment; deployments differ as launches may."""
    fields: dict[str, Any] = {
        "aws_credentials": credentials(),
        "image": "registry.example.com/flows:2026.11",
        "env": {"DEPLOYMENT": str(deployment), "EXTRA_PIP_PACKAGES": "", "TZ": "UTC"},
        "cpu": 1024,
        "memory": 2048 + 1024 * (deployment % 4),
    }
    if what == "plain":
        # Its default would deregister the revision under the feet of the runs that share it.
        made = prefect_aws.ecs.ECSTask(**fields, auto_deregister_task_definition=False)
    else:
        made = PinnedECSTask(**fields)
    made._block_document_name, made._is_anonymous = "bench", False
    return made


class Status:
    """Stands for the `TaskStatus` that an agent passes."""

    def started(self, value: str) -> None:
        pass


def flow_run_of(deployment: int) -> tuple[FlowRun, SimpleNamespace, Flow]:
    """What an agent has read of a flow run, its deployment and its flow."""
    flow = Flow(name="healthcheck")
    flow_run = FlowRun(id=uuid4(), flow_id=flow.id, name=f"brisk-{uuid4().hex[:8]}")
    return flow_run, SimpleNamespace(name=f"prod-{deployment}", updated=pendulum.now("UTC")), flow


async def one_run(what: str, deployment: int, read: tuple[FlowRun, SimpleNamespace, Flow]) -> None:
    """What an agent does for one flow run, from the loaded block on.

    Raises:
        Exception: The run has crashed.
    """
    prepared = _blocks[what, deployment].prepare_for_flow_run(*read)
    result = await prepared.run(task_status=Status())
    if result.status_code != 0:
        raise RuntimeError(f"exit code {result.status_code}")


_blocks: dict[tuple[str, int], Any] = {}


async def runs(task: dict[str, Any]) -> dict[str, Any]:
    """All runs at once."""
    what, count, deployments = task["what"], task["runs"], task.get("deployments", 1)
    _blocks.update({(what, d): block(what, d) for d in range(deployments)})
    if task.get("warm"):
        await one_run(what, 0, flow_run_of(0))
    read = [(number % deployments, flow_run_of(number % deployments)) for number in range(count)]
    meter = Meter()
    await meter.begin()
    begin_together()
    meter.restart()
    results = await asyncio.gather(
        *(one_run(what, deployment, of_run) for deployment, of_run in read), return_exceptions=True
    )
    cost = meter.end()
    await asyncio.sleep(_SETTLING_SECONDS)
    crashes = [result for result in results if result is not None]
    reasons = Counter(f"{type(crash).__name__}: {crash}"[:160] for crash in crashes)
    return {
        "runs": count,
        "crashed": len(crashes),
        "reasons": dict(reasons.most_common(5)),
        "settled_kb": resident_kb(),
        **cost.as_json(),
    }


async def watch(task: dict[str, Any]) -> dict[str, Any]:
    """Watch tasks that live already, as so many runs would."""
    answers: list[int] = []
    client = boto3.client("ecs", region_name="us-east-1")
    client.meta.events.register(
        "after-call.ecs.DescribeTasks",
        lambda http_response, **_: answers.append(len(http_response.content)),
    )
    described = await asyncio.to_thread(_start_tasks, client, task["runs"])
    plane = control_plane.shared(access_of(credentials()))
    await plane.region()
    meter = Meter()
    await meter.begin()
    begin_together()
    meter.restart()
    waiting = []
    for one in described:
        queue: ThreadsafeQueue[Any] = ThreadsafeQueue()
        plane.watch(snapshot(one), WATCH_INTERVAL, 1e6, queue)
        waiting.append(asyncio.create_task(queue.get()))
    await asyncio.sleep(WATCH_SECONDS)
    received = sum(one.done() for one in waiting)
    cost = meter.end()
    return {
        "runs": len(described),
        "received": received,
        "bytes_per_task": answers[0] / _TASKS_PER_CALL,
        **cost.as_json(),
    }


def _start_tasks(client: Any, count: int) -> list[dict[str, Any]]:
    definition = {
        "family": "watched",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "1024",
        "memory": "2048",
        "containerDefinitions": [{"name": "prefect", "image": "flows:1"}],
    }
    client.register_task_definition(**definition)
    subnet = boto3.client("ec2", region_name="us-east-1").describe_subnets()["Subnets"][0]
    request: dict[str, Any] = {
        "taskDefinition": "watched",
        "launchType": "FARGATE",
        "count": _TASKS_PER_CALL,
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]]}},
        "overrides": {"containerOverrides": [{"name": "prefect", "environment": _variables()}]},
        "tags": [{"key": f"prefect.io/{n}", "value": str(uuid4())} for n in range(4)],
    }
    tasks: list[dict[str, Any]] = []
    for _ in range(count // _TASKS_PER_CALL):
        tasks += client.run_task(**request, startedBy=str(uuid4()))["tasks"]
    client.describe_tasks(tasks=[task["taskArn"] for task in tasks[:_TASKS_PER_CALL]])
    return tasks


def _variables() -> list[dict[str, str]]:
    """As many variables as a launch sends from an agent with a dozen settings."""
    return [{"name": f"PREFECT_SETTING_{n}", "value": str(uuid4())} for n in range(12)]


def begin_together() -> None:
    """Say that this process is ready, and block until it is to begin."""
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    task = json.loads(sys.argv[1])
    report = asyncio.run(watch(task) if task["what"] == "watch" else runs(task))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
