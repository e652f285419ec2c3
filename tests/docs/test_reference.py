"""The generated pages say what the code says."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from prefect_ecs_pinned.aws.events import LaunchesThrottled, RevisionPinned
from prefect_ecs_pinned.block.form import FIELDS
from prefect_ecs_pinned.cli import COMMANDS
from prefect_ecs_pinned.faces import events
from prefect_ecs_pinned.local.faults import KINDS
from prefect_ecs_pinned.local.settings import Settings

HOOK = Path(__file__).parents[2] / "docs" / "hooks" / "reference.py"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", HOOK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(hook: ModuleType, name: str) -> str:
    return "\n".join(hook.PAGES[f"reference/{name}.md"]())


def test_every_field_is_there_in_order(hook: ModuleType) -> None:
    assert re.findall(r"^### .* \{ #(\w+) \}$", page(hook, "fields"), re.M) == list(FIELDS)


def test_every_command_is_there_with_its_options(hook: ModuleType) -> None:
    text = page(hook, "commands")
    names = re.findall(r"^## pinned-ecs (\w+)$", text, re.M)
    assert names == [command.__name__ for command in COMMANDS]
    for option in (
        "--exit-code",
        "--pool",
        "--keep",
        "--min-age",
        "--registration",
        "--quota-scale",
    ):
        assert f"| `{option}`" in text
    assert "| `[BLOCK]` | A saved block" in text


def test_every_event_is_there_with_its_payload() -> None:
    text = (HOOK.parents[1] / "reference" / "events.md").read_text()
    rows = dict(re.findall(r"^\| `prefect-ecs-pinned\.([\w.]+)` \| .* \| (.*) \|$", text, re.M))
    assert rows.pop("revision.adopted") == "the same"
    payloads = {
        "revision.registered": RevisionPinned,
        "launches.throttled": LaunchesThrottled,
    }
    assert {event: re.findall(r"`(\w+)`", payload) for event, payload in rows.items()} == {
        event: list(notice.__dataclass_fields__)  # type: ignore[attr-defined]
        for event, notice in payloads.items()
    }
    for event in (*payloads, "revision.adopted"):
        assert event.partition(".")[2] in (events.__doc__ or "")


def test_every_variable_of_a_pool_is_there_with_its_default() -> None:
    """Those that `ecs` pools do not have; read from the source, since Prefect 3 is not here."""
    root = HOOK.parents[2]
    source = ast.parse((root / "prefect_ecs_pinned" / "worker" / "variables.py").read_text())
    (variables,) = [n for n in source.body if isinstance(n, ast.ClassDef)]
    fields = {
        n.target.id: ast.unparse(n.value)
        for n in variables.body
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value
    }
    del fields["launch_type"]  # of `ecs`, with one more value
    text = (root / "docs" / "guides" / "pools.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.M))
    assert list(fields) == [name for name in rows if name in fields]
    for name, default in (
        ("registration", "`on-change` (default)"),
        ("launch_timeout_seconds", "900"),
        ("task_start_timeout_seconds", "600"),
    ):
        assert default in rows[name]


def test_every_setting_and_fault_is_explained(hook: ModuleType) -> None:
    text = page(hook, "local")
    for name in Settings.__dataclass_fields__:
        row = re.search(rf"^\| `{name}` \| .+ \| (.+) \|$", text, re.M)
        assert row, name
        assert len(row[1]) > 5, name
    for kind in KINDS:
        assert f"- `{kind}`: " in text


def test_the_map_names_what_is_there() -> None:
    """Every path of the page for contributors, from the root or from the package."""
    root = HOOK.parents[2]
    text = (HOOK.parents[1] / "contributing.md").read_text()
    paths = set(re.findall(r"`((?:[\w.*]+/)+[\w.*]*|\w+\.py)`", text))
    missing = [
        path
        for path in sorted(paths)
        if not any(
            any(base.glob(path.rstrip("/")))
            for base in (root, root / "prefect_ecs_pinned", root / "tests")
        )
    ]
    assert len(paths) > 30
    assert missing == []
