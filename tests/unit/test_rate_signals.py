"""What is reported of the city, and what the rule of the rate sees of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cascade.domain.postings import SalesVolume
from cascade.domain.signal_kinds import OUR_LEDGER, SignalKind
from cascade.errors import InvalidInput
from cascade.rate.signals import (
    HOUR,
    MICRO,
    Input,
    Observation,
    RecognitionStats,
    acceleration,
    age,
    inputs_as_data,
    inputs_of,
    micro_of,
    recognition,
    volume,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
Observed = Callable[[RecognitionStats, datetime], Observation | None]

LEVEL, COHERENCE = SignalKind.CONSCIOUSNESS, SignalKind.COHERENCE
EVENTS, REPORTED = SignalKind.RECOGNITION, SignalKind.REPORTED_ACCELERATION


@pytest.mark.parametrize(
    ("kind", "value", "micro"),
    [
        (LEVEL, "0", 0),
        (LEVEL, "-0", 0),
        (LEVEL, "10", 10_000_000),
        (LEVEL, "6.25", 6_250_000),
        (LEVEL, "0.000001", 1),
        (LEVEL, "9.9999990000", 9_999_999),  # zeros at the end say nothing finer
        (COHERENCE, "0", 0),
        (COHERENCE, "100", 100_000_000),
        (COHERENCE, "1E+2", 100_000_000),
        (COHERENCE, "99.999999", 99_999_999),
        (EVENTS, "0", 0),
        (EVENTS, "7", 7_000_000),
        (EVENTS, "7.0", 7_000_000),
        (EVENTS, "1000000", 10**12),
        (REPORTED, "-1000000", -(10**12)),
        (REPORTED, "1000000", 10**12),
        (REPORTED, "-0.000001", -1),
    ],
)
def test_a_value_becomes_whole_millionths(kind: SignalKind, value: str, micro: int) -> None:
    taken = micro_of(kind, Decimal(value))
    assert (taken, type(taken)) == (micro, int)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LEVEL, "10.000001"),
        (LEVEL, "-0.000001"),
        (COHERENCE, "100.000001"),
        (COHERENCE, "-1"),
        (EVENTS, "-1"),
        (EVENTS, "1000001"),
        (REPORTED, "1000000.000001"),
        (REPORTED, "-1000000.000001"),
        (REPORTED, "1E+999999"),
        *((kind, value) for kind in SignalKind for value in ("NaN", "-NaN", "sNaN", "Infinity", "-Infinity")),
    ],
)
def test_a_value_outside_its_bounds_is_refused(kind: SignalKind, value: str) -> None:
    least, most = kind.bounds
    with pytest.raises(InvalidInput, match=f"{kind} is from {least:,} to {most:,}, not ") as refused:
        micro_of(kind, Decimal(value))
    assert refused.value.field == "value"


@pytest.mark.parametrize("value", ["0.5", "1.000001", "999999.9", "1E-999999"])
def test_recognition_counts_whole_events(value: str) -> None:
    with pytest.raises(InvalidInput, match="recognition counts whole events"):
        micro_of(EVENTS, Decimal(value))


@pytest.mark.parametrize("kind", [LEVEL, COHERENCE, REPORTED])
@pytest.mark.parametrize("value", ["5.0000001", "0.0000005", "1.2345678", "1E-7", "1E-999999", "5." + "0" * 33 + "1"])
def test_nothing_is_finer_than_a_millionth(kind: SignalKind, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind} has at most six decimals"):
        micro_of(kind, Decimal(value))


NEWEST = AT - timedelta(seconds=90)


def counted(covered: timedelta, *, now: int = 30, before: int = 10, week: int = 200) -> RecognitionStats:
    """One source that has reported over such a time, for the last time 90 seconds ago."""
    return RecognitionStats("tessere", now, before, week, NEWEST - covered, NEWEST)


def test_recognition_is_held_against_the_usual_hour() -> None:
    # 200 events in 10 hours: 20 in each.
    assert recognition(counted(10 * HOUR), AT) == Observation("tessere", 30_000_000, 90, 20_000_000)
    # 200 in a week of 168 hours: 1.190476 in each, cut off.
    assert recognition(counted(7 * DAY), AT) == Observation("tessere", 30_000_000, 90, 1_190_476)
    # No more than a week is asked for, however old the oldest report is.
    assert recognition(counted(9 * DAY), AT) == Observation("tessere", 30_000_000, 90, 1_190_476)
    # 200 in 2.5 hours: 80 in each; the time that is covered counts to the second.
    assert recognition(counted(2.5 * HOUR), AT) == Observation("tessere", 30_000_000, 90, 80_000_000)
    # 200 in 9,000.5 seconds: as in 9,000.
    assert recognition(counted(2.5 * HOUR + 500_000 * MOMENT), AT) == Observation("tessere", 30 * MICRO, 90, 80 * MICRO)


def test_acceleration_is_the_last_hour_against_the_one_before() -> None:
    assert acceleration(counted(10 * HOUR), AT) == Observation("tessere", 30_000_000, 90, 10_000_000)
    assert acceleration(counted(10 * HOUR, now=0, before=40), AT) == Observation("tessere", 0, 90, 40_000_000)
    # A source that counts, and there was nothing to count.
    assert acceleration(counted(10 * HOUR, now=0, before=0), AT) == Observation("tessere", 0, 90, 0)


@pytest.mark.parametrize("observed", [recognition, acceleration])
def test_two_hours_are_needed_to_compare(observed: Observed) -> None:
    assert observed(counted(2 * HOUR), AT) is not None
    assert observed(counted(2 * HOUR - MOMENT), AT) is None
    assert observed(counted(2 * HOUR - MOMENT), AT + DAY) is None  # silence adds nothing to what was told
    assert observed(counted(timedelta(0)), AT) is None


@pytest.mark.parametrize("observed", [recognition, acceleration])
def test_a_source_that_falls_silent_grows_old_and_says_nothing_else(observed: Observed) -> None:
    before, after = observed(counted(10 * HOUR), AT), observed(counted(10 * HOUR), AT + 3 * HOUR)
    assert before is not None
    assert after == replace(before, age_seconds=90 + 3 * 3_600)


@pytest.mark.parametrize("observed", [recognition, acceleration])
def test_a_clock_that_is_ahead_makes_nothing_younger_than_now(observed: Observed) -> None:
    seen = observed(counted(10 * HOUR), NEWEST - timedelta(minutes=2))
    assert seen is not None
    assert seen.age_seconds == 0


def test_volume_is_held_against_the_usual_day() -> None:
    dollars = 250 * MICRO
    # The oldest sale was 4 days ago: 3 days come before the last one, 900 dollars in all, 300 in each.
    assert volume(SalesVolume(dollars, 900 * MICRO, AT - 4 * DAY), AT) == Observation(
        OUR_LEDGER, dollars, 0, 300 * MICRO
    )
    # 8 days ago: a week comes before the last day.
    assert volume(SalesVolume(dollars, 700 * MICRO, AT - 8 * DAY), AT) == Observation(
        OUR_LEDGER, dollars, 0, 100 * MICRO
    )
    assert volume(SalesVolume(dollars, 700 * MICRO, AT - 80 * DAY), AT) == Observation(
        OUR_LEDGER, dollars, 0, 100 * MICRO
    )
    # 1 dollar in 3 days: 0.333333, cut off.
    assert volume(SalesVolume(0, 1 * MICRO, AT - 4 * DAY), AT) == Observation(OUR_LEDGER, 0, 0, 333_333)


def test_two_days_are_needed_to_compare_the_volume() -> None:
    assert volume(SalesVolume(5, 7, AT - 2 * DAY), AT) == Observation(OUR_LEDGER, 5, 0, 7)
    assert volume(SalesVolume(5, 7, AT - 2 * DAY + MOMENT), AT) == Observation(OUR_LEDGER, 5, 0, None)
    assert volume(SalesVolume(0, 0, None), AT) == Observation(OUR_LEDGER, 0, 0, None)


def test_a_day_on_which_more_went_back_than_was_sold_is_a_day_without_sales() -> None:
    assert volume(SalesVolume(-5 * MICRO, 3 * MICRO, AT - 4 * DAY), AT) == Observation(OUR_LEDGER, 0, 0, MICRO)
    assert volume(SalesVolume(5 * MICRO, -3 * MICRO, AT - 4 * DAY), AT) == Observation(OUR_LEDGER, 5 * MICRO, 0, 0)


def test_an_age_is_in_whole_seconds_and_never_negative() -> None:
    assert age(AT - timedelta(seconds=59, microseconds=999_999), AT) == 59
    assert age(AT, AT) == 0
    assert age(AT + timedelta(minutes=2), AT) == 0  # the sender's clock is ahead of ours


def test_what_the_rule_saw_is_kept_exactly() -> None:
    inputs = {
        Input.CONSCIOUSNESS: (Observation("venice", 6_250_000, 0), Observation("tessere", 0, 2_591_999)),
        Input.COHERENCE: (),
        Input.RECOGNITION: (Observation("tessere", 10**12, 90, 1_190_476),),
        Input.ACCELERATION: (Observation("tessere", 10**12, 90, 0),),
        Input.VOLUME: (Observation(OUR_LEDGER, 2**62, 0, 2**61 + 1),),
    }
    assert inputs_of(json.loads(json.dumps(inputs_as_data(inputs)))) == inputs


def test_an_input_that_is_missing_is_kept_as_such() -> None:
    kept = json.loads(json.dumps(inputs_as_data({})))
    assert kept == {"consciousness": [], "coherence": [], "recognition": [], "acceleration": [], "volume": []}
    assert inputs_of(kept) == dict.fromkeys(Input, ())


def test_every_input_says_what_it_counts() -> None:
    assert {name.unit for name in Input} == {"level", "percent", "events per hour", "USD per day"}
