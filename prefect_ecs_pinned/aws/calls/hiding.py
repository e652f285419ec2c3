"""Answers of AWS, and logs of its libraries, without the values of the request that they quote.

AWS quotes what it does not accept ("Value 'hunter2' at 'tags.1.member.value' failed to satisfy
constraint ..."). For a wrong signature it shows the request that should have been signed, with its
session token. botocore logs requests, answers and signatures at DEBUG.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect_ecs_pinned.aws.calls.faults import Fault, Kind
from prefect_ecs_pinned.aws.loop.threads import THREAD_NAMES
from prefect_ecs_pinned.core.showable import DEFINITION, REQUEST
from prefect_ecs_pinned.core.shown import Rule, hidden_texts, without

#: What our calls go through, and what logs more at DEBUG than may be shown.
_LIBRARIES = ("boto3", "botocore", "urllib3")

#: Calls whose requests have secrets in them, and what of them may be shown.
_RULES: Mapping[str, Rule] = {"RegisterTaskDefinition": DEFINITION, "RunTask": REQUEST}


def hidden_of_request(operation: str, request: Mapping[str, Any]) -> frozenset[str]:
    """The texts of a request that no message may show; none for most calls."""
    return hidden_texts(request, _RULES[operation]) if operation in _RULES else frozenset()


def hide(fault: Fault, hidden: Collection[str]) -> Fault:
    """The same fault, without texts that may not be shown; neither are they in what caused it.

    Args:
        fault: Changed in place.
        hidden: Of `core.shown.hidden_texts`.
    """
    message = without(fault.message, hidden)
    if fault.kind is Kind.BAD_SIGNATURE:
        # "The request signature we calculated does not match the signature you provided. ...
        #  \n\nThe Canonical String for this request should have been\n'POST\n/\n\nhost:..."
        message = message.partition("\n")[0]
    causes = [str(cause) for cause in _causes(fault)]
    if message != fault.message or any(without(text, hidden) != text for text in causes):
        fault.__cause__ = fault.__context__ = None
    fault.message = message
    fault.reasons = tuple(without(reason, hidden) for reason in fault.reasons)
    fault.args = (fault.kind, fault.operation, fault.code, message)
    return fault


def _causes(exception: BaseException) -> Iterator[BaseException]:
    for cause in (exception.__cause__, exception.__context__):
        if cause is not None:
            yield cause
            yield from _causes(cause)


# -- logs --------------------------------------------------------------------------------------


def _may_be_shown(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not (record.threadName or "").startswith(THREAD_NAMES)


def keep_libraries_quiet() -> None:
    """Drop what AWS's libraries log at DEBUG from our own threads.

    A filter is needed for each logger, and there is one for each module. Other users of these
    libraries in the process keep their records.
    """
    for library in _LIBRARIES:
        for name in _modules(library):
            logging.getLogger(name).addFilter(_may_be_shown)


def _modules(library: str) -> Iterator[str]:
    """Names of a library and all of its modules, without importing them."""
    spec = importlib.util.find_spec(library)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        packages = [init.parent for init in Path(folder).glob("*/__init__.py")]
        for file in (
            file for package in (Path(folder), *packages) for file in package.glob("*.py")
        ):
            words = file.relative_to(folder).with_suffix("").parts
            yield ".".join((library, *words)).removesuffix(".__init__")
