"""Waiting for the first of several things."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any


async def first_of(*awaited: Awaitable[Any]) -> None:
    """Return when the first of these is done; the others, futures too, are cancelled."""
    futures = [asyncio.ensure_future(each) for each in awaited]
    try:
        await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for future in futures:
            future.cancel()
