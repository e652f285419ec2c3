"""The loop that users write: start a deployment again and again, with no sleep.

Usage: python loop.py DEPLOYMENT RUNS
"""

import sys

from prefect.deployments import run_deployment  # type: ignore[attr-defined, unused-ignore]

if __name__ == "__main__":
    name, runs = sys.argv[1], int(sys.argv[2])
    for _ in range(runs):
        run_deployment(name=name, timeout=0)  # type: ignore[unused-coroutine]
