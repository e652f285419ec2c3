"""The acts of a demo, what they show while they run, and what they add up to."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from prefect_ecs_pinned.operations.demo.faces import OURS, default_kind, face_of
from prefect_ecs_pinned.operations.demo.stage import Stage

#: Seconds that a round may take for each run, and at least.
_SECONDS_PER_RUN = 10.0
_LEAST_SECONDS = 180.0

#: Seconds between looks at the numbers.
_LOOK_SECONDS = 1.0

_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class DemoSettings:
    """What to play.

    Attributes:
        runs: Flow runs a round.
        rounds: Number of rounds.
        change_image: Whether a further round follows with another image.
        kind: Which of `faces.KINDS` takes the load; None for this package's, under the
            installed Prefect.
        keep: Whether to leave everything up until Ctrl-C.
    """

    runs: int = 100
    rounds: int = 1
    change_image: bool = False
    kind: str | None = None
    keep: bool = False


@dataclass
class Round:
    """What one round came to.

    Attributes:
        name: Which round.
        states: Flow runs by state type.
        registered: RegisterTaskDefinition calls that succeeded.
        revisions_before: Revisions of all families before it, ACTIVE and INACTIVE.
        revisions_after: The same after it.
        calls: ECS, EC2 and Logs calls by action; throttled ones included.
        throttled: Throttled calls by action.
        errors: Refused calls by action.
        seconds: From the start of the loop until the last flow run had ended.
    """

    name: str
    states: dict[str, int]
    registered: int
    revisions_before: int
    revisions_after: int
    calls: dict[str, int]
    throttled: dict[str, int]
    errors: dict[str, int]
    seconds: float


@dataclass
class Summary:
    """What a demo came to; ``kind`` has taken the load, see `faces.KINDS`."""

    kind: str
    runs: int
    seconds: float = 0.0
    rounds: list[Round] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Every flow run has completed; Prefect's own are not expected to."""
        complete = all(r.states.get("COMPLETED", 0) == self.runs for r in self.rounds)
        return complete or self.kind not in OURS


def run_demo(settings: DemoSettings, as_json: bool = False) -> Summary:
    """Play a demo, talking on stderr, and print the summary on stdout.

    Raises:
        ConfigurationError: The kind needs the other major of Prefect.
        PinnedECSError: A command of the demo failed.
    """
    console = Console(stderr=True)
    face = face_of(settings.kind)
    summary = Summary(settings.kind or default_kind(), settings.runs)
    began = time.monotonic()
    with _terminable(), Stage() as stage:
        do = partial(_do, stage, console)
        with console.status("Starting an embedded ECS and a Prefect server"):
            stage.start_servers()
        shutil.copy(Path(__file__).with_name("healthcheck.py"), stage.flows)
        face.set(stage, do)
        console.print(f"[dim]$ {face.started}[/dim]", soft_wrap=True)
        for number in range(1, settings.rounds + 1):
            summary.rounds.append(_play_round(stage, settings, f"round {number}", console))
        if settings.change_image:
            face.change_image(stage, do)
            summary.rounds.append(_play_round(stage, settings, "changed image", console))
        summary.seconds = time.monotonic() - began
        _print(summary, as_json)
        if settings.keep:
            _keep(stage, console)
    return summary


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo as Ctrl-C does, so that no process is left behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {n: signal.signal(n, interrupt) for n in (signal.SIGTERM, signal.SIGHUP)}
    # A shell that starts a command in the background makes it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _do(stage: Stage, console: Console, name: str, command: list[str]) -> None:
    shown = " ".join(Path(word).name if word.startswith("/") else word for word in command)
    console.print(f"[dim]$ {shown}[/dim]", soft_wrap=True)
    with console.status(f"Running {name}"):
        stage.run(name, command)


def _play_round(stage: Stage, settings: DemoSettings, name: str, console: Console) -> Round:
    before = _Numbers.read(stage)
    began = time.monotonic()
    console.print(
        f"[dim]$ python loop.py healthcheck/prod {settings.runs}"
        "   # run_deployment(..., timeout=0), no sleep[/dim]",
        soft_wrap=True,
    )
    loop = stage.python("loop.py", "healthcheck/prod", str(settings.runs))
    stage.start("loop", loop)
    _look_on(stage, settings.runs, before, console)
    seconds = time.monotonic() - began
    after = _Numbers.read(stage)
    calls = _grown(after.calls, before.calls)
    throttled, errors = (
        _grown(after.throttled, before.throttled),
        _grown(after.errors, before.errors),
    )
    action = "RegisterTaskDefinition"
    return Round(
        name=name,
        states=_grown(after.states, before.states),
        registered=calls.get(action, 0) - throttled.get(action, 0) - errors.get(action, 0),
        revisions_before=before.revisions,
        revisions_after=after.revisions,
        calls=calls,
        throttled=throttled,
        errors=errors,
        seconds=seconds,
    )


def _look_on(stage: Stage, runs: int, before: _Numbers, console: Console) -> None:
    """Show the numbers until every flow run of the round has ended, or time is up."""
    deadline = time.monotonic() + max(_LEAST_SECONDS, runs * _SECONDS_PER_RUN)
    columns = (
        TextColumn("{task.description:>9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        launched = progress.add_task("launched", total=runs)
        ended = progress.add_task("ended", total=runs)
        completed = progress.add_task("completed", total=runs)
        while time.monotonic() < deadline:
            now = _Numbers.read(stage)
            states = _grown(now.states, before.states)
            progress.update(launched, completed=now.launched - before.launched)
            progress.update(ended, completed=sum(states.values()))
            progress.update(completed, completed=states.get("COMPLETED", 0))
            if sum(states.values()) >= runs:
                return
            time.sleep(_LOOK_SECONDS)


@dataclass(frozen=True)
class _Numbers:
    """What the two servers count at one moment."""

    states: dict[str, int]
    calls: dict[str, int]
    throttled: dict[str, int]
    errors: dict[str, int]
    launched: int
    revisions: int

    @classmethod
    def read(cls, stage: Stage) -> _Numbers:
        calls = stage.ecs("calls")
        return cls(
            states={state: _count(stage, state) for state in _FINAL},
            calls={action: n["calls"] for action, n in calls.items()},
            throttled={action: n["throttled"] for action, n in calls.items()},
            errors={action: n["errors"] for action, n in calls.items()},
            launched=len(stage.ecs("launches")),
            revisions=len(stage.ecs("revisions")),
        )


def _count(stage: Stage, state: str) -> int:
    body = {"flow_runs": {"state": {"type": {"any_": [state]}}}}
    count: int = stage.api("flow_runs/count", body)
    return count


def _grown(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """By how much each number has grown; those that have not are left out."""
    grown = {name: number - before.get(name, 0) for name, number in after.items()}
    return {name: number for name, number in sorted(grown.items()) if number}


def _print(summary: Summary, as_json: bool) -> None:
    out = Console()
    if as_json:
        out.print_json(data=asdict(summary))
        return
    for played in summary.rounds:
        table = Table(title=f"{summary.kind}, {played.name}", title_justify="left")
        table.add_column("what")
        table.add_column("number", justify="right")
        for state, number in played.states.items():
            table.add_row(f"flow runs {state.capitalize()}", f"{number} of {summary.runs}")
        table.add_row("task-definition revisions before", str(played.revisions_before))
        table.add_row("task-definition revisions after", str(played.revisions_after))
        for action, number in played.calls.items():
            table.add_row(f"{action} calls", str(number))
        table.add_row("throttled calls", str(sum(played.throttled.values())))
        table.add_row("refused calls", str(sum(played.errors.values())))
        table.add_row("seconds", f"{played.seconds:.0f}")
        out.print(table)
    out.print(f"{summary.seconds:.0f} s in all, the start of the servers included.")


def _keep(stage: Stage, console: Console) -> None:
    """Wait for Ctrl-C with everything up."""
    console.print("Everything stays up until Ctrl-C. To look around, in another shell:")
    for name, value in stage.environment.items():
        console.print(f"export {name}={value}", highlight=False, soft_wrap=True)
    console.print(f"Prefect's UI: {stage.api_url.removesuffix('/api')}  Logs: {stage.home}/*.log")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("Ending.")
