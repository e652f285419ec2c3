"""Whether a URL is one that a client can connect to: a table of the parts that URLs are made of."""

from __future__ import annotations

from itertools import product

import httpx
import pytest

from prefect_ecs_pinned.core.url import fault_of_url

SCHEMES = {"http://": True, "HTTPS://": True, "ftp://": False, "http:/": False, "": False}
USERS = {"": True, "user:hunter2@": True, "user:hunt@er2@": True}
HOSTS = {
    "127.0.0.1": True,
    "localhost": True,
    "prefect_1.example": True,
    "[::1]": True,
    "[fe80::1%25eth0]": True,
    "": False,
    "::1": False,
    "fd00:10::2": False,
    "[::1": False,
    "[]": False,
    "[::g]": False,
    "[::1]x": False,
    "a..b": False,
    ".": False,
    "x" * 64: False,
    "foo bar": False,
    "foo\tbar": False,
}
PORTS = {
    "": True,
    ":": True,
    ":1": True,
    ":65535": True,
    ":0": False,
    ":65536": False,
    ":99999": False,
    ":" + "9" * 5000: False,
    ":-1": False,
    ":+1": False,
    ":1.5": False,
    ":٤": False,
    ":abc": False,
    ":1:2": False,
}
ENDS = {"/api": True, "": True, "?a=b@c": True, "/api\n": False, "/a pi": False}
TABLES = (SCHEMES, USERS, HOSTS, PORTS, ENDS)


def urls():
    for parts in product(*TABLES):
        good = [table[part] for table, part in zip(TABLES, parts, strict=True)]
        if good.count(False) <= 1:
            yield "".join(parts), all(good)


def test_what_has_one_wrong_part_is_refused_and_nothing_else():
    """Some thousand URLs; what is not refused, httpx takes."""
    found = dict(urls())
    assert len(found) > 2000
    assert [url for url, good in found.items() if (fault_of_url(url) == "") is not good] == []
    for url, good in found.items():
        if good:
            read = httpx.URL(url)
            assert read.host
            assert read.port is None or 0 < read.port < 65536


def test_nothing_of_a_url_is_quoted():
    """It may hold a password."""
    said = {fault_of_url(url) for url, good in urls() if not good}
    assert len(said) == 7
    assert not [fault for fault in said if "hunt" in fault or "er2" in fault]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("127.0.0.1:4200/api", "it does not start with http:// or https://"),
        ('"http://127.0.0.1:4200/api"', "it does not start with http:// or https://"),
        (" http://127.0.0.1/api", "it contains a space or a control character"),
        ("http://127.0.0.1:99999/api", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:4200\\api", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1\\api", "its host is not valid"),
        ("http://user:pa/ss@host/api", "its port is not a number from 1 to 65535"),
        ("http://:4200/api", "it has no host"),
        ("http://::1:4200/api", "its IPv6 address has no brackets"),
        ("http://[::1/api", "its IPv6 address is not valid"),
    ],
)
def test_the_fault_is_named(url, fault):
    assert fault_of_url(url) == fault
