"""AWS's service models, as the installed botocore has them; read once in a process.

They are 25 MB of JSON, and most of what a session costs: all sessions share one loader. EC2's has
700 operations, of which this package calls three; the list of endpoints has 300 services, of which
it calls eight. The other ones are dropped when the file has been read: 50,000 objects less, in
which Python's garbage collector would look for the rest of the process's life (ADR 15).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import botocore
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel

from prefect_ecs_pinned.aws.calls.garbage import no_collections

#: The oldest botocore that this is made for. No requirement says it: see pyproject.toml.
_OLDEST = (1, 34)


def check_botocore(version: str) -> None:
    """Refuse a botocore that is too old, when this is imported.

    Raises:
        ImportError: It is.
    """
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise ImportError(
            f"prefect-ecs-pinned needs boto3 and botocore 1.34 or newer, and botocore {version} is "
            "installed: pip install --upgrade boto3"
        )


check_botocore(botocore.__version__)

#: Of the services whose models are cut: the operations that this package calls.
CALLED: Mapping[str, frozenset[str]] = {
    "ec2": frozenset({"DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups"}),
}

#: The services that this package calls, as the list of endpoints names them (``endpointPrefix``).
#: botocore computes the endpoints of others from the partition's pattern.
ENDPOINTS = frozenset({"api.ecr", "ec2", "ecs", "iam", "logs", "secretsmanager", "ssm", "sts"})

#: The loader of the first session, which has read the service models.
_loaders: list[Any] = []


class ModelLoader:
    """botocore's loader, without what this package does not call: see `CALLED` and `ENDPOINTS`.

    Args:
        loader: A session's own loader: its search paths hold, so an ``AWS_DATA_PATH`` does.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._cut: dict[tuple[str, str | None], Mapping[str, Any]] = {}
        self._endpoints: tuple[Mapping[str, Any], str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_service_model(
        self, service_name: str, type_name: str, api_version: str | None = None
    ) -> Mapping[str, Any]:
        """A service's model; see `botocore.loaders.Loader.load_service_model`."""
        called = CALLED.get(service_name)
        if called is None or type_name != "service-2":
            model: Mapping[str, Any] = self._loader.load_service_model(
                service_name, type_name, api_version
            )
            return model
        key = (service_name, api_version)
        if key not in self._cut:
            with self._reader() as reader:
                whole = reader.load_service_model(service_name, type_name, api_version)
                self._cut[key] = cut(whole, called)
                del whole
        return self._cut[key]

    def load_data_with_path(self, name: str) -> tuple[Mapping[str, Any], str]:
        """A file, and where it is; see `botocore.loaders.Loader.load_data_with_path`."""
        if name != "endpoints":
            found: tuple[Mapping[str, Any], str] = self._loader.load_data_with_path(name)
            return found
        if self._endpoints is None:
            with self._reader() as reader:
                whole, path = reader.load_data_with_path(name)
                self._endpoints = cut_endpoints(whole), path
                del whole
        return self._endpoints

    def load_data(self, name: str) -> Mapping[str, Any]:
        """A file; see `botocore.loaders.Loader.load_data`."""
        return self.load_data_with_path(name)[0]

    @contextlib.contextmanager
    def _reader(self) -> Iterator[Any]:
        """A loader that is thrown away, for each keeps all that it has read."""
        paths = list(self._loader.search_paths)
        with no_collections():
            yield Loader(extra_search_paths=paths, include_default_search_paths=False)


def cut(model: Mapping[str, Any], called: frozenset[str]) -> Mapping[str, Any]:
    """The same model with some of its operations, and the shapes that these refer to."""
    operations = {name: op for name, op in model["operations"].items() if name in called}
    shapes: dict[str, Any] = {}
    waiting = list(_references(operations))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting += _references(shapes[name])
    return {**model, "operations": operations, "shapes": shapes}


def cut_endpoints(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same list of endpoints with those of the services in `ENDPOINTS`."""
    partitions = [
        {
            **partition,
            "services": {
                name: service
                for name, service in partition.get("services", {}).items()
                if name in ENDPOINTS
            },
        }
        for partition in data["partitions"]
    ]
    return {**data, "partitions": partitions}


def _references(part: Any) -> Iterator[str]:
    """Names of the shapes that a part of a model refers to: ``{"shape": name}``, at any depth."""
    if isinstance(part, Mapping):
        name = part.get("shape")
        if isinstance(name, str):
            yield name
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def share_models(session: Any) -> None:
    """Let a boto3 session use the service models that the first one has read."""
    core = getattr(session, "_session", None)
    if core is None:
        return  # not boto3's own class
    if not _loaders:
        _loaders.append(ModelLoader(core.get_component("data_loader")))
    core.register_component("data_loader", _loaders[0])


def _model(service: str) -> Mapping[str, Any]:
    """A service's model: botocore's JSON, kept by the loader; empty when there is none."""
    if not _loaders:  # not that of a session: it reads a configuration that may be wrong
        _loaders.append(ModelLoader(create_loader(os.environ.get("AWS_DATA_PATH"))))
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

    Not at fault: the shape has it (``fault``, ``retryable``, or an HTTP status from 500).
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
