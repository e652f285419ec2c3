"""Sockets and HTTP: what an embedded ECS listens on, and the server behind it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: A name or an address, IPv6 with or without brackets.
        port: 0 for a free one.

    Raises:
        OSError: It cannot listen there.
    """
    bare = host.removeprefix("[").removesuffix("]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.create_server((bare, port), family=family, backlog=1024)
    # Accepted connections inherit it. asyncio sets it only where the protocol is given by
    # number; without it an answer's body waits 40 ms for the acknowledgement of its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def reachable(host: str) -> str:
    """The address in a URL: loopback where it listens on every address."""
    host = host.removeprefix("[").removesuffix("]")
    address = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{address}]" if ":" in address else address


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again before processes are killed."""
        yield


def http_server(app: Any) -> uvicorn.Server:
    """A server of an ASGI application, which leaves signals alone."""
    config = uvicorn.Config(
        app,
        http="h11",  # a strict parser, and one that shows the request's target as it was sent
        ws="none",
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        log_level="error",
        access_log=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    return _Server(config)
