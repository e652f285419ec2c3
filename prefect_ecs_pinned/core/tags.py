"""Tags: what AWS accepts (API_Tag, and "Tagging restrictions" in the ECS developer guide)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slugify import slugify

from prefect_ecs_pinned.core.alike import TAGS
from prefect_ecs_pinned.core.shown import named
from prefect_ecs_pinned.errors import ConfigurationError

#: Tags of a resource.
TAGS_LIMIT = 50

#: Characters.
KEY_LENGTH = 128
VALUE_LENGTH = 256

#: Starts what is AWS's own, "in any combination of upper or lowercase", of keys and of values.
RESERVED = "aws:"

#: What a tag may not have, as `ECSTask` sees it: API_Tag allows letters, numbers, spaces and
#: + - = . _ : / @ , and spaces become hyphens too.
_CHARACTERS = r"[^a-zA-Z0-9_./=+:@-]"

#: Tags that are valid as they are, and stay so; making one valid takes thirty times as long.
_VALID = re.compile(r"[a-zA-Z0-9_./=+:@]+(?:-[a-zA-Z0-9_./=+:@]+)*")


def tags_of(labels: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags of labels, which are made of the names of flows and runs: never a reason to fail.

    What AWS refuses is replaced or cut. Of labels whose keys become the same the first one stays,
    and of more than there may be the first ones; one with an empty key is dropped.
    """
    tags: dict[str, str] = {}
    for key, value in labels.items():
        name = _valid(key, KEY_LENGTH)
        if name and len(tags) < TAGS_LIMIT:
            tags.setdefault(name, _valid(value, VALUE_LENGTH))
    return [TAGS.of(key, value) for key, value in tags.items()]


def _valid(text: str, length: int) -> str:
    if not _VALID.fullmatch(text):
        text = slugify(text, regex_pattern=_CHARACTERS, allow_unicode=True, lowercase=False)
    while text.lower().startswith(RESERVED):
        text = text[len(RESERVED) :]
    return text if len(text) <= length else text[:length].rstrip("-")


def check_tags(tags: Iterable[Mapping[str, Any]], what: str, whose: str) -> None:
    """Refuse tags that AWS does not accept.

    Args:
        tags: ``key`` and ``value`` each, as text.
        what: What cannot be done.
        whose: How they are called.

    Raises:
        ConfigurationError: There are too many; or one is too long, reserved, or there twice.
    """
    listed = list(tags)
    if why := _wrong(listed):
        raise ConfigurationError(what, f"{whose}: {why}", "correct the tags")


def _wrong(tags: Sequence[Mapping[str, Any]]) -> str:
    if len(tags) > TAGS_LIMIT:
        return f"there are {len(tags)}, and AWS accepts {TAGS_LIMIT}"
    seen = set()
    for tag in tags:
        key, value = tag.get("key") or "", tag.get("value") or ""
        shown = named(key[:KEY_LENGTH])
        if not 0 < len(key) <= KEY_LENGTH:
            return f"a key has {len(key)} characters, and AWS accepts 1 to {KEY_LENGTH}"
        if len(value) > VALUE_LENGTH:
            return f"the value of {shown!r} is longer than {VALUE_LENGTH} characters"
        if key.lower().startswith(RESERVED) or value.lower().startswith(RESERVED):
            return f"{shown!r} or its value begins with {RESERVED!r}, which is reserved"
        if key in seen:
            return f"{shown!r} occurs twice"
        seen.add(key)
    return ""
