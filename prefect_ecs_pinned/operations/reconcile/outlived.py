"""Whether a live task whose flow run has ended is to be stopped. Pure.

A Prefect server may be a copy: a backup that was restored, a staging server that was filled from
production's database. It holds production's flow runs, their pids and the credentials, and takes
tasks for lost that serve runs that it no longer has. So a task is stopped only if

1. its flow run has been final for over `Limits.settle`;
2. the server's record of the flow run changed after the task was created. The pid proves it
   without any clock if it names this task: it could not be written before. Otherwise the task must
   have this server's address, and the final state must be younger than the task by `Limits.skew`;
3. the clocks do not say that the flow run had ended before the task was created;
4. the task was not given the address of another Prefect API.

What contradicts 3 or 4 is a reason to doubt the server as a whole (`Verdict.doubt`). Comparisons
are made with the end of an interval that makes it harder to stop, and easier to doubt.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from prefect_ecs_pinned.operations.reconcile.facts import (
    FINAL,
    Action,
    Limits,
    Run,
    Task,
    Verdict,
    age_text,
    leave,
)


def decide_task(
    run: Run,
    task: Task,
    named: str,
    here: Collection[str],
    now: datetime,
    limits: Limits,
) -> Verdict:
    """Whether a live task is to be stopped: when its flow run has ended, and both are known here.

    Args:
        run: The flow run.
        task: The task.
        named: ARN of the task that the flow run's pid names; empty without one.
        here: URLs of this Prefect server's API, as `api_url` writes them.
        now: On the clock of the command.
        limits: How long a run is not changed.
    """
    if run.state not in FINAL:
        return leave(f"the flow run is {run.state}")
    later = task.created_at.latest - run.since.earliest
    if later > limits.race:
        return _launched_elsewhere(later)
    known = {_address(url) for url in here}
    at_home = bool(task.reports_to) and _address(task.reports_to) in known
    if task.reports_to and not at_home and now - run.since.earliest > limits.settle:
        return _reports_elsewhere(task.reports_to)
    age = now - run.since.latest
    if age <= limits.settle:
        return leave("the flow run has just ended")
    named_here = named == task.snapshot.task_arn
    if not (named_here or at_home):
        return leave("its pid does not name the live task")
    if later > (limits.skew if named_here else -limits.skew):
        return leave("its task was created about when the flow run ended")
    return Verdict(Action.STOP, f"the flow run has been {run.state} for {age_text(age)}")


def _launched_elsewhere(later: timedelta) -> Verdict:
    return leave(
        f"its task was created {age_text(later)} after the flow run had ended here",
        "this server's database may be a copy, and the original server may have launched the "
        "task: if so, do not reconcile here; otherwise stop the task by hand, and repeat",
    )


def _reports_elsewhere(url: str) -> Verdict:
    return leave(
        f"its task reports to another Prefect API: {url}",
        f"if that is this server, repeat with --api-url {url}; if this server's database is a "
        "copy, do not reconcile here",
    )


def api_url(url: str) -> str:
    """The URL of a Prefect API without user, password and query.

    Empty for addresses without a place: no http URL, or one of the machine itself.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or _loopback(host):
        return ""
    host = f"[{host}]" if ":" in host else host
    where = f"{host}:{port}" if port not in (None, 80, 443) else host
    return f"{parts.scheme}://{where}{parts.path.rstrip('/')}"


def _loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _address(url: str) -> str:
    """What two URLs of one API have in common: not the scheme."""
    return url.partition("://")[2]
