"""What a person can do about a refusal, by AWS's code or in AWS's words.

A fragment of a message counts only together with a code; a sample of the whole message is next to
it. Hints that go with the cause are in `causes`, those of other meanings in `faults`.
"""

from __future__ import annotations

from collections.abc import Mapping

#: By AWS's error code, botocore's exception, or the reason inside a 200.
_BY_CODE: Mapping[str, str] = {
    "PartialCredentialsError": "give both the access key ID and the secret access key",
    "InvalidRegionError": "correct region_name in the AWS credentials of the block or work pool, "
    "or AWS_DEFAULT_REGION",
    "ConnectTimeoutError": "check the network, the proxy, and the subnets' route to AWS",
    "ProxyConnectionError": "check the proxy, and that it is running",
    "PlatformUnknownException": "check platformVersion in task_customizations",
    "PlatformTaskDefinitionIncompatibilityException": "check platformVersion and runtimePlatform",
    "UnsupportedFeatureException": "the feature is not available in this Region",
    "BlockedException": "the account is blocked: ask AWS Support",
    "OptInRequired": "sign the account up for ECS, or enable the Region",
    "LimitExceededException": "ask AWS for a higher quota, or remove what is not used",
    "LOCATION": "no instance satisfies the placement constraints",
    "ATTRIBUTE": "no instance has the attributes that the task definition requires",
    "ParamValidationError": "correct the task definition or task_customizations",
}

#: (codes, fragment of the message, hint) of final refusals; the first match counts.
_BY_MESSAGE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    # "Invalid endpoint: https://ecs..amazonaws.com"
    (
        ("ValueError",),
        ".amazonaws.com",
        "correct region_name in the AWS credentials of the block or work pool, or "
        "AWS_DEFAULT_REGION",
    ),
    # "Invalid endpoint: 127.0.0.1:4510"
    (
        ("ValueError",),
        "Invalid endpoint:",
        "write a URL, with http:// or https://: check endpoint_url and AWS_ENDPOINT_URL",
    ),
    (
        ("ValueError",),
        "Invalid IPv6 URL",
        "write a URL, with http:// or https://: check endpoint_url and AWS_ENDPOINT_URL",
    ),
    # "Invalid proxy: its port is not a number from 1 to 65535"
    (
        ("ValueError",),
        "Invalid proxy:",
        "write a URL, with http:// or https://: check HTTP_PROXY, HTTPS_PROXY, and proxies in "
        "aws_client_parameters",
    ),
    # "No Fargate configuration exists for given values: 256 CPU, 4096 memory. ..."
    (
        ("ClientException", "InvalidParameterException"),
        "No Fargate configuration exists",
        "set cpu and memory to a pair that Fargate offers, such as 512 and 1024",
    ),
    # "Container Overrides length must be at most 8192"
    (
        ("InvalidParameterException",),
        "Overrides length must be at most",
        "shorten env or command; large values belong in secrets or in the task definition",
    ),
    # "Error retrieving subnet information for [subnet-0]: The subnet ID 'subnet-0' does not exist
    #  (ErrorCode: InvalidSubnetID.NotFound)"
    (
        ("InvalidParameterException", "ClientException"),
        "ErrorCode: InvalidSubnetID",
        "check subnets, vpc_id and the Region",
    ),
    # "... The security group 'sg-0' does not exist (ErrorCode: InvalidGroup.NotFound)"
    (
        ("InvalidParameterException", "ClientException"),
        "ErrorCode: InvalidGroup",
        "check security_groups: they have to be in the VPC of the subnets",
    ),
    # "Role is not valid"
    (
        ("ClientException", "InvalidParameterException"),
        "Role is not valid",
        "check execution_role_arn and task_role_arn, and that ecs-tasks.amazonaws.com may assume "
        "them",
    ),
    # "ECS was unable to assume the role 'arn:aws:iam::123456789012:role/x' that was provided for
    #  this task. ..."
    (
        ("ClientException", "InvalidParameterException"),
        "unable to assume the role",
        "let ecs-tasks.amazonaws.com assume the role, and the agent pass it (iam:PassRole)",
    ),
    # "Task definition does not support launch_type FARGATE."
    (
        ("InvalidParameterException", "ClientException"),
        "does not support launch_type",
        "set launch_type to a value of requiresCompatibilities in the task definition",
    ),
    # "Network Configuration must be provided when networkMode 'awsvpc' is specified."
    (
        ("InvalidParameterException", "ClientException"),
        "Network Configuration",
        "check networkMode of the task definition, vpc_id, subnets and task_customizations",
    ),
)


def hint_of(code: str, message: str) -> str:
    """The hint for a refusal; empty when nothing is known of it."""
    code = code.rsplit("#", 1)[-1]
    if code in _BY_CODE:
        return _BY_CODE[code]
    for codes, fragment, hint in _BY_MESSAGE:
        if code in codes and fragment in message:
            return hint
    return ""
