"""Checks of the subnets and security groups that a flow run's task would be put into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.operations.doctor.findings import Answer, fail, ok, skip, warn
from prefect_ecs_pinned.operations.doctor.subject import Subject
from prefect_ecs_pinned.runs.request import check_network

#: Free addresses of all subnets together below which one is warned: each task takes one.
FEW_ADDRESSES = 16

_NO_SUBNET = ("InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed")
_NO_GROUP = ("InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidGroupId.NotFound")
_NO_VPC = ("InvalidVpcID.NotFound",)


async def subnets(subject: Subject) -> list[Answer]:
    """The subnets exist, in one VPC, and have free addresses."""
    check_network(subject.spec, subject.desired)
    if not subject.network:
        return [skip("the tasks do not have their own network")]
    found = await _subnets(subject)
    if isinstance(found, Answer):
        return [found]
    vpcs = {str(subnet["VpcId"]) for subnet in found}
    if len(vpcs) > 1:
        return [
            fail(f"they are of several VPCs: {', '.join(sorted(vpcs))}", "use subnets of one VPC")
        ]
    free = sum(int(subnet["AvailableIpAddressCount"]) for subnet in found)
    detail = f"{len(found)} in {', '.join(vpcs)}, {free} free addresses"
    if free < FEW_ADDRESSES:
        return [warn(detail, "use more or larger subnets: each task takes an address")]
    return [ok(detail)]


async def _subnets(subject: Subject) -> list[Mapping[str, Any]] | Answer:
    """The subnets as EC2 describes them, or what is wrong with them."""
    if stated := subject.subnets:
        answer = await subject.look.find(
            "ec2", "DescribeSubnets", _NO_SUBNET, SubnetIds=sorted(set(stated))
        )
        if answer is None:
            detail = f"not all of {', '.join(sorted(set(stated)))} exist in {subject.region}"
            return fail(detail, "check subnets, and that they are in this Region")
        return list(answer["Subnets"])
    vpc = await _vpc(subject)
    if isinstance(vpc, Answer):
        return vpc
    of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
    found = list((await subject.look.ask("ec2", "DescribeSubnets", Filters=of_vpc))["Subnets"])
    return found or fail(f"{vpc} has no subnets", "set subnets, or a vpc_id that has some")


async def _vpc(subject: Subject) -> str | Answer:
    stated = subject.spec.vpc_id
    params: dict[str, Any] = (
        {"VpcIds": [stated]} if stated else {"Filters": [{"Name": "isDefault", "Values": ["true"]}]}
    )
    answer = await subject.look.find("ec2", "DescribeVpcs", _NO_VPC, **params)
    if answer is None or not answer["Vpcs"]:
        what = f"there is no VPC {stated}" if stated else "there is no default VPC"
        return fail(f"{what} in {subject.region}", "set subnets, or vpc_id")
    return str(answer["Vpcs"][0]["VpcId"])


async def security_groups(subject: Subject) -> list[Answer]:
    """The security groups exist, in the VPC of the subnets."""
    stated = sorted(set(subject.network.get("securityGroups") or []))
    if not stated:
        return [skip("not set: ECS uses the VPC's default group")]
    answer = await subject.look.find("ec2", "DescribeSecurityGroups", _NO_GROUP, GroupIds=stated)
    hint = "check security_groups: they have to be in the VPC of the subnets"
    if answer is None:
        return [fail(f"not all of {', '.join(stated)} exist in {subject.region}", hint)]
    theirs = {str(group["VpcId"]) for group in answer["SecurityGroups"]}
    subnets = await _subnets(subject)
    if not isinstance(subnets, Answer):
        vpcs = {str(subnet["VpcId"]) for subnet in subnets}
        if theirs != vpcs:
            where = f"{', '.join(sorted(theirs))}, the subnets in {', '.join(sorted(vpcs))}"
            return [fail(f"they are in {where}", hint)]
    return [ok(", ".join(stated))]
