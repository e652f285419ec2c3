"""Prefect's server, as `prefect server start` serves it: ``python serve.py HOST PORT``."""

import sys

import pytest
import uvicorn
from prefect.server.api.server import create_app

from tests.databases import keep_connections

if __name__ == "__main__":
    keep_connections(pytest.MonkeyPatch())
    uvicorn.run(create_app(), host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
