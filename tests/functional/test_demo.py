"""``pinned-ecs demo``, the command, from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [
    pytest.mark.walkthrough,
    pytest.mark.timeout(300),
]

PINNED_ECS = str(Path(sys.executable).with_name("pinned-ecs"))


def test_the_demo_runs_everything_on_one_revision_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [PINNED_ECS, "demo", "--runs", "5", "--change-image", "--json", "--keep"],
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "console").open("wb"),
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        start_new_session=True,
    )
    assert demo.stdout is not None
    summary, _ = json.JSONDecoder().raw_decode(_until_closed_brace(demo.stdout))
    _until_kept(tmp_path / "console")
    processes = psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(30) == 0
    first, changed = summary["rounds"]
    for played, revisions in ((first, 1), (changed, 2)):
        assert played["states"] == {"COMPLETED": 5}
        assert (played["registered"], played["revisions_after"]) == (1, revisions)
        assert played["calls"]["RunTask"] == 5
        assert played["throttled"] == {}
    assert first["revisions_before"] == 0
    assert len(processes) >= 3, "an ECS, a server and an agent were up"
    assert psutil.wait_procs(processes, timeout=10)[1] == []
    assert [path.name for path in tmp_path.iterdir() if "ecs" in path.name] == []
    assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in (tmp_path / "console").read_text()


def _until_kept(console: Path) -> None:
    deadline = time.monotonic() + 30
    while "Prefect's UI" not in console.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _until_closed_brace(stream: object) -> str:
    """The JSON document on a stream that stays open."""
    text = ""
    for line in iter(stream.readline, b""):  # type: ignore[attr-defined]
        text += line.decode()
        if line.rstrip() == b"}":
            break
    return text
