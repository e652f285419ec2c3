"""An embedded ECS whose clock is wrong: its stamps, and the Date of its answers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

from prefect_ecs_pinned.local import LocalECS
from tests.operations.authorising import AuthorisingFront


class ShiftedECS(AuthorisingFront):
    """Stands before an embedded ECS; a context manager.

    Args:
        ecs: What is stamped from now on is off as well.
        off: What its clock shows, less the time; None leaves the Date out of answers.
    """

    def __init__(self, ecs: LocalECS, off: timedelta | None) -> None:
        super().__init__(ecs)
        self._off = off
        self._server.config.date_header = False
        ecs.model._epoch_offset += (off or timedelta()).total_seconds()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        async def stamped(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._off is not None:
                date = format_datetime(datetime.now(timezone.utc) + self._off, usegmt=True)
                message = {**message, "headers": [(b"date", date.encode())]}
            await send(message)

        await super()._answer(scope, receive, stamped)
