"""Save the block that the demo's deployment is built against, as a user's script would.

Usage: python save_block.py {pinned-ecs-task,ecs-task} ENDPOINT_URL IMAGE; with the embedded ECS's
access key in the environment.
"""

import os
import sys

from prefect_aws import AwsCredentials
from prefect_aws.ecs import ECSTask

from prefect_ecs_pinned import PinnedECSTask

if __name__ == "__main__":
    kind, endpoint_url, image = sys.argv[1:]
    credentials = AwsCredentials(
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        aws_client_parameters={"endpoint_url": endpoint_url},
    )
    credentials.save("default", overwrite=True)
    block_class = {"pinned-ecs-task": PinnedECSTask, "ecs-task": ECSTask}[kind]
    block_class(
        aws_credentials=AwsCredentials.load("default"),
        image=image,
        configure_cloudwatch_logs=True,
        execution_role_arn="arn:aws:iam::123456789012:role/ecsTaskExecutionRole",
        task_watch_poll_interval=2.0,
    ).save("default", overwrite=True)
