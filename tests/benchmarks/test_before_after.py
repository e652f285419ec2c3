"""The picture of before and after shows what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.before_after import FIGURES, PAIRS, chosen, drawing

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "before-after.svg"


def figures(crashed: int) -> dict[str, float]:
    return {**dict.fromkeys(FIGURES, 1), "runs": 200, "crashed": crashed, "elsewhere": 7}


def test_the_picture_of_the_documentation_is_what_the_code_draws() -> None:
    """From the figures that it holds."""
    (held,) = re.findall("<metadata>(.*)</metadata>", PICTURE.read_text())
    assert drawing(**json.loads(held)) == PICTURE.read_text()


def test_each_flow_run_is_a_sign_of_its_own() -> None:
    crashed = {"ecsworker-200": 154, "worker-200": 0, "plain-200": 1, "pinned-200": 200}
    text = drawing("today", chosen({name: figures(n) for name, n in crashed.items()}))
    assert len(ET.fromstring(text).findall("{*}rect")) == 1 + 2 * len(PAIRS)
    assert text.count("<path ") == sum(crashed.values())
    assert text.count("<circle ") == 800 - sum(crashed.values())
    for number in crashed.values():
        assert f">{number} of 200 crashed<" in text
    assert "elsewhere" not in text
