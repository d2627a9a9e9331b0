"""How long tests with random or exhaustive histories run: seconds in `make test`, an hour in `make soak`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK = "CASCADE_SOAK" in os.environ
"""Whether this is `make soak`."""
_SOAK_FACTOR = 20


def histories(number: int, *, steps: int = 50) -> settings:
    """Return Hypothesis' settings for so many histories, always the same; in `make soak` for many more, always new."""
    return settings(
        max_examples=number * (_SOAK_FACTOR if SOAK else 1),
        stateful_step_count=steps,
        derandomize=not SOAK,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
