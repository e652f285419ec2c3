"""The canonical form of a task definition: one spelling for everything that means the same.

ECS describes a definition back in other words than it was given: it fills in defaults,
reorders unordered lists, normalises sizes and adds members of its own. The tables below say,
member by member, what ECS fills in and which lists have no order; ``canonical`` undoes it.

Sources: API_RegisterTaskDefinition and API_ContainerDefinition (defaults, "default is ..."),
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Docker label on the Prefect container that carries the fingerprint inside the revision.
FINGERPRINT_LABEL = "prefect-ecs-pinned.fingerprint"

#: What ECS adds when it describes a revision (API_TaskDefinition); no input of a registration.
DESCRIBED_ONLY = frozenset(
    {
        "taskDefinitionArn",
        "revision",
        "status",
        "requiresAttributes",
        "compatibilities",
        "registeredAt",
        "registeredBy",
        "deregisteredAt",
        "deleteRequestedAt",
    }
)

_ABSENT = object()


@dataclass(frozen=True)
class Member:
    """How ECS treats one member of a structure.

    Attributes:
        default: What ECS fills in when the member is left out.
        of: The table of the structure, or of the items of a list of structures.
        unordered: The list has no order: it is sorted by its canonical items.
    """

    default: Any = _ABSENT
    of: Table | None = None
    unordered: bool = False


Table = Mapping[str, Member]

_PLAIN = Member()
_FALSE = Member(default=False)


def _table(*plain: str, **members: Member) -> Table:
    return {**dict.fromkeys(plain, _PLAIN), **members}


def _structure(*plain: str, **members: Member) -> Member:
    return Member(of=_table(*plain, **members))


def _bag(*plain: str, **members: Member) -> Member:
    """A list of structures whose order has no meaning."""
    return Member(of=_table(*plain, **members), unordered=True)


def _list(*plain: str) -> Member:
    """A list of structures whose order has a meaning."""
    return Member(of=_table(*plain))


_SET = Member(unordered=True)
_NAME_VALUE = _bag("name", "value")
_SECRETS = _bag("name", "valueFrom")

CONTAINER: Table = _table(
    "name",
    "image",
    "memory",
    "memoryReservation",
    "entryPoint",
    "command",
    "startTimeout",
    "stopTimeout",
    "hostname",
    "user",
    "workingDirectory",
    "dnsServers",
    "dnsSearchDomains",
    "dockerLabels",
    "credentialSpecs",
    cpu=Member(default=0),
    essential=Member(default=True),
    environment=_NAME_VALUE,
    environmentFiles=_list("value", "type"),  # read from the top down: the order has a meaning
    secrets=_SECRETS,
    extraHosts=_list("hostname", "ipAddress"),
    repositoryCredentials=_structure("credentialsParameter"),
    links=_SET,
    portMappings=_bag(
        "containerPort",
        "hostPort",
        "name",
        "appProtocol",
        "containerPortRange",
        protocol=Member(default="tcp"),
    ),
    restartPolicy=_structure(
        "enabled", ignoredExitCodes=_SET, restartAttemptPeriod=Member(default=300)
    ),
    mountPoints=_bag("sourceVolume", "containerPath", readOnly=_FALSE),
    volumesFrom=_bag("sourceContainer", readOnly=_FALSE),
    linuxParameters=_structure(
        "sharedMemorySize",
        "maxSwap",
        "swappiness",
        capabilities=_structure(add=_SET, drop=_SET),
        devices=_bag("hostPath", "containerPath", permissions=_SET),
        initProcessEnabled=_FALSE,
        tmpfs=_bag("containerPath", "size", "mountOptions"),
    ),
    dependsOn=_bag("containerName", "condition"),
    versionConsistency=Member(default="enabled"),
    disableNetworking=_FALSE,
    privileged=_FALSE,
    readonlyRootFilesystem=_FALSE,
    dockerSecurityOptions=_SET,
    interactive=_FALSE,
    pseudoTerminal=_FALSE,
    ulimits=_bag("name", "softLimit", "hardLimit"),
    logConfiguration=_structure("logDriver", "options", secretOptions=_SECRETS),
    healthCheck=_structure(
        "command",
        "startPeriod",
        interval=Member(default=30),
        timeout=Member(default=5),
        retries=Member(default=3),
    ),
    systemControls=_bag("namespace", "value"),
    resourceRequirements=_bag(
        "value",
        "type",
        sharingStrategy=_structure(nvidiaMps=_structure("memory", "maxComputePercent")),
    ),
    firelensConfiguration=_structure("type", "options"),
)

TASK_DEFINITION: Table = _table(
    "family",
    "taskRoleArn",
    "executionRoleArn",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    trustedExecutionConfiguration=_structure("isolationMode", "attestationPolicy"),
    networkMode=Member(default="bridge"),
    containerDefinitions=Member(of=CONTAINER, unordered=True),
    volumes=_bag(
        "name",
        host=_structure("sourcePath"),
        s3filesVolumeConfiguration=_structure(
            "fileSystemArn", "rootDirectory", "transitEncryptionPort", "accessPointArn"
        ),
        fsxWindowsFileServerVolumeConfiguration=_structure(
            "fileSystemId",
            "rootDirectory",
            authorizationConfig=_structure("credentialsParameter", "domain"),
        ),
        dockerVolumeConfiguration=_structure(
            "driver", "driverOpts", "labels", autoprovision=_FALSE, scope=Member(default="task")
        ),
        efsVolumeConfiguration=_structure(
            "fileSystemId",
            "transitEncryptionPort",
            rootDirectory=Member(default="/"),
            transitEncryption=Member(default="DISABLED"),
            authorizationConfig=_structure("accessPointId", iam=Member(default="DISABLED")),
        ),
        configuredAtLaunch=_FALSE,
    ),
    placementConstraints=_bag("type", "expression"),
    requiresCompatibilities=_SET,
    tags=_bag("key", "value"),
    proxyConfiguration=_structure("containerName", properties=_NAME_VALUE, type=Member("APPMESH")),
    inferenceAccelerators=_bag("deviceName", "deviceType"),
    ephemeralStorage=_structure("sizeInGiB"),
    runtimePlatform=_structure("cpuArchitecture", "operatingSystemFamily"),
    enableFaultInjection=_FALSE,
)


def canonical(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical form of a definition that is to be registered, or that ECS described.

    A described definition (one with a ``taskDefinitionArn``) keeps only members that these
    tables know, so what AWS may add to its answers tomorrow makes no difference. In a
    definition that is to be registered, an unknown member counts unless it is empty.

    Args:
        definition: In the shape of RegisterTaskDefinition's request or of
            DescribeTaskDefinition's ``taskDefinition``. Not changed.

    Returns:
        A new definition, without our own label, without ECS's defaults, sizes as digits,
        unordered lists sorted, ``command`` and ``entryPoint`` as they were.
    """
    described = "taskDefinitionArn" in definition
    bare = {key: value for key, value in definition.items() if key not in DESCRIBED_ONLY}
    shared_ports = definition.get("networkMode") in ("awsvpc", "host")
    bare["containerDefinitions"] = [
        _without_filled_in(container, shared_ports)
        for container in definition.get("containerDefinitions") or []
    ]
    result = _canonical_structure(bare, TASK_DEFINITION, described)
    for size in ("cpu", "memory"):
        if size in result:
            result[size] = task_size(result[size])
    return result


def task_size(value: Any) -> str:
    """A task-level size in ECS's own digits: CPU units, or MiB of memory.

    ``1 vCPU`` is ``1024`` CPU units, ``2GB`` is ``2048`` MiB (API_RegisterTaskDefinition, "cpu"
    and "memory"). What cannot be read is returned as text, for ECS to judge.
    """
    text = str(value).strip()
    lowered = text.lower().replace(" ", "")
    for unit in ("vcpu", "gb"):
        if lowered.endswith(unit):
            try:
                return str(int(float(lowered.removesuffix(unit)) * 1024))
            except ValueError:
                return text
    return lowered if lowered.isdigit() else text


def _canonical_structure(
    value: Mapping[str, Any], table: Table, known_only: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, content in value.items():
        member = table.get(name)
        if member is None:
            if not known_only and not _is_empty(content) and content is not False and content != 0:
                result[name] = content
            continue
        content = _canonical_member(content, member, known_only)
        if not _is_empty(content) and content != member.default:
            result[name] = content
    return result


def _canonical_member(content: Any, member: Member, known_only: bool) -> Any:
    if isinstance(content, Mapping):
        if member.of is not None:
            return _canonical_structure(content, member.of, known_only)
        return dict(content)
    if isinstance(content, list | tuple):
        items = list(content)
        if (table := member.of) is not None:
            items = [
                _canonical_structure(i, table, known_only) if isinstance(i, Mapping) else i
                for i in items
            ]
        return sorted(items, key=_sort_key) if member.unordered else items
    return content


def _sort_key(item: Any) -> tuple[str, str]:
    """Order by content, whatever it is: names first, since they identify an item."""
    name = str(item.get("name", "")) if isinstance(item, Mapping) else ""
    return name, json.dumps(item, sort_keys=True, default=str)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, list | tuple | Mapping | str) and not value)


def _without_filled_in(container: Mapping[str, Any], shared_ports: bool) -> dict[str, Any]:
    """A container without our own label, and without the host ports that ECS fills in.

    It has to go before lists are sorted: ports 80 and 8080 would come in another order with a
    host port than without.
    """
    result = dict(container)
    if labels := container.get("dockerLabels"):
        result["dockerLabels"] = {k: v for k, v in labels.items() if k != FINGERPRINT_LABEL}
    if mappings := container.get("portMappings"):
        result["portMappings"] = [_without_host_port(m, shared_ports) for m in mappings]
    return result


def _without_host_port(mapping: Mapping[str, Any], shared_ports: bool) -> dict[str, Any]:
    filled_in = (0, mapping.get("containerPort")) if shared_ports else (0,)
    drop = mapping.get("hostPort") in filled_in
    return {name: value for name, value in mapping.items() if not (drop and name == "hostPort")}
