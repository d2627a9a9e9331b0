"""VeniceMetrics: how conscious and coherent Venice says it is, and how fast recognition spreads, over its HTTP API.

A price may hang on these numbers, so each is believed only when it has the shape and the bounds that it must have. What
stands in for a value that Venice could not read carries ``_fallback`` or ``_fallbackError``, with status 200.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NoReturn

import httpx

from cascade.domain.signal_kinds import SignalKind

_MOST_BYTES: Final = 1024 * 1024
_MOST_QUOTED: Final = 80
_MILLIONTH: Final = Decimal("0.000001")
_ROUNDING: Final = Context(prec=28, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class _Question:
    """The address at which a signal is asked for, and the field of the answer that holds it."""

    kind: SignalKind
    path: str
    field: str


_QUESTIONS: Final = (
    _Question(SignalKind.CONSCIOUSNESS, "/api/consciousness/metrics", "average_consciousness_level"),
    _Question(SignalKind.COHERENCE, "/api/consciousness/tessere/network", "network_coherence"),
    _Question(SignalKind.REPORTED_ACCELERATION, "/api/consciousness/cascade/status", "acceleration_rate"),
)


@dataclass(frozen=True, slots=True)
class MetricsReport:
    """The answers of Venice; each kind of signal is in one of the two.

    Attributes:
        values: whole millionths by kind: of a level from 0 to 10, of a percent, of an acceleration as Venice counts it.
        faults: by kind, one sentence on why there is no value.
    """

    values: Mapping[SignalKind, int]
    faults: Mapping[SignalKind, str]


class _Unbelievable(Exception):
    """No answer that can be believed, and why."""


class VeniceMetrics:
    """Venice's consciousness API. One thread at a time.

    Args:
        url: where the API is, without ``/api``.
        timeout_seconds: the longest wait for Venice to say anything, and how long a whole answer may take.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)
        self._timeout_seconds = timeout_seconds

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def read(self) -> MetricsReport:
        """Ask for all three, one after the other. Whatever Venice answers, this does not raise."""
        values: dict[SignalKind, int] = {}
        faults: dict[SignalKind, str] = {}
        for question in _QUESTIONS:
            try:
                values[question.kind] = _millionths(question, self._ask(question.path))
            except _Unbelievable as error:
                faults[question.kind] = str(error)
        return MetricsReport(values, faults)

    def _ask(self, path: str) -> bytes:
        end = time.monotonic() + self._timeout_seconds
        text = bytearray()
        headers = {"accept-encoding": "identity"}  # what is packed may unpack to more than can be held
        try:
            with self._client.stream("GET", path, headers=headers) as response:
                if response.status_code != 200:
                    _disbelieve(path, f"with status {response.status_code}, not with 200")
                for chunk in response.iter_raw():
                    text += chunk
                    if len(text) > _MOST_BYTES:
                        _disbelieve(path, f"with more than {_MOST_BYTES:,} bytes")
                    if time.monotonic() > end:  # the client's own timeout begins anew with every byte
                        _disbelieve(path, f"too slowly: it takes more than {self._timeout_seconds:g} seconds")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # httpx reads where a redirect leads even if it is not followed, and raises the last two for nonsense there.
            raise _Unbelievable(f"Venice gave no answer to {path}: {type(error).__name__}") from None
        return bytes(text)


def _millionths(question: _Question, text: bytes) -> int:
    path, field = question.path, question.field
    answer = _object(path, text)
    if answer.get("success", True) is not True:
        _disbelieve(path, f"with success = {_shown(answer['success'])}, where it is true or left out")
    if answer.get("_fallback") or answer.get("_fallbackError"):
        _disbelieve(path, "with what stands in for values that it could not read")
    low, high = question.kind.bounds
    expected = f"not with a number from {low:,} to {high:,}"
    if field not in answer:
        _disbelieve(path, f"without {field}, {expected}")
    value = answer[field]
    if not isinstance(value, Decimal) or not low <= value <= high:
        _disbelieve(path, f"with {field} = {_shown(value)}, {expected}")
    return int(value.quantize(_MILLIONTH, context=_ROUNDING).scaleb(6, context=_ROUNDING))


def _object(path: str, text: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, ArithmeticError, RecursionError):  # the last two: an exponent too large, nested too deeply
        answer = None
    if not isinstance(answer, dict):
        _disbelieve(path, "with something else than a JSON object")
    return answer


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _shown(value: Any) -> str:
    """Return a value for people to read; never much of it, since a stranger wrote it."""
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    shown = str(value) if isinstance(value, Decimal) else json.dumps(value)
    return shown if len(shown) <= _MOST_QUOTED else shown[: _MOST_QUOTED - 3] + "..."


def _disbelieve(path: str, answered: str) -> NoReturn:
    raise _Unbelievable(f"Venice answered {path} {answered}")
