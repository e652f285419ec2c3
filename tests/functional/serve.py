"""Prefect's server, as `prefect server start` serves it: ``python serve.py HOST PORT``."""

import sys

import uvicorn
from prefect.server.api.server import create_app

if __name__ == "__main__":
    uvicorn.run(create_app(), host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
