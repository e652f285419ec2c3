"""The flow of the demo: it says where it runs."""

import platform
import socket
import sys

import prefect
from prefect import flow, get_run_logger


@flow
def healthcheck() -> None:
    """Log the host's name, the Python version, the platform and the Prefect version."""
    logger = get_run_logger()
    logger.info("Host %s", socket.gethostname())
    logger.info("Python %s", sys.version.split()[0])
    logger.info("Platform %s", platform.platform())
    logger.info("Prefect %s", prefect.__version__)


if __name__ == "__main__":
    healthcheck()
