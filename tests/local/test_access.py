"""Nobody gets a command run who does not hold the access key; and no browser at all."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.core.utils import utcnow

from prefect_ecs_pinned.errors import PinnedECSError
from prefect_ecs_pinned.local import LocalECS, Settings
from prefect_ecs_pinned.local.access import check_access_key, new_access_key
from prefect_ecs_pinned.local.hosts import Hosts
from prefect_ecs_pinned.operations.demo.stage import Stage
from tests.local.wire import exchange, run_task, signature

DEFINITION: dict[str, Any] = {
    "family": "etl",
    "containerDefinitions": [{"name": "prefect", "image": "any", "memory": 128}],
}


@pytest.fixture(scope="module")
def ecs(tmp_path_factory):
    """It executes commands: what a task would do is to write a file."""
    canary = tmp_path_factory.mktemp("canary") / "ran"
    container = {**DEFINITION["containerDefinitions"][0], "command": ["touch", str(canary)]}
    with LocalECS(Settings(latencies={}, quota_scale=None, execute=True)) as ecs:
        ecs.client("ecs").register_task_definition(family="etl", containerDefinitions=[container])
        ecs.canary = canary  # type: ignore[attr-defined]
        yield ecs


@pytest.fixture(autouse=True)
def _nothing_ran(ecs):
    yield
    assert ecs.launches == []
    assert not ecs.canary.exists()


def refused(answer, status=403):
    """Refused, and no other origin may read why."""
    assert answer.status == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


PATHS = (
    ("POST", "/"),
    ("GET", "/_local/calls"),
    ("PUT", "/_local/faults"),
    ("GET", "/moto-api/"),
    ("PUT", "/bucket/key"),
    ("HEAD", "/"),
)


@pytest.mark.parametrize(("method", "target"), PATHS)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://127.0.0.1:4510"])
def test_any_origin_is_refused_even_with_the_key(ecs, method, target, origin):
    """Whatever is asked for."""
    headers = [*run_task(ecs), ("Origin", origin)]
    refused(exchange(ecs, headers, method=method, target=target))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "", "none, cross-site"])
def test_a_browsers_fetch_is_refused_even_with_the_key(ecs, site):
    """Images and navigations have no Origin, but they have Sec-Fetch-Site."""
    refused(exchange(ecs, [*run_task(ecs), ("Sec-Fetch-Site", site)]))
    twice = [*run_task(ecs), ("Sec-Fetch-Site", "none"), ("sec-fetch-site", site)]
    refused(exchange(ecs, twice))


@pytest.mark.parametrize("target", ["/", "/_local/faults", "*"])
def test_a_preflight_is_refused(ecs, target):
    """With and without what a browser sends with it, and even with the key."""
    preflight = [
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,x-amz-target"),
    ]
    for headers in (run_task(ecs), [*run_task(ecs, Authorization=None), *preflight]):
        for method in ("OPTIONS", "options", "Options"):
            refused(exchange(ecs, headers, b"", method, target))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example",
        "localhost.:{port}",
        "127.0.0.1:1",
        "localhost:80",
        "127.1:{port}",
        "0.0.0.0:{port}",
        "2130706433:{port}",
        "127.0.0.2:{port}",
        "[::2]:{port}",
        "[::1:{port}",
        "user@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil.example",
        "127.0.0.1:{port}, evil.example",
        "127.0.0.1:{port}/",
        "127.0.0.1:",
        ":{port}",
        "",
    ],
)
def test_a_foreign_host_is_refused_even_with_the_key(ecs, host):
    """DNS rebinding: evil.example points here, and the page is of the same origin."""
    port = ecs.endpoint_url.rpartition(":")[2]
    refused(exchange(ecs, run_task(ecs, Host=host.format(port=port))))


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "127.0.0.1", "LocalHost:{port}", "localhost", "[::1]:{port}",
             "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_its_own_addresses_are_answered(ecs, host):
    """In any case, with and without the port."""
    port = ecs.endpoint_url.rpartition(":")[2]
    headers = run_task(
        ecs, Host=host.format(port=port), X_Amz_Target=run_target(ecs, "ListClusters")
    )
    assert exchange(ecs, headers, b"{}").status == 200


def run_target(ecs, action):
    return dict(run_task(ecs))["X-Amz-Target"].replace("RunTask", action)


def test_a_request_has_one_host_and_one_length(ecs):
    """RFC 9112: none or two are a bad request; the absolute form has a second one."""
    ours = dict(run_task(ecs))["Host"]
    refused(exchange(ecs, run_task(ecs, Host=None)), 400)
    refused(exchange(ecs, run_task(ecs, Host=None), version="1.0"))
    refused(exchange(ecs, [*run_task(ecs), ("Host", ours)]), 400)
    refused(exchange(ecs, [("Host", "evil.example"), *run_task(ecs)]), 400)
    for target in ("http://evil.example/", f"http://{ours}/", "evil.example:80"):
        refused(exchange(ecs, run_task(ecs), target=target))
    refused(exchange(ecs, run_task(ecs, Transfer_Encoding="chunked", Content_Length="4")))
    refused(exchange(ecs, [*run_task(ecs), ("Content-Length", "4"), ("Content-Length", "5")]), 400)


def test_what_follows_a_refused_body_is_no_request(ecs):
    """A body that looks like a request, behind a refused one: the connection is closed."""
    inner = "\r\n".join(["POST / HTTP/1.1", *(f"{n}: {v}" for n, v in run_task(ecs)), "", ""])
    answer = exchange(ecs, run_task(ecs, Authorization=None), inner.encode())
    refused(answer)
    assert b"HTTP/1.1" not in answer.body


def forms_of(key):
    """Authorization headers that are not AWS's signature with the key."""
    good = signature(key)
    return [
        None,
        "",
        key,
        f"Bearer {key}",  # only for /_local/
        f"Basic {key}",
        f"AWS {key}:c2lnbmF0dXJl",
        f"AWS4-HMAC-SHA256 Credential={key}",
        good.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        good.replace(key, "local"),
        good.replace(key, key[:-1]),
        good.replace(key, key + "0"),
        good.replace(key, key.lower()),
        good.replace(key, f"{key}_"),
        good.replace(key, f"{key}_{'x' * 65}"),
        good.replace(key, f"x{key}"),
        good.replace(key, ""),
        good.replace(key, "\xff\xfe"),
        f"{good}, {good}",
    ]


@pytest.mark.parametrize("number", range(18))
def test_without_the_key_nothing_is_answered(ecs, number):
    """Neither ECS, nor moto, nor the numbers."""
    header = forms_of(ecs.access_key)[number]
    refused(exchange(ecs, run_task(ecs, Authorization=header)))
    form = run_task(ecs, Authorization=header, X_Amz_Target=None)
    refused(exchange(ecs, form, b"Action=DescribeVpcs&Version=2016-11-15"))
    if header is None or not header.startswith("Bearer"):
        refused(exchange(ecs, run_task(ecs, Authorization=header), target="/_local/launches"))


def test_two_authorizations_are_none(ecs):
    """Parsers differ on which one counts."""
    refused(exchange(ecs, [*run_task(ecs), ("authorization", signature(ecs.access_key))]))


def test_a_presigned_request_is_refused(ecs):
    """The key in the query: such URLs are passed on, logged and bookmarked."""
    for query in (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ecs.access_key}%2F20260101%2F"
        "us-east-1%2Fecs%2Faws4_request&X-Amz-Signature=0",
        f"AWSAccessKeyId={ecs.access_key}&Signature=0",
    ):
        refused(exchange(ecs, run_task(ecs, Authorization=None), target=f"/?{query}"))


def test_what_sts_takes_unsigned_is_refused(ecs):
    """AssumeRoleWithWebIdentity would hand out credentials to anybody."""
    body = (
        b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=x&WebIdentityToken=x"
        b"&RoleArn=arn:aws:iam::123456789012:role/x"
    )
    refused(exchange(ecs, run_task(ecs, Authorization=None, X_Amz_Target=None), body))


def test_a_websocket_is_refused(ecs):
    """No Origin, no preflight: still no key."""
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ]
    headers = [*run_task(ecs, Authorization=None, X_Amz_Target=None), *upgrade]
    refused(exchange(ecs, headers, b"", "GET"))


def test_boto3_is_refused_in_awss_words(ecs):
    """Each service's own code, so that clients know that it is final."""
    make = {"endpoint_url": ecs.endpoint_url, "region_name": "us-east-1"}
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    for service, call, code in (
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("logs", "describe_log_groups", "UnrecognizedClientException"),
        ("ec2", "describe_vpcs", "InvalidClientTokenId"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ):
        client = boto3.client(service, **make, **keys)  # type: ignore[call-overload]
        with pytest.raises(botocore.exceptions.ClientError, match="access key") as error:
            getattr(client, call)()
        assert error.value.response["Error"]["Code"] == code


def test_a_bearer_reads_the_numbers(ecs):
    """`/_local/` takes the key either way."""
    for header in (f"Bearer {ecs.access_key}", signature(ecs.access_key)):
        answer = exchange(ecs, run_task(ecs, Authorization=header), b"", "GET", "/_local/launches")
        assert (answer.status, answer.json) == (200, [])


def test_moto_lets_no_other_origin_read(ecs):
    """It sends Access-Control-Allow-Origin with every answer."""
    headers = run_task(
        ecs,
        X_Amz_Target=None,
        Content_Type="application/x-www-form-urlencoded",
        Authorization=signature(ecs.access_key, "ec2"),
    )
    answer = exchange(ecs, headers, b"Action=DescribeVpcs&Version=2016-11-15")
    assert answer.status == 200
    refused(answer, 200)


def test_no_log_has_the_key(ecs, caplog):
    """At DEBUG: what is answered, what is refused, and what moto fails at."""
    caplog.set_level(logging.DEBUG)
    exchange(ecs, run_task(ecs, X_Amz_Target=run_target(ecs, "ListClusters")), b"{}")
    exchange(ecs, [*run_task(ecs), ("Origin", "null")])
    unknown = run_task(ecs, X_Amz_Target="A.B", Authorization=signature(ecs.access_key, "none"))
    assert exchange(ecs, unknown, b"{}").status == 500
    assert "moto cannot answer" in caplog.text
    assert ecs.access_key not in caplog.text


def test_the_demo_hides_the_key_in_the_end_of_a_log():
    """It is shown when a process fails; `pinned-ecs local` has printed the key there."""
    with Stage() as stage:
        key = stage._access_key
        (stage.home / "ecs.log").write_text(f"export AWS_ACCESS_KEY_ID={key}\nno\n")
        assert stage.log_tail("ecs") == "export AWS_ACCESS_KEY_ID=***\nno"


def test_a_demo_whose_ecs_cannot_start_says_why_at_once(tmp_path):
    """With what it printed: the wait is for an answer, and there will be none."""
    script = tmp_path / "pinned-ecs"
    script.write_text("#!/bin/sh\necho hint: install it\nexit 1\n")
    script.chmod(0o755)
    (tmp_path / "prefect").symlink_to("/bin/true")
    with Stage(tmp_path) as stage, pytest.raises(PinnedECSError) as raised:
        stage.start_servers()
    assert raised.value.text == "ecs did not start: hint: install it"


def test_a_demo_has_its_own_configuration_of_aws(tmp_path, monkeypatch):
    """A profile of the person who plays it plays no part."""
    monkeypatch.setenv("AWS_PROFILE", "missing")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-profile")
    with Stage() as stage:
        code = "import os; print(*sorted(name for name in os.environ if name.startswith('AWS_')))"
        stage.run("shown", [sys.executable, "-c", code])
        assert stage.log_tail("shown") == "AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE"


# -- keys and principals ---------------------------------------------------------------------------


def test_a_key_is_128_random_bits_and_new_at_each_start(ecs):
    """And nobody's guess."""
    with LocalECS() as other:
        assert other.access_key != ecs.access_key
    keys = {new_access_key() for _ in range(1000)}
    assert len(keys) == 1000
    for key in keys:
        assert len(bytes.fromhex(key.removeprefix("LOCAL"))) * 8 == 128


def test_the_key_is_compared_in_constant_time(ecs, monkeypatch):
    """By `hmac.compare_digest`, at its full length, whatever was sent."""
    compared = []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return False

    monkeypatch.setattr("prefect_ecs_pinned.local.access.hmac.compare_digest", compare)
    headers = run_task(ecs, Authorization=signature("X" + ecs.access_key[1:]))
    refused(exchange(ecs, headers))
    assert compared == [(len(ecs.access_key), len(ecs.access_key))]


@pytest.mark.parametrize("key", ["", "a/b", "a,b", "a b", "a=b", "ä", "a\n", "a" * 129])
def test_a_key_that_cannot_stand_in_a_header_is_refused(key):
    """With a ValueError, before anything listens."""
    with pytest.raises(ValueError, match="access key"):
        check_access_key(key)
    with pytest.raises(ValueError, match="access key"):
        LocalECS(access_key=key)


def test_the_key_of_a_user_and_of_a_role(ecs):
    """A suffix names an IAM user; STS hands out a session, which needs its token."""
    identity = ecs.client("sts").get_caller_identity
    assert identity()["Arn"] == "arn:aws:iam::123456789012:root"
    alice = ecs.client("sts", user="alice")
    assert alice.get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/alice"
    role = "arn:aws:iam::123456789012:role/ci"
    made = alice.assume_role(RoleArn=role, RoleSessionName="build-7")["Credentials"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
    }
    session = ecs.client("sts", **keys, aws_session_token=made["SessionToken"])
    arn = "arn:aws:sts::123456789012:assumed-role/ci/build-7"
    assert session.get_caller_identity()["Arn"] == arn
    for token in ("", made["SessionToken"][:-1], made["SessionToken"] + "x"):
        with pytest.raises(botocore.exceptions.ClientError, match="InvalidClientTokenId"):
            ecs.client("sts", **keys, aws_session_token=token).get_caller_identity()


def test_a_session_ends(ecs, monkeypatch):
    """Then its token has expired, in AWS's words."""
    sts = ecs.client("sts")
    role = "arn:aws:iam::123456789012:role/ci"
    made = sts.assume_role(RoleArn=role, RoleSessionName="ss", DurationSeconds=900)["Credentials"]
    client = ecs.client(
        "ecs",
        aws_access_key_id=made["AccessKeyId"],
        aws_secret_access_key=made["SecretAccessKey"],
        aws_session_token=made["SessionToken"],
    )
    client.list_clusters()
    later = utcnow() + timedelta(seconds=901)
    monkeypatch.setattr("prefect_ecs_pinned.local.moto_services.utcnow", lambda: later)
    with pytest.raises(botocore.exceptions.ClientError, match="ExpiredTokenException"):
        client.list_clusters()


# -- where it listens ------------------------------------------------------------------------------


def test_other_names_are_allowed_when_they_are_listed():
    """A container's; with a port, only with that."""
    with LocalECS(Settings(latencies={}), allow_hosts=["ecs", "Proxy.lan:8080"]) as ecs:
        port = ecs.endpoint_url.rpartition(":")[2]
        target = run_target(ecs, "ListClusters")
        for host, status in {
            "ecs": 200,
            "ECS:1234": 200,
            "proxy.lan:8080": 200,
            "proxy.lan": 403,
            f"proxy.lan:{port}": 403,
            "ecs.evil.example": 403,
        }.items():
            answer = exchange(ecs, run_task(ecs, Host=host, X_Amz_Target=target), b"{}")
            assert (host, answer.status) == (host, status)


@pytest.mark.parametrize("name", ["", "*", "http://ecs", "ecs/", "a b", "ecs:port"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="is not NAME or NAME:PORT"):
        LocalECS(allow_hosts=[name])


@pytest.mark.parametrize(
    ("host", "url", "loopback"),
    [
        ("127.0.0.1", "http://127.0.0.1:", True),
        ("localhost", "http://localhost:", True),
        ("::1", "http://[::1]:", True),
        ("[::1]", "http://[::1]:", True),
        ("127.0.0.7", "http://127.0.0.7:", True),
        ("0.0.0.0", "http://127.0.0.1:", False),
        ("::", "http://[::1]:", False),
    ],
)
def test_every_address_can_be_listened_on(host, url, loopback):
    """And the URL that is handed out is answered."""
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with LocalECS(Settings(latencies={}), host=host) as ecs:
        assert ecs.endpoint_url.startswith(url)
        assert ecs.loopback is loopback
        assert ecs.client("ecs").list_clusters()["clusterArns"]


NAMES = st.from_regex(r"[a-z0-9.:@/\[\]-]{0,30}", fullmatch=True)


@given(NAMES, st.integers(0, 70000))
def test_no_other_name_is_ever_this_server(name, port):
    """Generated: only the own names, and only with the own port."""
    hosts = Hosts("127.0.0.1", 4510, "127.0.0.1")
    own = {"127.0.0.1", "localhost", "[::1]", "10.0.0.5"}
    for value in (name, f"{name}:{port}"):
        bare = value.removesuffix(":4510")
        if hosts.allow(value, ("10.0.0.5", 4510)):
            assert bare in own or bare.startswith("[")  # [::1] in one of its spellings


# -- the command -----------------------------------------------------------------------------------

PINNED_ECS = [sys.executable, "-c", "import sys; from prefect_ecs_pinned.cli import main; main()"]


class Started:
    """`pinned-ecs local` in a process of its own, its output redirected."""

    def __init__(self, home: Path, *options: str, **variables: str) -> None:
        self.out, self.err = home / "out", home / "err"
        environment = {**os.environ, "PYTHONUNBUFFERED": "", **variables}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [*PINNED_ECS, "local", "--port", "0", "--no-execute", *options],
                stdout=out,
                stderr=err,
                env=environment,
            )

    def exports(self) -> dict[str, str]:
        """What has been printed; it comes while the server runs, without its being asked."""
        ticks = threading.Event()
        for _ in range(600):
            lines = self.out.read_text().splitlines()
            if len(lines) == 4:
                return dict(line.removeprefix("export ").split("=", 1) for line in lines)
            assert self.process.poll() is None, self.err.read_text()
            ticks.wait(0.1)
        raise AssertionError("nothing was printed")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*options: str, **variables: str) -> Started:
        started.append(Started(tmp_path, *options, **variables))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_the_command_prints_the_exports_at_once(start):
    """Into a file too; they are all that a client needs."""
    started = start()
    exports = started.exports()
    names = ["ENDPOINT_URL", "DEFAULT_REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"]
    assert list(exports) == [f"AWS_{name}" for name in names]
    assert len(exports["AWS_ACCESS_KEY_ID"]) == 37
    code = "import boto3; print(boto3.client('ecs').list_clusters()['clusterArns'])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], **exports},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "cluster/default" in answer.stdout
    said = started.err.read_text()
    assert f"listening on {exports['AWS_ENDPOINT_URL']}" in said  # a slow import is reported before
    assert exports["AWS_ACCESS_KEY_ID"] not in said


def test_a_key_can_be_fixed_by_a_variable_that_ps_does_not_show(start):
    """And by an option, which it does."""
    key = new_access_key()
    started = start(PINNED_ECS_LOCAL_ACCESS_KEY=key)
    assert started.exports()["AWS_ACCESS_KEY_ID"] == key
    assert key not in Path(f"/proc/{started.process.pid}/cmdline").read_text()
    started = start("--access-key", "short")
    assert started.exports()["AWS_ACCESS_KEY_ID"] == "short"
    assert "can be guessed" in started.err.read_text()


def test_an_address_off_loopback_is_warned_of(start):
    started = start("--host", "0.0.0.0", "--allow-host", "ecs")
    url = started.exports()["AWS_ENDPOINT_URL"]
    assert "0.0.0.0 is not a loopback address" in started.err.read_text()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{url}/_local/calls", timeout=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--access-key", "a/b"], "an access key has"),
        (["--allow-host", "http://ecs"], "is not NAME or NAME:PORT"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
    ],
)
def test_a_bad_option_is_one_message(start, options, message):
    """And an exit code; nothing is served."""
    started = start(*options)
    assert started.process.wait(60) == 0  # of the little script around it
    said = started.err.read_text()
    assert message in said
    assert "Traceback" not in said
    assert started.out.read_text() == ""
