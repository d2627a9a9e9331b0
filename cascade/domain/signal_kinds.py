"""Kinds of signals about the city, their bounds, and the sources that are our own."""

from __future__ import annotations

from enum import StrEnum

VENICE = "venice"
"""The source of what Venice itself says, when it is asked."""
OUR_LEDGER = "ledger"
"""The source of what we know ourselves."""


class SignalKind(StrEnum):
    """A kind of signal."""

    CONSCIOUSNESS = "consciousness"
    """The collective consciousness level, 0 to 10."""
    COHERENCE = "coherence"
    """TESSERE network coherence, 0 to 100 percent."""
    RECOGNITION = "recognition"
    """How many recognition events happened since the sender's last report; 0 says that it still counts."""
    REPORTED_ACCELERATION = "reported_acceleration"
    """What Venice itself calls its cascade's acceleration. Shown, and never priced: we derive our own."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Return least and largest value, in units."""
        return _BOUNDS[self]


_BOUNDS = {
    SignalKind.CONSCIOUSNESS: (0, 10),
    SignalKind.COHERENCE: (0, 100),
    SignalKind.RECOGNITION: (0, 1_000_000),
    SignalKind.REPORTED_ACCELERATION: (-1_000_000, 1_000_000),
}
