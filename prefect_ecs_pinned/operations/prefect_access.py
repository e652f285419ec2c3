"""Prefect's client, made of settings that are checked first.

Settings that cannot work fail late otherwise: in exceptions of many kinds, also in groups, and some
of them quote the API key.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
)

from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.core.shown import plain
from prefect_ecs_pinned.core.url import fault_of_proxy, fault_of_url
from prefect_ecs_pinned.errors import ConfigurationError

#: What httpx connects to a proxy with; SOCKS needs the package socksio.
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")

#: RFC 9110, 5.5: a header's value.
_HEADER = re.compile(r"[!-~]([\t -~]*[!-~])?")

_SEE = "`prefect config view`"


def new_client() -> PrefectClient:
    """Prefect's own client, which gives up an address that does not connect in about 12 s.

    Raises:
        ConfigurationError: A setting cannot work.
    """
    url = PREFECT_API_URL.value()
    if not url:
        return _made({})
    check_url(url)
    _check_key()
    _check_proxy(url)
    # httpcore connects four times: Prefect sets its ``retries`` to 3.
    timeout = httpx.Timeout(PREFECT_API_REQUEST_TIMEOUT.value(), connect=retrying.COMMAND.connect)
    client = _made({"timeout": timeout})
    http = client._client
    for transport in (http._transport, *http._mounts.values()):
        if transport is not None:
            _connect_once(transport)
    return client


def _connect_once(transport: httpx.AsyncBaseTransport) -> None:
    """Have a connection that takes too long fail as one that is refused.

    Prefect's client repeats the first for two minutes (`PrefectHttpxAsyncClient.send`).
    """
    send = transport.handle_async_request

    async def sent(request: httpx.Request) -> httpx.Response:
        try:
            return await send(request)
        except httpx.ConnectTimeout as error:
            raise httpx.ConnectError("no connection in time") from error

    transport.handle_async_request = sent  # type: ignore[method-assign]


def check_url(url: str) -> None:
    """Refuse a PREFECT_API_URL that cannot be connected to.

    Raises:
        ConfigurationError: So it is.
    """
    fault = fault_of_url(url)
    if not fault:
        try:
            host = httpx.URL(url).host
        except (httpx.InvalidURL, UnicodeError):
            host = ""
        fault = "" if host else "its host is not valid"
    if fault:
        raise _wrong(
            "PREFECT_API_URL",
            fault,
            f"set PREFECT_API_URL, for example to http://127.0.0.1:4200/api: {_SEE}",
        )


def _check_key() -> None:
    key: Any = PREFECT_API_KEY.value()
    key = key.get_secret_value() if hasattr(key, "get_secret_value") else key
    if key and not _HEADER.fullmatch(key):
        raise _wrong(
            "PREFECT_API_KEY",
            "it contains a line break, a space at an end, or a character outside ASCII",
            "set PREFECT_API_KEY to the key alone",
        )


def proxy_of(url: str) -> tuple[str, str] | None:
    """Name and value of the proxy that the client uses for a URL; None for none."""
    proxies = getproxies()
    if not proxy_bypass(httpx.URL(url).host):
        for name in (url.partition(":")[0].lower(), "all"):
            if proxies.get(name):
                return f"{name}_PROXY".upper(), proxies[name]
    return None


def _check_proxy(url: str) -> None:
    if proxy := proxy_of(url):
        _refuse_proxy(*proxy)


def _refuse_proxy(variable: str, proxy: str) -> None:
    if fault := fault_of_proxy(proxy, _PROXY_SCHEMES):
        raise _wrong(variable, fault, f"correct {variable}, or add the host to NO_PROXY")


def _made(settings: dict[str, Any]) -> PrefectClient:
    try:
        return get_client(httpx_settings=settings) if settings else get_client()
    except OSError as error:  # of ssl too
        file = PREFECT_API_SSL_CERT_FILE.value()
        raise ConfigurationError(
            "cannot use the Prefect API",
            f"cannot read the certificates in {file}: {error.strerror or type(error).__name__}",
            "set PREFECT_API_SSL_CERT_FILE, or SSL_CERT_FILE, to a PEM file",
        ) from error
    except (ValueError, httpx.InvalidURL, ImportError) as error:
        for name in ("http", "https", "all"):  # httpx reads them all, and needs one
            if proxy := getproxies().get(name):
                _refuse_proxy(f"{name}_PROXY".upper(), proxy)
        raise ConfigurationError(
            "cannot use the Prefect API",
            f"{type(error).__name__}: {plain(str(error))}",
            f"check PREFECT_API_URL, and HTTP_PROXY, HTTPS_PROXY and ALL_PROXY: {_SEE}",
        ) from error


def _wrong(name: str, fault: str, hint: str) -> ConfigurationError:
    return ConfigurationError("cannot use the Prefect API", f"{name}: {fault}", hint)
