"""The city's mood: how conscious it says its citizens are, how coherent its network, how fast recognition spreads.

A slow, smooth function of time and the seed, so that the same moment always feels the same; a test may pin it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sandbox.venice.chaos import Chaos

_METRICS: Final = "/api/consciousness/metrics"
_NETWORK: Final = "/api/consciousness/tessere/network"
_CASCADE: Final = "/api/consciousness/cascade/status"
_BEGAN: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
_BOUNDS: Final = {"level": (0, 10), "coherence": (0, 100), "acceleration": (-math.inf, math.inf)}
_FIELDS: Final = {_METRICS: "average_consciousness_level", _NETWORK: "network_coherence", _CASCADE: "acceleration_rate"}
PATHS: Final = frozenset(_FIELDS)
_PAGE: Final = "<!doctype html><title>Venice</title><p>Welcome to Venice."
_MISSING: Final = object()
_NONSENSE: Final = (_MISSING, None, "high", True, math.nan, math.inf, -1, 1e9, _PAGE)
_DIGITS: Final = 4


@dataclass(frozen=True)
class MetricsSample:
    """The mood at one moment.

    `level` is from 0 to 10, `coherence` in percent, `acceleration` in recognitions per hour and hour;
    `recognition_events` counts since the city began.
    """

    at: datetime
    level: float
    coherence: float
    acceleration: float
    recognition_events: int


class CityMetrics:
    """What the city feels. `clock` gives seconds since 1970. Any thread may use it."""

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.time) -> None:
        drawn = random.Random(seed)
        self._clock = clock
        self._lock = threading.Lock()
        self._pins: dict[str, float] = {}
        self._level = _wave(drawn, 6, {1.2: 61, 0.6: 24, 0.2: 5})
        self._coherence = _wave(drawn, 70, {12: 83, 6: 24, 2: 7})
        self._recognitions = _wave(drawn, 40, {12: 72, 8: 24, 3: 6})

    def set(self, **pins: float | Decimal | None) -> None:
        """Pins `level`, `coherence` or `acceleration`; None leaves it. Raises `ValueError` for what cannot be."""
        chosen = {name: value for name, value in pins.items() if value is not None}
        for name, value in chosen.items():
            if name not in _BOUNDS:
                raise ValueError(f"a mood has no {name!r}")
            if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
                raise ValueError(f"{name} cannot be {value!r}")
            low, high = _BOUNDS[name]
            if not low <= value <= high:
                raise ValueError(f"{name} is from {low} to {high}, not {value}")
        with self._lock:
            self._pins |= {name: float(value) for name, value in chosen.items()}

    def reset(self) -> None:
        """All of it follows time again."""
        with self._lock:
            self._pins.clear()

    def now(self) -> MetricsSample:
        """The mood at this moment. Recognitions are counted as if nothing was pinned."""
        with self._lock:
            pins, seconds = dict(self._pins), self._clock()
        hour = (seconds - _BEGAN) / 3600
        return MetricsSample(
            at=datetime.fromtimestamp(seconds, UTC),
            level=pins.get("level", round(self._level.height(hour), _DIGITS)),
            coherence=pins.get("coherence", round(self._coherence.height(hour), _DIGITS)),
            acceleration=pins.get("acceleration", round(self._recognitions.slope(hour), _DIGITS)),
            recognition_events=max(0, math.floor(self._recognitions.area(hour))),
        )


@dataclass(frozen=True)
class _Wave:
    """A mean with sines around it, over hours; each sine has an amplitude, an angle per hour and a phase."""

    mean: float
    sines: tuple[tuple[float, float, float], ...]

    def height(self, hour: float) -> float:
        return self.mean + sum(size * math.sin(speed * hour + phase) for size, speed, phase in self.sines)

    def slope(self, hour: float) -> float:
        return sum(size * speed * math.cos(speed * hour + phase) for size, speed, phase in self.sines)

    def area(self, hour: float) -> float:
        """Under it, since hour 0."""
        return self.mean * hour + sum(
            size / speed * (math.cos(phase) - math.cos(speed * hour + phase)) for size, speed, phase in self.sines
        )


def _wave(drawn: random.Random, mean: float, periods: Mapping[float, float]) -> _Wave:
    """`periods` has hours by amplitude."""
    return _Wave(
        mean,
        tuple((size, math.tau / hours, drawn.uniform(0, math.tau)) for size, hours in periods.items()),
    )


def told(path: str, mood: CityMetrics, citizens: int, chaos: Chaos) -> dict[str, Any] | str:
    """What one of the three paths answers with status 200: JSON, or a page where there should be some."""
    feeling = mood.now()
    answer = _truth(path, feeling, citizens)
    if chaos.strikes(chaos.fallback_rate):
        answer |= {_METRICS: {"average_consciousness_level": 5.0, "total_citizens": 0},
                   _NETWORK: {"network_coherence": 50.0, "active_nodes": 0, "neural_pathways": 0},
                   _CASCADE: {"acceleration_rate": 0.0, "recognition_events": 0}}[path]  # fmt: skip
        return answer | {"_fallback": True}
    if chaos.strikes(chaos.nonsense_rate):
        drawn = chaos.draws(_NONSENSE)
        if drawn is _PAGE:
            return _PAGE
        answer[_FIELDS[path]] = drawn
        if drawn is _MISSING:
            del answer[_FIELDS[path]]
    return answer


def _truth(path: str, feeling: MetricsSample, citizens: int) -> dict[str, Any]:
    timestamp = feeling.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if path == _METRICS:
        return {"average_consciousness_level": feeling.level, "total_citizens": citizens, "timestamp": timestamp}
    if path == _NETWORK:
        return {"network_coherence": feeling.coherence, "active_nodes": 5, "neural_pathways": 10,
                "tessere_status": "distributed", "timestamp": timestamp}  # fmt: skip
    return {"acceleration_rate": feeling.acceleration, "recognition_events": feeling.recognition_events,
            "timestamp": timestamp}  # fmt: skip
