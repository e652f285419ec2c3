"""Task definitions as ECS keeps them: validated, numbered, described back in its own words.

Source: API_RegisterTaskDefinition, API_DescribeTaskDefinition, API_ListTaskDefinitions,
API_DeregisterTaskDefinition, API_DeleteTaskDefinitions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from prefect_ecs_pinned.local.errors import client, invalid
from prefect_ecs_pinned.local.limits import check_definition
from prefect_ecs_pinned.local.settings import ACCOUNT_ID, ROOT
from prefect_ecs_pinned.local.wording import describe_back

#: Seconds by which two rounded times may be nearer than they were.
_ROUNDING = 0.001

CONTENDED = "Too many concurrent attempts to create a new revision of the specified family."


class Definitions:
    """All revisions of one account and Region.

    Args:
        region: For ARNs.
        now: Seconds since the epoch, for timestamps.
        invisible: Action -> seconds for which it does not see a new revision.
        rewrite: Changes a definition, in place, to how it is described.
    """

    def __init__(
        self,
        region: str,
        now: Callable[[], float],
        invisible: Callable[[str], float] = lambda _: 0.0,
        rewrite: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._region = region
        self._now = now
        self._invisible = invisible
        self._rewrite = rewrite
        self._families: dict[str, list[dict[str, Any]]] = {}
        self._registering: set[str] = set()

    def begin(self, request: Mapping[str, Any]) -> str:
        """Begin a registration; an overlapping one of its family is refused.

        Returns the family, to be handed to `end`.
        """
        family = str(request.get("family", ""))
        if family in self._registering:
            raise client(CONTENDED)
        self._registering.add(family)
        return family

    def end(self, family: str) -> None:
        """End a registration, whatever became of it."""
        self._registering.discard(family)

    def register(self, request: Mapping[str, Any], caller: str = ROOT) -> dict[str, Any]:
        """RegisterTaskDefinition, for a principal by its ARN."""
        check_definition(request)
        definition = copy.deepcopy(dict(request))
        tags = definition.pop("tags", [])
        revisions = self._families.setdefault(definition["family"], [])
        number = len(revisions) + 1
        family = definition["family"]
        definition.update(
            taskDefinitionArn=f"arn:aws:ecs:{self._region}:{ACCOUNT_ID}"
            f":task-definition/{family}:{number}",
            revision=number,
            status="ACTIVE",
            registeredAt=self._now(),
            registeredBy=caller,
        )
        describe_back(definition)
        definition["_tags"] = tags
        revisions.append(definition)
        return {"taskDefinition": self.described(definition), "tags": tags}

    def deregister(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeregisterTaskDefinition."""
        name = request["taskDefinition"]
        if ":" not in name.rsplit("/", 1)[-1]:
            raise client("Task definition identifier must contain a revision.")
        definition = self.find(name)
        if definition is None:
            raise client("The specified task definition does not exist.")
        definition["status"] = "INACTIVE"
        definition["deregisteredAt"] = self._now()
        return {"taskDefinition": self.described(definition)}

    def describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DescribeTaskDefinition."""
        definition = self.find(request["taskDefinition"], "DescribeTaskDefinition")
        if definition is None:
            raise client("Unable to describe task definition.")
        answer = {"taskDefinition": self.described(definition)}
        if "TAGS" in request.get("include", []):
            answer["tags"] = definition["_tags"]
        return answer

    def list_revisions(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTaskDefinitions: by family and revision, paged."""
        status = request.get("status", "ACTIVE")
        family = request.get("familyPrefix")
        arns = [
            definition["taskDefinitionArn"]
            for name in sorted(self._families)
            if family is None or name == family
            for definition in self._seen(name, "ListTaskDefinitions")
            if definition["status"] == status
        ]
        if request.get("sort") == "DESC":
            arns.reverse()
        return page("taskDefinitionArns", arns, request)

    def list_families(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """ListTaskDefinitionFamilies."""
        prefix, status = request.get("familyPrefix", ""), request.get("status", "ACTIVE")
        names = [
            name
            for name, revisions in sorted(self._families.items())
            if name.startswith(prefix)
            and (status == "ALL" or (status == "ACTIVE") == any(map(_active, revisions)))
        ]
        return page("families", names, request)

    def delete(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """DeleteTaskDefinitions: up to ten INACTIVE revisions."""
        if len(request["taskDefinitions"]) > 10:
            raise invalid("taskDefinitions can have at most 10 items.")
        deleted, failures = [], []
        for name in request["taskDefinitions"]:
            definition = self.find(name)
            if definition is None or definition["status"] != "INACTIVE":
                reason = "The specified task definition is still in ACTIVE status."
                failures.append({"arn": name, "reason": reason})
                continue
            definition["status"] = "DELETE_IN_PROGRESS"
            deleted.append(self.described(definition))
        return {"taskDefinitions": deleted, "failures": failures}

    def find(self, name: str, action: str = "") -> dict[str, Any] | None:
        """A revision by ARN or family:revision, or the newest ACTIVE one of a family.

        Args:
            name: What names it.
            action: The action that looks for it, and may not see a new one yet.
        """
        family, _, number = name.rsplit("/", 1)[-1].partition(":")
        revisions = self._seen(family, action)
        if number:
            index = int(number) - 1 if number.isdigit() else -1
            return revisions[index] if 0 <= index < len(revisions) else None
        return next(filter(_active, reversed(revisions)), None)

    def _seen(self, family: str, action: str) -> list[dict[str, Any]]:
        """The revisions of a family that an action sees; all of them without one."""
        revisions = self._families.get(family, [])
        seconds = self._invisible(action) if action else 0.0
        if not seconds:
            return revisions
        return [d for d in revisions if self._now() - d["registeredAt"] >= seconds - _ROUNDING]

    def described(self, definition: Mapping[str, Any]) -> dict[str, Any]:
        """A revision as ECS describes it."""
        public = {name: value for name, value in definition.items() if not name.startswith("_")}
        public = copy.deepcopy(public)
        self._rewrite(public)
        return public

    def tags(self, arn: str) -> list[dict[str, str]] | None:
        """The tags of a revision, to be changed in place."""
        definition = self.find(arn)
        return None if definition is None else definition["_tags"]

    def all(self) -> list[dict[str, Any]]:
        """Every revision that was ever registered."""
        return [self.described(d) for revisions in self._families.values() for d in revisions]


def page(name: str, items: list[str], request: Mapping[str, Any]) -> dict[str, Any]:
    """One page of a listing: at most 100 items, and a token for the next."""
    token = request.get("nextToken") or "0"
    if not token.isdecimal():
        raise invalid("Invalid token.")
    start = int(token)
    size = int(request.get("maxResults") or 100)
    if not 1 <= size <= 100:
        raise invalid("maxResults must be between 1 and 100.")
    answer: dict[str, Any] = {name: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = str(start + size)
    return answer


def _active(definition: Mapping[str, Any]) -> bool:
    return bool(definition["status"] == "ACTIVE")
