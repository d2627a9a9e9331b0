"""Cuts what is read and booked: no transaction holds the ledger for long, and no answer fills the memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cascade.adapters.chain.log_reader import LogRange
from cascade.db.checkpoints import Cursor
from cascade.domain.payments import PaidEvent, RouterEvent
from cascade.errors import BookingTooLong

EVENTS_AT_ONCE = 250
"""Most events that one transaction books: about a second, and each one costs more in a larger transaction."""
SECONDS_AT_ONCE = 3.0
"""A transaction that takes longer is given up and tried again with fewer events. Others wait 10 s for the ledger, and a
lease of 5 s must not run out meanwhile."""
EVENTS_A_READ = 2000
"""Ranges are so long that an answer holds about this many events, some 2 MB."""
FIRST_RANGE_BLOCKS = 100
"""The first range; it grows as long as the answers are small."""


class Pieces:
    """The number of events that a transaction books, by how long the last ones took."""

    def __init__(self) -> None:
        self.size = EVENTS_AT_ONCE
        self._first = self._now = 0
        self._until = float("inf")

    @contextmanager
    def measured(self, events: int) -> Iterator[None]:
        """Measure a transaction of so many events, and choose the size of the next one."""
        begun = time.monotonic()
        self._until = begun + SECONDS_AT_ONCE if events > 1 else float("inf")
        try:
            yield
        except BookingTooLong:
            self.size = max(1, events // 2)
            raise
        finally:
            self._until = float("inf")
        if time.monotonic() - begun < SECONDS_AT_ONCE / 4:
            self.size = min(EVENTS_AT_ONCE, self.size * 2)

    def check(self) -> None:
        """Give up a transaction that takes too long. One that books a single event is never given up.

        Raises:
            BookingTooLong: it does.
        """
        if time.monotonic() > self._until:
            raise BookingTooLong(
                f"a booking takes longer than {SECONDS_AT_ONCE} s: the database is slow or busy; tried again in parts"
            )


def piece_end(events: Sequence[RouterEvent], start: int, size: int) -> int:
    """Return up to which event a transaction books, from ``start`` on: to a block's end, where one is within reach."""
    end = start + size
    if end >= len(events):
        return len(events)
    for border in range(end, start, -1):
        if events[border].block_number != events[border - 1].block_number:
            return border
    return end  # one block has more: it is booked in parts, and the checkpoint follows when all of it is


def checkpoint_after(cursor: Cursor, log_range: LogRange, upto: int) -> Cursor:
    """Return the checkpoint when the first ``upto`` events of a stretch are booked: the last block that is complete."""
    events = log_range.events
    if upto == len(events):
        height, block_hash = log_range.end.number, log_range.end.hash
    else:
        complete = [event for event in events[:upto] if event.block_number < events[upto].block_number]
        if not complete:
            return cursor
        height, block_hash = complete[-1].block_number, complete[-1].block_hash
    booked = [event.seq for event in events[:upto] if isinstance(event, PaidEvent) and event.block_number <= height]
    last_seq = booked[-1] if booked else cursor.last_seq
    return Cursor(cursor.stream, height, block_hash, last_seq, cursor.epoch)


def next_range(current: int, longest: int, *, blocks: int, events: int) -> int:
    """Return how many blocks to ask for next, by how many events the last ones held; at most twice as many as now."""
    wanted = blocks * EVENTS_A_READ // events if events else longest
    return max(1, min(wanted, current * 2, longest))
