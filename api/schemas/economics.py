"""Requests and answers about the rate: rates and values are plain decimals as text, shares as well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.purchases import Body, DucatAmount, Plain, Signed, UsdAmount
from cascade.domain.ducat_rate import NANO_USD, Rate
from cascade.domain.money import USD, Money
from cascade.domain.signal_kinds import SignalKind
from cascade.rate.city_state import CityState
from cascade.rate.parameters import PPM
from cascade.rate.quotation import Quotation, explain
from cascade.rate.rule import Contribution, InputState, Tick, counting
from cascade.rate.signal_store import Taken
from cascade.rate.signals import MICRO, Input, Observation, Signal, micro_of
from cascade.rate.tick_store import Candle, Interval

MOST_SIGNALS = 500
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_STEADY_PPM = 1_000
"""An hour's change of a tenth of a percent is no trend."""

Usd = Annotated[Plain, Field(description="US dollars per ducat", examples=["0.1012"])]
Ppm = Annotated[Signed, Field(description="A share of one", examples=["-0.25"])]


def _is_rfc3339(value: object) -> object:
    """Return a number would be taken for seconds since 1970."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be a time such as 2026-11-25T08:30:00Z")
    return value


def _is_told_by_clocks(value: datetime) -> datetime:
    if not 2000 <= value.year < 3000:
        raise ValueError("must be a time between the years 2000 and 3000")
    return value


Rfc3339Time = Annotated[AwareDatetime, BeforeValidator(_is_rfc3339), AfterValidator(_is_told_by_clocks)]
"""A time with its zone, as RFC 3339 writes it."""


class TrendOut(Body):
    """The direction of the rate."""

    direction: Literal["rising", "falling", "steady"]
    hour_percent: Annotated[Signed | None, Field(description="Change within the last hour")]
    day_percent: Annotated[Signed | None, Field(description="Change within the last 24 hours")]

    @classmethod
    def of(cls, quotation: Quotation) -> TrendOut:
        """Compare with the rates of an hour and of a day ago."""
        hour, day = (_change_ppm(quotation.rate, then) for then in (quotation.hour_ago, quotation.day_ago))
        direction: Literal["rising", "falling", "steady"] = "steady"
        if hour is not None and abs(hour) >= _STEADY_PPM:
            direction = "rising" if hour > 0 else "falling"
        return cls(
            direction=direction,
            hour_percent=None if hour is None else _decimal(hour, 10**4),
            day_percent=None if day is None else _decimal(day, 10**4),
        )


class InputOut(Body):
    """One input, what is known of it and what it does to the target."""

    name: Input
    unit: str
    state: Annotated[InputState, Field(description="fading, stale and missing inputs count less, or not at all")]
    value: Annotated[Signed | None, Field(description="Of the sources that count, the middle one")]
    usual: Annotated[Signed | None, Field(description="What it is held against; of levels the neutral one")]
    sources: Annotated[int, Field(description="How many count: those about as young as the youngest")]
    age_seconds: Annotated[int | None, Field(description="Of the youngest source")]
    weight: Ppm
    pressure: Annotated[Ppm, Field(description="From -1 (down) to 1 (up)")]
    contribution_usd: Annotated[Signed, Field(description="What it adds to the base; all of them sum to the target")]

    @classmethod
    def of(cls, part: Contribution, seen: Sequence[Observation], quotation: Quotation) -> InputOut:
        """Return one input of a tick."""
        weighing = quotation.formula.weighings[part.input]
        counted = counting(weighing, seen)
        middle = counted[(len(counted) - 1) // 2] if counted else None
        usual = middle.usual_micro if middle else None
        if usual is None and weighing.span_micro:
            usual = weighing.neutral_micro
        return cls(
            name=part.input,
            unit=part.input.unit,
            state=part.state,
            value=_decimal(middle.now_micro, MICRO) if middle else None,
            usual=None if usual is None else _decimal(usual, MICRO),
            sources=len(counted),
            age_seconds=min(one.age_seconds for one in counted) if counted else None,
            weight=_decimal(weighing.weight_ppm, PPM),
            pressure=_decimal(part.pressure_ppm, PPM),
            contribution_usd=_decimal(part.nano_usd, NANO_USD),
        )


class ExchangeRateOut(Body):
    """The rate of the moment, and why it is what it is."""

    usd_per_ducat: Usd
    ducats_per_usd: Annotated[Plain, Field(description="Rounded down to the millionth of a ducat")]
    tick: Annotated[datetime | None, Field(description="Since when; null before the first tick")]
    next_tick: datetime | None
    overdue_seconds: Annotated[int, Field(description="For how long a tick has been missing; 0 when all is well")]
    trend: TrendOut
    confidence: Annotated[Ppm, Field(description="volume / (volume + 1,000 USD): how much trade stands behind it")]
    volume_24h_usd: Annotated[Plain, Field(description="Sold in 24 hours, less what went back")]
    formula: str
    base_usd: Usd
    floor_usd: Usd
    ceiling_usd: Usd
    target_usd: Annotated[Usd, Field(description="Where the inputs draw the rate to")]
    inputs: Annotated[list[InputOut], Field(description="The strongest first")]

    @classmethod
    def of(cls, quotation: Quotation) -> ExchangeRateOut:
        """Return it as it stands."""
        tick, formula = quotation.tick, quotation.formula
        return cls(
            usd_per_ducat=str(quotation.rate),
            ducats_per_usd=quotation.rate.ducats_for(Money(USD, USD.one)).plain,
            tick=tick.at if tick else None,
            next_tick=tick.at + formula.tick if tick else None,
            overdue_seconds=quotation.overdue_seconds,
            trend=TrendOut.of(quotation),
            confidence=_decimal(quotation.confidence_ppm, PPM),
            volume_24h_usd=_decimal(quotation.volume_micro, MICRO),
            formula=tick.formula if tick else formula.version,
            base_usd=str(Rate(formula.base_nano_usd)),
            floor_usd=str(Rate(formula.floor_nano_usd)),
            ceiling_usd=str(Rate(formula.ceiling_nano_usd)),
            target_usd=str(tick.move.target if tick else quotation.rate),
            inputs=[InputOut.of(part, seen, quotation) for part, seen in explain(tick)] if tick else [],
        )


class TickOut(Body):
    """One entry of the history."""

    at: datetime
    usd_per_ducat: Usd
    target_usd: Usd
    formula: str


class CandleOut(Body):
    """An hour or a day of the history, UTC."""

    start: datetime
    open: Usd
    high: Usd
    low: Usd
    close: Usd
    ticks: int


class HistoryOut(Body):
    """A page of the history, newest first."""

    interval: Literal["raw"] | Interval
    ticks: Annotated[list[TickOut], Field(description="With interval=raw")] = Field(default_factory=list)
    candles: Annotated[list[CandleOut], Field(description="With interval=hour and day")] = Field(default_factory=list)
    next: Annotated[datetime | None, Field(description="Give it as before to get the next page; null at the end")]

    @classmethod
    def of_ticks(cls, ticks: Sequence[Tick], *, more: bool) -> HistoryOut:
        """Return ticks as they are."""
        out = [
            TickOut(at=t.at, usd_per_ducat=str(t.rate), target_usd=str(t.move.target), formula=t.formula) for t in ticks
        ]
        return cls(interval="raw", ticks=out, next=ticks[-1].at if ticks and more else None)

    @classmethod
    def of_candles(cls, interval: Interval, candles: Sequence[Candle], *, more: bool) -> HistoryOut:
        """Return hours or days."""
        out = [
            CandleOut(
                start=c.start, open=str(c.open), high=str(c.high), low=str(c.low), close=str(c.close), ticks=c.ticks
            )
            for c in candles
        ]
        return cls(interval=interval, candles=out, next=candles[-1].start if candles and more else None)


class CascadeOut(Body):
    """The city's consciousness and its recognition cascade; null: nobody has told for six hours."""

    at: datetime
    consciousness_level: Annotated[Plain | None, Field(description="0 to 10")]
    tessere_coherence: Annotated[Plain | None, Field(description="0 to 100 percent")]
    recognition_per_hour: Annotated[int | None, Field(description="Recognition events of the last hour that was told")]
    acceleration: Annotated[int | None, Field(description="By how much that has changed against the hour before")]
    reported_acceleration: Annotated[Signed | None, Field(description="In Venice's own words; it is not priced")]
    newest_report: datetime | None
    usd_per_ducat: Usd
    tick: datetime | None

    @classmethod
    def of(cls, state: CityState, rate: Rate, tick: datetime | None) -> CascadeOut:
        """Return it as it stands, with the rate of the moment."""
        level, coherence, reported = (
            None if micro is None else _decimal(micro, MICRO)
            for micro in (state.level_micro, state.coherence_micro, state.reported_acceleration_micro)
        )
        return cls(
            at=state.at,
            consciousness_level=level,
            tessere_coherence=coherence,
            recognition_per_hour=state.recognition_per_hour,
            acceleration=state.acceleration,
            reported_acceleration=reported,
            newest_report=state.newest_at,
            usd_per_ducat=str(rate),
            tick=tick,
        )


class ConvertIn(BaseModel):
    """An amount to convert: either US dollars or ducats."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"usd_amount": "25.01"}]})

    usd_amount: UsdAmount | None = None
    ducats: DucatAmount | None = None


class ConvertOut(Body):
    """An amount at the rate of the moment. Nothing was moved, locked or counted."""

    usd: Plain
    ducats: Plain
    usd_per_ducat: Usd
    tick: datetime | None


class SignalIn(BaseModel):
    """One report."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$", description="The sender's own")]
    kind: SignalKind
    value: Annotated[Decimal, Field(description="A level, percent, or how many events since the last report")]
    occurred_at: Rfc3339Time

    @property
    def signal(self) -> Signal:
        """Return the signal as it is stored.

        Raises:
            InvalidInput: the value is outside its bounds.
        """
        return Signal(self.id, self.kind, micro_of(self.kind, self.value), self.occurred_at)


class SignalsIn(BaseModel):
    """A batch of reports: all of it is taken, or nothing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "signals": [
                        {"id": "a1", "kind": "consciousness", "value": "6.2", "occurred_at": "2026-11-25T08:30:00Z"},
                        {"id": "a2", "kind": "recognition", "value": 17, "occurred_at": "2026-11-25T08:30:00Z"},
                    ]
                }
            ]
        },
    )

    signals: Annotated[list[SignalIn], Field(min_length=1, max_length=MOST_SIGNALS)]


class SignalsOut(Body):
    """The result of a batch of signals."""

    accepted: int
    duplicates: Annotated[int, Field(description="Had been taken before")]
    late: Annotated[int, Field(description="Of those accepted or taken before: too old to move anything")]

    @classmethod
    def of(cls, taken: Taken, late: int) -> SignalsOut:
        """Return the signal as it was taken."""
        return cls(accepted=taken.accepted, duplicates=taken.duplicates, late=late)


def _change_ppm(now: Rate, then: Rate | None) -> int | None:
    return None if then is None else (now.nano_usd - then.nano_usd) * PPM // then.nano_usd


def _decimal(units: int, one: int) -> str:
    """Return whole units as a plain decimal without trailing zeros."""
    return format((Decimal(units) / one).normalize(), "f") if units else "0"
