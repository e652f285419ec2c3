"""Prefect reads its settings when it is imported, and raises what pydantic says of a wrong one."""

from __future__ import annotations

from typing import Any

from prefect_ecs_pinned.errors import ConfigurationError


def as_error(error: Any) -> ConfigurationError | None:
    """What is wrong with Prefect's settings; None for any other error.

    Args:
        error: A ``ValidationError`` of pydantic 2 (Prefect 3) has a title, one of its v1 API
            (Prefect 2) a model.
    """
    name = getattr(error, "title", "") or getattr(getattr(error, "model", None), "__name__", "")
    if not str(name).endswith("Settings") or not hasattr(error, "errors"):
        return None
    wrong = [each for each in error.errors() if each["type"] != "default_factory_not_called"]
    return ConfigurationError(
        "cannot import Prefect",
        "; ".join(_in_words(each) for each in wrong),
        "correct this PREFECT_ variable, or the setting of the active profile (`profiles.toml`)",
    )


def _in_words(wrong: Any) -> str:
    """Setting and message, without the value, which may be a key."""
    where = ".".join(str(part) for part in wrong["loc"] if part != "__root__")
    return f"{where}: {wrong['msg']}" if where else f"settings: {wrong['msg']}"
