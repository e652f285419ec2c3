"""Settings with which Prefect's API can never be reached: one error, under both majors."""

from __future__ import annotations

import os
import socket

import pytest
from prefect.settings import (
    PREFECT_API_KEY,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    temporary_settings,
)

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.cli import console, main, waiting

_BLOCK, _POOL = majors.face() is majors.BLOCK, ("--pool", "etl")

#: Command -> its arguments.
COMMANDS = {
    name: (*words, *(("ecs-task/etl" if name == "migrate" else "etl",) if _BLOCK else _POOL))
    for name, words in {
        "plan": ("plan",),
        "pin": ("pin",),
        "show": ("show",),
        "prune": ("prune", "--keep", "1"),
        "doctor": ("doctor",),
        "migrate": ("migrate",),
        "reconcile": ("reconcile",),
        "iam": ("iam",),
    }.items()
}

URL = "http://127.0.0.1:9/api"
UNUSABLE = "error: cannot use the Prefect API: "

#: PREFECT_API_URL -> the fault that is named. What Prefect itself refuses is in test_settings.py.
URLS = {
    "http://127.0.0.1:99999/api": "port",
    "http://127.0.0.1:65536/api": "port",
    "http://127.0.0.1:-1/api": "port",
    "http://127.0.0.1:0/api": "port",
    "http://127.0.0.1:hunter2/api": "port",
    "http://user:hunter2@127.0.0.1:99999/api": "port",
    "http://user:hunter2/x@127.0.0.1/api": "port",
    "http://127.0.0.1:9:9/api": "port",
    "http://::1:9/api": "brackets",
    "http:///api": "no host",
    "http://:9/api": "no host",
    "http://a..b/api": "host",
    "http://xn--a/api": "host",
    "http://999.999.999.999/api": "host",
    "http://\N{SNOWMAN}.example/api": "host",
    "ftp://127.0.0.1/api": "start with http://",
    "127.0.0.1:9/api": "start with http://",
    "localhost:9/api": "start with http://",
    "/api": "start with http://",
    "http:/127.0.0.1:9/api": "start with http://",
    '"http://127.0.0.1:9/api"': "start with http://",
    "http://foo bar/api": "space",
    " http://127.0.0.1:9/api": "space",
    "http://127.0.0.1:9/api ": "space",
    "http://127.0.0.1:9/api\n": "control character",
    "http://127.0.0.1:9/\x7fapi": "control character",
}

#: Proxies that httpx cannot use.
PROXIES = {
    "http://127.0.0.1:99999": "port",
    "127.0.0.1:-1": "port",
    "http://user:hunter2@127.0.0.1:hunter2": "port",
    "http://::1:9": "brackets",
    "http://[::1": "IPv6",
    "http://": "no host",
    "ftp://127.0.0.1:9": "start with http://",
    "http://foo bar:9": "space",
    "http://127.0.0.1:9\n": "control character",
    "http://\N{SNOWMAN}.example:9": "",
}


@pytest.fixture
def said(capfd, monkeypatch):
    """``said(command)``: error, hint of a command that fails."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 3600.0)
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)

    def said(command="plan"):
        capfd.readouterr()
        assert main(COMMANDS[command]) == console.FAILED
        out, err = capfd.readouterr()
        assert out == ""
        assert "hunter2" not in err
        error, hint, _ = err.splitlines()
        assert hint.startswith("hint: ")
        return error, hint

    return said


@pytest.mark.parametrize("url", URLS)
def test_an_address_that_cannot_be_connected_to_is_one_error(said, url):
    """Before anything is connected: a URL that is not quoted, since it may have a password."""
    with temporary_settings({PREFECT_API_URL: url}):
        error, hint = said()
    assert error.startswith(f"{UNUSABLE}PREFECT_API_URL: it")
    assert URLS[url] in error
    assert "http://127.0.0.1:4200/api" in hint


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/api", "http://xn--a/api"])
def test_every_command_says_so(said, command, url):
    with temporary_settings({PREFECT_API_URL: url}):
        error, _ = said(command)
    assert error.startswith(f"{UNUSABLE}PREFECT_API_URL: its ")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_named(said, monkeypatch, variable, proxy):
    """Also one that httpx refuses, in words that are not about a proxy."""
    monkeypatch.setenv(variable, proxy)
    with temporary_settings({PREFECT_API_URL: URL}):
        error, hint = said()
    assert error.startswith(UNUSABLE)
    assert PROXIES[proxy] in error
    assert variable.upper() in hint


def test_a_proxy_that_is_not_used_may_be_anything(said, monkeypatch):
    """NO_PROXY has the host, so the address is tried."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:99999")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with temporary_settings({PREFECT_API_URL: URL}):
        error, _ = said()
    assert error.startswith(f"error: cannot reach the Prefect API: {URL}: ConnectError")


def test_a_proxy_that_needs_a_package_is_one_error(said, monkeypatch):
    """httpx raises ImportError."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with temporary_settings({PREFECT_API_URL: URL}):
        error, hint = said()
    assert "socksio" in error
    assert "ALL_PROXY" in hint


@pytest.mark.parametrize(
    "key", ["hunter2\n", "hunter2\r", " hunter2", "hun\nter2", "hunter2\u2603"]
)
def test_a_key_that_no_header_can_hold_is_not_quoted(said, key):
    """The end of a line is often read with it."""
    with temporary_settings({PREFECT_API_URL: URL, PREFECT_API_KEY: key}):
        error, hint = said()
    assert error.startswith(f"{UNUSABLE}PREFECT_API_KEY: it contains a line break")
    assert "PREFECT_API_KEY" in hint


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_certificates_that_cannot_be_read_are_named(said, tmp_path, kind):
    """The file, and the settings that name it."""
    file = tmp_path / kind
    if kind == "folder":
        file.mkdir()
    elif kind == "text":
        file.write_text("no certificate\n")
    with temporary_settings({PREFECT_API_URL: URL, PREFECT_API_SSL_CERT_FILE: str(file)}):
        error, hint = said()
    assert error.startswith(f"{UNUSABLE}cannot read the certificates in {file}: ")
    assert "PREFECT_API_SSL_CERT_FILE" in hint


def test_a_proxy_that_is_not_there_is_named(said, monkeypatch):
    """The address may be right."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with temporary_settings({PREFECT_API_URL: URL}):
        _, hint = said()
    assert hint.endswith("and HTTP_PROXY, which is the proxy in use")


def test_an_address_that_does_not_connect_is_given_up(said, monkeypatch):
    """TLS is never agreed on here. Prefect's client would repeat the request for two minutes."""
    waits = retrying.Waits(reads=1.0, registrations=1.0, contended=1.0, connect=0.1, answer=1.0)
    monkeypatch.setattr(retrying, "COMMAND", waits)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            error, _ = said()
    assert error.startswith(
        f"error: cannot reach the Prefect API: {url}: ConnectError no connection in time"
    )
