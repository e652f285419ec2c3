"""The variables of a process that is to use no AWS configuration of this machine.

A module of its own: the demo needs it without `local`, which imports the server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """The same variables, with which an AWS client finds no configuration.

    Args:
        environment: As of `os.environ`.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return {**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
