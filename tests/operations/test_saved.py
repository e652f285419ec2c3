"""Odd answers of Prefect's API to commands: one clear error, whatever is read."""

from __future__ import annotations

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ecs_pinned.errors import ConfigurationError, PinnedECSError, Unavailable
from prefect_ecs_pinned.operations.saved import (
    no_such,
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


async def test_a_404_of_what_is_no_prefect_api_is_not_about_a_name():
    """A PREFECT_API_URL without ``/api``: nobody should look for the block."""
    with answering() as answer:
        answer(404, b'{"detail": "Not Found"}')
        with pytest.raises(PinnedECSError) as error:
            async with prefect_api() as client:
                await read_document(client, "default")
    assert error.value.text.startswith("cannot use the Prefect API: http://127.0.0.1:")
    assert "it ends with /api" in error.value.hint


def test_without_a_server_it_is_said_where_was_looked():
    """The variable is not set in this shell, and the block is on a server."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        error = no_such("cannot use block 'x'", "block", "prefect block ls")
    assert "PREFECT_API_URL is not set" in error.why
    assert "set PREFECT_API_URL" in error.hint


@pytest.mark.parametrize(
    "refusal", [ValueError("No Prefect API URL provided."), httpx.InvalidURL("Invalid port: 'x'")]
)
async def test_settings_that_name_no_api_are_an_error_with_a_hint(monkeypatch, refusal):
    """Prefect 3 raises when there is neither a URL nor a server to start."""

    def refuse(**_):
        raise refusal

    monkeypatch.setattr("prefect_ecs_pinned.operations.prefect_access.get_client", refuse)
    with pytest.raises(ConfigurationError, match=str(refusal)) as error:
        async with prefect_api():
            pass
    assert "check PREFECT_API_URL" in error.value.hint
