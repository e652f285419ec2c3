"""AWS's service models, as the installed botocore has them; read once in a process.

They are 25 MB of JSON, and most of what a session costs: all sessions share one loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel

#: botocore's loader of the first session, which has read the service models.
_loaders: list[Any] = []


def share_models(session: Any) -> None:
    """Let a boto3 session use the service models that the first one has read."""
    core = getattr(session, "_session", None)
    if core is None:
        return  # not boto3's own class
    if not _loaders:
        _loaders.append(core.get_component("data_loader"))
    core.register_component("data_loader", _loaders[0])


def _model(service: str) -> Mapping[str, Any]:
    """A service's model: botocore's JSON, kept by the loader; empty when there is none."""
    if not _loaders:
        _loaders.append(botocore.session.get_session().get_component("data_loader"))
    try:
        model: Mapping[str, Any] = _loaders[0].load_service_model(service, "service-2")
    except Exception:  # noqa: BLE001 - no such service, or a loader that is no more
        return {}
    return model


@lru_cache(maxsize=64)
def input_shape(service: str, operation: str) -> Any:
    """The shape of an operation's request."""
    return ServiceModel(_model(service)).operation_model(operation).input_shape


@lru_cache(maxsize=256)
def modelled_errors(service: str, operation: str) -> Mapping[str, bool]:
    """Codes of the errors that an operation's model names -> whether the caller is at fault.

    Not at fault: the shape says so (``fault``, ``retryable``, or an HTTP status from 500).
    EC2 models none.
    """
    model = _model(service)
    errors = model.get("operations", {}).get(operation, {}).get("errors", ())
    found = {}
    for error in errors:
        shape = model["shapes"].get(error["shape"], {})
        traits = shape.get("error", {})
        passes = shape.get("fault") or shape.get("retryable") or traits.get("fault")
        is_ours = not passes and traits.get("httpStatusCode", 400) < 500
        found[traits.get("code", error["shape"])] = found[error["shape"]] = is_ours
    return found
