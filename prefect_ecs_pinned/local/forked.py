"""In a fork: to be the process that was asked for, with Prefect imported already."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

#: What the processes of flow runs need; a major of Prefect does not have each.
_MODULES = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.cli",
    "prefect.cli.flow_run",
    "prefect.runner",
    "prefect.runner._workspace_supervisor",
    # Imported by the first call of a running event loop, and by the first log line.
    "anyio._backends._asyncio",
    "rich._emoji_codes",
)

#: Variables that override a member of Prefect's logging configuration.
_OVERRIDES = tuple(
    f"PREFECT_LOGGING_{member}" for member in ("FORMATTERS_", "HANDLERS_", "LOGGERS_", "ROOT_")
)

_PR_SET_PDEATHSIG = 1

#: What logging was set up from when Prefect was imported.
_logging_is_for: object = None


def program_of(argv: list[str]) -> str | None:
    """What is forked instead of started: a module's name, ``prefect`` for its command line.

    Prefect 2 and 3 run a flow by ``prefect flow-run execute`` or ``python -m prefect.engine``.
    """
    name = Path(argv[0]).name
    if name == "prefect" and argv[1:3] == ["flow-run", "execute"]:
        return "prefect"
    if name.startswith("python") and argv[1:2] == ["-m"] and argv[2:3]:
        return argv[2] if argv[2].startswith("prefect.") else None
    return None


def import_prefect() -> None:
    """Import what the processes of flow runs need, once, before the first of them is forked."""
    if "prefect.engine" in sys.modules:
        return
    import prefect.plugins

    for name in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    prefect.plugins.load_prefect_collections()
    global _logging_is_for
    _logging_is_for = _logging_settings()
    gc.collect()
    gc.freeze()  # what has been imported stays shared between the forks


def become(message: dict[str, Any], descriptors: list[int], program: str | None) -> NoReturn:
    """In the child: be the process that was asked for."""
    code = 1
    try:
        _settle_in(message, descriptors)
        if program is None:
            os.execvpe(message["argv"][0], message["argv"], message["environment"])
        code = _run_program(program, message["argv"])
    except OSError as error:
        sys.stderr.write(f"{message['argv'][0]}: {error.strerror}\n")
        code = 127
    except BaseException:  # noqa: BLE001 - the child has to end by itself
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _settle_in(message: dict[str, Any], descriptors: list[int]) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, source in enumerate(descriptors):
        os.dup2(source, target)
    os.closerange(3, 256)
    os.chdir(message["directory"])
    os.environ.clear()
    os.environ.update(message["environment"])


def _run_program(program: str, argv: list[str]) -> int:
    """What starting Prefect's command line, or one of its modules, does, to a normal end."""
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path.cwd()), *filter(None, path)]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _read_settings(program)
    code = 0
    try:
        if program == "prefect":
            sys.argv = list(argv)
            code = importlib.import_module("prefect.cli").app() or 0
        else:
            sys.argv = [argv[0], *argv[3:]]
            sys.modules.pop(program, None)
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - the child has to end by itself
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return code


def _read_settings(program: str) -> None:
    """Read Prefect's settings and set up logging again: both were made of another environment.

    Prefect's command line sets up logging by itself, and so does the engine of Prefect 2. Modules
    of Prefect 3 take what importing Prefect has set up: an eighth of the CPU time of such a
    process, so it is left out where nothing that it reads has changed.
    """
    import prefect.context
    import prefect.logging.configuration

    prefect.context.GLOBAL_SETTINGS_CONTEXT = (
        prefect.context.root_settings_context()  # type: ignore[no-untyped-call]
    )
    if program != "prefect" and _logging_settings() != _logging_is_for:
        prefect.logging.configuration.setup_logging()


def _logging_settings() -> object:
    """What a module's logging is set up from (``prefect.logging.configuration``)."""
    import prefect.settings

    settings: Any = prefect.settings.get_current_settings()
    if not hasattr(settings, "logging"):
        return None  # Prefect 2: its engine sets up logging by itself
    if settings.logging.config_path.exists():
        return object()  # a file of the user's can read each setting: equal to nothing
    return (
        {name: value for name, value in os.environ.items() if name.startswith(_OVERRIDES)},
        settings.logging.level,
        settings.logging.extra_loggers,
        settings.server.logging_level,
        settings.internal.logging_level,
    )
