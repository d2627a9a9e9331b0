"""The pauses between two attempts at a delivery, and when an operator takes over."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The limits of retries: how long and how often something is tried.

    Attributes:
        days: from the first try on; then it waits for an operator.
        first_pause_seconds: the shortest pause. Each is about as long as all tries so far took, so they double.
        expired_seconds: an order's time must have been over for this long before that is told: a payment may be late
            to be seen.
    """

    days: float = 5.0
    first_pause_seconds: float = 1.0
    expired_seconds: float = 30.0

    def pause_after(self, age_seconds: float, longest_seconds: float) -> float | None:
        """Return seconds until the next try; None when there shall be none."""
        if age_seconds > self.days * 86_400:
            return None
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - so that what failed together does not come back together
        return min(longest_seconds, max(self.first_pause_seconds, age_seconds)) * jitter
