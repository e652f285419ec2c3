"""Every member of RegisterTaskDefinition.

What ECS fills in, which lists have no order, and where it is known from how ECS describes the
member back.

``known_from`` is the evidence, in short for a source below. Somebody has seen what was sent and
what was answered; the pairs are in ``tests/core/pairs.py``. A member without evidence may come
back in other words one day, so a difference in it alone is not proof that a revision is another
one (`core.compare`). A member that these tables do not have is not compared at all. The tables
are longer than other modules because the request is.

Sources of defaults: API_RegisterTaskDefinition and API_ContainerDefinition ("default is ..."),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

_TERRAFORM = "hashicorp/terraform-provider-aws: internal/service/ecs/"

#: Pairs of a configuration and of what the API answered for it.
PAIRS = _TERRAFORM + "container_definitions_test.go"

#: Acceptance tests against AWS: registered, described, and found to be equal.
ACCEPTED = _TERRAFORM + "task_definition_test.go"

#: Compared unchanged with what the API answers, for all users; what differs without a change is
#: reported within days (``reduce`` lists all that ever was).
COMPARED = _TERRAFORM + "container_definitions.go"

ROLES = "capitalone/Particle-Cloud-Framework#128, aws-actions/amazon-ecs-render-task-definition#19"
LABELS = "hashicorp/terraform-provider-aws#40216"  # acceptance tests of labels and versions
FAULTS = "hashicorp/terraform-provider-aws#41077"
STOP = "hashicorp/terraform-provider-aws#21861"
RESERVED = "aws/amazon-ecs-agent#2031"
INIT = "aws/amazon-ecs-cli#741"
TMPFS = "fabfuel/ecs-deploy#107"
DEPENDS = "fabfuel/ecs-deploy#125"
CONTROLS = "hashicorp/terraform-aws-consul-ecs#318"
FILES = "alchemy-run/alchemy#904"
CAPABILITIES = "braintrustdata/terraform-aws-braintrust-data-plane#335"
ORDER = "PrefectHQ/prefect#18306"
TAGS = "https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeTaskDefinition.html"

ABSENT = object()


@dataclass(frozen=True)
class Member:
    """How ECS treats one member of a structure.

    Attributes:
        default: What ECS fills in when the member is left out.
        of: The table of the structure, or of the items of a list of structures.
        unordered: The list has no order: it is sorted by its canonical items.
        kept_empty: The structure means something even if all in it is default.
        known_from: Where it is known from how ECS describes it back; empty when it is unknown. Of
            a structure, its members have it.
    """

    default: Any = ABSENT
    of: Table | None = None
    unordered: bool = False
    kept_empty: bool = False
    known_from: str = ""


Table = Mapping[str, Member]

_FALSE = Member(default=False)
_SET = Member(unordered=True)


def _known(source: str, *plain: str, **members: Member) -> Table:
    """Members of which a source shows how ECS describes them back."""
    table = {**dict.fromkeys(plain, Member()), **members}
    return {name: replace(member, known_from=source) for name, member in table.items()}


def _unknown(*plain: str, **members: Member) -> Table:
    """Members of which nobody has shown how ECS describes them back."""
    return {**dict.fromkeys(plain, Member()), **members}


def _structure(*tables: Table) -> Member:
    return Member(of={name: member for table in tables for name, member in table.items()})


def _bag(*tables: Table) -> Member:
    """A list of structures whose order has no meaning."""
    return replace(_structure(*tables), unordered=True)


#: A list of structures whose order has a meaning.
_list = _structure

_NAME_VALUE = _bag(_known(ORDER, "name", "value"))
_SECRETS = _bag(_known(ORDER, "name", "valueFrom"))

_PORT = _bag(
    _known(PAIRS, "containerPort", "hostPort", protocol=Member(default="tcp")),
    _known(COMPARED, "name", "appProtocol"),
    _unknown("containerPortRange"),
)
_LINUX_PARAMETERS = _structure(
    _known(INIT, initProcessEnabled=_FALSE),
    _known(COMPARED, "sharedMemorySize", "maxSwap", "swappiness"),
    {
        "capabilities": _structure(_known(CAPABILITIES, add=_SET, drop=_SET)),
        "devices": _bag(_known(COMPARED, "hostPath", "containerPath", permissions=_SET)),
        "tmpfs": _bag(_known(TMPFS, "containerPath", "size", "mountOptions")),
    },
)
_HEALTH_CHECK = _structure(
    _known(
        PAIRS,
        "command",
        interval=Member(default=30),
        timeout=Member(default=5),
        retries=Member(default=3),
    ),
    _known(COMPARED, "startPeriod"),
)
_RESOURCES = _bag(
    _known(ACCEPTED, "value", "type"),
    {
        "sharingStrategy": _structure(
            {"nvidiaMps": _structure(_unknown("memory", "maxComputePercent"))}
        )
    },
)

CONTAINER: Table = {
    **_known(
        PAIRS,
        "name",
        "image",
        "memory",
        "entryPoint",
        "command",
        "startTimeout",
        cpu=Member(default=0),
        essential=Member(default=True),
        links=_SET,
        dockerSecurityOptions=_SET,
    ),
    **_known(
        COMPARED,
        "hostname",
        "user",
        "workingDirectory",
        "dnsServers",
        "dnsSearchDomains",
        disableNetworking=_FALSE,
        privileged=_FALSE,
        readonlyRootFilesystem=_FALSE,
        interactive=_FALSE,
        pseudoTerminal=_FALSE,
    ),
    **_known(LABELS, "dockerLabels", versionConsistency=Member(default="enabled")),
    **_known(RESERVED, "memoryReservation"),
    **_known(STOP, "stopTimeout"),
    **_unknown("credentialSpecs"),
    "environment": _NAME_VALUE,
    # Read from the top down: the order has a meaning.
    "environmentFiles": _list(_known(FILES, "value", "type")),
    "secrets": _SECRETS,
    "extraHosts": _list(_known(PAIRS, "hostname", "ipAddress")),
    "repositoryCredentials": _structure(_known(COMPARED, "credentialsParameter")),
    "portMappings": _PORT,
    "restartPolicy": _structure(
        _unknown("enabled", ignoredExitCodes=_SET, restartAttemptPeriod=Member(default=300))
    ),
    "mountPoints": _bag(_known(PAIRS, "sourceVolume", "containerPath", readOnly=_FALSE)),
    "volumesFrom": _bag(_known(PAIRS, "sourceContainer", readOnly=_FALSE)),
    "linuxParameters": _LINUX_PARAMETERS,
    "dependsOn": _bag(_known(DEPENDS, "containerName", "condition")),
    "ulimits": _bag(_known(PAIRS, "name", "softLimit", "hardLimit")),
    "logConfiguration": _structure(
        _known(PAIRS, "logDriver", "options"), {"secretOptions": _SECRETS}
    ),
    "healthCheck": _HEALTH_CHECK,
    "systemControls": _bag(_known(CONTROLS, "namespace", "value")),
    "resourceRequirements": _RESOURCES,
    "firelensConfiguration": _structure(_known(COMPARED, "type", "options")),
}

_VOLUME = _bag(
    _known(ACCEPTED, "name", configuredAtLaunch=_FALSE),
    {
        "host": _structure(_known(ACCEPTED, "sourcePath")),
        "s3filesVolumeConfiguration": _structure(
            _unknown("fileSystemArn", "rootDirectory", "transitEncryptionPort", "accessPointArn")
        ),
        "fsxWindowsFileServerVolumeConfiguration": _structure(
            _known(ACCEPTED, "fileSystemId", "rootDirectory"),
            {"authorizationConfig": _structure(_known(ACCEPTED, "credentialsParameter", "domain"))},
        ),
        # A volume of Docker's, and not a directory of the host.
        "dockerVolumeConfiguration": replace(
            _structure(
                _known(
                    ACCEPTED,
                    "driver",
                    "driverOpts",
                    "labels",
                    autoprovision=_FALSE,
                    scope=Member(default="task"),
                )
            ),
            kept_empty=True,
        ),
        "efsVolumeConfiguration": _structure(
            _known(
                ACCEPTED,
                "fileSystemId",
                "transitEncryptionPort",
                rootDirectory=Member(default="/"),
                transitEncryption=Member(default="DISABLED"),
            ),
            {
                "authorizationConfig": _structure(
                    _known(ACCEPTED, "accessPointId", iam=Member(default="DISABLED"))
                )
            },
        ),
    },
)

TASK_DEFINITION: Table = {
    **_known(
        ACCEPTED,
        "family",
        "cpu",
        "memory",
        "pidMode",
        "ipcMode",
        networkMode=Member(default="bridge"),
        requiresCompatibilities=_SET,
    ),
    **_known(ROLES, "taskRoleArn", "executionRoleArn"),
    **_known(FAULTS, enableFaultInjection=_FALSE),
    "containerDefinitions": Member(of=CONTAINER, unordered=True),
    "volumes": _VOLUME,
    "placementConstraints": _bag(_known(ACCEPTED, "type", "expression")),
    # Next to the definition, and only when asked for; compared apart from it (`core.compare`).
    "tags": _bag(_known(TAGS, "key", "value")),
    "proxyConfiguration": _structure(
        _known(ACCEPTED, "containerName", type=Member("APPMESH")),
        {"properties": _NAME_VALUE},
    ),
    "inferenceAccelerators": _bag(_known(ACCEPTED, "deviceName", "deviceType")),
    "ephemeralStorage": _structure(_known(ACCEPTED, "sizeInGiB")),
    "runtimePlatform": _structure(_known(ACCEPTED, "cpuArchitecture", "operatingSystemFamily")),
    "trustedExecutionConfiguration": _structure(_unknown("isolationMode", "attestationPolicy")),
}
