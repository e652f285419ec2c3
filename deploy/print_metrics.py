"""Print the metrics of ten launches on an embedded ECS: no AWS account and no server is needed.

Usage: python print_metrics.py, with Prefect 2 or 3 and
`pip install 'prefect-ecs-pinned[local,metrics]' opentelemetry-sdk`.
"""

import asyncio

import boto3
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.aws.loop.control_loop import ThreadsafeQueue
from prefect_ecs_pinned.aws.watching.watcher import News
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.local import LocalECS, Phases, Settings
from prefect_ecs_pinned.runs.prepare import prepare
from prefect_ecs_pinned.runs.spec import RunSpec

LAUNCHES = 10


async def launch(plane: ControlPlane) -> None:
    """Pin, launch and watch one task, to its end."""
    spec = RunSpec("metrics-example", "example", image="flows:1", command=["true"])
    prepared = await prepare(spec, plane)
    pin = await plane.pin(prepared.desired, may_register=True)
    request = {**prepared.request, "taskDefinition": pin.arn}
    launched = plane.launch(request, 900.0, prepared.desired, may_register=True)
    queue: ThreadsafeQueue[News] = ThreadsafeQueue()
    plane.watch(await launched.outcome, 0.2, 600.0, queue)
    while not (isinstance(news := await queue.get(), Snapshot) and news.final):
        pass
    plane.task_ended(launched)


async def main() -> None:
    """Launch all of them at once."""
    settings = Settings(phases=Phases(0, 0, 0, 0, 0, 0), task_seconds=0.5)
    with LocalECS(settings) as ecs:
        plane = ControlPlane(
            Access(
                "example",
                "us-east-1",
                lambda: boto3.Session(ecs.access_key, "local", region_name="us-east-1"),
                lambda: {"endpoint_url": ecs.endpoint_url},
            )
        )
        await asyncio.gather(*(launch(plane) for _ in range(LAUNCHES)))
        plane.close()


if __name__ == "__main__":
    # This is all that a process needs; its exporter may be any other.
    provider = MeterProvider([PeriodicExportingMetricReader(ConsoleMetricExporter())])
    metrics.set_meter_provider(provider)
    asyncio.run(main())
    provider.shutdown()  # prints what has not been printed
