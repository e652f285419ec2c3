"""The JSON schema that the UI draws the form from."""

from __future__ import annotations

import pytest
from pydantic.v1 import ValidationError

from prefect_ecs_pinned.block import PinnedECSTask
from prefect_ecs_pinned.block.form import FIELDS, HIDDEN

PROPERTIES = PinnedECSTask.schema()["properties"]


def test_every_field_but_the_type_is_shown() -> None:
    assert set(PROPERTIES) == PinnedECSTask.__fields__.keys() - {HIDDEN} == FIELDS.keys()


def test_positions_say_the_order_without_the_order_of_keys() -> None:
    by_position = sorted(PROPERTIES, key=lambda name: PROPERTIES[name]["position"])
    assert by_position == list(FIELDS)
    assert [PROPERTIES[name]["position"] for name in FIELDS] == list(range(37))


def test_descriptions_are_one_line_and_short() -> None:
    for name, shown in FIELDS.items():
        assert "\n" not in shown.description, name
        assert len(shown.description) <= 300, name


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
    assert list(properties) == [*FIELDS, "extra"]
    assert properties["extra"]["position"] == 37


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
