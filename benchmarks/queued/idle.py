"""What does nothing, beside what is measured: a worker of Prefect 3, or a block of Prefect 2.

It stands for the least that a face costs: what Prefect does for a flow run by itself. When its
`run` is called, it writes the moment to the file that ``BENCH_IDLE_LOG`` names, and returns.
`make_findable` lets Prefect find it as it finds installed packages, by an entry point.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Literal

import prefect

#: The file of moments.
LOG = "BENCH_IDLE_LOG"

WORKER_TYPE = "bench-idle"


def _note() -> None:
    with Path(os.environ[LOG]).open("a") as log:
        log.write(f"{time.monotonic()}\n")


def make_findable(directory: Path) -> None:
    """Put a distribution's metadata into a directory that is to be on ``PYTHONPATH``."""
    metadata = directory / "bench_idle-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-idle\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(
        "[prefect.collections]\nbench_idle = benchmarks.queued.idle\n"
    )


if prefect.__version__.startswith("2."):
    from typing import Literal

    from prefect.infrastructure.base import Infrastructure, InfrastructureResult

    class IdleBlock(Infrastructure):
        """An infrastructure block that starts nothing."""

        _block_type_slug = "bench-idle"
        _block_type_name = "Bench Idle"
        type: Literal["bench-idle"] = "bench-idle"

        async def run(self, task_status: Any = None) -> InfrastructureResult:
            _note()
            if task_status is not None:
                task_status.started("idle")
            return InfrastructureResult(identifier="idle", status_code=0)

        def preview(self) -> str:
            return ""

else:
    from prefect.workers.base import (
        BaseJobConfiguration,
        BaseVariables,
        BaseWorker,
        BaseWorkerResult,
    )

    # The base is generic in Prefect 3 only.
    class IdleWorker(
        BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]  # type: ignore[type-arg, unused-ignore]
    ):
        """A worker that starts nothing."""

        type = WORKER_TYPE
        job_configuration = BaseJobConfiguration
        job_configuration_variables = BaseVariables

        async def run(
            self, flow_run: Any, configuration: Any, task_status: Any = None
        ) -> BaseWorkerResult:
            _note()
            if task_status is not None:
                task_status.started("idle")
            return BaseWorkerResult(identifier="idle", status_code=0)
