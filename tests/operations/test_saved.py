"""Odd answers of Prefect's API to commands: one clear error, whatever is read."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.errors import PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.saved import (
    prefect_api,
    read_deployments,
    read_document,
    read_documents,
    read_links,
)
from tests.answering import answering

READS = [
    read_deployments,
    read_links,
    read_documents,
    lambda client: read_document(client, "default"),
]


@pytest.mark.parametrize("read", READS, ids=["deployments", "links", "documents", "document"])
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, b"<html>s3cret</html>", Unavailable, "cannot read"),
        (200, b"", Unavailable, "cannot read"),
        (200, b"null", Unavailable, "cannot read"),
        (200, b"{}", Unavailable, "cannot read"),
        (200, b'[{"name": "s3cret"}]', Unavailable, "cannot read"),
        (408, b"", Unavailable, "HTTP 408"),
        (429, b"", Unavailable, "HTTP 429"),
        (500, b"s3cret", Unavailable, "HTTP 500"),
        (503, b"", Unavailable, "HTTP 503"),
        (401, b"", PinnedECSError, "HTTP 401"),
        (422, b"{}", PinnedECSError, "HTTP 422"),
    ],
)
async def test_an_odd_answer_is_one_error_with_a_hint(read, status, body, kind, says):
    """And says nothing of what was in it."""
    with answering() as answer:
        answer(status, body)
        with pytest.raises(PinnedECSError) as error:
            async with prefect_api() as client:
                await read(client)
    assert type(error.value) is kind
    assert says in str(error.value)
    assert "hint: check PREFECT_API_URL" in str(error.value)
    assert "s3cret" not in str(error.value)
