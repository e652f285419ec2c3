"""Which major version of Prefect is installed, and which face of this package goes with it.

A process has one of the two majors, and prefect-aws goes with it (0.4 needs Prefect 2, later
releases need Prefect 3). So this package has two faces: an infrastructure block, which exists in
Prefect 2 only, and a worker, which is made of Prefect 3's. Nothing here imports Prefect before a
face is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prefect_ecs_pinned.errors import WrongPrefect


@dataclass(frozen=True)
class Face:
    """One of the two.

    Attributes:
        name: Of its class.
        module: Which holds the class.
        what: What the class is, for a message.
        instead: What a person who has the other major can do.
    """

    name: str
    module: str
    what: str
    instead: str


BLOCK = Face(
    "PinnedECSTask",
    "prefect_ecs_pinned.block",
    "an infrastructure block of Prefect 2",
    "with Prefect 3: `prefect work-pool create NAME --type pinned-ecs`, and --pool NAME in "
    "commands; "
    "for the block: pip install prefect-ecs-pinned 'prefect<3'",
)
WORKER = Face(
    "PinnedECSWorker",
    "prefect_ecs_pinned.worker",
    "a worker of Prefect 3",
    "with Prefect 2: the block, prefect_ecs_pinned.PinnedECSTask, by its name in commands; "
    "for the worker: pip install prefect-ecs-pinned 'prefect>=3'",
)

#: Name of a class -> its face.
FACES = {face.name: face for face in (BLOCK, WORKER)}


def prefect_version() -> str:
    """``prefect.__version__``; of the installed distribution while Prefect is not imported.

    Raises:
        ModuleNotFoundError: There is no Prefect.
    """
    loaded = getattr(sys.modules.get("prefect"), "__version__", None)
    if isinstance(loaded, str):
        return loaded
    try:
        return version("prefect")
    except PackageNotFoundError:  # `prefect-client`, or a checkout on the path
        return str(importlib.import_module("prefect").__version__)


def prefect_major() -> int:
    """The major version of Prefect.

    A checkout without tags has a version such as ``0+unknown``: the flow engine decides then,
    which is a module of this name since Prefect 3.

    Raises:
        ModuleNotFoundError: There is no Prefect.
    """
    first = prefect_version().partition(".")[0]
    if first.isdigit() and int(first) >= 2:
        return int(first)
    return 2 if importlib.util.find_spec("prefect.flow_engine") is None else 3


def face() -> Face:
    """The face that goes with the installed Prefect.

    Raises:
        ModuleNotFoundError: There is no Prefect.
    """
    return BLOCK if prefect_major() == 2 else WORKER


def require(wanted: Face) -> None:
    """Refuse a face that the installed Prefect does not have.

    Raises:
        WrongPrefect: It is the other major's; with what to do instead.
        ModuleNotFoundError: There is no Prefect.
    """
    if face() is not wanted:
        raise WrongPrefect(
            f"cannot use {wanted.name}",
            f"it is {wanted.what}, and Prefect {prefect_version()} is installed",
            wanted.instead,
        )


def load(wanted: Face) -> Any:
    """The class of a face.

    Raises:
        WrongPrefect: It is the other major's.
        ImportError: Prefect, or something that it needs, cannot be imported.
    """
    require(wanted)
    return getattr(importlib.import_module(wanted.module), wanted.name)
