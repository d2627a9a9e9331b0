"""The rule of the rate, worked out by hand; and a long replay that says that rule 1 never changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from cascade.domain.ducat_rate import Rate
from cascade.rate.parameters import Formula
from cascade.rate.rule import Contribution, InputState, RateStep, next_rate
from cascade.rate.signals import Input, Inputs, Observation

LEVEL, COHERENCE = Input.CONSCIOUSNESS, Input.COHERENCE
RECOGNITION, ACCELERATION, VOLUME = Input.RECOGNITION, Input.ACCELERATION, Input.VOLUME
FRESH, FADING, STALE, MISSING = InputState

BASE = Rate(100_000_000)


def formula(*, floor: str = "0.05", ceiling: str = "0.50", **changes: Any) -> Formula:
    """The constants of venice-1, written out: what follows holds whatever is shipped."""
    level = {"weight_ppm": 300_000, "fresh_seconds": 900, "stale_seconds": 21_600}
    flow = {"fresh_seconds": 3_600, "stale_seconds": 21_600, "damping": "20"}
    data: dict[str, Any] = {
        "version": "by-hand",
        "rule": 1,
        "tick_seconds": 300,
        "pull_ppm": 80_000,
        "step_ppm": 5_000,
        "usd_per_ducat": {"base": "0.10", "floor": floor, "ceiling": ceiling},
        "inputs": {
            LEVEL: {**level, "neutral": "5", "span": "5"},
            COHERENCE: {**level, "neutral": "50", "span": "50"},
            RECOGNITION: {**flow, "weight_ppm": 150_000},
            ACCELERATION: {**flow, "weight_ppm": 100_000},
            VOLUME: {**flow, "weight_ppm": 150_000, "damping": "1000", "stale_seconds": 86_400},
        },
    }
    return Formula.from_data({**data, **changes})


FORMULA = formula()
"""0.05 < 0.10 < 0.50 USD: 400,000,000 billionths of room above the base, and 50,000,000 below."""


def seen(now: int, usual: int | None = None, *, age: int = 0, source: str = "venice") -> Observation:
    """One observation, in millionths."""
    return Observation(source, now, age, usual)


def move(name: Input, *observations: Observation, current: Rate = BASE, using: Formula = FORMULA) -> RateStep:
    """A move with nothing known but this."""
    return next_rate(using, current, {name: observations})


def part(made: RateStep, name: Input) -> Contribution:
    """One input's contribution."""
    (found,) = (contribution for contribution in made.contributions if contribution.input is name)
    return found


@pytest.mark.parametrize(
    ("name", "observation", "pressure", "target", "rate"),
    [
        # (10 - 5) / 5 = 1; 30 % of the room above: + 120,000,000. A tick would go 8 % of that, but at most 0.5 % of the
        # rate: + 500,000.
        (LEVEL, seen(10_000_000), 1_000_000, 220_000_000, 100_500_000),
        # 30 % of the room below: - 15,000,000. 8 % of that is 1,200,000; again at most 500,000.
        (LEVEL, seen(0), -1_000_000, 85_000_000, 99_500_000),
        # 0.1 / 5 = 0.02; x 30 % x 400,000,000 = + 2,400,000; 8 % of that: + 192,000.
        (LEVEL, seen(5_100_000), 20_000, 102_400_000, 100_192_000),
        # The same down: - 0.02 x 30 % x 50,000,000 = - 300,000; 8 %: - 24,000.
        (LEVEL, seen(4_900_000), -20_000, 99_700_000, 99_976_000),
        # 0.000001 / 5 is 0.2 millionths: nothing. 0.000003 / 5 is 0.6: one; x 30 % x 400 = 120; 8 % is 9.6: ten.
        (LEVEL, seen(5_000_001), 0, 100_000_000, 100_000_000),
        (LEVEL, seen(5_000_003), 1, 100_000_120, 100_000_010),
        # One millionth down: 30 % x 50 = 15; 8 % is 1.2: one.
        (LEVEL, seen(4_999_997), -1, 99_999_985, 99_999_999),
        # (75 - 50) / 50 = 0.5; x 30 % x 400,000,000.
        (COHERENCE, seen(75_000_000), 500_000, 160_000_000, 100_500_000),
        # No value presses by more than one.
        (COHERENCE, seen(1_000_000_000), 1_000_000, 220_000_000, 100_500_000),
        (COHERENCE, seen(-1_000_000_000), -1_000_000, 85_000_000, 99_500_000),
        # (40 - 20) / (40 + 20 + 20) = 0.25; x 15 % x 400,000,000.
        (RECOGNITION, seen(40_000_000, 20_000_000), 250_000, 115_000_000, 100_500_000),
        # (0 - 60) / (0 + 60 + 20) = - 0.75; x 10 % x 50,000,000; 8 % of that is 300,000.
        (ACCELERATION, seen(0, 60_000_000), -750_000, 96_250_000, 99_700_000),
        # (3,000 - 1,000) / (3,000 + 1,000 + 1,000) = 0.4; x 15 % x 400,000,000.
        (VOLUME, seen(3_000_000_000, 1_000_000_000), 400_000, 124_000_000, 100_500_000),
        # Nothing after nothing: 0 / 20. As much as ever: 0 / (7 + 7 + 20).
        (RECOGNITION, seen(0, 0), 0, 100_000_000, 100_000_000),
        (RECOGNITION, seen(7_000_000, 7_000_000), 0, 100_000_000, 100_000_000),
        # One event out of nowhere: 1 / (1 + 0 + 20) = 0.047619; x 15 % x 400,000,000 = 2,857,140; 8 %: 228,571.2.
        (RECOGNITION, seen(1_000_000, 0), 47_619, 102_857_140, 100_228_571),
    ],
)
def test_one_input_alone(name: Input, observation: Observation, pressure: int, target: int, rate: int) -> None:
    made = move(name, observation)
    assert part(made, name) == Contribution(name, FRESH, pressure, target - BASE.nano_usd)
    assert (made.target, made.rate) == (Rate(target), Rate(rate))
    others = [contribution for contribution in made.contributions if contribution.input is not name]
    assert others == [Contribution(other, MISSING, 0, 0) for other in Input if other is not name]


def test_the_start_is_at_the_base_whatever_is_seen() -> None:
    made = next_rate(FORMULA, None, {LEVEL: (seen(10_000_000),)})
    assert (made.rate, made.target) == (BASE, Rate(220_000_000))
    assert part(made, LEVEL) == Contribution(LEVEL, FRESH, 1_000_000, 120_000_000)


def test_nothing_known_draws_to_the_base() -> None:
    nothing = tuple(Contribution(name, MISSING, 0, 0) for name in Input)
    assert next_rate(FORMULA, BASE, {}) == RateStep(BASE, BASE, nothing)
    assert next_rate(FORMULA, BASE, dict.fromkeys(Input, ())) == RateStep(BASE, BASE, nothing)
    # 8 % of 100,000 down; 8 % of 100,000 up.
    assert next_rate(FORMULA, Rate(100_100_000), {}).rate == Rate(100_092_000)
    assert next_rate(FORMULA, Rate(99_900_000), {}).rate == Rate(99_908_000)


def test_everything_at_its_best_or_worst_draws_to_the_ceiling_or_the_floor() -> None:
    endless = 10**18
    best: Inputs = {
        LEVEL: (seen(10_000_000),),
        COHERENCE: (seen(100_000_000),),
        RECOGNITION: (seen(endless, 0),),
        ACCELERATION: (seen(endless, 0),),
        VOLUME: (seen(endless, 0),),
    }
    worst: Inputs = {
        LEVEL: (seen(0),),
        COHERENCE: (seen(0),),
        RECOGNITION: (seen(0, endless),),
        ACCELERATION: (seen(0, endless),),
        VOLUME: (seen(0, endless),),
    }
    assert next_rate(FORMULA, BASE, best).target == Rate(500_000_000)
    assert next_rate(FORMULA, BASE, worst).target == Rate(50_000_000)


def test_the_contributions_sum_to_the_target() -> None:
    # Ten billionths of room, so that each rounding shows. The running sums are 3, 6, 6.375, 6.625 and 7.0, rounded 3,
    # 6, 6, 7 and 7; each part for itself would be 3, 3, 0, 0 and 0, which is one too few.
    made = next_rate(
        formula(ceiling="0.100000010"),
        BASE,
        {
            LEVEL: (seen(10_000_000),),
            COHERENCE: (seen(100_000_000),),
            RECOGNITION: (seen(40_000_000, 20_000_000),),
            ACCELERATION: (seen(40_000_000, 20_000_000),),
            VOLUME: (seen(2_000_000_000, 1_000_000_000),),
        },
    )
    assert [contribution.nano_usd for contribution in made.contributions] == [3, 3, 0, 1, 0]
    assert made.target == Rate(100_000_007)
    assert [contribution.input for contribution in made.contributions] == list(Input)


def test_what_presses_up_and_down_is_summed_before_the_room_is_chosen() -> None:
    # 30 % up and 30 % x 0.98 down leave 0.6 % up: of the room above, + 2,400,000. Both parts are told in that room.
    made = next_rate(FORMULA, BASE, {LEVEL: (seen(10_000_000),), COHERENCE: (seen(1_000_000),)})
    assert made.target == Rate(102_400_000)
    assert [contribution.nano_usd for contribution in made.contributions] == [120_000_000, -117_600_000, 0, 0, 0]
    # The other way round it is the room below: - 300,000.
    made = next_rate(FORMULA, BASE, {LEVEL: (seen(0),), COHERENCE: (seen(99_000_000),)})
    assert made.target == Rate(99_700_000)
    assert [contribution.nano_usd for contribution in made.contributions] == [-15_000_000, 14_700_000, 0, 0, 0]


@pytest.mark.parametrize(
    ("age", "state", "pressure"),
    [
        (0, FRESH, 1_000_000),
        (900, FRESH, 1_000_000),
        (901, FADING, 999_951),  # 20,699 of 20,700 seconds are left
        (11_250, FADING, 500_000),  # in the middle between 900 and 21,600
        (21_599, FADING, 48),  # 1 of 20,700
        (21_600, STALE, 0),
        (2_000_000, STALE, 0),
    ],
)
def test_an_input_fades_with_its_age(age: int, state: InputState, pressure: int) -> None:
    for sign, level, room in ((1, 10_000_000, 120), (-1, 0, 15)):
        made = move(LEVEL, seen(level, age=age))
        assert part(made, LEVEL) == Contribution(LEVEL, state, sign * pressure, sign * pressure * room)
        assert made.target == Rate(BASE.nano_usd + sign * pressure * room)


def test_half_of_a_half_pressure_is_left_in_the_middle_of_fading() -> None:
    assert part(move(LEVEL, seen(7_500_000, age=11_250)), LEVEL).pressure_ppm == 250_000
    assert part(move(VOLUME, seen(3_000_000_000, 1_000_000_000, age=45_000)), VOLUME) == Contribution(
        VOLUME, FADING, 200_000, 12_000_000
    )


@pytest.mark.parametrize(
    ("levels", "pressure"),
    [
        # Two: the middle between them.
        ([(6_000_000, 0), (7_000_000, 0)], 300_000),
        ([(0, 0), (10_000_000, 0)], 0),
        # Pressures of 1 and 2 millionths: 1.5 is two, up and down alike.
        ([(5_000_005, 0), (5_000_010, 0)], 2),
        ([(4_999_995, 0), (4_999_990, 0)], -2),
        # Three: the one in the middle, however far away the others are.
        ([(10_000_000, 0), (6_000_000, 0), (7_000_000, 0)], 400_000),
        ([(0, 0), (6_000_000, 0), (7_000_000, 0)], 200_000),
        # Four: between the two in the middle.
        ([(0, 0), (6_000_000, 0), (7_000_000, 0), (10_000_000, 0)], 300_000),
        # Those count that are at most 900 seconds older than the youngest.
        ([(10_000_000, 0), (0, 900)], 0),
        ([(10_000_000, 0), (0, 901)], 1_000_000),
        ([(10_000_000, 0), (0, 901), (0, 11_250), (0, 2_000_000)], 1_000_000),
        ([(8_000_000, 800), (0, 1_700), (0, 0), (0, 1_000)], -200_000),
        # One that is stale does not, however near: 600 of 20,700 seconds are left of the other.
        ([(10_000_000, 21_000), (0, 21_650)], 28_985),
        # They fade together, with the youngest: half of 0.6, the middle between 1 and 0.2.
        ([(10_000_000, 11_250), (6_000_000, 12_150), (0, 12_151)], 300_000),
        # Rounded once: half of 1.5 millionths is 0.75, which is one.
        ([(5_000_005, 11_250), (5_000_010, 11_250)], 1),
        ([(4_999_995, 11_250), (4_999_990, 11_250)], -1),
    ],
)
def test_of_several_sources_the_middle_one_decides(levels: list[tuple[int, int]], pressure: int) -> None:
    observations = [seen(level, age=age, source=f"source{i}") for i, (level, age) in enumerate(levels)]
    assert part(move(LEVEL, *observations), LEVEL).pressure_ppm == pressure
    assert part(move(LEVEL, *reversed(observations)), LEVEL).pressure_ppm == pressure


def test_a_flow_that_cannot_be_compared_is_missing_and_does_not_count() -> None:
    alone = Observation("ledger", 10**9, 0, None)
    assert part(move(Input.VOLUME, alone), Input.VOLUME) == part(move(Input.VOLUME), Input.VOLUME)
    comparable = Observation("other", 10**9, 5_000, 10**9)
    assert part(move(Input.VOLUME, alone, comparable), Input.VOLUME).state is FADING


def test_an_input_is_as_fresh_as_its_freshest_source() -> None:
    old, older, oldest = (seen(10_000_000, age=age, source=str(age)) for age in (900, 901, 21_600))
    assert part(move(LEVEL, oldest, old, older), LEVEL).state is FRESH
    assert part(move(LEVEL, oldest, older), LEVEL).state is FADING
    assert part(move(LEVEL, oldest), LEVEL).state is STALE


@pytest.mark.parametrize(
    ("current", "rate"),
    [
        # 8 % of the way, 8,000,000, is more than 0.5 % of the rate.
        (200_000_000, 199_000_000),
        (50_000_000, 50_250_000),
        # 0.5 % of 106,500,199 is 532,500.995: cut off. 8 % of the way would be 520,015.92: it is taken.
        (106_500_199, 105_980_183),
        # 0.5 % of 107,000,199 is 535,000.995: cut off. 8 % of the way would be 560,015.92.
        (107_000_199, 106_465_199),
        # 0.5 % of 90,000,199 is 450,000.995: cut off.
        (90_000_199, 90_450_199),
    ],
)
def test_no_tick_moves_by_more_than_its_step(current: int, rate: int) -> None:
    assert next_rate(FORMULA, Rate(current), {}).rate == Rate(rate)


def test_rounding_goes_to_the_nearest_and_treats_up_and_down_alike() -> None:
    # 8 % of 6 is 0.48: nothing. Of 7, 0.56: one.
    assert [next_rate(FORMULA, Rate(BASE.nano_usd + off), {}).rate.nano_usd for off in (-7, -6, 6, 7)] == [
        99_999_994,
        99_999_994,
        100_000_006,
        100_000_006,
    ]
    # Half of 1 is 0.5: away from zero, so it arrives from both sides.
    halves = formula(pull_ppm=500_000)
    assert [next_rate(halves, Rate(BASE.nano_usd + off), {}).rate for off in (-1, 1)] == [BASE, BASE]
    # A pressure of 0.5 x 30 % of 10 billionths is 1.5: two, up and down.
    narrow = formula(floor="0.09999999", ceiling="0.10000001")
    assert [move(LEVEL, seen(level), using=narrow).target.nano_usd for level in (2_500_000, 7_500_000)] == [
        99_999_998,
        100_000_002,
    ]
    # A pressure of 0.4 millionths is none; of half a millionth it is one.
    fine = formula(inputs={**FORMULA.data["inputs"], LEVEL: {**FORMULA.data["inputs"][LEVEL], "span": "10"}})
    pressures = [part(move(LEVEL, seen(5_000_000 + off), using=fine), LEVEL).pressure_ppm for off in (-5, -4, 4, 5)]
    assert pressures == [-1, 0, 0, 1]


def dice() -> Iterator[int]:
    """Whole numbers up to 2 ** 31, the same for ever (Knuth's MMIX generator)."""
    state = 1797  # the year in which the first Republic ended
    while True:
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        yield state >> 33


def thrown(dice: Iterator[int]) -> Inputs:
    """Anything at all: up to three sources of each input, fresh to stale."""
    inputs: dict[Input, tuple[Observation, ...]] = {}
    for name in Input:
        most = {LEVEL: 10**7, COHERENCE: 10**8, VOLUME: 5 * 10**9}.get(name, 10**8)
        observations = []
        for source in range(next(dice) % 4):
            now, age = next(dice) * 4 % (most + 1), next(dice) % 25_000
            usual = None if name in (LEVEL, COHERENCE) else next(dice) * 4 % (most + 1)
            observations.append(seen(now, usual, age=age, source=f"source{source}"))
        inputs[name] = tuple(observations)
    return inputs


GOLDEN = "e4cab069f231392a9c5a057bb6448e402f77028dce542e27601d720e6775d811"


def test_rule_1_never_changes() -> None:
    """If this fails, the rule computes something else than it did: give the new one a number of its own.

    Stored history is explained and repeated with rule 1 for ever, so neither the digest nor anything above is adjusted.
    """
    rolls, digest = dice(), hashlib.sha256()
    rate: Rate | None = None
    states, ups, downs = set(), 0, 0
    for _ in range(2_000):
        made = next_rate(FORMULA, rate, thrown(rolls))
        if rate is not None:
            ups, downs = ups + (made.rate > rate), downs + (made.rate < rate)
        rate = made.rate
        parts = " ".join(f"{c.input}:{c.state}:{c.pressure_ppm}:{c.nano_usd}" for c in made.contributions)
        digest.update(f"{rate.nano_usd} {made.target.nano_usd} {parts}\n".encode())
        states |= {contribution.state for contribution in made.contributions}
    assert states == set(InputState)  # it has seen everything
    assert min(ups, downs) > 500
    assert digest.hexdigest() == GOLDEN
