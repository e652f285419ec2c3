"""A block that does not load may need any revision of the families that its runs may use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from prefect_ecs_pinned.operations.blocks.claims import _may_be_of


@pytest.mark.parametrize(
    ("name", "data", "family"),
    [
        ("etl", {}, "prefect-etl"),
        ("etl--prod", {}, "prefect-etl-prod"),
        ("TeamETL", {}, "prefect-teametl"),
        (None, {}, "prefect-pinned"),
        ("etl", {"family": "Team--ETL"}, "Team--ETL"),
        ("etl", {"family": "Team--ETL"}, "team-etl"),
        ("etl", {"task_definition": {"family": "web"}}, "web"),
        ("etl", {"task_definition_arn": "arn:aws:ecs:us-east-1:1:task-definition/web:3"}, "web"),
    ],
)
def test_its_claim_is_unknown_for_each_family_that_it_may_be_of(name, data, family):
    document = cast(Any, SimpleNamespace(name=name, is_anonymous=name is None))
    assert _may_be_of(family, data, document)
    assert not _may_be_of("prefect-other", data, document)
