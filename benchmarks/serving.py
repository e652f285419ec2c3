"""The world of a measurement: an embedded ECS, and the Prefect API as far as a launch asks it.

Run as ``python -m benchmarks.serving SETTINGS`` with `local.Settings` as JSON. It prints one
line of JSON with both addresses and the access key, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from types import TracebackType
from typing import Any
from uuid import uuid4

import orjson
import uvicorn

from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.settings import Phases


class World:
    """A server process, seen from outside; a context manager.

    Attributes:
        endpoint: Address of the embedded ECS.
        access_key: Its access key.
        prefect: Address of the Prefect API.
        pid: Of the process.
    """

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, "-m", "benchmarks.serving", json.dumps(settings)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.pid = self._process.pid
        addresses = json.loads(self._process.stdout.readline())
        self.endpoint: str = addresses["endpoint"]
        self.access_key: str = addresses["access_key"]
        self.prefect: str = addresses["prefect"]

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def environment(self) -> dict[str, str]:
        """With which a process reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def read(self, path: str) -> Any:
        """What the ECS says of itself: ``calls``, ``launches`` …"""
        with urllib.request.urlopen(self._request(path)) as answer:
            return json.load(answer)

    def write(self, method: str, path: str, body: Any = None) -> None:
        """Change a setting, or zero the counters."""
        data = json.dumps(body).encode()
        with urllib.request.urlopen(self._request(path, data, method)):
            pass

    def _request(
        self, path: str, data: bytes | None = None, method: str = "GET"
    ) -> urllib.request.Request:
        key = {"Authorization": f"Bearer {self.access_key}"}
        return urllib.request.Request(f"{self.endpoint}/_local/{path}", data, key, method=method)


async def prefect_api(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application: flow runs are all Running, logs are taken, the rest is unknown."""
    if scope["type"] != "http":  # Prefect 3 sends events over a websocket
        await send({"type": "websocket.close"})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status, answer = 404, b"{}"
    if scope["path"].endswith(("/flow_runs/filter", "/flow_runs/count")):
        ids = (orjson.loads(body)["flow_runs"].get("id") or {}).get("any_") or []
        is_count = scope["path"].endswith("/count")
        status, answer = 200, orjson.dumps(len(ids) if is_count else [_running(id_) for id_ in ids])
    elif scope["path"].endswith("/logs/"):
        status = 201
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def _running(flow_run_id: str) -> dict[str, Any]:
    state = {"type": "RUNNING", "name": "Running", "id": str(uuid4())}
    return {"id": flow_run_id, "flow_id": str(uuid4()), "name": "measured", "state": state}


async def _serve(settings: dict[str, Any]) -> None:
    phases = Phases(**settings.pop("phases", {}))
    ecs = LocalECS(Settings(phases=phases, **settings))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # see `LocalECS`
    config = uvicorn.Config(prefect_api, lifespan="off", log_level="error", access_log=False)
    port = listener.getsockname()[1]
    addresses = {
        "endpoint": ecs.endpoint_url,
        "access_key": ecs.access_key,
        "prefect": f"http://127.0.0.1:{port}/api",
    }
    print(json.dumps(addresses), flush=True)
    await asyncio.gather(ecs.serve(), uvicorn.Server(config).serve(sockets=[listener]))


def _end_with_parent() -> None:
    """Not to be left behind when the benchmark is interrupted."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    import threading

    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_serve(json.loads(sys.argv[1])))
