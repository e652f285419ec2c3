"""Every refusal that AWS can make of our calls, and what a person is shown for it."""

from __future__ import annotations

from typing import NamedTuple

from botocore.exceptions import ClientError

from prefect_ecs_pinned import errors
from prefect_ecs_pinned.aws.calls.faults import Kind
from tests.aws.client_errors import client_error

ROLE = "arn:aws:iam::123456789012:role/task"
USER = "arn:aws:sts::123456789012:assumed-role/agent/session"


class Refusal(NamedTuple):
    """One row: AWS's answer, what it means, and what is made of it.

    ``error`` None: it passes, and no caller gets it before patience is at an end.
    """

    operation: str
    code: str
    message: str
    kind: Kind
    error: type[errors.PinnedECSError] | None
    hint: str
    status: int = 400

    def exception(self) -> ClientError:
        """As botocore raises it."""
        response = {
            "Error": {"Code": self.code, "Message": self.message},
            "ResponseMetadata": {"HTTPStatusCode": self.status},
        }
        return client_error(response, self.operation)


def _passing(operation: str, code: str, message: str, kind: Kind, status: int = 400) -> Refusal:
    return Refusal(operation, code, message, kind, None, "try again later", status)


def denied(operation: str, action: str, resource: str = "", code: str = "") -> Refusal:
    """ "User ... is not authorized to perform ..."."""
    where = f" on resource: {resource} because no identity-based policy allows it"
    message = f"User: {USER} is not authorized to perform: {action}{where if resource else ''}"
    hint = f"allow {action} on {resource}" if resource else f"allow {action} to the credentials"
    name = code or "AccessDeniedException"
    return Refusal(operation, name, message, Kind.DENIED, errors.AccessDenied, hint)


#: What every ECS action may answer (CommonErrors, and its own "Errors").
EVERYWHERE = tuple(
    row
    for operation in (
        "RunTask",
        "RegisterTaskDefinition",
        "DescribeTaskDefinition",
        "ListTaskDefinitions",
        "DescribeTasks",
        "StopTask",
        "ListTasks",
    )
    for row in (
        denied(operation, f"ecs:{operation}"),
        _passing(operation, "ThrottlingException", "Rate exceeded", Kind.THROTTLED),
        _passing(
            operation,
            "ServerException",
            "Service Unavailable. Please try again later.",
            Kind.OUTCOME_UNKNOWN,
            500,
        ),
        _passing(operation, "InternalFailure", "internal", Kind.OUTCOME_UNKNOWN, 500),
        _passing(operation, "ServiceUnavailable", "unavailable", Kind.OUTCOME_UNKNOWN, 503),
        _passing(operation, "502", "Bad Gateway", Kind.OUTCOME_UNKNOWN, 502),
        Refusal(
            operation,
            "ExpiredTokenException",
            "The security token included in the request is expired",
            Kind.EXPIRED,
            errors.CredentialsInvalid,
            "renew the AWS credentials: in the block or work pool, or where this runs",
        ),
        Refusal(
            operation,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            Kind.EXPIRED,
            errors.CredentialsInvalid,
            "renew the AWS credentials: in the block or work pool, or where this runs",
        ),
        Refusal(
            operation,
            "InvalidSignatureException",
            "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z",
            Kind.BAD_SIGNATURE,
            errors.CredentialsInvalid,
            "set the clock of this machine",
        ),
        Refusal(
            operation,
            "OptInRequired",
            "The AWS Access Key Id needs a subscription for the service",
            Kind.REFUSED,
            errors.AwsError,
            "sign the account up for ECS, or enable the Region",
        ),
        Refusal(
            operation,
            "ClientException",
            "something that nobody has seen before",
            Kind.REFUSED,
            errors.AwsError,
            "correct what AWS names, then run again",
        ),
        Refusal(
            operation,
            "InvalidParameterException",
            "something that nobody has seen before",
            Kind.REFUSED,
            errors.AwsError,
            "correct what AWS names, then run again",
        ),
    )
)

_NO_CLUSTER = tuple(
    Refusal(
        operation,
        code,
        message,
        Kind.NO_CLUSTER,
        errors.ClusterNotFound,
        "check cluster, and that it is in this account and Region",
    )
    for operation in ("RunTask", "DescribeTasks", "StopTask", "ListTasks")
    for code, message in (
        ("ClusterNotFoundException", "Cluster not found."),
        ("ClientException", "The referenced cluster was inactive."),
    )
)

_RUN_TASK = (
    denied("RunTask", "iam:PassRole", ROLE),
    denied("RunTask", "ecs:TagResource", "arn:aws:ecs:us-east-1:123456789012:task/default/*"),
    _passing(
        "RunTask",
        "InvalidParameterException",
        "Error retrieving subnet information for [subnet-0]: Rate exceeded (ErrorCode: Throttling)",
        Kind.HIDDEN_THROTTLE,
    ),
    _passing(
        "RunTask",
        "InvalidParameterException",
        "Error retrieving security group information for [sg-0]: Request limit exceeded. "
        "(ErrorCode: RequestLimitExceeded)",
        Kind.HIDDEN_THROTTLE,
    ),
    _passing(
        "RunTask",
        "ClientException",
        "Capacity is unavailable at this time. Please try again later or in a different "
        "availability zone",
        Kind.CAPACITY,
    ),
    _passing(
        "RunTask",
        "ClientException",
        "You’ve reached the limit on the number of vCPUs you can run concurrently",
        Kind.VCPU_QUOTA,
    ),
    *(
        Refusal(
            "RunTask",
            code,
            "TaskDefinition is inactive",
            Kind.INACTIVE,
            errors.TaskDefinitionInactive,
            "link an ACTIVE revision, or leave task_definition_arn empty",
        )
        for code in ("InvalidParameterException", "ClientException")
    ),
    Refusal(
        "RunTask",
        "ClientException",
        "TaskDefinition not found.",
        Kind.NO_DEFINITION,
        errors.TaskDefinitionNotFound,
        "check task_definition_arn, and that it is in this account and Region",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "No Container Instances were found in your cluster.",
        Kind.NO_INSTANCES,
        errors.AwsError,
        "confirm that EC2 container instances are registered in the cluster",
    ),
    Refusal(
        "RunTask",
        "ConflictException",
        "The request could not be processed because of conflict",
        Kind.CONFLICT,
        errors.AwsError,
        "correct what AWS names, then run again",
    ),
    Refusal(
        "RunTask",
        "PlatformUnknownException",
        "The specified platform version doesn't exist.",
        Kind.REFUSED,
        errors.AwsError,
        "check platformVersion in task_customizations",
    ),
    Refusal(
        "RunTask",
        "PlatformTaskDefinitionIncompatibilityException",
        "The specified platform version doesn't satisfy the required capabilities.",
        Kind.REFUSED,
        errors.AwsError,
        "check platformVersion and runtimePlatform",
    ),
    Refusal(
        "RunTask",
        "UnsupportedFeatureException",
        "The specified task isn't supported in this Region.",
        Kind.REFUSED,
        errors.AwsError,
        "the feature is not available in this Region",
    ),
    Refusal(
        "RunTask",
        "BlockedException",
        "Your Amazon Web Services account was blocked.",
        Kind.REFUSED,
        errors.AwsError,
        "the account is blocked: ask AWS Support",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "Container Overrides length must be at most 8192",
        Kind.REFUSED,
        errors.AwsError,
        "shorten env or command",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "Error retrieving subnet information for [subnet-0]: The subnet ID 'subnet-0' does not "
        "exist (ErrorCode: InvalidSubnetID.NotFound)",
        Kind.NO_SUBNET,
        errors.AwsError,
        "check subnets, vpc_id and the Region",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "Error retrieving security group information for [sg-0]: The security group 'sg-0' does "
        "not exist (ErrorCode: InvalidGroup.NotFound)",
        Kind.REFUSED,
        errors.AwsError,
        "check security_groups",
    ),
    Refusal(
        "RunTask",
        "ClientException",
        "No Fargate configuration exists for given values: 256 CPU, 4096 memory. See the Amazon "
        "ECS documentation for the valid values.",
        Kind.REFUSED,
        errors.AwsError,
        "set cpu and memory to a pair that Fargate offers",
    ),
    Refusal(
        "RunTask",
        "ClientException",
        "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/x' that was provided "
        "for this task.",
        Kind.REFUSED,
        errors.AwsError,
        "let ecs-tasks.amazonaws.com assume the role",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "Task definition does not support launch_type FARGATE.",
        Kind.REFUSED,
        errors.AwsError,
        "requiresCompatibilities",
    ),
    Refusal(
        "RunTask",
        "InvalidParameterException",
        "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        Kind.REFUSED,
        errors.AwsError,
        "check networkMode",
    ),
)

_OTHERS = (
    denied("RegisterTaskDefinition", "iam:PassRole", ROLE),
    _passing(
        "RegisterTaskDefinition",
        "ClientException",
        "Too many concurrent attempts to create a new revision of the specified family.",
        Kind.CONTENDED,
    ),
    Refusal(
        "RegisterTaskDefinition",
        "ClientException",
        "Role is not valid",
        Kind.REFUSED,
        errors.AwsError,
        "check execution_role_arn and task_role_arn",
    ),
    Refusal(
        "RegisterTaskDefinition",
        "LimitExceededException",
        "The limit for the resource was exceeded.",
        Kind.REFUSED,
        errors.AwsError,
        "ask AWS for a higher quota",
    ),
    Refusal(
        "DescribeTaskDefinition",
        "ClientException",
        "Unable to describe task definition.",
        Kind.NO_DEFINITION,
        errors.TaskDefinitionNotFound,
        "check task_definition_arn",
    ),
    *(
        Refusal(
            "StopTask",
            "InvalidParameterException",
            message,
            Kind.NO_TASK,
            errors.TaskNotFound,
            "it stopped more than an hour ago, or is in another cluster",
        )
        for message in ("The referenced task was not found.", "Could not find task with arn x")
    ),
    Refusal(
        "ListTasks",
        "ServiceNotFoundException",
        "The specified service wasn't found.",
        Kind.REFUSED,
        errors.AwsError,
        "correct what AWS names, then run again",
    ),
    Refusal(
        "DescribeVpcs",
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
        Kind.DENIED,
        errors.AccessDenied,
        "allow ec2:DescribeVpcs to the credentials",
        403,
    ),
    denied("DescribeSubnets", "ec2:DescribeSubnets", code="UnauthorizedOperation"),
    _passing(
        "DescribeVpcs", "RequestLimitExceeded", "Request limit exceeded.", Kind.THROTTLED, 503
    ),
    Refusal(
        "DescribeVpcs",
        "AuthFailure",
        "AWS was not able to validate the provided access credentials",
        Kind.EXPIRED,
        errors.CredentialsInvalid,
        "renew the AWS credentials",
        401,
    ),
    Refusal(
        "DescribeVpcs",
        "InvalidVpcID.NotFound",
        "The vpc ID 'vpc-0' does not exist",
        Kind.REFUSED,
        errors.AwsError,
        "correct what AWS names, then run again",
    ),
    denied("FilterLogEvents", "logs:FilterLogEvents"),
    *(
        row
        for operation in ("FilterLogEvents", "GetLogEvents")
        for row in (
            Refusal(
                operation,
                "ResourceNotFoundException",
                "The specified log stream does not exist.",
                Kind.NO_STREAM,
                errors.AwsError,
                "correct what AWS names, then run again",
            ),
            Refusal(
                operation,
                "InvalidParameterException",
                "A parameter is specified incorrectly.",
                Kind.REFUSED,
                errors.AwsError,
                "correct what AWS names, then run again",
            ),
            _passing(
                operation,
                "ServiceUnavailableException",
                "The service cannot complete the request.",
                Kind.OUTCOME_UNKNOWN,
                500,
            ),
        )
    ),
)

REFUSALS = (*EVERYWHERE, *_NO_CLUSTER, *_RUN_TASK, *_OTHERS)
