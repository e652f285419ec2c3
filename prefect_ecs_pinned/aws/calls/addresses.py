"""Endpoint and proxy of a client, refused before a call is made if they can never be connected to.

botocore checks less of them. What it then raises in a call looks like a lost answer, which is worth
repeating.
"""

from __future__ import annotations

from typing import Any

from botocore.utils import get_environ_proxies

from prefect_ecs_pinned.core.url import fault_of_proxy, fault_of_url


def check_addresses(client: Any) -> None:
    """Refuse an endpoint or a proxy that is no URL.

    Raises:
        ValueError: One of them does not have that form; `hints` has what to do.
    """
    endpoint = str(client.meta.endpoint_url).strip()  # as urllib3 does
    if fault := fault_of_url(endpoint):
        raise ValueError(f"Invalid endpoint: {fault}")
    proxies = client.meta.config.proxies or get_environ_proxies(endpoint)
    proxy = proxies.get(endpoint.partition(":")[0])
    if proxy and (fault := fault_of_proxy(proxy)):
        raise ValueError(f"Invalid proxy: {fault}")
