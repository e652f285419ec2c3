"""Whether a revision is the one that is desired: one rule for launching and every command.

- **Equal**: the canonical form of what ECS describes is the desired one. It needs no label, and
  wins over any.
- **Nominated**: the revision has our label, and everything is equal for which there is evidence
  of how ECS describes it back (`core.members`). A label can be copied together with a definition,
  so a difference in a known member without evidence, or in which values of such members belong
  together, is a doubt: it is accepted only of a revision that the caller's own principal registered
  (``registeredBy``, which ECS sets).
- **Proven**: it is what ECS answered to our own registration.

Members that the tables do not know are not compared in what ECS describes. Roles given by name are
compared by name within the revision's own account, and desired tags have to be among the
revision's: others are somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.core.arn import account_of, parse_revision, same_role
from prefect_ecs_pinned.core.canonical import canonical, without_evidence
from prefect_ecs_pinned.core.fingerprint import (
    PREFECT_CONTAINER,
    digest,
    fingerprint,
    label,
    prefect_container,
    without_sizes,
)
from prefect_ecs_pinned.core.shown import plain

_ROLES = ("taskRoleArn", "executionRoleArn")

#: Spellings of roles that a desired definition is remembered in: one account has one or two.
_MOST_SPELLINGS = 16

Tags = frozenset[tuple[str, str]]
Roles = tuple[str, ...]


@dataclass(frozen=True)
class Digests:
    """What is compared of a definition, in short.

    Attributes:
        whole: Of everything but tags and the values of sizes.
        known: The same, of the members that are in the tables.
        proven: Of the members with evidence.
        unproven: Dotted path of a member without evidence -> digest of what it holds.
    """

    whole: str
    known: str
    proven: str
    unproven: Mapping[str, str]

    @classmethod
    def of(cls, definition: Mapping[str, Any], container: str = PREFECT_CONTAINER) -> Digests:
        """The digests of a definition."""
        bare = _untagged(definition)
        form = without_sizes(canonical(bare), container)
        known = without_sizes(canonical(bare, known_only=True), container)
        proven, unproven = without_evidence(known)
        return cls(
            whole=digest(form),
            known=digest(known),
            proven=digest(proven),
            unproven={path: digest(held) for path, held in unproven.items()},
        )


@dataclass(frozen=True)
class Desired:
    """A definition that a configuration asks for.

    Attributes:
        definition: In RegisterTaskDefinition's shape, without our label.
        container_name: Name of the Prefect container.
        added_to: Names of the containers that were there before it, when it was none of them.
    """

    definition: Mapping[str, Any] = field(repr=False)  # variables may be secrets
    container_name: str = PREFECT_CONTAINER
    added_to: tuple[str, ...] = field(default=(), compare=False)

    @property
    def family(self) -> str:
        """Of the definition."""
        return str(self.definition["family"])

    @cached_property
    def fingerprint(self) -> str:
        """Of the definition: `core.fingerprint`."""
        return fingerprint(self.definition, self.container_name)

    def same_as(self, other: Desired) -> bool:
        """Whether one revision serves both."""
        return self.fingerprint == other.fingerprint and self.family == other.family

    @cached_property
    def container(self) -> Mapping[str, Any]:
        """The Prefect container's definition."""
        return prefect_container(self.definition, self.container_name) or {}

    @property
    def image(self) -> str:
        """The Prefect container's image, fit to be shown."""
        return str(plain(self.container.get("image", "")))

    @cached_property
    def secret_names(self) -> frozenset[str]:
        """Names of the variables that the Prefect container's secrets provide."""
        return frozenset(secret["name"] for secret in self.container.get("secrets") or [])

    @cached_property
    def tags(self) -> Tags:
        """Tags that its revision has to have."""
        return tags_of(self.definition)

    def spelled_as(self, roles: Roles, account: str) -> Digests:
        """Its digests, with its roles written as a revision of an account has them."""
        spelling = tuple(
            theirs if ours and theirs and same_role(ours, theirs, account) else ours
            for ours, theirs in zip(_roles(self.definition), roles, strict=True)
        )
        if spelling not in self._spellings:
            if len(self._spellings) >= _MOST_SPELLINGS:
                self._spellings.clear()
            spelled = {**self.definition, **dict(zip(_ROLES, spelling, strict=True))}
            self._spellings[spelling] = Digests.of(spelled, self.container_name)
        return self._spellings[spelling]

    @cached_property
    def _spellings(self) -> dict[Roles, Digests]:
        return {}


@dataclass(frozen=True, slots=True)
class Observed:
    """What has to be remembered of a revision that ECS described, to compare it again.

    Attributes:
        arn: The revision's ARN.
        revision: Its number within the family.
        label: The fingerprint of its label, if any.
        digests: Of what ECS described, its Prefect container being the one of that name.
        named: The same, by the name of each other container that may be one: off Fargate the
            values of its sizes do not count.
        roles: ARN or name of the task's and of the execution role; empty for none.
        tags: Its tags; None when they are not known.
        tags_asked: Whether they were asked for.
        registered_by: ARN of the principal that registered it.
        proves: Fingerprint of the definition that our own registration sent for it.
    """

    arn: str
    revision: int
    label: str | None
    digests: Digests = field(repr=False)
    named: Mapping[str, Digests] = field(default_factory=dict, repr=False)
    roles: Roles = ()
    tags: Tags | None = field(default=None, repr=False)
    tags_asked: bool = False
    registered_by: str = ""
    proves: str | None = None

    @classmethod
    def of(cls, described: Mapping[str, Any], proves: str | None = None) -> Observed:
        """Read a revision as DescribeTaskDefinition or RegisterTaskDefinition answers it.

        Args:
            described: ``taskDefinition``; its ``tags`` put next to the other members if they were
                asked for, and None if that was denied.
            proves: See the attribute.
        """
        arn = str(described["taskDefinitionArn"])
        return cls(
            arn=arn,
            revision=parse_revision(arn).revision,
            label=label(described),
            digests=Digests.of(described),
            named=_named_digests(described),
            roles=_roles(described),
            tags=tags_of(described) if described.get("tags") is not None else None,
            tags_asked="tags" in described,
            registered_by=str(described.get("registeredBy") or ""),
            proves=proves,
        )


@dataclass(frozen=True)
class Match:
    """How a revision comes to be the desired one.

    Attributes:
        equal: It is equal as computed, or proven by the answer to our own registration.
        labelled: It has the label.
        doubts: Members without evidence that differ; ``tags`` when they are not known.
        untagged: It is to be described with its tags before more is said.
    """

    equal: bool
    labelled: bool
    doubts: tuple[str, ...] = ()
    untagged: bool = False


def match(desired: Desired, observed: Observed) -> Match | None:
    """Compare a revision of the desired family; None when it is another one."""
    labelled = observed.label == desired.fingerprint
    if observed.proves == desired.fingerprint:
        return Match(equal=True, labelled=True)
    if observed.tags is not None and not desired.tags <= observed.tags:
        return None
    wanted = desired.spelled_as(observed.roles or ("", ""), account_of(observed.arn))
    theirs = observed.named.get(desired.container_name, observed.digests)
    equal = wanted.whole == theirs.whole
    unknown_tags = bool(desired.tags) and observed.tags is None
    if not equal and not (labelled and wanted.proven == theirs.proven):
        return None
    doubts = () if wanted.known == theirs.known else _differing(wanted.unproven, theirs.unproven)
    if not unknown_tags:
        return Match(equal, labelled, doubts)
    if not labelled and observed.tags_asked:
        return None  # denied: without a label it counts as having none
    return Match(False, labelled, (*doubts, "tags"), untagged=not observed.tags_asked)


def as_described(
    definition: Mapping[str, Any], described: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two definitions without what differs in words only: (desired, described).

    Roles are written as the described one has them. Only tags that are missing or have other values
    are left; none when ECS was not asked for them.
    """
    arn = str(described.get("taskDefinitionArn", ""))
    account = account_of(arn)
    ours, theirs = dict(definition), dict(described)
    for role in _ROLES:
        given, seen = ours.get(role), theirs.get(role)
        if given and seen and same_role(str(given), str(seen), account):
            ours[role] = seen
    wanted, has = tags_of(definition), tags_of(described)
    satisfied = wanted <= has or (bool(arn) and described.get("tags") is None)
    kept = set() if satisfied else {key for key, _ in wanted}
    for one, tags in ((ours, wanted), (theirs, has)):
        one["tags"] = [{"key": k, "value": v} for k, v in sorted(tags) if k in kept]
    return ours, theirs


def tags_of(definition: Mapping[str, Any]) -> Tags:
    """The tags that are in a definition, as (key, value)."""
    tags = definition.get("tags") or []
    return frozenset((str(tag["key"]), str(tag.get("value") or "")) for tag in tags)


def _roles(definition: Mapping[str, Any]) -> Roles:
    return tuple(str(definition.get(role) or "") for role in _ROLES)


def _named_digests(described: Mapping[str, Any]) -> dict[str, Digests]:
    if "FARGATE" in (described.get("requiresCompatibilities") or []):
        return {}  # the sizes of no container are left out
    names = [str(c.get("name")) for c in described.get("containerDefinitions") or []]
    return {name: Digests.of(described, name) for name in names if name != PREFECT_CONTAINER}


def _untagged(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if name != "tags"}


def _differing(ours: Mapping[str, str], theirs: Mapping[str, str]) -> tuple[str, ...]:
    """The members that differ; all of them if it is only to which item each value belongs."""
    paths = sorted(ours.keys() | theirs.keys())
    return tuple(path for path in paths if ours.get(path) != theirs.get(path)) or tuple(paths)
