"""Calls that go to the model of the embedded ECS, in virtual time: no HTTP, no threads."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from prefect_ecs_pinned.aws.faults import Kind, understand
from prefect_ecs_pinned.local import AwsRefusal, EmbeddedECS
from tests.aws.virtual import VirtualClock


class ModelCaller:
    """`operations.calls.Caller`, as boto3 would: answers parsed, refusals as `ClientError`.

    Attributes:
        calls: Calls by action.
        throttled: Of these, the throttled ones.
    """

    def __init__(self, model: EmbeddedECS, clock: VirtualClock, latency: float = 0.05) -> None:
        self._model = model
        self._clock = clock
        self._latency = latency
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        assert service == "ecs"
        self.calls[operation] += 1
        await self._clock.wait(self._latency)
        try:
            answer = self._model.call(operation, params)
        except AwsRefusal as refusal:
            error = {"Error": {"Code": refusal.code, "Message": refusal.message}}
            fault = understand(ClientError(error, operation), operation)
            self.throttled[operation] += fault.kind is Kind.THROTTLED
            raise fault from refusal
        return _parsed(answer)

    async def region(self) -> str:
        return "us-east-1"


def _parsed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: datetime.fromtimestamp(item, timezone.utc)
            if name.endswith("At") and isinstance(item, float)
            else _parsed(item)
            for name, item in value.items()
        }
    return [_parsed(item) for item in value] if isinstance(value, list) else value
