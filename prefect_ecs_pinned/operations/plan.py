"""What blocks and pools would run, and whether that needs a registration. Nothing is changed.

The decision is the one that a launch would make: it is asked of `aws.pinning` itself, which
may not register.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect_ecs_pinned.aws.calls import retrying
from prefect_ecs_pinned.aws.calls.clients import Access
from prefect_ecs_pinned.aws.control_plane import ControlPlane
from prefect_ecs_pinned.core.plan import Change, changes
from prefect_ecs_pinned.core.showable import REQUEST
from prefect_ecs_pinned.core.shown import shown
from prefect_ecs_pinned.errors import RegistrationRefused, TaskDefinitionNotFound
from prefect_ecs_pinned.operations.configuration import Configuration
from prefect_ecs_pinned.operations.containers import added
from prefect_ecs_pinned.operations.sources import Holder, configurations
from prefect_ecs_pinned.runs.prepare import Prepared, prepare

#: What a `Step` does. ``given``: the revision that is linked is used as it is.
GIVEN, FOUND, ADOPTED, REGISTER = "given", "found", "adopted", "register"


@dataclass(frozen=True)
class Difference:
    """What would be another in a revision, fit to be shown.

    Attributes:
        path: As `core.plan.Change` has it.
        before: The value in the newest revision, hidden when it may be a secret; None for none.
        after: The value that is needed, hidden when it may be a secret; None for none.
    """

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Step:
    """One revision that is there, or would be registered, and who runs from it.

    Attributes:
        used_by: Names of the block or the deployments that run from it.
        region: AWS Region.
        family: Its family.
        fingerprint: Of the definition.
        action: ``given``, ``found``, ``adopted`` or ``register``.
        revision: ARN of the revision in use; None when it would be registered.
        reason: Why it would be registered.
        against: ARN of the newest revision, which ``changes`` compares with; None for none.
        changes: What would be new in a revision.
        per_run: Name of the block or deployment -> what its launches set without a revision.
        image: Image of the Prefect container.
        image_unset: Names of those that leave the image open.
        refused: Names of those whose launches are refused until it is registered.
        differs: Members that ECS describes differently; see `aws.pinning.resolving.Pin`.
        added: See `containers.added`.
    """

    used_by: tuple[str, ...]
    region: str
    family: str
    fingerprint: str
    action: str
    revision: str | None
    reason: str
    against: str | None
    changes: tuple[Difference, ...]
    per_run: Mapping[str, Mapping[str, Any]]
    image: str
    image_unset: tuple[str, ...]
    refused: tuple[str, ...]
    differs: tuple[str, ...] = ()
    added: str = ""


@dataclass
class Target:
    """What one or several configurations run from.

    Attributes:
        plane: Reaches AWS with their credentials.
        prepared: Of the first of them.
        region: AWS Region.
        members: Each configuration, and what was prepared for it.
    """

    plane: ControlPlane
    prepared: Prepared
    region: str
    members: list[tuple[Configuration, Prepared]] = field(default_factory=list)

    @property
    def access(self) -> Access:
        """Equal ``key`` for all of its members."""
        return self.members[0][0].access

    @property
    def used_by(self) -> tuple[str, ...]:
        """Names of the configurations that share it."""
        return tuple(configuration.name for configuration, _ in self.members)

    @property
    def image_unset(self) -> tuple[str, ...]:
        """Names of those that state no image."""
        return tuple(c.name for c, _ in self.members if c.image_unset)

    @property
    def added(self) -> str:
        """See `Step`."""
        said = (added(prepared.desired) for _, prepared in self.members)
        return next(filter(None, said), "")


async def plan(
    reference: Holder,
    deployment: str | None = None,
    every: bool = False,
    more: Mapping[str, Any] | None = None,
) -> list[Step]:
    """What a saved block or a pool would run from; see `sources.Source.configurations`.

    Raises:
        ConfigurationError: It, or a deployment on it, can not be launched as it is.
        PinnedECSError: AWS or Prefect refused, or could not be reached.
    """
    return await plan_for(await configurations(reference, deployment, every, more))


async def plan_for(wanted: Sequence[Configuration]) -> list[Step]:
    """As `plan`, for configurations that have been read."""
    async with targets(wanted) as found:
        return [await step(target) for target in found]


@asynccontextmanager
async def targets(found: Sequence[Configuration]) -> AsyncIterator[list[Target]]:
    """Prepare configurations as a launch would, and put those together that share a revision.

    The control planes are new ones: nothing is remembered from before.
    """
    planes: dict[str, ControlPlane] = {}
    by_key: dict[tuple[str, ...], Target] = {}
    try:
        for configuration in found:
            access = configuration.access
            if access.key not in planes:
                planes[access.key] = ControlPlane(access, waits=retrying.COMMAND)
            plane = planes[access.key]
            prepared = await prepare(configuration.of_a_run(), plane)
            desired = prepared.desired
            key = (access.key, prepared.revision or "", desired.family, desired.fingerprint)
            if key not in by_key:
                by_key[key] = Target(plane, prepared, await plane.region())
            by_key[key].members.append((configuration, prepared))
        yield list(by_key.values())
    finally:
        for plane in planes.values():
            plane.close()


async def step(target: Target) -> Step:
    """What a launch would do for a target, and what would be new in a revision."""
    desired = target.prepared.desired
    action, revision, reason, differs = await _decide(target)
    newest = None
    if action == REGISTER:
        try:
            newest = (await target.plane.linked(desired.family, bool(desired.tags))).described
        except TaskDefinitionNotFound:
            reason = "the family has no revision yet"
    new = changes(newest or {}, desired.definition, desired.container_name)
    return Step(
        used_by=target.used_by,
        region=target.region,
        family=desired.family,
        fingerprint=desired.fingerprint,
        action=action,
        revision=revision,
        reason=reason,
        against=str(newest["taskDefinitionArn"]) if newest is not None else None,
        changes=readable(new) if action == REGISTER else (),
        per_run={c.name: per_run(prepared, c) for c, prepared in target.members},
        image=desired.image,
        image_unset=target.image_unset,
        refused=tuple(
            c.name for c, p in target.members if action == REGISTER and not p.may_register
        ),
        differs=differs,
        added=target.added,
    )


async def _decide(target: Target) -> tuple[str, str | None, str, tuple[str, ...]]:
    """What a launch would do: action, revision, why it would register, what it differs in."""
    if target.prepared.revision is not None:
        return GIVEN, target.prepared.revision, "", ()
    try:
        pin = await target.plane.pin(target.prepared.desired, may_register=False)
    except RegistrationRefused as refused:
        changed = ", ".join(refused.changed)
        return REGISTER, None, f"changed: {changed}" if changed else "no revision matches", ()
    return (ADOPTED if pin.how == "adopted" else FOUND), pin.arn, "", pin.differs


def readable(found: Sequence[Change]) -> tuple[Difference, ...]:
    """Changes for people: no name that is in a path anyway."""
    return tuple(
        Difference(
            change.path,
            _in_words(change.path, change.before),
            _in_words(change.path, change.after),
        )
        for change in found
        if not (_is_empty(change) or _is_shown_by_others(change, found))
    )


def _is_empty(change: Change) -> bool:
    return change.before in (None, []) and change.after in (None, [])


def _is_shown_by_others(change: Change, found: Sequence[Change]) -> bool:
    """It is the name of an item that other changes show by name."""
    item, _, member = change.path.rpartition(".")
    return member == "name" and any(
        other.path.startswith(f"{item}.") for other in found if other is not change
    )


def _in_words(path: str, value: Any) -> Any:
    """``any`` for a size: whether it is stated counts, the value is sent with each launch."""
    return "any" if value is True and path.endswith(("cpu", "memory")) else value


def per_run(prepared: Prepared, configuration: Configuration) -> dict[str, Any]:
    """What every launch sets without a revision; of variables the names only.

    Variables that the agent hands on from its own settings are left out: they are not known
    here.
    """
    request = shown(configuration.without_placeholders(prepared.request), REQUEST)
    overrides = dict(request.pop("overrides", None) or {})
    containers = overrides.pop("containerOverrides", None) or []
    request.pop("taskDefinition", None)
    result: dict[str, Any] = {**request, **overrides}
    own = configuration.spec.container_name
    for container in containers:
        prefix = "" if container.get("name") == own else f"{container.get('name')}."
        for name, value in container.items():
            if name == "environment":
                names = {v.get("name") for v in value} - _inherited(configuration)
                if names:
                    result[f"{prefix}environment"] = sorted(map(str, names))
            elif name != "name" and str(result.get(name)) != str(value):
                result[f"{prefix}{name}"] = value
    return {name: value for name, value in sorted(result.items()) if value not in ([], {}, None)}


def _inherited(configuration: Configuration) -> set[str]:
    """Names of the variables that come from Prefect's settings and not from the block."""
    return set(configuration.spec.inherited_env) - set(configuration.spec.env)


def short(arn: str) -> str:
    """``family:revision`` of a revision's ARN."""
    return arn.rsplit("/", 1)[-1]


def as_text(value: Any) -> str:
    """A value in one line of JSON, text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
