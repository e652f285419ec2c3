"""The members of a definition and a request whose values may be shown, and some of a block's.

Those of a run's spec, and of the fields of the same names, are in `runs.spec`.

A member is listed because its values are identifiers, sizes, or words that AWS lists, and because
somebody who reads a plan or a log needs them. Left out, and so hidden (`core.shown`), is what
people are known to put secrets into, or may: values of variables, labels, tags and options,
commands and health checks, hosts, and references that are no ARN. One table, so it is longer than
other modules.

Members: API_RegisterTaskDefinition, API_ContainerDefinition, API_RunTask, API_TaskOverride.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect_ecs_pinned.core.shown import Rule, arn, known_command, named, number, plain

_NAMED: Rule = [{"name": named}]  # of a variable or a property; not its value
_TAGS: Rule = [{"key": named}]
_SECRETS: Rule = [{"name": named, "valueFrom": arn}]
_FILES: Rule = [{"value": arn, "type": plain}]
NAMES_ONLY: Rule = {}

_RESOURCES: Rule = [
    {
        "type": plain,
        "value": plain,
        "sharingStrategy": {"nvidiaMps": {"memory": number, "maxComputePercent": number}},
    }
]

#: Options of log drivers. Others hold tokens (``splunk-token``) and URLs with passwords in them.
#: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_LogConfiguration.html
LOG_OPTIONS: Rule = {
    "awslogs-create-group": plain,
    "awslogs-datetime-format": plain,
    "awslogs-group": plain,
    "awslogs-multiline-pattern": plain,
    "awslogs-region": plain,
    "awslogs-stream-prefix": plain,
    "max-buffer-size": plain,
    "max-file": plain,
    "max-size": plain,
    "mode": plain,
}

_CONTAINER: Rule = {
    "name": plain,
    "image": plain,
    "cpu": number,
    "memory": number,
    "memoryReservation": number,
    "essential": number,
    "command": known_command,
    "environment": _NAMED,
    "environmentFiles": _FILES,
    "secrets": _SECRETS,
    "repositoryCredentials": {"credentialsParameter": arn},
    "links": [plain],
    "portMappings": [
        {
            "name": plain,
            "containerPort": number,
            "containerPortRange": plain,
            "hostPort": number,
            "protocol": plain,
            "appProtocol": plain,
        }
    ],
    "restartPolicy": {
        "enabled": number,
        "ignoredExitCodes": [number],
        "restartAttemptPeriod": number,
    },
    "mountPoints": [{"sourceVolume": plain, "containerPath": plain, "readOnly": number}],
    "volumesFrom": [{"sourceContainer": plain, "readOnly": number}],
    "linuxParameters": {
        "capabilities": {"add": [plain], "drop": [plain]},
        "devices": [{"hostPath": plain, "containerPath": plain, "permissions": [plain]}],
        "initProcessEnabled": number,
        "maxSwap": number,
        "sharedMemorySize": number,
        "swappiness": number,
        "tmpfs": [{"containerPath": plain, "size": number, "mountOptions": [plain]}],
    },
    "dependsOn": [{"containerName": plain, "condition": plain}],
    "startTimeout": number,
    "stopTimeout": number,
    "versionConsistency": plain,
    "user": plain,
    "workingDirectory": plain,
    "disableNetworking": number,
    "privileged": number,
    "readonlyRootFilesystem": number,
    "interactive": number,
    "pseudoTerminal": number,
    "dockerLabels": NAMES_ONLY,
    "ulimits": [{"name": plain, "softLimit": number, "hardLimit": number}],
    "logConfiguration": {
        "logDriver": plain,
        "options": LOG_OPTIONS,
        "secretOptions": _SECRETS,
    },
    "healthCheck": {
        "interval": number,
        "timeout": number,
        "retries": number,
        "startPeriod": number,
    },
    "systemControls": [{"namespace": plain}],
    "resourceRequirements": _RESOURCES,
    "firelensConfiguration": {"type": plain, "options": {"enable-ecs-log-metadata": plain}},
}

_VOLUME: Rule = {
    "name": plain,
    "configuredAtLaunch": number,
    "host": {"sourcePath": plain},
    "dockerVolumeConfiguration": {
        "scope": plain,
        "autoprovision": number,
        "driver": plain,
        "driverOpts": NAMES_ONLY,
        "labels": NAMES_ONLY,
    },
    "efsVolumeConfiguration": {
        "fileSystemId": plain,
        "rootDirectory": plain,
        "transitEncryption": plain,
        "transitEncryptionPort": number,
        "authorizationConfig": {"accessPointId": plain, "iam": plain},
    },
    "fsxWindowsFileServerVolumeConfiguration": {
        "fileSystemId": plain,
        "rootDirectory": plain,
        "authorizationConfig": {"credentialsParameter": arn},
    },
    "s3filesVolumeConfiguration": {
        "fileSystemArn": arn,
        "accessPointArn": arn,
        "rootDirectory": plain,
        "transitEncryptionPort": number,
    },
}

#: Of a definition to register, or as ECS describes it.
DEFINITION: Rule = {
    "family": plain,
    "taskRoleArn": plain,
    "executionRoleArn": plain,
    "cpu": plain,
    "memory": plain,
    "networkMode": plain,
    "pidMode": plain,
    "ipcMode": plain,
    "containerDefinitions": [_CONTAINER],
    "volumes": [_VOLUME],
    "placementConstraints": [{"type": plain, "expression": plain}],
    "requiresCompatibilities": [plain],
    "tags": _TAGS,
    "proxyConfiguration": {"type": plain, "containerName": plain, "properties": _NAMED},
    "inferenceAccelerators": [{"deviceName": plain, "deviceType": plain}],
    "ephemeralStorage": {"sizeInGiB": number},
    "runtimePlatform": {"cpuArchitecture": plain, "operatingSystemFamily": plain},
    "enableFaultInjection": number,
    "trustedExecutionConfiguration": {"isolationMode": plain},
    # What ECS adds when it describes one (API_TaskDefinition).
    "taskDefinitionArn": plain,
    "revision": number,
    "status": plain,
    "compatibilities": [plain],
    "registeredAt": plain,
    "registeredBy": plain,
}

STRATEGY: Rule = [{"capacityProvider": plain, "weight": number, "base": number}]

#: Of RunTask's parameters.
REQUEST: Rule = {
    "taskDefinition": plain,
    "cluster": plain,
    "count": number,
    "launchType": plain,
    "capacityProviderStrategy": STRATEGY,
    "platformVersion": plain,
    "group": plain,
    "startedBy": plain,
    "propagateTags": plain,
    "enableECSManagedTags": number,
    "enableExecuteCommand": number,
    "networkConfiguration": {
        "awsvpcConfiguration": {
            "subnets": [plain],
            "securityGroups": [plain],
            "assignPublicIp": plain,
        }
    },
    "overrides": {
        "cpu": plain,
        "memory": plain,
        "executionRoleArn": plain,
        "taskRoleArn": plain,
        "ephemeralStorage": {"sizeInGiB": number},
        "inferenceAcceleratorOverrides": [{"deviceName": plain, "deviceType": plain}],
        "containerOverrides": [
            {
                "name": plain,
                "cpu": number,
                "memory": number,
                "memoryReservation": number,
                "command": known_command,
                "environment": _NAMED,
                "environmentFiles": _FILES,
                "resourceRequirements": _RESOURCES,
            }
        ],
    },
    "placementConstraints": [{"type": plain, "expression": plain}],
    "placementStrategy": [{"type": plain, "field": plain}],
    "tags": _TAGS,
    "volumeConfigurations": [
        {
            "name": plain,
            "managedEBSVolume": {
                "encrypted": number,
                "filesystemType": plain,
                "iops": number,
                "roleArn": plain,
                "sizeInGiB": number,
                "snapshotId": plain,
                "tagSpecifications": [
                    {"resourceType": plain, "propagateTags": plain, "tags": _TAGS}
                ],
                "terminationPolicy": {"deleteOnTermination": number},
                "throughput": number,
                "volumeInitializationRate": number,
                "volumeType": plain,
            },
        }
    ],
}

#: Of a block's fields that a run's spec does not have (`runs.spec`), those of `ECSTask` included.
OF_BLOCKS: Mapping[str, Rule] = {
    "type": plain,
    "block_type_slug": plain,
    "aws_credentials": None,
    "configure_cloudwatch_logs": number,
    "cloudwatch_logs_options": LOG_OPTIONS,
    "auto_deregister_task_definition": number,
}

#: Of the configuration of a work pool's job, what neither a block nor a run's spec has.
OF_JOBS: Mapping[str, Rule] = {
    "task_run_request": REQUEST,
    "cloudwatch_logs_prefix": plain,
    "match_latest_revision_in_family": number,
    "prefect_api_key_secret_arn": arn,
    "prefect_api_auth_string_secret_arn": arn,
    "max_live_tasks": number,
}
