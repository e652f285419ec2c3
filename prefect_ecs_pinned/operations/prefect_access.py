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

from prefect_ecs_pinned.aws.calls.retrying import COMMAND
from prefect_ecs_pinned.core.url import fault_of_url
from prefect_ecs_pinned.errors import ConfigurationError

#: What httpx connects to a proxy with; SOCKS needs the package socksio.
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")

#: RFC 9110, 5.5: a header's value.
_HEADER = re.compile(r"[!-~]([\t -~]*[!-~])?")

_SEE = "`prefect config view`"


def new_client() -> PrefectClient:
    """Prefect's own client, which gives up an address that does not connect within 10 s.

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
    timeout = httpx.Timeout(PREFECT_API_REQUEST_TIMEOUT.value(), connect=COMMAND.connect)
    return _made({"timeout": timeout})


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


def _check_proxy(url: str) -> None:
    """The proxy that the client uses for a URL, of the variables of the environment."""
    scheme = url.partition(":")[0].lower()
    proxies = getproxies()
    if not proxy_bypass(httpx.URL(url).host):
        for name in (scheme, "all"):
            if proxies.get(name):
                _refuse_proxy(name, proxies[name])
                return


def _refuse_proxy(name: str, proxy: str) -> None:
    fault = fault_of_url(proxy if "://" in proxy else f"http://{proxy}", _PROXY_SCHEMES)
    if fault:
        variable = f"{name}_PROXY".upper()
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
                _refuse_proxy(name, proxy)
        raise ConfigurationError(
            "cannot use the Prefect API",
            f"{type(error).__name__}: {error}",
            f"check PREFECT_API_URL, and HTTP_PROXY, HTTPS_PROXY and ALL_PROXY: {_SEE}",
        ) from error


def _wrong(name: str, fault: str, hint: str) -> ConfigurationError:
    return ConfigurationError("cannot use the Prefect API", f"{name}: {fault}", hint)
