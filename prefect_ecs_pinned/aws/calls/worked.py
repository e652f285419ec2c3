"""What AWS has let through before in this process, so that a refusal of it is known to pass.

Credentials are rotated, IAM is eventually consistent, a cluster is looked up where it has not
arrived yet: what worked a minute ago is refused for a moment. What has never worked is refused
permanently. So it counts what exactly has worked: a role that may not be passed is refused
immediately, however many runs with other roles are launched meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind

#: Requests that are remembered; a deployment makes a handful. A digest takes 100 bytes.
_MOST_REMEMBERED = 4096

#: Members of a request that name a family, or a revision of it.
_FAMILY = ("taskDefinition", "family", "familyPrefix")

#: Other members of a request that name what it is about.
_NAMING = ("logGroupName", "VpcIds", "Filters", "include")

#: Members that RegisterTaskDefinition needs permissions for: PassRole.
_ROLES = ("executionRoleArn", "taskRoleArn")

#: Members of a RunTask request that differ from run to run, and that no permission depends on.
_OF_ONE_RUN = ("clientToken", "startedBy", "overrides", "tags", "taskDefinition", "cluster")

#: Members of its ``overrides`` that do likewise: variables, commands, and sizes.
_OVERRIDES_OF_ONE_RUN = ("containerOverrides", "cpu", "memory", "ephemeralStorage")


class Worked:
    """Remembers requests by what they were about; lives on the control loop.

    Attributes:
        credentials: Whether AWS has accepted the credentials at all.
    """

    def __init__(self) -> None:
        self.credentials = False
        #: What requests were about, the latest last; of launches digests.
        self._requests: OrderedDict[tuple[str, ...], None] = OrderedDict()

    def note(self, operation: str, request: Mapping[str, Any]) -> None:
        """Remember that a request has worked."""
        self.credentials = True
        about, revision = _about(operation, request), _revision(request)
        for key in (
            (*about, _family(revision)),
            (*about, revision),
            _cluster(request),
        ):
            self._requests[key] = None
            self._requests.move_to_end(key)
        while len(self._requests) > _MOST_REMEMBERED:
            self._requests.popitem(last=False)

    def stamp(self, fault: Fault, request: Mapping[str, Any]) -> None:
        """Set ``worked`` of a fault that AWS answered to a request."""
        if fault.kind in (Kind.EXPIRED, Kind.BAD_SIGNATURE):
            fault.worked = self.credentials
        elif fault.kind is Kind.DENIED:
            revision = _revision(request)
            # The roles of a revision are not in the request: only the same revision counts.
            what = revision if "iam:PassRole" in fault.message else _family(revision)
            fault.worked = (*_about(fault.operation, request), what) in self._requests
        elif fault.kind is Kind.NO_CLUSTER:
            fault.worked = _cluster(request) in self._requests


def _about(operation: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """What a request is about, except for the family or revision.

    RunTask: the cluster, the roles, the keys of the tags, and all else but what differs from run
    to run. RegisterTaskDefinition: the roles and the keys of the tags. Others: what they name.
    """
    about: dict[str, Any] = {name: request[name] for name in _NAMING if name in request}
    if operation in ("RunTask", "RegisterTaskDefinition"):
        about["tags"] = sorted({str(tag.get("key")) for tag in request.get("tags") or ()})
        about["roles"] = [request.get(name) for name in _ROLES]
    if operation == "RunTask":
        overrides = request.get("overrides") or {}
        about.update({n: v for n, v in request.items() if n not in _OF_ONE_RUN})
        about["overrides"] = {n: v for n, v in overrides.items() if n not in _OVERRIDES_OF_ONE_RUN}
    return (operation, *_cluster(request), _digest(about) if about else "")


def _cluster(request: Mapping[str, Any]) -> tuple[str]:
    return (_last(request.get("cluster") or "default"),)


def _revision(request: Mapping[str, Any]) -> str:
    return _last(next((request[name] for name in _FAMILY if name in request), ""))


def _family(revision: str) -> str:
    return revision.partition(":")[0]


def _last(name: Any) -> str:
    """Of an ARN the name: ``arn:aws:ecs:us-east-1:123456789012:cluster/etl`` -> ``etl``."""
    return str(name).rsplit("/", 1)[-1]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
