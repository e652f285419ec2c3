"""What takes the demo's load: an agent and a block of Prefect 2, or a worker of Prefect 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prefect_ecs_pinned import majors
from prefect_ecs_pinned.errors import ConfigurationError
from prefect_ecs_pinned.operations.demo.stage import AGENT_SETTINGS, Stage

#: Runs a command of a name, and shows it: (name, command).
Do = Callable[[str, list[str]], None]

#: Slug of the block or type of the worker -> what it is.
KINDS = {
    "pinned-ecs-task": majors.BLOCK,
    "ecs-task": majors.BLOCK,
    "pinned-ecs": majors.WORKER,
    "ecs": majors.WORKER,
}

#: Those of this package, of which every flow run has to complete.
OURS = ("pinned-ecs-task", "pinned-ecs")

#: Settings of the worker that make 100 runs quick to pick up on a small machine.
WORKER_SETTINGS: Mapping[str, str] = {
    # Seconds between looks at the work pool; 10 by default.
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}

_EXECUTION_ROLE = "arn:aws:iam::123456789012:role/ecsTaskExecutionRole"


class Face(Protocol):
    """Sets the stage with the commands that a user types.

    Attributes:
        images: Of the first round, and of the one with another image. Nothing is pulled: the
            embedded ECS runs commands on this machine.
        started: The command line of what takes flow runs, as a person would type it.
    """

    images: tuple[str, str]
    started: str

    def set(self, stage: Stage, do: Do) -> None:
        """Save what the flow runs need, make the deployment, and start what takes them."""

    def change_image(self, stage: Stage, do: Do) -> None:
        """Let further flow runs name the second image."""


def face_of(kind: str | None) -> Face:
    """The face of a kind; None for this package's, under the installed Prefect.

    Raises:
        ConfigurationError: It goes with the other major of Prefect.
    """
    kind = kind or default_kind()
    if KINDS[kind] is not majors.face():
        raise ConfigurationError(
            f"cannot play the demo with {kind}",
            f"it is {KINDS[kind].what}, and Prefect {majors.prefect_version()} is installed",
            "`make demo` plays it with the block, `make demo-worker` with the worker",
        )
    return BlockFace(kind) if KINDS[kind] is majors.BLOCK else WorkerFace(kind)


def default_kind() -> str:
    """This package's kind, under the installed Prefect."""
    return "pinned-ecs-task" if majors.face() is majors.BLOCK else "pinned-ecs"


@dataclass
class BlockFace:
    """Prefect 2: a saved block, a deployment built against it, an agent."""

    slug: str
    images: tuple[str, str] = (
        "prefecthq/prefect:2-latest",
        "prefecthq/prefect:2.20-python3.11",
    )
    started: str = " ".join(
        [*(f"{name}={value}" for name, value in AGENT_SETTINGS.items()),
         "prefect agent start -p default-agent-pool -q prod"]
    )  # fmt: skip

    def set(self, stage: Stage, do: Do) -> None:
        """Register the block type, save the block, build the deployment, start an agent."""
        module = "prefect_ecs_pinned" if self.slug in OURS else "prefect_aws.ecs"
        do("register", stage.prefect("block", "register", "-m", module))
        self._save(stage, do, self.images[0])
        build = stage.prefect(
            *("deployment", "build", "healthcheck.py:healthcheck"),
            *("-n", "prod", "-q", "prod", "-a", "-ib", f"{self.slug}/default"),
            *("--path", str(stage.flows), "--skip-upload"),
            *("--output", "healthcheck-deployment.yaml"),
        )
        do("build", build)
        stage.start_agent()

    def change_image(self, stage: Stage, do: Do) -> None:
        """Save the block with the second image."""
        self._save(stage, do, self.images[1])

    def _save(self, stage: Stage, do: Do, image: str) -> None:
        do("save", stage.python("save_block.py", self.slug, stage.ecs_url, image))


@dataclass
class WorkerFace:
    """Prefect 3: a work pool, a deployment by ``prefect.yaml``, a worker."""

    type: str
    images: tuple[str, str] = ("prefecthq/prefect:3-latest", "prefecthq/prefect:3-python3.11")
    started: str = " ".join(
        [*(f"{name}={value}" for name, value in WORKER_SETTINGS.items()),
         "prefect worker start --pool demo"]
    )  # fmt: skip

    def set(self, stage: Stage, do: Do) -> None:
        """Make the work pool and the deployment, and start a worker."""
        do("create", stage.prefect("work-pool", "create", "demo", "--type", self.type))
        self._deploy(stage, do, self.images[0])
        stage.start(
            "worker",
            stage.prefect("worker", "start", "--pool", "demo", "--name", "demo"),
            WORKER_SETTINGS,
        )

    def change_image(self, stage: Stage, do: Do) -> None:
        """Deploy with the second image."""
        self._deploy(stage, do, self.images[1])

    def _deploy(self, stage: Stage, do: Do, image: str) -> None:
        """``prefect deploy`` with a file that names the image; JSON is YAML."""
        step = "prefect.deployments.steps.set_working_directory"
        deployment = {
            "name": "prod",
            "entrypoint": "healthcheck.py:healthcheck",
            "work_pool": {
                "name": "demo",
                "job_variables": {
                    "image": image,
                    "configure_cloudwatch_logs": True,
                    "execution_role_arn": _EXECUTION_ROLE,
                },
            },
        }
        text = json.dumps(
            {"pull": [{step: {"directory": str(stage.flows)}}], "deployments": [deployment]},
            indent=2,
        )
        (stage.flows / "prefect.yaml").write_text(text)
        do("deploy", stage.prefect("--no-prompt", "deploy", "--name", "prod"))
