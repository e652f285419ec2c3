"""Tags: what is valid stays as it is, by the short way as by the long one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from slugify import slugify

from prefect_ecs_pinned.core import request

CHARACTERS = "abcXYZ012_./=+:@-- #é&;'\""


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=CHARACTERS, max_size=12))
def test_a_tag_is_what_slugify_makes_of_it(text):
    """The short way is taken for valid text only, and changes nothing."""
    expected = slugify(
        text, regex_pattern=request._TAG_CHARACTERS, allow_unicode=True, lowercase=False
    )
    assert request._tag(text) == expected


def test_the_tags_of_a_run_go_the_short_way():
    """All but those with characters that ECS does not take."""
    for text in ("prefect.io/flow-run-id", "purple-cat", "2.20.26", "2026-11-24T03:00:00+00:00"):
        assert request._VALID_TAG.fullmatch(text)
    for text in ("a--b", "-a", "a-", "two words", ""):
        assert not request._VALID_TAG.fullmatch(text)
