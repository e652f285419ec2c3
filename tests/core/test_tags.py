"""Tags: what is valid stays as it is, by the short way as by the long one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slugify import slugify

from prefect_ecs_pinned.core import tags
from prefect_ecs_pinned.errors import ConfigurationError

CHARACTERS = "abcXYZ012_./=+:@-- #é&;'\""


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet=CHARACTERS, max_size=12))
def test_a_tag_is_what_slugify_makes_of_it(text):
    """The short way is taken for valid text only, and changes nothing."""
    expected = slugify(text, regex_pattern=tags._CHARACTERS, allow_unicode=True, lowercase=False)
    assert tags._valid(text, 256) == expected


def test_the_tags_of_a_run_go_the_short_way():
    """All but those with characters that ECS does not take."""
    for text in ("prefect.io/flow-run-id", "purple-cat", "2.20.26", "2026-11-24T03:00:00+00:00"):
        assert tags._VALID.fullmatch(text)
    for text in ("a--b", "-a", "a-", "two words", ""):
        assert not tags._VALID.fullmatch(text)


LABELS = st.text(alphabet="aAwWsS:é -x", max_size=300)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(LABELS, LABELS, max_size=60))
def test_labels_of_any_names_become_tags_that_aws_accepts(labels):
    """Cut, without duplicates, without what is reserved, at most fifty."""
    tags.check_tags(tags.tags_of(labels), "cannot launch", "tags")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}], "'a' occurs twice"),
        ([{"key": "AWS:x", "value": "1"}], "reserved"),
        ([{"key": "x", "value": "aws:1"}], "reserved"),
        ([{"key": "x" * 129, "value": "1"}], "129 characters"),
        ([{"key": "", "value": "1"}], "0 characters"),
        ([{"key": "x", "value": "v" * 257}], "longer than 256"),
        ([{"key": str(n), "value": ""} for n in range(51)], "there are 51"),
    ],
)
def test_tags_that_somebody_states_are_refused_and_not_changed(wrong, why):
    """Those of a definition and of customizations; the value is not shown."""
    with pytest.raises(ConfigurationError, match=why) as error:
        tags.check_tags(wrong, "cannot launch", "tags")
    assert "vvv" not in str(error.value)
