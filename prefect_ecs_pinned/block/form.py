"""How the block looks in Prefect's UI: sections, order, titles, descriptions, placeholders, bounds.

The UI draws its form from the block's JSON schema. Its habits, as observed with Prefect 2.20:

- The integer ``position`` of a top-level property sets its place; PostgreSQL loses the order
  of keys, so nothing else holds.
- ``description`` is Markdown, in one line. ``example`` is the placeholder, of a JSON editor too.
- It takes ``maxItems`` for the longest text of a JSON editor, so no list has any here.
- A select offers no choice for null when the property has a default.
- The browser checks what is required, JSON syntax, lengths and numeric bounds, and nothing else:
  the class's validators do not run when the form is saved.
- There are no sections. A property with an empty ``allOf`` is drawn as its title and its
  description alone, and nothing is saved for it: a heading. Without a default the form breaks.

The block's own fields (types, defaults, bounds, texts) are declared in `fields`; sections and the
texts of `ECSTask`'s fields are in `form_texts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from slugify import slugify

from prefect_ecs_pinned.block.fields import MARK, Shown
from prefect_ecs_pinned.block.form_texts import SECTIONS, Section

#: Every field that is shown, in the form's order.
FIELDS: Mapping[str, Shown] = {
    name: shown for section in SECTIONS for name, shown in section.fields.items()
}

#: What the UI offers for no launch type. It has no such choice for a field with a default, so a
#: strategy could not be set in the form; the class takes it for null.
NO_LAUNCH_TYPE = "None"

#: Not shown, and not saved: each has one value only.
HIDDEN = ("type", "auto_deregister_task_definition")

#: Names of the headings. With the hyphen, none of them can be the name of a field.
HEADINGS: Mapping[str, Section] = {f"section-{slugify(each.title)}": each for each in SECTIONS}


#: Environment variable: where this block's emblem is, for browsers that reach no other host.
EMBLEM_VARIABLE = "PINNED_ECS_EMBLEM_URL"


def emblem(default: str) -> str | None:
    """URL of the block's emblem; None shows none.

    Prefect 2.20 takes absolute http(s) URLs alone, in its client and in its server: no ``data:``
    URL, no path, no host without a dot (``logo_url``, an ``HttpUrl`` of pydantic v1). So the
    emblem cannot come with the package; the one in ``docs/images`` can be served anywhere.
    """
    return os.environ.get(EMBLEM_VARIABLE, default) or None


def present(schema: dict[str, Any]) -> None:
    """Write into a block's JSON schema how its form looks.

    Fields that a subclass adds come after those of the block, as the subclass shows them.

    Args:
        schema: What pydantic made of the class; changed in place.
    """
    properties = schema["properties"]
    for name in HIDDEN:
        properties.pop(name, None)
    for each in properties.values():
        each.pop(MARK, None)
    for name, shown in FIELDS.items():
        properties[name].update(title=shown.title, description=shown.description, **shown.extra)
        if shown.example != "":
            properties[name]["example"] = shown.example
    properties["launch_type"]["enum"].append(NO_LAUNCH_TYPE)
    _choose_credentials(properties["aws_credentials"])
    ordered: dict[str, dict[str, Any]] = {}
    for heading, section in HEADINGS.items():
        ordered[heading] = _heading(section)
        ordered.update((name, properties[name]) for name in section.fields)
    for position, shown_property in enumerate(ordered.values()):
        shown_property["position"] = position
    added = [name for name in properties if name not in FIELDS]
    for position, name in enumerate(added, start=len(ordered)):
        properties[name].setdefault("position", position)
    schema["properties"] = {**ordered, **{name: properties[name] for name in added}}


def _heading(section: Section) -> dict[str, Any]:
    """A property that has no value.

    Lines and capitals set it apart from titles of fields, which the UI draws alike.
    """
    return {
        "title": f"━━━ {section.title.upper()} ━━━",
        "description": section.description,
        "allOf": [],
        "default": None,
    }


def _choose_credentials(shown: dict[str, Any]) -> None:
    """Show one select for the saved credentials, under this form's own heading.

    Of a property that refers to a block by ``allOf`` the UI shows the heading and the text of
    both. ``type`` and ``block_type_slug`` are what it makes of a plain ``$ref`` by itself; the
    reference stays below ``items``, where the server finds it and the UI shows nothing of it.
    """
    (reference,) = shown.pop("allOf")
    shown.update(type="block", block_type_slug="aws-credentials", items=reference)
