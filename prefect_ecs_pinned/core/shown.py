"""What of a block, a definition and a request may be shown. What is not listed is hidden.

``shown`` is the one function that decides, for everything that prints, logs or raises. The tables
in `core.showable` list the members whose values may be shown. So new members of ECS, misspelt
members and values of an unexpected shape are hidden. Names are shown: of members, variables, labels
and options.

``hidden_texts`` and ``without`` are for text that others have written about a request, and that
may quote it: an answer of AWS, the reason why a task stopped, an error of a library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeAlias, Union

#: Placeholder for a value that is not shown.
HIDDEN = "***"

#: The parts of a value that may be shown. A function gives the text of one value. A mapping lists
#: members of a structure; ``"*"`` means all others. A list of one is for each item of a list. None:
#: nothing.
Rule: TypeAlias = Union[Callable[[Any], Any], Mapping[str, "Rule"], "list[Rule]", None]

#: Shorter texts are not secrets, and are part of many words.
_SHORTEST_HIDDEN = 4

#: Bits of the largest number that AWS has (Smithy's long). Python writes none of thousands of
#: digits.
_MOST_BITS = 64

#: Commands that hold nothing of the user's: those that Prefect gives to a flow run by itself
#: (prefect 2.20, ``Infrastructure._base_flow_run_command``).
_PREFECTS_COMMANDS = (["python", "-m", "prefect.engine"], ["prefect", "flow-run", "execute"])

#: RFC 6902, "Operations".
_PATCH_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")

_ARN = re.compile(r"arn:[\w-]+:[\w-]+:[\w-]*:\d*:[\w+=,.@/:*-]+")

#: Digits, a task's size with its unit (API_RegisterTaskDefinition, "cpu"), or a truth.
_NUMBER = re.compile(r"\d+(\.\d+)?( ?(vCPU|GB))?|true|false", re.IGNORECASE)

#: Is written alike everywhere.
_PLAIN = re.compile(r"[\w .,:;/@#%&+=*?!()<>-]*", re.ASCII)

#: ``user:password@`` of a URL; the password may hold an "@" itself.
_USER_OF_URL = re.compile(r"(?<=://)[^/\s@]+(?:@[^/\s@\"']+)*(?=@)")


def shown(value: Any, rule: Rule) -> Any:
    """A value of which everything is hidden that a rule does not list.

    Args:
        value: Of any shape; not changed.
        rule: What may be shown of it: of `core.showable`, or a part of that.

    Returns:
        None and what is empty as they are; structures, lists and scalars that the rule expects,
        with the names of all members; `HIDDEN` for everything else.
    """
    if value is None or (isinstance(value, str | Mapping | list | tuple) and not value):
        return value
    if isinstance(rule, Mapping):
        if not isinstance(value, Mapping):
            return HIDDEN
        return {named(key): shown(item, part(rule, key)) for key, item in value.items()}
    if isinstance(rule, list):
        if isinstance(value, list | tuple):
            return [shown(item, rule[0]) for item in value]
        # One item without its list: a name is one anyway, a structure is not.
        return shown(value, rule[0]) if rule[0] is plain else HIDDEN
    return rule(value) if rule is not None else HIDDEN


def part(rule: Rule, key: Any) -> Rule:
    """The rule for a member of a structure, or for the items of a list."""
    if isinstance(rule, Mapping):
        return rule.get(key, rule.get("*")) if isinstance(key, str) else None
    return rule[0] if isinstance(rule, list) else None


# -- rules for one value -----------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Text that names something, a number, a truth, None; of a URL not its user and password."""
    if isinstance(value, str):
        return _USER_OF_URL.sub(HIDDEN, value)
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return HIDDEN
    return value if value is None or isinstance(value, bool | int | float) else HIDDEN


def number(value: Any) -> Any:
    """A number or a truth; text only where it is one, with the unit of a size."""
    if isinstance(value, str):
        return value if _NUMBER.fullmatch(value.strip()) else HIDDEN
    return plain(value)


def arn(value: Any) -> Any:
    """An ARN. A secret that was written where its ARN belongs has another form."""
    return value if isinstance(value, str) and _ARN.fullmatch(value) else HIDDEN


def named(value: Any) -> str:
    """A name: up to its "=", since ``TOKEN=value`` is written where ``TOKEN`` belongs."""
    if not isinstance(value, str) or not value.isprintable():
        return HIDDEN
    before, equals, _ = value.partition("=")
    return f"{before}={HIDDEN}" if equals else value


def known_command(value: Any) -> Any:
    """A command that Prefect gives to every flow run. Any other may hold anything."""
    words = list(value) if isinstance(value, list | tuple) else None
    return words if words in _PREFECTS_COMMANDS else HIDDEN


def patch_operation(value: Any) -> Any:
    """What a JSON patch does."""
    return value if isinstance(value, str) and value in _PATCH_OPERATIONS else HIDDEN


def json_pointer(value: Any) -> Any:
    """A JSON pointer, whose parts are names (RFC 6901)."""
    if not isinstance(value, str) or not value.startswith("/"):
        return HIDDEN if value != "" else value
    return "/".join(named(word) for word in value.split("/"))


def patches(document: Rule) -> Rule:
    """JSON patches of a document of which a rule says what may be shown."""

    def patch(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return HIDDEN
        rules: Rule = {
            "op": patch_operation,
            "path": json_pointer,
            "from": json_pointer,
            "value": _at(document, value.get("path")),
        }
        return shown(value, rules)

    return [patch]


def _at(rule: Rule, path: Any) -> Rule:
    if not isinstance(path, str):
        return None
    for word in path.split("/")[1:]:
        is_place = word.isdigit() or word == "-"
        rule = part(rule, word) if is_place == isinstance(rule, list) else None
    return rule


# -- text of others ----------------------------------------------------------------------------


def hidden_texts(value: Any, rule: Rule) -> frozenset[str]:
    """The texts and numbers within a value that are hidden in all of the places where they are."""
    return frozenset(_texts(value)) - frozenset(_texts(shown(value, rule)))


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]  # not recursive: a value may have any depth
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield _written(value)


def _written(value: str | float) -> str:
    try:
        return str(value)
    except ValueError:  # a number with more digits than Python writes; nothing else writes it
        return ""


def without(written: str, hidden: Collection[str]) -> str:
    """A text in which nothing that is hidden is quoted, in clear, in JSON or as Python writes it.

    Args:
        written: The text.
        hidden: Of `hidden_texts`. Those of fewer than four characters are left in; shorter ones
            than eight are taken out as words of their own only.
    """
    quoted = [value for value in _spellings(hidden) if value in written]
    for value in sorted(quoted, key=len, reverse=True):
        edge = r"\b" if len(value) < 2 * _SHORTEST_HIDDEN else ""
        before = edge if value[0].isalnum() else ""
        after = edge if value[-1].isalnum() else ""
        written = re.sub(f"{before}{re.escape(value)}{after}", HIDDEN, written)
    return _USER_OF_URL.sub(HIDDEN, written)


def _spellings(hidden: Collection[str]) -> set[str]:
    found = set()
    for value in hidden:
        if len(value.strip()) >= _SHORTEST_HIDDEN and value != HIDDEN:
            found |= {value, value.strip()}
            if not _PLAIN.fullmatch(value):
                found |= {repr(value)[1:-1], json.dumps(value)[1:-1]}
                found.add(json.dumps(value, ensure_ascii=False)[1:-1])
    return found
