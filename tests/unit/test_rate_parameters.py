"""The formula's file: what the shipped one says, and every way in which one is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import timedelta
from importlib.resources import files
from typing import Any

import pytest

from cascade.errors import SettingsError
from cascade.rate.parameters import PPM, Formula, InputConfig
from cascade.rate.signals import Input

TEXT = (files("cascade") / "formula.toml").read_text()
SHIPPED = Formula.from_toml(TEXT)
Changes = list[tuple[str, object]]
GONE = object()
"""Takes a value out instead of changing it."""


def changed(*changes: tuple[str, object]) -> Mapping[str, Any]:
    """What the shipped formula holds, but for some values, each at a path such as ``inputs.volume.damping``."""
    data: dict[str, Any] = deepcopy(dict(SHIPPED.data))
    for path, value in changes:
        *parents, name = path.split(".")
        table = data
        for parent in parents:
            table = table[parent]
        if value is GONE:
            del table[name]
        else:
            table[name] = value
    return data


def test_the_shipped_formula_says_what_the_city_agreed_to() -> None:
    assert SHIPPED.version == "venice-1"
    assert SHIPPED.base_nano_usd == 100_000_000  # 0.10 USD
    assert SHIPPED.floor_nano_usd == 50_000_000
    assert SHIPPED.ceiling_nano_usd == 500_000_000
    assert (SHIPPED.tick_seconds, SHIPPED.tick) == (300, timedelta(minutes=5))
    assert (SHIPPED.pull_ppm, SHIPPED.step_ppm) == (80_000, 5_000)
    assert SHIPPED.weighings == {
        Input.CONSCIOUSNESS: InputConfig(300_000, 900, 21_600, neutral_micro=5_000_000, span_micro=5_000_000),
        Input.COHERENCE: InputConfig(300_000, 900, 21_600, neutral_micro=50_000_000, span_micro=50_000_000),
        Input.RECOGNITION: InputConfig(150_000, 3_600, 21_600, damping_micro=20_000_000),
        Input.ACCELERATION: InputConfig(100_000, 3_600, 21_600, damping_micro=20_000_000),
        Input.VOLUME: InputConfig(150_000, 3_600, 86_400, damping_micro=1_000_000_000),
    }


def test_the_shipped_weights_sum_to_one() -> None:
    assert sum(weighing.weight_ppm for weighing in SHIPPED.weighings.values()) == PPM


def test_what_the_database_keeps_is_the_same_formula() -> None:
    assert Formula.from_data(json.loads(json.dumps(SHIPPED.data))) == SHIPPED


@pytest.mark.parametrize(
    "changes",
    [
        [("usd_per_ducat.floor", "0.10"), ("usd_per_ducat.ceiling", "0.10")],  # a rate that never moves
        [("usd_per_ducat.floor", "0.000000001")],
        [("tick_seconds", 1)],
        [("tick_seconds", 3600)],
        [("pull_ppm", 1), ("step_ppm", 1)],
        [("pull_ppm", PPM), ("step_ppm", 100_000)],
        [("inputs.volume.weight_ppm", 0)],  # less than one in all is no mistake
        [("inputs.volume.fresh_seconds", 0), ("inputs.volume.stale_seconds", 1)],
        [("inputs.volume.stale_seconds", 30 * 86_400)],
        [("inputs.coherence.neutral", "0")],
        [("inputs.coherence.span", "0.000001")],
        [("version", "a"), ("inputs.recognition.damping", "0.000001")],
        [("version", "9" * 40)],
        [("version", "my.own_formula-2")],
    ],
)
def test_the_bounds_themselves_are_allowed(changes: Changes) -> None:
    Formula.from_data(changed(*changes))


def each(path: str, values: Iterable[object], complaint: str) -> list[tuple[Changes, str]]:
    """The same complaint about each of these values at a path."""
    return [([(path, value)], complaint) for value in values]


def numbers(path: str, least: int, most: int) -> list[tuple[Changes, str]]:
    """Everything that is no whole number within these bounds."""
    name = path.rpartition(".")[2]
    complaint = f"{name} = .* must be a whole number from {least} to {most:,}"
    return each(path, [least - 1, most + 1, True, float(most), str(most), None, [most]], complaint)


NAMES = ["version", "rule", "usd_per_ducat", "tick_seconds", "pull_ppm", "step_ppm", "inputs"]
PARTS = [
    *(f"usd_per_ducat.{name}" for name in ("base", "floor", "ceiling")),
    *(f"inputs.volume.{name}" for name in ("weight_ppm", "fresh_seconds", "stale_seconds", "damping")),
    *(f"inputs.coherence.{name}" for name in ("neutral", "span")),
]
QUOTED = "must be a decimal in quotes"
ORDER = "usd_per_ducat: floor, base and ceiling must be above 0, in this order, and a million at most"

REFUSED: list[tuple[Changes, str]] = [
    # Something is missing, at every depth.
    *(case for path in NAMES + PARTS for case in each(path, [GONE], f"'{path.rpartition('.')[2]}' is missing")),
    *(case for name in Input for case in each(f"inputs.{name}", [GONE], f"{name}.* is missing")),
    # Something that is not known, at every depth, is a slip of the pen.
    ([("pull", 5)], "there is no pull; there are .*pull_ppm"),
    ([("usd_per_ducat.roof", "1")], r"there is no usd_per_ducat\.roof; there are base, ceiling, floor"),
    ([("inputs.weather", {})], r"there is no inputs\.weather; there are acceleration, coherence"),
    ([("inputs.coherence.damping", "20")], r"there is no inputs\.coherence\.damping; .*neutral, span"),
    ([("inputs.volume.neutral", "20")], r"there is no inputs\.volume\.neutral; .*damping, fresh_seconds"),
    # Another rule.
    *each("rule", [2, 0, "1", None, True, 1.0], "rule = .* upgrade Cascade"),
    # A version is a name.
    *each(
        "version",
        ["", "Venice", "venice 1", "-venice", "v" * 41, "venice-1\n", "ven\u00edce", 1, None],
        "version = .* must be lower-case letters",
    ),
    # Money and levels are decimals in quotes: a float is never exact.
    *each("usd_per_ducat.base", [0.1, 1, True, None, "", "-0.05", "1e-1", "NaN", "Infinity"], f"base = .*{QUOTED}"),
    *each("usd_per_ducat.floor", ["0.0000000001", "0.05\n", "+0.05", "5_0"], f"floor = .*{QUOTED}"),
    *each("usd_per_ducat.ceiling", [" 0.50", "0,50", ".5", "1.", "\u0661", "1" + "0" * 12], f"ceiling = .*{QUOTED}"),
    *each("inputs.coherence.neutral", [50.0, 50, "-1"], f"neutral = .*{QUOTED}"),
    *each("inputs.coherence.span", [50.0, 50, "-1"], f"span = .*{QUOTED}"),
    *each("inputs.volume.damping", [False, 20, "-1"], f"damping = .*{QUOTED}"),
    *each("inputs.coherence.neutral", ["50.0000001"], "neutral = 50.0000001 is finer than one part in 1,000,000"),
    *each("inputs.volume.damping", ["0.0000001"], "damping = 0.0000001 is finer than one part in 1,000,000"),
    *each("inputs.coherence.span", ["0"], "span must be above 0"),
    *each("inputs.recognition.damping", ["0.0"], "damping must be above 0"),
    # The order of the prices.
    *each("usd_per_ducat.floor", ["0", "0.100000001"], ORDER),
    *each("usd_per_ducat.base", ["0.049999999", "0.500000001"], ORDER),
    *each("usd_per_ducat.ceiling", ["0.04", "0.099999999", "1000000.000000001", "99999999999"], ORDER),
    # Whole numbers within their bounds.
    *numbers("tick_seconds", 1, 3_600),
    *numbers("pull_ppm", 1, PPM),
    *numbers("step_ppm", 1, 100_000),
    *(case for name in Input for case in numbers(f"inputs.{name}.weight_ppm", 0, PPM)),
    *numbers("inputs.volume.fresh_seconds", 0, 2_592_000),
    *numbers("inputs.volume.stale_seconds", 1, 2_592_000),
    *each("tick_seconds", [7, 301, 3_599], "tick_seconds = .* must divide a day"),
    *(
        case
        for name, weighing in SHIPPED.weighings.items()
        for case in each(
            f"inputs.{name}.stale_seconds",
            [weighing.fresh_seconds, weighing.fresh_seconds - 1],
            f"inputs.{name}: stale_seconds = .* must be above fresh_seconds = {weighing.fresh_seconds}",
        )
    ),
    # All together.
    (
        [("inputs.volume.weight_ppm", 150_001)],
        r"the weights sum to 1,000,001 ppm, but .* at most one \(1,000,000 ppm\)",
    ),
    # Tables that are none.
    *each("usd_per_ducat", ["0.10", None, 5, ["0.10"]], "formula: "),
    *each("inputs", ["coherence", None, 5], "formula: "),
    *each("inputs.volume", ["coherence", None, 5, []], "formula: "),
]


@pytest.mark.parametrize(("changes", "complaint"), REFUSED)
def test_a_wrong_formula_is_refused_by_name(changes: Changes, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refused:
        Formula.from_data(changed(*changes))
    assert str(refused.value).startswith("formula: ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("[usd_per_ducat]", "[usd_per_ducat"), "formula: "),
        (('base = "0.10"', "base = 0.10"), "base = 0.1 must be a decimal in quotes"),
        (("rule = 1", "rule = 2"), "rule = 2, but this release follows rule 1"),
        (("tick_seconds = 300", "tick_seconds = 5:00"), "formula: "),
    ],
)
def test_a_wrong_file_is_refused(change: tuple[str, str], complaint: str) -> None:
    text = TEXT.replace(*change)
    assert text != TEXT
    with pytest.raises(SettingsError, match=complaint):
        Formula.from_toml(text)
