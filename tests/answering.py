"""A stand-in for Prefect's API, over HTTP, that answers everything in one way."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    status = 200
    body = b"[]"

    def answer(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body


class _Requests(http.server.BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.status, self.server.body
        if "/csrf-token" in self.path:  # Prefect's client asks for it first
            status, body = 404, b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        # Prefect's client waits before it finds that it has no attempts left.
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[Callable[[int, bytes], None]]:
    """Set PREFECT_API_URL to a stand-in, and give what sets its answer: (status, body)."""
    with _Server(("127.0.0.1", 0), _Requests) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/api"
        settings: dict[Any, Any] = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(settings):
            yield server.answer
        server.shutdown()
