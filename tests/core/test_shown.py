"""What may be shown: an explicit list, against all that botocore knows of ECS's requests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ecs_pinned.core.plan import changes, differences
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import (
    HIDDEN,
    hidden_texts,
    json_pointer,
    known_command,
    named,
    number,
    part,
    plain,
    shown,
    without,
)
from prefect_ecs_pinned.runs.spec import FIELDS
from tests.canaries import Filled, canary, found, members, replaced

#: Why a member's text may be shown -> the members, as `canaries.Filled` names them.
_OF_A_DEFINITION = {
    "identifies something, and is not known to anybody by being secret": [
        "family",
        "containerDefinitions[].name",
        "containerDefinitions[].image",
        "containerDefinitions[].links[]",
        "containerDefinitions[].portMappings[].name",
        "containerDefinitions[].mountPoints[].sourceVolume",
        "containerDefinitions[].volumesFrom[].sourceContainer",
        "containerDefinitions[].dependsOn[].containerName",
        "containerDefinitions[].user",
        "volumes[].name",
        "volumes[].dockerVolumeConfiguration.driver",
        "volumes[].efsVolumeConfiguration.fileSystemId",
        "volumes[].efsVolumeConfiguration.authorizationConfig.accessPointId",
        "volumes[].fsxWindowsFileServerVolumeConfiguration.fileSystemId",
        "proxyConfiguration.containerName",
        "inferenceAccelerators[].deviceName",
        "inferenceAccelerators[].deviceType",
    ],
    "a role by its ARN or its name": ["taskRoleArn", "executionRoleArn"],
    "the name of a variable, a tag or a parameter": [
        "containerDefinitions[].environment[].name",
        "containerDefinitions[].secrets[].name",
        "containerDefinitions[].logConfiguration.secretOptions[].name",
        "containerDefinitions[].systemControls[].namespace",
        "proxyConfiguration.properties[].name",
        "tags[].key",
    ],
    "a size or a count": [
        "cpu",
        "memory",
        "containerDefinitions[].portMappings[].containerPortRange",
        "containerDefinitions[].resourceRequirements[].value",
    ],
    "a path": [
        "containerDefinitions[].mountPoints[].containerPath",
        "containerDefinitions[].linuxParameters.devices[].hostPath",
        "containerDefinitions[].linuxParameters.devices[].containerPath",
        "containerDefinitions[].linuxParameters.tmpfs[].containerPath",
        "containerDefinitions[].linuxParameters.tmpfs[].mountOptions[]",
        "containerDefinitions[].workingDirectory",
        "volumes[].host.sourcePath",
        "volumes[].efsVolumeConfiguration.rootDirectory",
        "volumes[].fsxWindowsFileServerVolumeConfiguration.rootDirectory",
        "volumes[].s3filesVolumeConfiguration.rootDirectory",
    ],
    "one of a few words": [
        "networkMode",
        "pidMode",
        "ipcMode",
        "requiresCompatibilities[]",
        "runtimePlatform.cpuArchitecture",
        "runtimePlatform.operatingSystemFamily",
        "proxyConfiguration.type",
        "trustedExecutionConfiguration.isolationMode",
        "placementConstraints[].type",
        "placementConstraints[].expression",
        "containerDefinitions[].portMappings[].protocol",
        "containerDefinitions[].portMappings[].appProtocol",
        "containerDefinitions[].environmentFiles[].type",
        "containerDefinitions[].linuxParameters.capabilities.add[]",
        "containerDefinitions[].linuxParameters.capabilities.drop[]",
        "containerDefinitions[].linuxParameters.devices[].permissions[]",
        "containerDefinitions[].dependsOn[].condition",
        "containerDefinitions[].versionConsistency",
        "containerDefinitions[].ulimits[].name",
        "containerDefinitions[].logConfiguration.logDriver",
        "containerDefinitions[].resourceRequirements[].type",
        "containerDefinitions[].firelensConfiguration.type",
        "volumes[].dockerVolumeConfiguration.scope",
        "volumes[].efsVolumeConfiguration.transitEncryption",
        "volumes[].efsVolumeConfiguration.authorizationConfig.iam",
    ],
}

_OF_A_REQUEST = {
    "identifies something, and is not known to anybody by being secret": [
        "taskDefinition",
        "cluster",
        "group",
        "startedBy",
        "capacityProviderStrategy[].capacityProvider",
        "networkConfiguration.awsvpcConfiguration.subnets[]",
        "networkConfiguration.awsvpcConfiguration.securityGroups[]",
        "overrides.containerOverrides[].name",
        "overrides.inferenceAcceleratorOverrides[].deviceName",
        "overrides.inferenceAcceleratorOverrides[].deviceType",
        "volumeConfigurations[].name",
        "volumeConfigurations[].managedEBSVolume.snapshotId",
    ],
    "a role by its ARN or its name": [
        "overrides.executionRoleArn",
        "overrides.taskRoleArn",
        "volumeConfigurations[].managedEBSVolume.roleArn",
    ],
    "the name of a variable or a tag": [
        "overrides.containerOverrides[].environment[].name",
        "tags[].key",
        "volumeConfigurations[].managedEBSVolume.tagSpecifications[].tags[].key",
    ],
    "a size or a count": [
        "overrides.cpu",
        "overrides.memory",
        "overrides.containerOverrides[].resourceRequirements[].value",
    ],
    "one of a few words": [
        "launchType",
        "platformVersion",
        "propagateTags",
        "networkConfiguration.awsvpcConfiguration.assignPublicIp",
        "placementConstraints[].type",
        "placementConstraints[].expression",
        "placementStrategy[].type",
        "placementStrategy[].field",
        "overrides.containerOverrides[].environmentFiles[].type",
        "overrides.containerOverrides[].resourceRequirements[].type",
        "volumeConfigurations[].managedEBSVolume.volumeType",
        "volumeConfigurations[].managedEBSVolume.filesystemType",
        "volumeConfigurations[].managedEBSVolume.tagSpecifications[].resourceType",
        "volumeConfigurations[].managedEBSVolume.tagSpecifications[].propagateTags",
    ],
}

MAY_BE_SHOWN = {
    "RegisterTaskDefinition": {p for paths in _OF_A_DEFINITION.values() for p in paths},
    "RunTask": {p for paths in _OF_A_REQUEST.values() for p in paths},
}

RULES = {"RegisterTaskDefinition": DEFINITION, "RunTask": REQUEST}

OPERATIONS = pytest.mark.parametrize("operation", RULES)


@OPERATIONS
def test_of_every_member_that_ecs_has_only_those_of_the_list_are_shown(operation):
    """Neither fewer: somebody has to read a plan."""
    filled = Filled(operation)
    text = json.dumps(shown(filled.document, RULES[operation]))
    assert len(filled.canaries) > 40
    assert found(text, filled.canaries) == MAY_BE_SHOWN[operation] & filled.canaries.keys()


@OPERATIONS
@pytest.mark.parametrize(
    "shape",
    [
        lambda value: value,
        lambda value: [value],
        lambda value: [[value]],
        lambda value: {"name": value, "value": value, "key": value, "type": value},
        lambda value: [{"name": [value], "value": value}, [value]],
        lambda value: {"environment": {"name": value}, "image": {"cpu": value}},
    ],
    ids=["text", "list", "list of lists", "structure", "list of structures", "nested"],
)
def test_a_value_of_another_shape_is_hidden(operation, shape):
    """Each member in turn, structures and lists included; a text in place of a text is shown."""
    filled = Filled(operation)
    value = canary("another shape")
    for path in members(filled.document):
        document = replaced(filled.document, path, shape(value))
        leaks = found(json.dumps(shown(document, RULES[operation])), {"value": value})
        called = _called(path)
        texts = {called, f"{called}[]"} & MAY_BE_SHOWN[operation]
        fits = texts and shape(value) in (value, [value])
        assert not leaks or fits or _is_shown_below(called, shape(value), operation), path


def _called(path):
    name = ""
    for key in path:
        if key == 0:
            name += "[]"
        elif key == "of-the-map":
            name += "{}"
        else:
            name += f".{key}" if name else key
    return name


def _is_shown_below(called, value, operation):
    """The other shape happens to be a right one: its members are of the list themselves."""
    items = value if isinstance(value, list) else [value]
    below = f"{called}[]." if isinstance(value, list) else f"{called}."
    names = {name for item in items if isinstance(item, dict) for name in item}
    return any(f"{below}{name}" in MAY_BE_SHOWN[operation] for name in names)


def test_members_that_nobody_knows_are_named_and_hidden():
    """New ones of ECS, and those that are misspelt."""
    definition = {"contianerDefinitions": [{"name": "hush"}], "new": {"key": "hush"}, "n": 7}
    assert shown(definition, DEFINITION) == {
        "contianerDefinitions": HIDDEN,
        "new": HIDDEN,
        "n": HIDDEN,
    }


@given(
    st.sampled_from(["environment", "dockerLabels", "healthCheck", "command", "extraHosts", "x"]),
    st.recursive(
        st.text(min_size=1).map(lambda text: f"{text}{canary('any')}{text}") | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["value", "a", "name"]), inner, max_size=3)
        ),
    ),
)
@settings(deadline=None)
def test_whatever_is_written_into_a_variable_is_hidden(member, value):
    """Or into a label, a health check, a command, a host."""
    container = {"name": "prefect", member: {"x": value}}
    definition = {"containerDefinitions": [container]}
    assert not found(json.dumps(shown(definition, DEFINITION)), {"any": canary("any")})


def test_nothing_is_what_holds_no_secret():
    """Null, and what is empty, are shown as they are."""
    block: dict[str, Any] = {
        "env": {"A": None, "B": ""},
        "command": [],
        "labels": {},
        "task_definition": None,
    }
    assert shown(block, FIELDS) == block


def test_secrets_are_shown_by_their_arn_only():
    """Written in place of its ARN, a secret has another form."""
    arn = "arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:db-AbCdEf:password::"
    assert shown({"A": arn, "B": "hush", "C": f"{arn} hush"}, part(FIELDS, "secrets")) == {
        "A": arn,
        "B": HIDDEN,
        "C": HIDDEN,
    }


def test_prefects_own_commands_are_shown():
    """And no other."""
    own = ["python", "-m", "prefect.engine"]
    assert known_command(own) == own
    assert known_command(("prefect", "flow-run", "execute")) == ["prefect", "flow-run", "execute"]
    assert known_command([*own, "--token=hush"]) == HIDDEN
    assert known_command("python -m prefect.engine") == HIDDEN


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("TOKEN", "TOKEN"),
        ("TOKEN=hush", "TOKEN=***"),
        ("two\nlines", "***"),
        (["hush"], "***"),
    ],
)
def test_a_name_ends_at_its_equals_sign(value, expected):
    """``TOKEN=hush`` is how Docker writes a variable."""
    assert named(value) == expected


def test_a_number_is_no_text():
    """A password in place of a port is hidden; sizes with units are understood."""
    assert [number(v) for v in (8080, "8080", "2 GB", "0.5vCPU", True, "true")] == [
        8080,
        "8080",
        "2 GB",
        "0.5vCPU",
        True,
        "true",
    ]
    assert number("hush") == number([1]) == HIDDEN


def test_a_url_keeps_its_user_to_itself():
    """Wherever text may be shown."""
    assert plain("https://user:hush@registry/flows:1") == "https://***@registry/flows:1"
    assert without('"http://:hush@proxy:1"', ()) == '"http://***@proxy:1"'


def test_patches_show_what_their_place_may_show():
    """Paths are names."""
    patches: list[dict[str, Any]] = [
        {"op": "add", "path": "/group", "value": "nightly"},
        {"op": "replace", "path": "/overrides/containerOverrides/0/cpu", "value": 256},
        {"op": "add", "path": "/overrides/containerOverrides/0/environment/-", "value": "hush"},
        {
            "op": "add",
            "path": "/overrides/containerOverrides/0/environment/-",
            "value": {"name": "A", "value": "hush"},
        },
        {"op": "add", "path": "/overrides/containerOverrides/0/environment/0/value", "value": "h"},
        {"op": "add", "path": "/overrides/containerOverrides/cpu", "value": "hush"},
        {"op": "add", "path": "/new", "value": "hush"},
        {"op": "add", "path": "", "value": {"cluster": "etl", "new": "hush"}},
        {"op": "move", "from": "/cluster", "path": "/group"},
        {"op": "hush", "path": 7, "value": None, "new": "hush"},
    ]
    assert shown(patches, part(FIELDS, "task_customizations")) == [
        patches[0],
        patches[1],
        {**patches[2], "value": HIDDEN},
        {**patches[3], "value": {"name": "A", "value": HIDDEN}},
        {**patches[4], "value": HIDDEN},
        {**patches[5], "value": HIDDEN},
        {**patches[6], "value": HIDDEN},
        {**patches[7], "value": {"cluster": "etl", "new": HIDDEN}},
        patches[8],
        {"op": HIDDEN, "path": HIDDEN, "value": None, "new": HIDDEN},
    ]
    assert json_pointer("hush") == HIDDEN


# -- what others write ---------------------------------------------------------------------------

REQUESTED = {
    "cluster": "production",
    "overrides": {
        "containerOverrides": [
            {
                "name": "prefect",
                "command": ["run", "--password", 'say "hush"\n'],
                "environment": [
                    {"name": "A", "value": "correct horse"},
                    {"name": "B", "value": "prefect"},
                    {"name": "C", "value": "eu"},
                    {"name": "D", "value": "task"},
                    {"name": "PIN", "value": 271828},
                ],
            }
        ]
    },
}


def test_hidden_texts_are_those_that_are_shown_nowhere():
    """``prefect`` is the name of the container as well."""
    assert hidden_texts(REQUESTED, REQUEST) == {
        "run",
        "--password",
        'say "hush"\n',
        "correct horse",
        "eu",
        "task",
        "271828",
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Value 'correct horse' at 'x'", "Value '***' at 'x'"),
        ('exec: "say \\"hush\\"\\n"', 'exec: "***"'),
        ("['say \"hush\"\\n']", "['***']"),
        ('--password say "hush"\n.', "*** ***."),
        ("pin: 271828", "pin: ***"),
        ("the task of container 'prefect'", "the *** of container 'prefect'"),
        ("multitasking in the EU of Europe: eu", "multitasking in the EU of Europe: eu"),
    ],
)
def test_what_is_hidden_is_taken_out_of_a_text(written, expected):
    """However it is quoted; not out of the middle of words, unless it is long."""
    assert without(written, hidden_texts(REQUESTED, REQUEST)) == expected


# -- differences -----------------------------------------------------------------------------------


def test_paths_of_changes_end_where_nothing_may_be_shown():
    """The name of an item, too, may be anything there."""
    container = {
        "name": "prefect",
        "environment": [{"name": "A", "value": "hush"}, {"name": "B=hush", "value": "hush"}],
        "dockerLabels": {"team.name": "hush"},
        "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/x"}],
        "new": [{"name": "hush", "value": "hush"}],
    }
    definition = {"containerDefinitions": [container], "more": {"hush": {"name": "hush"}}}
    found = changes({"containerDefinitions": [{"name": "prefect"}]}, definition)
    prefix = "containerDefinitions.prefect"
    assert {change.path: change.after for change in found} == {
        f"{prefix}.dockerLabels.team.name": HIDDEN,
        f"{prefix}.environment.A.name": "A",
        f"{prefix}.environment.A.value": HIDDEN,
        f"{prefix}.environment.B=***.name": "B=***",
        f"{prefix}.environment.B=***.value": HIDDEN,
        f"{prefix}.mountPoints": [{"sourceVolume": "scratch", "containerPath": "/x"}],
        f"{prefix}.new": HIDDEN,
        "more": HIDDEN,
    }


def test_a_change_between_hidden_values_is_seen():
    """By its path alone."""
    one = {"containerDefinitions": [{"name": "prefect", "dockerLabels": {"a": "1"}}]}
    other = {"containerDefinitions": [{"name": "prefect", "dockerLabels": {"a": "2"}}]}
    assert differences(one, other) == ("containerDefinitions.prefect.dockerLabels.a",)
    (change,) = changes(one, other)
    assert (change.before, change.after) == (HIDDEN, HIDDEN)
