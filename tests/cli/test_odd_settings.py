"""Settings with which AWS can never be reached: each command names the setting, and no secret."""

from __future__ import annotations

import os

import pytest
from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask
from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.retrying import Waits

HTTPS = "https://127.0.0.1:9"
URL = "write a URL, with http:// or https://"

#: Environment -> fragments of the message and of the hint.
UNUSABLE = [
    *(
        ({"AWS_ENDPOINT_URL": url}, fault, f"{URL}: check endpoint_url and AWS_ENDPOINT_URL")
        for url, fault in {
            "http://127.0.0.1:99999": "its port is not a number from 1 to 65535",
            "http://127.0.0.1:-1": "its port is not",
            "http://127.0.0.1:0": "its port is not",
            "http://127.0.0.1:abc": "its port is not",
            "http://user:hunter2@127.0.0.1:99999": "its port is not",
            "ftp://127.0.0.1:9": "it does not start with",
            "127.0.0.1:9": "",
            "http://": "",
            "http://:80": "",
            "http://foo bar:9": "",
            "http://::1:9": "",
            "http://[::1": "",
            '"http://127.0.0.1:9"': "",
            "http://127.0.0.1:9\n": "",
        }.items()
    ),
    *(
        ({"AWS_ENDPOINT_URL": HTTPS, "HTTPS_PROXY": proxy}, fault, f"{URL}: check HTTP_PROXY")
        for proxy, fault in {
            "http://127.0.0.1:99999": "its port is not",
            "127.0.0.1:-1": "its port is not",
            "http://user:hunter2@127.0.0.1:99999": "its port is not",
            "http://": "it has no host",
            "http://foo bar:9": "it contains a space",
        }.items()
    ),
    *(
        ({"AWS_DEFAULT_REGION": region}, "", "AWS_DEFAULT_REGION")
        for region in ("", "us-east-1\n", "us east 1", "../x")
    ),
    *(
        ({name: "hunter2\nhunter2"}, "contains a line break", "renew the AWS credentials")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")
    ),
]


@pytest.fixture
def etl(prefect, monkeypatch, tmp_path):
    """A block whose credentials are those of the environment, which has nothing else of AWS's."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing"))
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "localhost",
        "HTTP_PROXY": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    waits = Waits(reads=0.3, registrations=0.3, contended=0.3, connect=1.0, answer=1.0)
    monkeypatch.setattr(retrying, "COMMAND", waits)
    PinnedECSTask(aws_credentials=AwsCredentials(), image="flows:1").save("etl", overwrite=True)


@pytest.mark.parametrize(("environment", "fault", "hint"), UNUSABLE, ids=lambda each: str(each))
def test_the_setting_is_named(etl, ecs, pinned_ecs, monkeypatch, environment, fault, hint):
    """And no value of it; there is nothing to try again."""
    if not {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"} & environment.keys():
        monkeypatch.setenv("AWS_ENDPOINT_URL", ecs.endpoint_url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = pinned_ecs("plan", "etl")
    assert said.code == 1
    error = said.err.partition("\nhint: ")[0]
    assert error.startswith("error: ")
    assert fault in error
    assert hint in said.err
    assert "hunter2" not in said.err
    assert "try again" not in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("kind", ["missing", "folder", "text"])
def test_certificates_that_cannot_be_read_are_a_setting(
    etl, ecs, pinned_ecs, monkeypatch, tmp_path, kind
):
    """botocore reads them when it has connected."""
    file = tmp_path / f"{kind}.pem"
    if kind == "folder":
        file.mkdir()
    elif kind == "text":
        file.write_text("no certificate\n")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
    monkeypatch.setenv("AWS_ENDPOINT_URL", ecs.endpoint_url.replace("http:", "https:"))
    said = pinned_ecs("plan", "etl")
    assert said.code == 1
    assert "AWS_CA_BUNDLE" in said.err.partition("\nhint: ")[2], said.err
    assert "Traceback" not in said.err
