"""Calls that go to the model of the embedded ECS, in virtual time: no HTTP, no threads."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Kind, classify
from prefect_ecs_pinned.local import AwsRefusal, EmbeddedECS
from tests.aws.client_errors import client_error
from tests.aws.virtual import VirtualClock


class ModelCaller:
    """`operations.calls.Caller`, as boto3 would: answers parsed, refusals as `ClientError`.

    Attributes:
        calls: Calls by action.
        throttled: Of these, the throttled ones.
        with_tags: Calls that ask for tags.
        deny_tags: These are denied.
        dated: Answers have a Date.
    """

    def __init__(self, model: EmbeddedECS, clock: VirtualClock, latency: float = 0.05) -> None:
        self._model = model
        self._clock = clock
        self._latency = latency
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self.with_tags = 0
        self.deny_tags = False
        self.dated = True

    async def call(self, service: str, operation: str, purpose: str = "", **params: Any) -> Any:
        assert service == "ecs"
        self.calls[operation] += 1
        await self._clock.wait(self._latency)
        with_tags = "TAGS" in params.get("include", ())
        self.with_tags += with_tags
        try:
            if with_tags and self.deny_tags:
                raise AwsRefusal("AccessDeniedException", "no ecs:ListTagsForResource")
            answer = self._model.call(operation, params)
        except AwsRefusal as refusal:
            error = {"Error": {"Code": refusal.code, "Message": refusal.message}}
            fault = classify(client_error(error, operation), operation)
            self.throttled[operation] += fault.kind is Kind.THROTTLED
            raise fault from refusal
        if not self.dated:
            return _parsed(answer)
        now = datetime.fromtimestamp(self._model._epoch(self._clock.now()), timezone.utc)
        headers = {"date": format_datetime(now, usegmt=True)}
        return {**_parsed(answer), "ResponseMetadata": {"HTTPHeaders": headers}}

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
