"""Tests of the worker; under Prefect 2, which has none of ours, there is nothing to collect."""

from __future__ import annotations

import prefect

collect_ignore_glob = [] if prefect.__version__.startswith("3.") else ["test_*.py"]
