"""Tags as ECS takes them: API_Tag, API_RunTask "tags", API_RegisterTaskDefinition "tags".

The characters are those of the pattern in botocore's model of TagKey and TagValue.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from prefect_ecs_pinned.local.errors import invalid

MOST_TAGS = 50
MOST_KEY_CHARACTERS = 128
MOST_VALUE_CHARACTERS = 256

#: Next to letters, numbers and separators.
_CHARACTERS = "_.:/=+-@"


def check_tags(tags: Sequence[Mapping[str, Any]]) -> None:
    """Check the tags of a resource.

    Raises:
        AwsRefusal: InvalidParameterException.
    """
    if len(tags) > MOST_TAGS:
        raise invalid("Tags can have at most 50 items.")
    seen: set[str] = set()
    for tag in tags:
        key, value = tag.get("key") or "", tag.get("value") or ""
        if not 1 <= len(key) <= MOST_KEY_CHARACTERS:
            raise invalid("Tag keys must have a length between 1 and 128 characters.")
        if len(value) > MOST_VALUE_CHARACTERS:
            raise invalid("Tag values can have at most 256 characters.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys that begin with 'aws:' are reserved.")
        if not all(map(_is_allowed, key + value)):
            raise invalid(
                "Tag keys and values can have letters, numbers, spaces, and the characters "
                f"{_CHARACTERS}"
            )
        if key in seen:
            raise invalid("Tag keys must be unique.")
        seen.add(key)


def _is_allowed(character: str) -> bool:
    return unicodedata.category(character)[0] in "LZN" or character in _CHARACTERS
