"""Prefect 2 as the host of a run: an agent, or anyone who calls the block."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

import anyio
import anyio.abc

from prefect_ecs_pinned.block.flow_runs import confirm_cancelled, on_state, report_crash
from prefect_ecs_pinned.block.interruptions import report_interruption
from prefect_ecs_pinned.block.logs import page_logger
from prefect_ecs_pinned.core.task_state import Snapshot
from prefect_ecs_pinned.runs.host import Log

#: The page of a run that has no flow run.
_NOWHERE = logging.Logger("nowhere")  # noqa: LOG001 - it has no parents that would log
_NOWHERE.disabled = True


class PrefectHost:
    """Hosts one run of a block; see `runs.host.Host`.

    Args:
        log: The block's.
        flow_run_id: UUID of the flow run; None without one.
        name: Name of the flow run.
        task_status: The agent's; None without an agent.
    """

    def __init__(
        self,
        log: logging.Logger,
        flow_run_id: str | None,
        name: str | None,
        task_status: anyio.abc.TaskStatus[str] | None,
    ) -> None:
        self.log: Log = log
        self._flow_run_id = flow_run_id
        self._name = name
        self._task_status = task_status

    @property
    def page(self) -> Log:
        """The log that the flow run's page shows."""
        return page_logger(self._flow_run_id, self._name) if self._flow_run_id else _NOWHERE

    @property
    def supervised(self) -> bool:
        """An agent acts on the identifier and on the status code."""
        return self._task_status is not None

    def started(self, identifier: str) -> None:
        """Hand the agent the identifier, which it saves as the flow run's pid."""
        if self._task_status is not None:
            self._task_status.started(identifier)

    def on_state(self, states: Collection[str], call: Callable[[], object]) -> Callable[[], object]:
        """See `flow_runs.on_state`."""
        if self._flow_run_id is None:
            return lambda: None
        return on_state(states, self._flow_run_id, call)

    def shield(self) -> AbstractContextManager[object]:
        """Prefect cancels by anyio."""
        return anyio.CancelScope(shield=True)

    async def report_crash(self, reason: str) -> None:
        """See `flow_runs.report_crash`."""
        if self._flow_run_id is not None:
            await report_crash(self._flow_run_id, reason)

    async def report_interruption(self, end: Snapshot) -> str:
        """See `interruptions.report_interruption`."""
        if self._flow_run_id is None:
            return ""
        return await report_interruption(self._flow_run_id, end)

    async def confirm_cancelled(self, reason: str) -> None:
        """See `flow_runs.confirm_cancelled`."""
        if self._flow_run_id is not None:
            await confirm_cancelled(self._flow_run_id, reason)
