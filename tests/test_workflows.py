"""Workflows have the least permissions, and what they use is pinned; commits meet what CI does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

#: Permissions to write that a job may have: workflow/job -> what.
MAY_WRITE = {"codeql/analyze": {"security-events"}, "release/publish": {"id-token"}}

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")


def _jobs(path: Path) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return jobs


def _writes(permissions: dict[str, str]) -> set[str]:
    return {what for what, access in permissions.items() if access == "write"}


def test_every_action_is_pinned_by_commit_and_named_by_version():
    """40 hexadecimal digits and a comment; an action has the same commit wherever it is used."""
    uses = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    pinned = [re.fullmatch(r"[ -]+uses: (\S+)@([0-9a-f]{40}) # (v[\d.]+)", line) for line in uses]
    assert len(uses) > 10
    assert [use for use, match in zip(uses, pinned, strict=True) if match is None] == []
    commits = {match.groups() for match in pinned if match}
    assert len(commits) == len({action for action, _, _ in commits})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_may_do_what_it_has_to(path):
    """Nothing by default; reading the code where it is checked out; writing where it is listed."""
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in _jobs(path).items():
        assert _writes(job["permissions"]) == MAY_WRITE.get(f"{path.stem}/{name}", set())
        assert job["timeout-minutes"] <= 30
        for step in job["steps"]:
            if "actions/checkout@" in step.get("uses", ""):
                assert step["with"] == {"persist-credentials": False}
                assert job["permissions"]["contents"] == "read"


def test_what_a_commit_meets_is_what_make_lint_runs():
    """The same programs of the same environment, with the same subcommands."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    recipes = re.findall(r"^lint[\w-]*:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    lines = [
        line.removeprefix("$(BIN)/") for line in "".join(recipes).replace("\t", "").split("\n")
    ]
    commands = {re.split(r" (?=[-.$])", line)[0] for line in lines if line}
    entries = {re.split(r" (?=-)", hook["entry"].removeprefix(".venv/bin/"))[0] for hook in hooks}
    assert entries == commands
    assert {hook["language"] for hook in hooks} == {"system"}
