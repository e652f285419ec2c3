"""The fingerprint: everything that a launch can neither set nor remove, and nothing else."""

from __future__ import annotations

import pytest

from prefect_ecs_pinned.core.definition import DefinitionSpec, build
from prefect_ecs_pinned.core.fingerprint import fingerprint, label, labelled
from tests.core.echo import echo

ROLE = "arn:aws:iam::123456789012:role/execution"
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:key"


def spec(**fields) -> DefinitionSpec:
    return DefinitionSpec(
        **{"family": "prefect-default", "region": "us-east-1", "image": "flows:1", **fields}
    )


def test_literal_digests():
    """These are promises: they change only together with the fingerprint's version."""
    assert (
        fingerprint(build(spec()))
        == "v1:f3b6cd3107d4279f0b3cde3a9eaf666bdb81280e720c57a698c8025ce08ab546"
    )
    assert (
        fingerprint(
            build(spec(launch_type="EC2", image="flows:2", execution_role_arn=ROLE, logs={}))
        )
        == "v1:0fb3c6452601ad0a801fd04dfb59505f5202c972831a357fa272c2230389b7ef"
    )


@pytest.mark.parametrize("launch_type", ["FARGATE", "FARGATE_SPOT", "EC2", "EXTERNAL"])
def test_sizes_share_a_fingerprint(launch_type):
    """A launch sends them."""
    small = build(spec(launch_type=launch_type, cpu=256, memory=512))
    large = build(spec(launch_type=launch_type, cpu=4096, memory=8192))
    assert fingerprint(small) == fingerprint(large)


def test_the_presence_of_a_size_counts():
    """An EC2 definition without a task size is another one than with."""
    bare = build(spec(launch_type="EC2"))
    assert fingerprint(bare) != fingerprint({**bare, "cpu": "1024"})


@pytest.mark.parametrize(
    "change",
    [
        {"image": "flows:2"},
        {"secrets": {"PREFECT_API_KEY": SECRET}},
        {"logs": {"awslogs-group": "other"}},
        {"execution_role_arn": ROLE + "-other"},
        {"base": {"networkMode": "awsvpc", "ephemeralStorage": {"sizeInGiB": 40}}},
        {"base": {"containerDefinitions": [{"name": "sidecar", "image": "datadog/agent:7"}]}},
        {"base": {"taskRoleArn": ROLE}},
        {"base": {"runtimePlatform": {"cpuArchitecture": "ARM64"}}},
    ],
)
def test_what_a_launch_cannot_change_counts(change):
    """Each of these needs a revision of its own."""
    before = spec(execution_role_arn=ROLE, logs={})
    after = spec(**{"execution_role_arn": ROLE, "logs": {}, **change})
    assert fingerprint(build(before)) != fingerprint(build(after))


def test_an_echo_fingerprints_like_what_was_sent():
    """So that a revision registered by Terraform or CI can be adopted."""
    definition = build(spec(secrets={"B": SECRET, "A": SECRET}, execution_role_arn=ROLE, logs={}))
    assert fingerprint(echo(definition)) == fingerprint(definition)


def test_the_label_travels_and_does_not_count():
    """A labelled definition fingerprints like itself without the label."""
    definition = build(spec())
    sent = labelled(definition, fingerprint(definition))
    assert label(echo(sent)) == fingerprint(definition)
    assert fingerprint(sent) == fingerprint(definition)


@pytest.mark.parametrize("name", ["prefect", "etl"])
def test_a_definition_has_one_label(name):
    """Of a pasted revision whose own label stood on another container, that would be read."""
    stale = {"prefect-ecs-pinned.fingerprint": "v1:old", "team": "data"}
    containers = [{"name": other, "dockerLabels": stale} for other in ("prefect", "side", "etl")]
    made = labelled({"containerDefinitions": containers}, "v1:new", name)
    assert label(made) == "v1:new"
    assert fingerprint(made, name) == fingerprint({"containerDefinitions": containers}, name)
    assert [c["dockerLabels"].get("team") for c in made["containerDefinitions"]] == ["data"] * 3
    assert str(made).count("v1:") == 1
