"""What an answer of AWS means for the one who asked."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What an answer of AWS means for the one who asked."""

    THROTTLED = "the request quota is used up; nothing was done"
    HIDDEN_THROTTLE = "a call that ECS made on our behalf was throttled; nothing was done"
    OUTCOME_UNKNOWN = "no answer, or a failure on AWS's side; it may have been done"
    UNREACHABLE = "AWS, or the source of the credentials, was not reached; nothing was done"
    CONTENDED = "another registration of this family is under way"
    CAPACITY = "there is no room for the task now"
    VCPU_QUOTA = "the account's vCPU quota of this launch type is used up"
    EXPIRED = "the credentials are not valid any more"
    BAD_SIGNATURE = "the secret key does not fit, or the clock is wrong"
    INACTIVE = "the revision was deregistered"
    NO_DEFINITION = "there is no such family or revision"
    NO_CLUSTER = "there is no such cluster"
    NO_INSTANCES = "the cluster has no container instances at all"
    NO_TASK = "there is no such task"
    NO_STREAM = "there is no such log group or stream"
    CONFLICT = "the client token was used for another request"
    DENIED = "an IAM permission is missing"
    REFUSED = "AWS refuses the request permanently"
    NO_PLACE = "no container instance can ever run the task"
    NO_SUBNET = "there is no such subnet"
    UNKNOWN = "a refusal that is in no table: temporary or permanent"


#: Seconds for which a call is repeated that AWS refuses with a code that is in no table. After
#: that the refusal is final.
UNKNOWN_SECONDS = 120.0

#: Kinds of calls that AWS was asked too often for.
THROTTLES = frozenset({Kind.THROTTLED, Kind.HIDDEN_THROTTLE})

#: Kinds that pass by themselves whatever the circumstances; see `Fault.passing` for the others.
#: Expired credentials have been renewed, and the call repeated, before a caller gets the fault
#: (`clients`).
PASSING = frozenset(
    {
        Kind.THROTTLED,
        Kind.HIDDEN_THROTTLE,
        Kind.OUTCOME_UNKNOWN,
        Kind.UNREACHABLE,
        Kind.CONTENDED,
        Kind.CAPACITY,
        Kind.VCPU_QUOTA,
    }
)

#: Kinds that pass when what is refused has worked before: credentials are rotated, and IAM is
#: eventually consistent.
PASSING_ONCE_WORKED = frozenset({Kind.EXPIRED, Kind.BAD_SIGNATURE, Kind.DENIED})


def error_type(kind: Kind) -> str:
    """A kind as the attribute ``error.type`` of a metric (semconv, Recording errors)."""
    return "_OTHER" if kind is Kind.UNKNOWN else kind.name.lower()
