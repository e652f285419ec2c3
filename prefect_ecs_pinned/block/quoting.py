"""Errors and reasons that others write about a block, without the values that they quote."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic.v1 import ValidationError
from pydantic.v1.error_wrappers import ErrorWrapper
from pydantic.v1.errors import PydanticTypeError, PydanticValueError

from prefect_ecs_pinned.core.shown import HIDDEN, hidden_texts, without
from prefect_ecs_pinned.runs.spec import FIELDS

#: What of the context of pydantic's errors says how a field is made, and not what it was given
#: (``pydantic.v1.errors``).
_ABOUT_THE_FIELD = frozenset(
    {
        "permitted",
        "limit_value",
        "enum_values",
        "multiple_of",
        "pattern",
        "max_digits",
        "decimal_places",
        "whole_digits",
        "actual_length",
        "expected_length",
        "expected_class",
        "expected_arbitrary_type",
        "required_version",
        "class_name",
        "protocol",
        "allowed_schemes",
        "discriminator_key",
        "allowed_values",
    }
)


def without_values(error: ValidationError, data: Mapping[str, Any]) -> ValidationError:
    """A validation error as pydantic made it, except for the values that it quotes.

    Args:
        error: Of a block.
        data: What the block was to be made of.
    """
    hidden = hidden_texts(data, FIELDS)
    return ValidationError(_hide(error.raw_errors, hidden), error.model)


def _hide(errors: Sequence[Any], hidden: Collection[str]) -> list[Any]:
    return [_hide_one(error, hidden) for error in errors]


def _hide_one(error: Any, hidden: Collection[str]) -> Any:
    if not isinstance(error, ErrorWrapper):
        return _hide(error, hidden)
    exception: Exception = error.exc
    if isinstance(exception, ValidationError):
        inner: Exception = ValidationError(_hide(exception.raw_errors, hidden), exception.model)
    elif isinstance(exception, (PydanticTypeError, PydanticValueError)):
        inner = _without_context(exception)
    else:
        kind = type(exception)
        written = without(str(exception), hidden)
        inner = (
            kind(written)
            if kind in (ValueError, TypeError, AssertionError)
            else ValueError(written)
        )
    return ErrorWrapper(inner, error.loc_tuple())


def _without_context(exception: Exception) -> Exception:
    """pydantic makes the message of the exception's attributes."""
    result = copy.copy(exception)
    for name in vars(result):
        if name not in _ABOUT_THE_FIELD:
            setattr(result, name, HIDDEN)
    return result
