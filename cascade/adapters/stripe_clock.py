"""Stripe's own clock, read from the ``Date`` of its answers: ours may be wrong by minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final

EXACT_SECONDS: Final = 2
"""A difference of at most this is none: a ``Date`` holds whole seconds, and answers take time."""


class StripeClock:
    """The offset of Stripe's clock from ours, by its last answer.

    Args:
        ask: makes Stripe answer anything, when nothing was asked yet.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._ahead: int | None = None

    def read(self, headers: Mapping[str, str]) -> None:
        """Take the time from an answer's headers; one without a usable ``Date`` says nothing."""
        try:
            told = parsedate_to_datetime(headers["Date"]).timestamp()
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        ahead = round(told - time.time())
        self._ahead = 0 if abs(ahead) <= EXACT_SECONDS else ahead

    def ahead(self, *, asking: bool = True) -> timedelta:
        """Return Stripe's clock less ours; zero while it is not known.

        Args:
            asking: ask Stripe for anything when it has not answered yet.
        """
        if self._ahead is None and asking:
            self._ask()
        return timedelta(seconds=self._ahead or 0)
