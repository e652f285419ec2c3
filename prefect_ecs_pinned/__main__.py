"""`python -m prefect_ecs_pinned`: the command line, where no script `pinned-ecs` is on the PATH."""

from __future__ import annotations

import sys

from prefect_ecs_pinned.cli import main

if __name__ == "__main__":
    sys.exit(main())
