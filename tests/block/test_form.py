"""The JSON schema that the UI draws the form from."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.client.schemas.actions import BlockTypeCreate
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.block import PinnedECSTask, form_texts
from prefect_ecs_pinned.block.fields import OWN, Shown
from prefect_ecs_pinned.block.form import EMBLEM_VARIABLE, FIELDS, HEADINGS, HIDDEN, emblem
from prefect_ecs_pinned.block.form_texts import SECTIONS

PROPERTIES = PinnedECSTask.schema()["properties"]


def test_every_field_is_shown_but_those_that_have_one_value_only() -> None:
    fields = PROPERTIES.keys() - HEADINGS.keys()
    assert fields == PinnedECSTask.__fields__.keys() - set(HIDDEN) == FIELDS.keys()
    assert sum(len(section.fields) for section in SECTIONS) == len(FIELDS), "each is in one section"


def test_a_field_that_names_its_section_comes_last_in_it(monkeypatch) -> None:
    """So a new field needs no line in the table of sections."""
    new = Shown("New", "Something new. Default: none.", section=SECTIONS[0].title)
    monkeypatch.setitem(OWN, "a_new_one", new)
    for number, section in enumerate(SECTIONS):
        added = {"a_new_one": new} if number == 0 else {}
        assert list(form_texts._complete(section).fields.items()) == [
            *section.fields.items(),
            *added.items(),
        ]


def test_positions_say_the_order_without_the_order_of_keys() -> None:
    by_position = sorted(PROPERTIES, key=lambda name: PROPERTIES[name]["position"])
    assert [PROPERTIES[name]["position"] for name in by_position] == list(range(len(PROPERTIES)))
    assert [name for name in by_position if name not in HEADINGS] == list(FIELDS)
    shown = iter(by_position)
    for section in SECTIONS:
        assert section.title.upper() in PROPERTIES[next(shown)]["title"]
        assert [next(shown) for _ in section.fields] == list(section.fields)


def test_a_heading_is_no_field() -> None:
    """Nothing is stored for it, whoever saves the block."""
    assert not any(name.isidentifier() for name in HEADINGS), "a class could have such a field"
    for name in HEADINGS:
        shown = PROPERTIES[name]
        assert (shown["allOf"], shown["default"]) == ([], None), "what the UI draws no input for"
    stored = PinnedECSTask()._to_block_document("x", uuid4(), uuid4()).data
    assert not stored.keys() & HEADINGS.keys()
    assert "auto_deregister_task_definition" not in stored


def test_descriptions_are_one_line_and_short() -> None:
    for name, shown in FIELDS.items():
        assert "\n" not in shown.description, name
        assert len(shown.description) <= 300, name
        assert "Default" in shown.description, name


@pytest.mark.parametrize("before", [{}, {"auto_deregister_task_definition": False}])
def test_a_block_that_an_older_form_saved_loads(before: dict[str, bool]) -> None:
    """It holds the field that is not shown any more."""
    block = PinnedECSTask(**before, cluster="etl")
    assert (block.auto_deregister_task_definition, block.cluster) == (False, "etl")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("launch_timeout_seconds", 0, 86400),
        ("task_start_timeout_seconds", 1, 86400),
        ("task_watch_poll_interval", None, 600),
    ],
)
def test_the_class_keeps_the_bounds_of_the_form(name: str, least: int | None, most: int) -> None:
    assert PROPERTIES[name].get("minimum") == least
    assert PROPERTIES[name]["maximum"] == most
    for bad in ((least or 0) - 1, most + 1):
        with pytest.raises(ValidationError, match="ensure this value is"):
            PinnedECSTask(**{name: bad})


def test_a_subclass_adds_fields_behind_those_of_the_block() -> None:
    class Mine(PinnedECSTask):
        _block_type_slug = "mine"
        extra: str = "x"

    properties = Mine.schema()["properties"]
    assert list(properties) == [*PROPERTIES, "extra"]
    assert properties["extra"]["position"] == len(PROPERTIES)


def test_bounds_of_placement_are_the_apis() -> None:
    """The browser checks them; the class does so again."""
    storage, strategy = PROPERTIES["ephemeral_storage"], PROPERTIES["capacity_provider_strategy"]
    assert (storage["minimum"], storage["maximum"]) == (21, 200)
    assert not {name for name, shown in PROPERTIES.items() if "maxItems" in shown}, (
        "the UI takes it for the longest text"
    )
    item = strategy["items"]["properties"]
    assert (item["weight"]["minimum"], item["weight"]["maximum"]) == (0, 1000)
    assert (item["base"]["minimum"], item["base"]["maximum"]) == (0, 100_000)
    assert "MANAGED_INSTANCES" in PROPERTIES["launch_type"]["enum"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "https://elsewhere/ecs.png"),
        ("https://assets.example.org/emblem.svg", "https://assets.example.org/emblem.svg"),
        ("", None),
    ],
)
def test_the_emblem_can_be_elsewhere(
    monkeypatch: pytest.MonkeyPatch, given: str | None, shown: str | None
) -> None:
    """For browsers that do not reach the host of Prefect's images; an empty one shows none."""
    monkeypatch.delenv(EMBLEM_VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(EMBLEM_VARIABLE, given)
    assert emblem("https://elsewhere/ecs.png") == shown


def test_prefect_takes_no_emblem_that_comes_with_the_package() -> None:
    """Why there is a variable: once these are accepted, there need not be one."""
    emblem_inside = {"data": "data:image/svg+xml;base64,AAAA", "path": "/ico/emblem.svg"}
    for url in emblem_inside.values():
        with pytest.raises(ValidationError, match="scheme"):
            BlockTypeCreate(name="x", slug="x", logo_url=url)
