"""What a block shows of itself when it is printed, as Prefect's block worker prints it."""

from __future__ import annotations

from prefect_aws import AwsCredentials

from prefect_ecs_pinned import PinnedECSTask


def test_no_secret_is_printed() -> None:
    block = PinnedECSTask(
        aws_credentials=AwsCredentials(
            aws_access_key_id="id", aws_secret_access_key="hidden-1", region_name="us-east-1"
        ),
        env={"PREFECT_API_KEY": "hidden-2", "UNSET": None},
        task_definition={
            "containerDefinitions": [
                {"name": "prefect", "environment": [{"name": "TOKEN", "value": "hidden-3"}]}
            ]
        },
    )
    for shown in (repr(block), str(block)):
        assert "hidden" not in shown
        assert "PREFECT_API_KEY" in shown
        assert "TOKEN" in shown
