"""Desired against observed: reuse a revision, adopt one, or register.

The decision is a value. Pinning acts on it, `pinned-ecs plan` prints it. What makes a revision the
desired one is said in `core.compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.core.arn import same_principal
from prefect_ecs_pinned.core.canonical import canonical
from prefect_ecs_pinned.core.compare import Desired, Match, Observed, as_described, match
from prefect_ecs_pinned.core.fingerprint import PREFECT_CONTAINER, without_sizes
from prefect_ecs_pinned.core.showable import DEFINITION
from prefect_ecs_pinned.core.shown import Rule, named, part, shown

__all__ = [
    "Adopt",
    "AskCaller",
    "Change",
    "Decision",
    "Desired",
    "Observed",
    "ReadTags",
    "Register",
    "Reuse",
    "changes",
    "decide",
    "differences",
    "rewritten",
]


@dataclass(frozen=True)
class Reuse:
    """A revision has the desired fingerprint, and its content agrees.

    Attributes:
        arn: The revision.
        doubts: Members in which it differs, for which it is unknown how ECS describes them; the
            caller's own principal has registered it.
    """

    arn: str
    doubts: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class ReadTags:
    """Not decided: a revision may match, and is to be described with its tags first."""

    arn: str


@dataclass(frozen=True)
class AskCaller:
    """Not decided: it depends on who registered a revision, and on who the caller is."""


Decision = Reuse | Adopt | Register | ReadTags | AskCaller


def decide(
    desired: Desired,
    observed: Iterable[Observed],
    newest: Mapping[str, Any] | None = None,
    caller: str | None = None,
) -> Decision:
    """Choose a revision for what is desired.

    An equal one wins over a nominated one, among these the one without doubtful members, then the
    newest.

    Args:
        desired: What the configuration asks for.
        observed: Revisions of the desired family that are ACTIVE, in any order.
        newest: The family's newest revision as ECS described it, to say what changed.
        caller: GetCallerIdentity's ``Arn``; None when it was not asked for yet, empty when it can
            not be known.
    """
    revisions = sorted(observed, key=lambda revision: revision.revision, reverse=True)
    found = [(r, m) for r in revisions if (m := match(desired, r)) is not None]
    for revision, how in found:
        if how.equal:
            return Reuse(revision.arn) if how.labelled else Adopt(revision.arn)
    for revision, how in found:
        if how.untagged:
            return ReadTags(revision.arn)
    if (nominated := _nominated(found, caller)) is not None:
        return nominated
    if newest is None:
        return Register(f"family {desired.family!r} has no revision yet")
    changed = differences(newest, desired.definition, desired.container_name)
    return Register(f"changed: {', '.join(changed)}" if changed else "no revision matches", changed)


def _nominated(
    found: Iterable[tuple[Observed, Match]], caller: str | None
) -> Reuse | AskCaller | None:
    for revision, how in sorted(found, key=lambda pair: bool(pair[1].doubts)):
        if how.doubts and caller is None and revision.registered_by:
            return AskCaller()
        if not how.doubts or same_principal(revision.registered_by, caller or ""):
            return Reuse(revision.arn, how.doubts)
    return None


def rewritten(desired: Desired, described: Mapping[str, Any]) -> tuple[str, ...]:
    """Members that ECS describes otherwise than they were sent, beyond what is known of it.

    Args:
        desired: What was sent.
        described: RegisterTaskDefinition's answer to it.
    """
    sent = canonical(desired.definition, known_only=True)
    return differences(described, sent, desired.container_name)


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


def changes(
    observed: Mapping[str, Any], desired: Mapping[str, Any], container: str = PREFECT_CONTAINER
) -> tuple[Change, ...]:
    """What differs between two definitions, by path.

    Args:
        observed: What ECS describes, or what there was before.
        desired: What is asked for.
        container: Name of the Prefect container.
    """
    ours, theirs = as_described(desired, observed)
    before = {leaf[0]: leaf[1] for leaf in _flat(without_sizes(canonical(theirs), container))}
    after = {leaf[0]: leaf[1] for leaf in _flat(without_sizes(canonical(ours), container))}
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, _NONE), after.get(key, _NONE)
        if old.value != new.value:
            found.append(Change(new.path or old.path, old.shown, new.shown))
    return tuple(found)


_NONE = _Leaf("", None, None)


def differences(
    observed: Mapping[str, Any], desired: Mapping[str, Any], container: str = PREFECT_CONTAINER
) -> tuple[str, ...]:
    """The members that differ between two definitions, as dotted paths, sorted.

    Containers and other named items are shown by name (``containerDefinitions.prefect.image``),
    and no value is shown: it could be a secret.
    """
    return tuple(sorted({change.path for change in changes(observed, desired, container)}))


def _flat(
    value: Any, rule: Rule = DEFINITION, key: tuple[str, ...] = (), path: str = ""
) -> Iterator[tuple[tuple[str, ...], _Leaf]]:
    """The values of a definition by key; nothing is looked into of which nothing may be shown."""
    items: list[tuple[str, Any, Rule]]
    if isinstance(value, Mapping) and isinstance(rule, Mapping):
        items = [(str(member), content, part(rule, member)) for member, content in value.items()]
    elif isinstance(value, list) and isinstance(rule, list) and _are_named(value):
        items = [(_name(item), item, rule[0]) for item in value]
    else:
        yield key, _Leaf(path, value, shown(value, rule))
        return
    for called, content, of_content in items:
        inner = f"{path}.{named(called)}" if path else named(called)
        yield from _flat(content, of_content, (*key, called), inner)


def _are_named(items: list[Any]) -> bool:
    """Whether each has a name of its own: of two of one name, one would hide the other."""
    names = [_name(item) for item in items]
    return bool(names) and all(names) and len(set(names)) == len(names)


def _name(item: Any) -> str:
    return str(item.get("name", "")) if isinstance(item, Mapping) else ""
