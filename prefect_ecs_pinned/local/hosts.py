"""The addresses by which a server may be called: the defence against DNS rebinding.

A page of evil.example can point that name to 127.0.0.1 and then read what a server there
answers: to the browser it is the page's own origin. The Host header still says evil.example.
Addresses in digits and ``localhost`` cannot be pointed elsewhere
(https://datatracker.ietf.org/doc/html/rfc6761#section-6.3), so these are allowed where they are
this server's own, and no other name unless it is listed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


class Hosts:
    """Which values of a Host header are this server's own.

    Args:
        host: The address that it listens on, as given.
        port: Its port; a Host with another port is refused.
        bound: The address in digits.
        allowed: Further names, such as a container's; ``NAME`` is allowed with any port,
            ``NAME:PORT`` with that one.

    Raises:
        ValueError: One of the further names is not a name.
    """

    def __init__(self, host: str, port: int, bound: str, allowed: Iterable[str] = ()) -> None:
        self.loopback = ipaddress.ip_address(bound).is_loopback
        self._port = str(port)
        self._own = {"localhost", "::1", _plain(host.lower()), _plain(bound)}
        if self.loopback:
            self._own.add("127.0.0.1")
        self._allowed = {_allowed(name) for name in allowed}

    def allow(self, value: str, server: Any) -> bool:
        """Whether a request with this Host header is for this server.

        Args:
            value: Of the header.
            server: ASGI's ``server``: the address, in digits, at which the request arrived.
        """
        parsed = _parse(value)
        if parsed is None:
            return False
        name, port = parsed
        if (name, port) in self._allowed or (name, None) in self._allowed:
            return True
        own = name in self._own or (server is not None and name == _plain(str(server[0])))
        return own and port in (None, self._port)


def _parse(value: str) -> tuple[str, str | None] | None:
    """Name and port of a Host header; None if it is malformed."""
    match = _HOST.fullmatch(value.lower())
    return (_plain(match[1]), match[2]) if match else None


def _plain(name: str) -> str:
    """An address in one of its spellings: without brackets, shortened, IPv4 as such."""
    bare = name.removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return name
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _allowed(name: str) -> tuple[str, str | None]:
    parsed = _parse(name)
    if parsed is None:
        raise ValueError(f"{name!r} is not NAME or NAME:PORT")
    return parsed
