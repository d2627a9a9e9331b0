"""Threads that begin at the same moment, so that what must wait for each other gets the chance not to."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

Result = TypeVar("Result")


def run_concurrently(count: int, act: Callable[[int], Result]) -> list[Result]:
    """What ``act(0)`` to ``act(count - 1)`` return, each in a thread of its own; raises what one of them raises."""
    start = Barrier(count)

    def run(i: int) -> Result:
        start.wait(30)
        return act(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
