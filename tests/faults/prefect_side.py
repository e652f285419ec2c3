"""A stand-in for the part of Prefect's API that runs use: states of flow runs, over HTTP."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

#: Prefect's default for PREFECT_API_DEFAULT_LIMIT.
LIMIT = 200


class PrefectSide:
    """Flow runs and their states. Every flow run that is asked for is Pending unless it was set.

    Attributes:
        limit: PREFECT_API_DEFAULT_LIMIT.
        states: Flow run -> type of its state; None for one that was deleted.
        leaves_out: Which of some flow runs an answer leaves out.
        not_found: Whether a flow run is answered with 404, though there is one.
        fails: Whether an answer is 503.
        on_state: Is given a flow run and the type of the state that somebody sets.
        asked: How many flow runs were asked for, call by call.
        refused: Calls that were answered with 422.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.states: dict[str, str | None] = {}
        self.leaves_out: Callable[[Collection[str]], Collection[str]] = lambda ids: ()
        self.not_found: Callable[[str], bool] = lambda id_: False
        self.fails: Callable[[], bool] = lambda: False
        self.on_state: Callable[[str, str], None] = lambda id_, state: None
        self.asked: list[int] = []
        self.refused = 0
        self._lock = threading.Lock()

    def status_and_body(self, path: str, content: bytes) -> tuple[int, bytes]:
        """What a request is answered with over HTTP."""
        if self.fails():
            return 503, b"{}"
        status, answer = self.answer(path, json.loads(content) if content else None)
        return status, b"" if status == 204 else json.dumps(answer).encode()

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and body of an answer."""
        with self._lock:
            words = path.partition("?")[0].removeprefix("/api/").split("/")
            if words == ["flow_runs", "filter"]:
                return self._filter(body)
            if words[0] == "flow_runs" and words[-1] == "set_state":
                return self._set_state(words[1], body["state"])
            if words[0] == "flow_runs":
                return self._read(words[1])
            return (201, None) if words[0] == "logs" else (404, {"detail": "Not Found"})

    def _filter(self, body: Any) -> tuple[int, Any]:
        if body["limit"] > self.limit:
            self.refused += 1
            detail = f"Invalid limit: must be less than or equal to {self.limit}."
            return 422, {"detail": detail}
        ids = body["flow_runs"]["id"]["any_"]
        self.asked.append(len(ids))
        there = [id_ for id_ in ids if self.states.get(id_, "PENDING") is not None]
        left_out = set(self.leaves_out(there))
        found = [self._flow_run(id_) for id_ in there if id_ not in left_out]
        return 200, found[: body["limit"]]

    def _read(self, id_: str) -> tuple[int, Any]:
        if self.states.get(id_, "PENDING") is None or self.not_found(id_):
            return 404, {"detail": "Flow run not found"}
        return 200, self._flow_run(id_)

    def _set_state(self, id_: str, state: Any) -> tuple[int, Any]:
        self.on_state(id_, state["type"])
        self.states[id_] = state["type"]
        accepted = {"type": "accept_details"}
        return 201, {"state": _state(state["type"]), "status": "ACCEPT", "details": accepted}

    def _flow_run(self, id_: str) -> dict[str, Any]:
        kind = self.states.get(id_) or "PENDING"
        return {"id": id_, "flow_id": str(UUID(int=1)), "name": "run", "state": _state(kind)}


def _state(kind: str) -> dict[str, str]:
    return {"type": kind, "name": kind.title()}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    side: PrefectSide

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no error."""


class _Requests(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.server.side.status_and_body(self.path, sent)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(side: PrefectSide) -> Iterator[None]:
    """Answer at PREFECT_API_URL."""
    with _Server(("127.0.0.1", 0), _Requests) as server:
        server.side = side
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        settings: dict[Any, Any] = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(settings):
            yield
        server.shutdown()
