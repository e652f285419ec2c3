"""What pydantic says of fields, in a message."""

from __future__ import annotations

from prefect_ecs_pinned.operations.configuration import faults_in_words


def test_thousands_of_faults_are_a_short_message():
    faults = [{"loc": ("subnets", number), "msg": "str type expected"} for number in range(20_000)]
    said = faults_in_words(faults)
    assert said.startswith("subnets.0: str type expected; subnets.1: ")
    assert said.endswith("; and 19995 more")
    assert len(said) < 200


def test_a_fault_of_no_field_has_no_path():
    assert faults_in_words([{"loc": ("__root__",), "msg": "no"}]) == "no"
