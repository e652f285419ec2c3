"""Whether a URL is one that a client can connect to.

Libraries find out late, in words of their own, and quote what may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import AddressValueError, IPv6Address

#: RFC 3986, 3.2: what is between ``//`` and the path, query or fragment.
_AUTHORITY = re.compile(r"[^/?#]*")

_LAST_PORT = 65535


def fault_of_url(url: str, schemes: Collection[str] = ("http", "https")) -> str:
    """Why nobody can connect to a URL; empty if it has the form of one. Quotes nothing of it.

    Args:
        url: The URL.
        schemes: Those that the client supports.
    """
    if not url.isprintable() or " " in url:
        return "it contains a space or a control character"
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in schemes:
        return f"it does not start with {' or '.join(f'{each}://' for each in schemes)}"
    found = _AUTHORITY.match(rest)
    host_and_port = (found[0] if found else "").rpartition("@")[2]
    if host_and_port.startswith("["):
        host, bracket, port = host_and_port[1:].partition("]")
        if not bracket or not _is_ipv6(host) or not (port == "" or port.startswith(":")):
            return "its IPv6 address is not valid"
        return _fault_of_port(port[1:])
    if _is_ipv6(host_and_port) or _is_ipv6(host_and_port.rpartition(":")[0]):
        return "its IPv6 address has no brackets"
    host, _, port = host_and_port.partition(":")
    if not host:
        return "it has no host"
    if "\\" in host or not all(0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        return "its host is not valid"
    return _fault_of_port(port)


def fault_of_proxy(proxy: str, schemes: Collection[str] = ("http", "https")) -> str:
    """As `fault_of_url`, of the URL of a proxy: without a scheme it is an ``http://`` one."""
    return fault_of_url(proxy if "://" in proxy else f"http://{proxy}", schemes)


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _fault_of_port(port: str) -> str:
    is_number = port.isascii() and port.isdigit() and len(port) <= len(str(_LAST_PORT))
    if port and not (is_number and 1 <= int(port) <= _LAST_PORT):
        return f"its port is not a number from 1 to {_LAST_PORT}"
    return ""
