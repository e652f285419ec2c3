"""Desired against observed: reuse a revision, adopt one, or register.

The decision is a value. Pinning acts on it, `pinned-ecs plan` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prefect_ecs_pinned.core.arn import parse_revision
from prefect_ecs_pinned.core.canonical import canonical
from prefect_ecs_pinned.core.fingerprint import (
    fingerprint,
    label,
    prefect_container,
    verbatim,
    without_sizes,
)
from prefect_ecs_pinned.core.showable import DEFINITION
from prefect_ecs_pinned.core.shown import Rule, named, part, plain, shown


@dataclass(frozen=True)
class Desired:
    """A definition that a configuration asks for.

    Attributes:
        definition: In RegisterTaskDefinition's shape, without our label.
    """

    definition: Mapping[str, Any] = field(repr=False)  # variables may be secrets

    @property
    def family(self) -> str:
        return str(self.definition["family"])

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.definition)

    @cached_property
    def verbatim(self) -> str:
        return verbatim(self.definition)

    def same_as(self, other: Desired) -> bool:
        """Whether one revision serves both."""
        return self.fingerprint == other.fingerprint and self.family == other.family

    @cached_property
    def container(self) -> Mapping[str, Any]:
        """The Prefect container's definition."""
        return prefect_container(self.definition) or {}

    @property
    def image(self) -> str:
        """The Prefect container's image, fit to be shown."""
        return str(plain(self.container.get("image", "")))

    @cached_property
    def secret_names(self) -> frozenset[str]:
        """Names of the variables that the Prefect container's secrets provide."""
        return frozenset(secret["name"] for secret in self.container.get("secrets") or [])


@dataclass(frozen=True, slots=True)
class Observed:
    """What has to be remembered of a revision that ECS described, to compare it again.

    Attributes:
        arn: The revision's ARN.
        revision: Its number within the family.
        label: The fingerprint it bears, if any.
        verbatim: Digest of what ECS echoes verbatim.
        fingerprint: Fingerprint of what ECS described, computed here.
    """

    arn: str
    revision: int
    label: str | None
    verbatim: str
    fingerprint: str

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Observed:
        """Read a revision as DescribeTaskDefinition or RegisterTaskDefinition answers it."""
        arn = str(described["taskDefinitionArn"])
        return cls(
            arn=arn,
            revision=parse_revision(arn).revision,
            label=label(described),
            verbatim=verbatim(described),
            fingerprint=fingerprint(described),
        )


@dataclass(frozen=True)
class Reuse:
    """A revision bears the desired fingerprint, and its content agrees."""

    arn: str


@dataclass(frozen=True)
class Adopt:
    """A revision without our label means the same as what is desired."""

    arn: str


@dataclass(frozen=True)
class Register:
    """No revision matches.

    Attributes:
        reason: Why, in words.
        changed: Members that differ from the newest revision, as dotted paths.
    """

    reason: str
    changed: tuple[str, ...] = ()


Decision = Reuse | Adopt | Register


def decide(
    desired: Desired, observed: Iterable[Observed], newest: Mapping[str, Any] | None = None
) -> Decision:
    """Choose a revision for what is desired.

    Args:
        desired: What the configuration asks for.
        observed: Revisions of the desired family that are ACTIVE, in any order.
        newest: The family's newest revision as ECS described it, to say what changed.
    """
    revisions = sorted(observed, key=lambda revision: revision.revision, reverse=True)
    for revision in revisions:
        if revision.label == desired.fingerprint and revision.verbatim == desired.verbatim:
            return Reuse(revision.arn)
    for revision in revisions:
        if revision.fingerprint == desired.fingerprint:
            return Adopt(revision.arn)
    if newest is None:
        return Register(f"family {desired.family!r} has no revision yet")
    changed = differences(newest, desired.definition)
    return Register(f"changed: {', '.join(changed)}" if changed else "no revision matches", changed)


@dataclass(frozen=True)
class Change:
    """A member that differs between two definitions, fit to be shown (`core.shown`).

    Attributes:
        path: Dotted, named items by name: ``containerDefinitions.prefect.image``. It ends at a
            member of which nothing may be shown.
        before: Its canonical value in the one, hidden where it may not be shown; None when it is
            not there.
        after: Its canonical value in the other.
    """

    path: str
    before: Any = field(repr=False)
    after: Any = field(repr=False)


@dataclass(frozen=True)
class _Leaf:
    """A value at the end of a path; `path` and `shown` are fit to be shown."""

    path: str
    value: Any = field(repr=False)
    shown: Any = field(repr=False)


def changes(observed: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs between two definitions, by path."""
    before = {leaf[0]: leaf[1] for leaf in _flat(without_sizes(canonical(observed)))}
    after = {leaf[0]: leaf[1] for leaf in _flat(without_sizes(canonical(desired)))}
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, _NONE), after.get(key, _NONE)
        if old.value != new.value:
            found.append(Change(new.path or old.path, old.shown, new.shown))
    return tuple(found)


_NONE = _Leaf("", None, None)


def differences(observed: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[str, ...]:
    """The members that differ between two definitions, as dotted paths, sorted.

    Containers and other named items are shown by name (``containerDefinitions.prefect.image``),
    and no value is shown: it could be a secret.
    """
    return tuple(sorted({change.path for change in changes(observed, desired)}))


def _flat(
    value: Any, rule: Rule = DEFINITION, key: tuple[str, ...] = (), path: str = ""
) -> Iterator[tuple[tuple[str, ...], _Leaf]]:
    """The values of a definition by key; nothing is looked into of which nothing may be shown."""
    items: list[tuple[str, Any, Rule]]
    if isinstance(value, Mapping) and isinstance(rule, Mapping):
        items = [(str(member), content, part(rule, member)) for member, content in value.items()]
    elif isinstance(value, list) and value and isinstance(rule, list) and all(map(_name, value)):
        items = [(_name(item), item, rule[0]) for item in value]
    else:
        yield key, _Leaf(path, value, shown(value, rule))
        return
    for called, content, of_content in items:
        inner = f"{path}.{named(called)}" if path else named(called)
        yield from _flat(content, of_content, (*key, called), inner)


def _name(item: Any) -> str:
    return str(item.get("name", "")) if isinstance(item, Mapping) else ""
