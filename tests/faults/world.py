"""What a bad day is made of: Prefect's API out of reach, microburst in front of ECS."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)

FAMILY = "prefect-matrix"


#: Nobody answers at this address.
AWAY = "http://127.0.0.1:9/api"


@contextmanager
def prefect_api(url: str) -> Iterator[None]:
    """Prefect's API at an address, asked once each time; no log lines go there."""
    settings: dict[Any, Any] = {
        PREFECT_API_URL: url,
        PREFECT_CLIENT_MAX_RETRIES: 0,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    with temporary_settings(settings):
        yield


def no_prefect_api() -> AbstractContextManager[None]:
    """Nobody answers at Prefect's address: runs that wait are still wanted."""
    return prefect_api(AWAY)


@contextmanager
def microburst(upstream: str, rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The fault-injection proxy in front of an endpoint; yields its own.

    https://pypi.org/project/microburst/
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "microburst", "-u", upstream, "-p", str(port)]
    quiet = subprocess.DEVNULL
    proxy = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        _until_healthy(url, proxy)
        body = json.dumps(list(rules)).encode()
        kind = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/_microburst/rules", body, kind, method="POST")
        with urllib.request.urlopen(request, timeout=10):
            pass
        yield url
    finally:
        proxy.kill()
        proxy.wait()


def _until_healthy(url: str, proxy: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"{url}/_microburst/health", timeout=1):
                return
        except OSError:
            if proxy.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)


def fired(proxy_url: str) -> Counter[str]:
    """What microburst did, by action."""
    with urllib.request.urlopen(f"{proxy_url}/_microburst/fired", timeout=10) as answer:
        return Counter(event["action"].split(":")[0] for event in json.load(answer))


def credentials(endpoint_url: str, key: str = "local") -> dict[str, Any]:
    """Fields of Prefect's `AwsCredentials`."""
    return {
        "aws_access_key_id": key,
        "aws_secret_access_key": "local",
        "region_name": "us-east-1",
        "aws_client_parameters": {
            "endpoint_url": endpoint_url,
            "config": {"read_timeout": 2, "connect_timeout": 2},
        },
    }


class Status:
    """A `TaskStatus` of an agent that only listens.

    Attributes:
        identifier: What it was given; None before that.
    """

    identifier: str | None = None

    def started(self, value: str = "") -> None:
        self.identifier = value
