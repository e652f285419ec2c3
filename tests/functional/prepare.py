"""Save what the functional tests need, as a user's script would: block, work pool, deployments.

Usage: python prepare.py ENDPOINT_URL; in the folder of the flow.
"""

import os
import sys
from pathlib import Path

from prefect.deployments import Deployment  # type: ignore[attr-defined]
from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask


def main(endpoint_url: str) -> None:
    AwsCredentials(
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        aws_client_parameters={"endpoint_url": endpoint_url},
    ).save("default", overwrite=True)
    PinnedECSTask(
        aws_credentials=AwsCredentials.load("default"),
        image="prefecthq/prefect:2-latest",
        task_watch_poll_interval=1.0,
    ).save("default", overwrite=True)
    block = PinnedECSTask.load("default")
    block.publish_as_work_pool("pinned")
    for name, options in {
        "agent-runner": {"infrastructure": block},
        "worker-runner": {"work_pool_name": "pinned"},
        "worker-engine": {"work_pool_name": "pinned"},
    }.items():
        Deployment.build_from_flow(  # type: ignore[unused-coroutine]
            _flow(),
            name,
            path=str(Path.cwd()),
            entrypoint="sleeper.py:sleeper",
            work_queue_name=name.split("-")[1],
            apply=True,
            **options,
        )


def _flow():
    sys.path.insert(0, str(Path.cwd()))
    from sleeper import sleeper  # type: ignore[import-not-found]

    return sleeper


if __name__ == "__main__":
    main(sys.argv[1])
