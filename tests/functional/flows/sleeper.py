"""A flow that says that it runs, and then takes its time."""

import time

from prefect import flow, get_run_logger


@flow
def sleeper(seconds: float = 0.0) -> None:
    get_run_logger().info("sleeping for %s s", seconds)
    time.sleep(seconds)
