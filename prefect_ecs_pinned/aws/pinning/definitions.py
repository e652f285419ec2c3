"""Definitions that configurations ask for, each built once."""

from __future__ import annotations

from prefect_ecs_pinned.aws.loop.bounded import Bounded
from prefect_ecs_pinned.aws.pinning.registrable import make
from prefect_ecs_pinned.core.definition import DefinitionSpec
from prefect_ecs_pinned.core.plan import Desired

#: Built definitions that are remembered; a deployment needs one or two.
_MOST_DEFINITIONS = 1024


class Definitions:
    """Lives on the control loop; `remembered` may be called from any thread."""

    def __init__(self) -> None:
        self._built: Bounded[str, Desired] = Bounded(_MOST_DEFINITIONS)

    def remembered(self, key: str) -> Desired | None:
        """The definition with a key, if it was built."""
        return self._built.get(key)

    async def build(self, key: str, spec: DefinitionSpec) -> Desired:
        """The definition of a configuration.

        Raises:
            ConfigurationError: It can not become one.
        """
        if (desired := self._built.get(key)) is None:
            desired = make(spec)  # its fingerprint is computed, once, before others share it
            self._built[key] = desired
        return desired
