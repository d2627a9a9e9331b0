"""What may go wrong in Venice: switches, everything off at first, settable while the double runs.

A rate is a share from 0 to 1; what it strikes is drawn with the double's seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from math import isfinite
from typing import Any


@dataclass
class Chaos:
    """The switches."""

    slow_seconds: float = 0.0
    """Every answer comes this late."""
    error_rate: float = 0.0
    """500 to any request, and nothing is done."""
    error_after_effect_rate: float = 0.0
    """500 although the stratagem was made."""
    lost_answer_rate: float = 0.0
    """The stratagem is made, and the connection ends without an answer."""
    hang_rate: float = 0.0
    """The stratagem is made, and the answer never comes."""
    hang_before_rate: float = 0.0
    """Nothing is done, and the answer never comes."""
    forget_rate: float = 0.0
    """200, and nothing is done."""
    late_effect_rate: float = 0.0
    """504, and the stratagem is made `late_effect_seconds` later."""
    late_effect_seconds: float = 0.2
    execute_twice_rate: float = 0.0
    """One stratagem is executed twice."""
    duplicate_request_rate: float = 0.0
    """One request makes two stratagems."""
    unknown_field_rate: float = 0.0
    """422 since Venice's own table lacks a field, and nothing is done."""
    malformed_rate: float = 0.0
    """A page instead of JSON, with status 200, although the stratagem was made."""
    fallback_rate: float = 0.0
    """Lists and the mood are replaced by what stands in for them."""
    nonsense_rate: float = 0.0
    """A value of the mood is replaced by what cannot be one, or its answer by a page, with status 200."""
    process_seconds: float = 0.0
    """The scheduler executes a stratagem this late; 0: before the answer; below 0: only when told to."""
    half_done_rate: float = 0.0
    """The ducats move, and the stratagem is marked as failed."""

    _random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def set(self, **switches: float | Decimal) -> None:
        """Sets switches by name. Raises `ValueError` for a name that there is not, or a rate that is none."""
        for name, value in switches.items():
            if name not in self.switches():
                raise ValueError(f"there is no switch {name!r}")
            if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not isfinite(value):
                raise ValueError(f"{name} cannot be {value!r}")
            if name.endswith("_rate") and not 0 <= value <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {value}")
        for name, value in switches.items():
            setattr(self, name, float(value))

    def reset(self) -> None:
        """All is well again."""
        self.set(**{name: getattr(Chaos, name) for name in self.switches()})

    def switches(self) -> dict[str, Any]:
        """All switches and how they are set."""
        return {member.name: getattr(self, member.name) for member in fields(self) if not member.name.startswith("_")}

    def strikes(self, rate: float) -> bool:
        """Whether this one is struck."""
        return rate > 0 and self._random.random() < rate

    def draws(self, choices: Sequence[Any]) -> Any:
        """One of them."""
        return self._random.choice(choices)
