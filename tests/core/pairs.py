"""What was sent to RegisterTaskDefinition, and what ECS answers: a pair for each of its members.

Each pair names the members that it is evidence for, and where it was seen; `core.members` has the
same note beside the member. Values are changed where they would identify somebody. Members of which
nobody has shown a pair are in `UNSEEN`, with what could be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect_ecs_pinned.core import members as known

ROLE = "arn:aws:iam::123456789012:role/{}"

Structure = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """One pair.

    Attributes:
        source: Where it is known from.
        covers: Dotted paths within the request.
        sent: Members of the request, or of its container ``prefect``.
        answered: What ECS describes of them.
        of_container: They are a container's.
    """

    source: str
    covers: tuple[str, ...]
    sent: Structure
    answered: Structure
    of_container: bool

    def request(self) -> Structure:
        return self._whole(self.sent, {})

    def answer(self) -> Structure:
        arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/f:1"
        return self._whole(self.answered, {"taskDefinitionArn": arn, "revision": 1})

    def _whole(self, members: Structure, more: Structure) -> Structure:
        container = {"name": "prefect", "image": "flows:1"}
        if self.of_container:
            container, members = {**container, **members}, {}
        return {"family": "f", "containerDefinitions": [container], **members, **more}


def container(
    source: str, *covers: str, sent: Structure, answered: Structure | None = None
) -> Pair:
    paths = tuple(f"containerDefinitions.{path}" for path in covers)
    return Pair(source, paths, sent, sent if answered is None else answered, True)


def task(source: str, *covers: str, sent: Structure, answered: Structure | None = None) -> Pair:
    return Pair(source, covers, sent, sent if answered is None else answered, False)


SEEN = (
    # -- containers ------------------------------------------------------------------------------
    container(
        known.PAIRS,
        *("name", "image", "memory", "cpu", "essential", "links", "command", "entryPoint"),
        sent={
            "name": "wordpress",
            "image": "wordpress",
            "links": ["mysql", "cache"],
            "essential": False,
            "memory": 500,
            "cpu": 10,
            "command": ["sleep", "360"],
            "entryPoint": ["sh", "-c"],
        },
        answered={
            "name": "wordpress",
            "image": "wordpress",
            "cpu": 10,
            "memory": 500,
            "links": ["cache", "mysql"],
            "portMappings": [],
            "essential": False,
            "command": ["sleep", "360"],
            "entryPoint": ["sh", "-c"],
            "environment": [],
            "mountPoints": [],
            "volumesFrom": [],
        },
    ),
    container(  # what is left out
        known.PAIRS,
        *("cpu", "essential"),
        sent={"memory": 100},
        answered={"memory": 100, "cpu": 0, "essential": True, "environment": []},
    ),
    container(
        known.PAIRS,
        *("portMappings.containerPort", "portMappings.hostPort", "portMappings.protocol"),
        sent={
            "portMappings": [
                {"containerPort": 80},
                {"containerPort": 81, "hostPort": 8081, "protocol": "udp"},
            ]
        },
        answered={
            "portMappings": [
                {"containerPort": 81, "hostPort": 8081, "protocol": "udp"},
                {"containerPort": 80, "hostPort": 0, "protocol": "tcp"},
            ]
        },
    ),
    container(
        known.COMPARED,
        *("portMappings.name", "portMappings.appProtocol"),
        sent={"portMappings": [{"containerPort": 80, "name": "http", "appProtocol": "http2"}]},
    ),
    container(
        known.ORDER,
        *("environment.name", "environment.value", "secrets.name", "secrets.valueFrom"),
        sent={
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "secrets": [{"name": "C", "valueFrom": "c"}, {"name": "D", "valueFrom": "d"}],
        },
        answered={
            "environment": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
            "secrets": [{"name": "D", "valueFrom": "d"}, {"name": "C", "valueFrom": "c"}],
        },
    ),
    container(
        known.PAIRS,
        *("extraHosts.hostname", "extraHosts.ipAddress", "dockerSecurityOptions"),
        *("mountPoints.sourceVolume", "mountPoints.containerPath", "mountPoints.readOnly"),
        *("volumesFrom.sourceContainer", "volumesFrom.readOnly"),
        *("ulimits.name", "ulimits.softLimit", "ulimits.hardLimit"),
        sent={
            "extraHosts": [
                {"hostname": "host1", "ipAddress": "127.0.0.1"},
                {"hostname": "host2", "ipAddress": "127.0.0.2"},
            ],
            "mountPoints": [
                {"sourceVolume": "vol1", "containerPath": "/vol1"},
                {"sourceVolume": "vol2", "containerPath": "/vol2", "readOnly": True},
            ],
            "volumesFrom": [
                {"sourceContainer": "container1"},
                {"sourceContainer": "container2", "readOnly": True},
            ],
            "ulimits": [
                {"name": "core", "softLimit": 10, "hardLimit": 20},
                {"name": "cpu", "softLimit": 11, "hardLimit": 21},
            ],
            "dockerSecurityOptions": ["label:one", "label:two"],
        },
        answered={
            "dockerSecurityOptions": ["label:one", "label:two"],
            "extraHosts": [
                {"hostname": "host1", "ipAddress": "127.0.0.1"},
                {"hostname": "host2", "ipAddress": "127.0.0.2"},
            ],
            "mountPoints": [
                {"containerPath": "/vol1", "sourceVolume": "vol1", "readOnly": False},
                {"containerPath": "/vol2", "sourceVolume": "vol2", "readOnly": True},
            ],
            "volumesFrom": [
                {"sourceContainer": "container1", "readOnly": None},
                {"sourceContainer": "container2", "readOnly": True},
            ],
            "ulimits": [
                {"hardLimit": 20, "name": "core", "softLimit": 10},
                {"hardLimit": 21, "name": "cpu", "softLimit": 11},
            ],
        },
    ),
    container(
        known.PAIRS,
        *("healthCheck.command", "healthCheck.interval", "healthCheck.timeout"),
        *("healthCheck.retries", "startTimeout"),
        *("logConfiguration.logDriver", "logConfiguration.options"),
        sent={
            "healthCheck": {
                "command": ["CMD-SHELL", "true"],
                "interval": 30,
                "retries": 3,
                "timeout": 5,
            },
            "startTimeout": 10,
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {"awslogs-group": "flows", "awslogs-region": "us-east-1"},
            },
        },
        answered={
            "healthCheck": {
                "command": ["CMD-SHELL", "true"],
                "interval": 30,
                "retries": 3,
                "timeout": 5,
            },
            "startTimeout": 10,
            "logConfiguration": {
                "logDriver": "awslogs",
                "secretOptions": [],
                "options": {"awslogs-region": "us-east-1", "awslogs-group": "flows"},
            },
            "systemControls": [],
        },
    ),
    container(
        known.PAIRS,
        *("healthCheck.interval", "healthCheck.timeout", "healthCheck.retries"),
        sent={"healthCheck": {"command": ["CMD"]}},
        answered={"healthCheck": {"command": ["CMD"], "interval": 30, "retries": 3, "timeout": 5}},
    ),
    container(
        known.ORDER,
        *("logConfiguration.secretOptions.name", "logConfiguration.secretOptions.valueFrom"),
        sent={
            "logConfiguration": {
                "logDriver": "splunk",
                "secretOptions": [
                    {"name": "splunk-token", "valueFrom": "t"},
                    {"name": "splunk-url", "valueFrom": "u"},
                ],
            }
        },
        answered={
            "logConfiguration": {
                "logDriver": "splunk",
                "options": {},
                "secretOptions": [
                    {"name": "splunk-url", "valueFrom": "u"},
                    {"name": "splunk-token", "valueFrom": "t"},
                ],
            }
        },
    ),
    container(
        known.COMPARED,
        *("healthCheck.startPeriod", "hostname", "user", "workingDirectory", "dnsServers"),
        *("dnsSearchDomains", "disableNetworking", "privileged", "readonlyRootFilesystem"),
        *("interactive", "pseudoTerminal", "repositoryCredentials.credentialsParameter"),
        *("firelensConfiguration.type", "firelensConfiguration.options"),
        sent={
            "healthCheck": {"command": ["CMD"], "startPeriod": 10},
            "hostname": "hostname",
            "user": "1000",
            "workingDirectory": "/app",
            "dnsServers": ["10.0.0.2", "10.0.0.1"],
            "dnsSearchDomains": ["example.org", "example.com"],
            "disableNetworking": True,
            "privileged": True,
            "readonlyRootFilesystem": True,
            "interactive": True,
            "pseudoTerminal": True,
            "repositoryCredentials": {"credentialsParameter": "credentials"},
            "firelensConfiguration": {
                "type": "fluentbit",
                "options": {"enable-ecs-log-metadata": "true"},
            },
        },
    ),
    container(
        known.COMPARED,
        *("disableNetworking", "privileged", "readonlyRootFilesystem", "interactive"),
        *("pseudoTerminal", "hostname", "user", "workingDirectory"),
        sent={},
        answered={
            "disableNetworking": None,
            "privileged": False,
            "readonlyRootFilesystem": None,
            "interactive": None,
            "pseudoTerminal": None,
            "hostname": None,
            "user": None,
            "workingDirectory": None,
        },
    ),
    container(
        known.LABELS,
        *("dockerLabels", "versionConsistency"),
        sent={"dockerLabels": {"Team": "data", "empty": ""}, "versionConsistency": "disabled"},
    ),
    container(
        known.LABELS, "versionConsistency", sent={"versionConsistency": "enabled"}, answered={}
    ),
    container(
        known.RESERVED,
        "memoryReservation",
        sent={"memoryReservation": 717},
        answered={"memory": None, "memoryReservation": 717, "cpu": 0, "mountPoints": []},
    ),
    container(known.STOP, "stopTimeout", sent={"stopTimeout": 5}),
    container(
        known.FILES,
        *("environmentFiles.value", "environmentFiles.type"),
        sent={"environmentFiles": [{"value": "arn:aws:s3:::bucket/app.env", "type": "s3"}]},
    ),
    container(
        known.INIT,
        "linuxParameters.initProcessEnabled",
        sent={"linuxParameters": {"initProcessEnabled": True}},
        answered={
            "linuxParameters": {
                "capabilities": {"add": None, "drop": None},
                "sharedMemorySize": None,
                "tmpfs": None,
                "devices": [],
                "initProcessEnabled": True,
            }
        },
    ),
    container(
        known.CAPABILITIES,
        *("linuxParameters.capabilities.add", "linuxParameters.capabilities.drop"),
        sent={"linuxParameters": {"capabilities": {"drop": ["ALL"]}}},
        answered={"linuxParameters": {"capabilities": {"add": [], "drop": ["ALL"]}}},
    ),
    container(
        known.PAIRS,
        "linuxParameters.capabilities.add",
        sent={"linuxParameters": {"capabilities": {"add": ["AUDIT_CONTROL", "AUDIT_WRITE"]}}},
    ),
    container(
        known.TMPFS,
        *("linuxParameters.tmpfs.containerPath", "linuxParameters.tmpfs.size"),
        "linuxParameters.tmpfs.mountOptions",
        sent={
            "linuxParameters": {
                "tmpfs": [{"containerPath": "/test/path", "size": 1, "mountOptions": ["rw"]}]
            }
        },
        answered={
            "linuxParameters": {
                "capabilities": None,
                "sharedMemorySize": None,
                "tmpfs": [{"mountOptions": ["rw"], "containerPath": "/test/path", "size": 1}],
                "devices": None,
                "initProcessEnabled": None,
            }
        },
    ),
    container(
        known.COMPARED,
        *("linuxParameters.sharedMemorySize", "linuxParameters.maxSwap"),
        *("linuxParameters.swappiness", "linuxParameters.devices.hostPath"),
        *("linuxParameters.devices.containerPath", "linuxParameters.devices.permissions"),
        sent={
            "linuxParameters": {
                "sharedMemorySize": 64,
                "maxSwap": 1024,
                "swappiness": 75,
                "devices": [
                    {
                        "hostPath": "/dev/y",
                        "containerPath": "/dev/x",
                        "permissions": ["read", "write"],
                    }
                ],
            }
        },
    ),
    container(
        known.DEPENDS,
        *("dependsOn.containerName", "dependsOn.condition"),
        sent={"dependsOn": [{"containerName": "runtime", "condition": "START"}]},
    ),
    container(
        known.CONTROLS,
        *("systemControls.namespace", "systemControls.value"),
        sent={"systemControls": [{"namespace": "net.core.somaxconn", "value": "1024"}]},
    ),
    container(known.CONTROLS, "systemControls.namespace", sent={}, answered={"systemControls": []}),
    container(
        known.ACCEPTED,
        *("resourceRequirements.value", "resourceRequirements.type"),
        sent={"resourceRequirements": [{"type": "InferenceAccelerator", "value": "device_1"}]},
    ),
    # -- the task --------------------------------------------------------------------------------
    task(
        known.ROLES,
        *("taskRoleArn", "executionRoleArn"),
        sent={"taskRoleArn": "flows", "executionRoleArn": "ecsTaskExecutionRole"},
        answered={
            "taskRoleArn": ROLE.format("flows"),
            "executionRoleArn": ROLE.format("ecsTaskExecutionRole"),
        },
    ),
    task(
        known.ACCEPTED,
        *("taskRoleArn", "executionRoleArn", "family", "networkMode", "pidMode", "ipcMode"),
        sent={
            "taskRoleArn": ROLE.format("test/flows"),
            "family": "Tf-acc--Test_",
            "networkMode": "host",
            "pidMode": "host",
            "ipcMode": "host",
        },
        answered={
            "taskRoleArn": ROLE.format("test/flows"),
            "family": "Tf-acc--Test_",
            "networkMode": "host",
            "pidMode": "host",
            "ipcMode": "host",
            "placementConstraints": [],
            "volumes": [],
        },
    ),
    task(
        known.ACCEPTED,
        "networkMode",
        sent={},
        answered={"networkMode": "bridge", "volumes": [], "placementConstraints": []},
    ),
    task(
        known.ACCEPTED,
        *("requiresCompatibilities", "cpu", "memory", "ephemeralStorage.sizeInGiB"),
        *("runtimePlatform.cpuArchitecture", "runtimePlatform.operatingSystemFamily"),
        sent={
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE", "EC2"],
            "cpu": ".25 vCPU",
            "memory": "0.5 GB",
            "ephemeralStorage": {"sizeInGiB": 30},
            "runtimePlatform": {
                "cpuArchitecture": "X86_64",
                "operatingSystemFamily": "WINDOWS_SERVER_2019_CORE",
            },
        },
        answered={
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["EC2", "FARGATE"],
            "compatibilities": ["EC2", "FARGATE"],
            "cpu": "256",
            "memory": "512",
            "ephemeralStorage": {"sizeInGiB": 30},
            "runtimePlatform": {
                "operatingSystemFamily": "WINDOWS_SERVER_2019_CORE",
                "cpuArchitecture": "X86_64",
            },
        },
    ),
    task(
        known.ACCEPTED,
        *("placementConstraints.type", "placementConstraints.expression"),
        *("inferenceAccelerators.deviceName", "inferenceAccelerators.deviceType"),
        *("proxyConfiguration.containerName", "proxyConfiguration.type"),
        sent={
            "placementConstraints": [{"type": "memberOf", "expression": "attribute:x in [a, b]"}],
            "inferenceAccelerators": [{"deviceName": "device_1", "deviceType": "eia1.medium"}],
            "proxyConfiguration": {"containerName": "web", "type": "APPMESH"},
        },
        answered={
            "placementConstraints": [{"type": "memberOf", "expression": "attribute:x in [a, b]"}],
            "inferenceAccelerators": [{"deviceName": "device_1", "deviceType": "eia1.medium"}],
            "proxyConfiguration": {"containerName": "web", "type": "APPMESH", "properties": []},
        },
    ),
    task(
        known.ORDER,
        *("proxyConfiguration.properties.name", "proxyConfiguration.properties.value"),
        sent={
            "proxyConfiguration": {
                "containerName": "web",
                "properties": [
                    {"name": "IgnoredUID", "value": "1337"},
                    {"name": "AppPorts", "value": "80"},
                ],
            }
        },
        answered={
            "proxyConfiguration": {
                "containerName": "web",
                "type": "APPMESH",
                "properties": [
                    {"name": "AppPorts", "value": "80"},
                    {"name": "IgnoredUID", "value": "1337"},
                ],
            }
        },
    ),
    task(
        known.ACCEPTED,
        *("volumes.name", "volumes.host.sourcePath", "volumes.configuredAtLaunch"),
        sent={
            "volumes": [
                {"name": "scratch"},
                {"name": "home", "host": {"sourcePath": "/ecs/home"}},
                {"name": "late", "configuredAtLaunch": True},
            ]
        },
        answered={
            "volumes": [
                {"name": "late", "configuredAtLaunch": True},
                {"name": "home", "host": {"sourcePath": "/ecs/home"}, "configuredAtLaunch": False},
                {"name": "scratch", "host": {}},
            ]
        },
    ),
    task(
        known.ACCEPTED,
        *(
            f"volumes.dockerVolumeConfiguration.{name}"
            for name in ("driver", "driverOpts", "labels", "autoprovision", "scope")
        ),
        sent={
            "volumes": [
                {
                    "name": "docker",
                    "dockerVolumeConfiguration": {
                        "driver": "local",
                        "scope": "shared",
                        "driverOpts": {"device": "tmpfs", "uid": "1000"},
                        "labels": {"stack": "april"},
                        "autoprovision": True,
                    },
                },
                {"name": "task", "dockerVolumeConfiguration": {"driver": "local"}},
            ]
        },
        answered={
            "volumes": [
                {
                    "name": "docker",
                    "dockerVolumeConfiguration": {
                        "scope": "shared",
                        "autoprovision": True,
                        "driver": "local",
                        "driverOpts": {"uid": "1000", "device": "tmpfs"},
                        "labels": {"stack": "april"},
                    },
                },
                {
                    "name": "task",
                    "dockerVolumeConfiguration": {"driver": "local", "scope": "task"},
                },
            ]
        },
    ),
    task(
        known.ACCEPTED,
        *(
            f"volumes.efsVolumeConfiguration.{name}"
            for name in (
                *("fileSystemId", "rootDirectory", "transitEncryption", "transitEncryptionPort"),
                *("authorizationConfig.accessPointId", "authorizationConfig.iam"),
            )
        ),
        sent={
            "volumes": [
                {
                    "name": "efs",
                    "efsVolumeConfiguration": {
                        "fileSystemId": "fs-1",
                        "transitEncryption": "ENABLED",
                        "transitEncryptionPort": 2999,
                        "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
                    },
                },
                {
                    "name": "plain",
                    "efsVolumeConfiguration": {
                        "fileSystemId": "fs-2",
                        "rootDirectory": "/home/test",
                        "transitEncryption": "DISABLED",
                        "authorizationConfig": {"iam": "DISABLED"},
                    },
                },
            ]
        },
        answered={
            "volumes": [
                {
                    "name": "efs",
                    "efsVolumeConfiguration": {
                        "fileSystemId": "fs-1",
                        "rootDirectory": "/",
                        "transitEncryption": "ENABLED",
                        "transitEncryptionPort": 2999,
                        "authorizationConfig": {"accessPointId": "fsap-1", "iam": "ENABLED"},
                    },
                },
                {
                    "name": "plain",
                    "efsVolumeConfiguration": {
                        "fileSystemId": "fs-2",
                        "rootDirectory": "/home/test",
                    },
                },
            ]
        },
    ),
    task(
        known.ACCEPTED,
        *(
            f"volumes.fsxWindowsFileServerVolumeConfiguration.{name}"
            for name in (
                *("fileSystemId", "rootDirectory"),
                *("authorizationConfig.credentialsParameter", "authorizationConfig.domain"),
            )
        ),
        sent={
            "volumes": [
                {
                    "name": "fsx",
                    "fsxWindowsFileServerVolumeConfiguration": {
                        "fileSystemId": "fs-3",
                        "rootDirectory": "\\data",
                        "authorizationConfig": {
                            "credentialsParameter": "arn:aws:secretsmanager:…",
                            "domain": "example.com",
                        },
                    },
                }
            ]
        },
    ),
    task(known.FAULTS, "enableFaultInjection", sent={"enableFaultInjection": True}),
    task(known.FAULTS, "enableFaultInjection", sent={}, answered={"enableFaultInjection": False}),
    task(
        known.TAGS,
        *("tags.key", "tags.value"),
        sent={"tags": [{"key": "team", "value": "data"}]},
        answered={"tags": [{"key": "team", "value": "data"}, {"key": "cost", "value": "42"}]},
    ),
)

#: What could be sent of the members of which nobody has shown how ECS describes them back.
UNSEEN = (
    container(
        "",
        "portMappings.containerPortRange",
        sent={"portMappings": [{"containerPortRange": "1-9"}]},
    ),
    container(
        "",
        *("restartPolicy.enabled", "restartPolicy.ignoredExitCodes"),
        "restartPolicy.restartAttemptPeriod",
        sent={
            "restartPolicy": {
                "enabled": True,
                "ignoredExitCodes": [0],
                "restartAttemptPeriod": 180,
            }
        },
    ),
    container("", "credentialSpecs", sent={"credentialSpecs": ["credentialspec:file://x.json"]}),
    container(
        "",
        "resourceRequirements.sharingStrategy.nvidiaMps.memory",
        "resourceRequirements.sharingStrategy.nvidiaMps.maxComputePercent",
        sent={
            "resourceRequirements": [
                {
                    "type": "GPU",
                    "value": "1",
                    "sharingStrategy": {"nvidiaMps": {"memory": 512, "maxComputePercent": 50}},
                }
            ]
        },
    ),
    task(
        "",
        *(
            f"volumes.s3filesVolumeConfiguration.{name}"
            for name in (
                *("fileSystemArn", "rootDirectory", "transitEncryptionPort", "accessPointArn"),
            )
        ),
        sent={
            "volumes": [
                {
                    "name": "s3",
                    "s3filesVolumeConfiguration": {
                        "fileSystemArn": "arn:aws:s3files:us-east-1:123456789012:file-system/fs-1",
                        "rootDirectory": "/data",
                        "transitEncryptionPort": 2049,
                        "accessPointArn": "arn:aws:s3files:us-east-1:123456789012:access-point/a",
                    },
                }
            ]
        },
    ),
    task(
        "",
        *(
            "trustedExecutionConfiguration.isolationMode",
            "trustedExecutionConfiguration.attestationPolicy",
        ),
        sent={
            "trustedExecutionConfiguration": {
                "isolationMode": "ISOLATED_SANDBOX",
                "attestationPolicy": "policy",
            }
        },
    ),
)
