"""How the rate goes through five years of 105,120 ticks each, and that no bound and no step is ever broken.

Usage: python -m benchmarks.rate_year [--formula FILE] [--output DIR]

Follows the formula that is shipped, or another one. Prints a table and writes rate-year.svg and rate-inputs.svg, which
docs/rate.md shows. Exits 1 when a rate or a target leaves the bounds, or a tick moves the rate by more than the step.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import accumulate, pairwise
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cascade.charts.documentation import Run, input_curves, year
from cascade.domain.ducat_rate import Rate
from cascade.domain.postings import SalesVolume
from cascade.rate import signals as city
from cascade.rate.parameters import PPM, Formula
from cascade.rate.rule import next_rate
from cascade.rate.signals import MICRO, Input, Inputs, Observation, RecognitionStats

TICK = timedelta(minutes=5)
HOUR, DAY, WEEK, MONTH, YEAR = 12, 288, 2016, 8_760, 105_120
"""In ticks."""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ALWAYS = range(YEAR)
Course = Callable[[int], int]
"""Something at each tick."""


class Source:
    """One who reports with every tick while it speaks. Ask it for one tick after the other.

    Args:
        name: its own.
        level: millionths, kept within 0 to 10.
        coherence: millionths of a percent, kept within 0 to 100.
        events: recognition events of each tick; those of a silent tick are never told.
        speaks: at which ticks.
    """

    def __init__(
        self, name: str, level: Course, coherence: Course, events: Course, speaks: Callable[[int], bool] | None = None
    ) -> None:
        self._name, self._level, self._coherence = name, level, coherence
        self._told = [speaks is None or speaks(n) for n in ALWAYS]
        self._summed = list(accumulate((told * events(n) for n, told in enumerate(self._told)), initial=0))
        self._newest: int | None = None
        self._first = 0

    def seen(self, tick: int) -> Iterator[tuple[Input, Observation]]:
        """What is known of it at a tick."""
        if self._told[tick]:
            self._newest = tick
        if self._newest is None:
            return
        old = (tick - self._newest) * int(TICK.total_seconds())
        level, coherence = self._level(self._newest), self._coherence(self._newest)
        yield Input.CONSCIOUSNESS, Observation(self._name, max(0, min(10 * MICRO, level)), old)
        yield Input.COHERENCE, Observation(self._name, max(0, min(100 * MICRO, coherence)), old)
        if self._newest <= tick - WEEK:
            return
        while self._first <= tick - WEEK or not self._told[self._first]:
            self._first += 1
        hour, before, week = (_between(self._summed, tick, *ago) for ago in ((HOUR, 0), (2 * HOUR, HOUR), (WEEK, 0)))
        counted = RecognitionStats(self._name, hour, before, week, _at(self._first), _at(self._newest))
        for name, look in ((Input.RECOGNITION, city.recognition), (Input.ACCELERATION, city.acceleration)):
            if (observed := look(counted, _at(tick))) is not None:
                yield name, observed


@dataclass(frozen=True)
class World:
    """A year that is made up.

    Attributes:
        name, note: for the picture.
        sources: who reports.
        sold: of each tick, US dollars.
    """

    name: str
    note: str
    sources: Sequence[Source]
    sold: Sequence[int]

    def ticks(self) -> Iterator[Inputs]:
        """What the rule sees, tick by tick."""
        summed = list(accumulate((usd * MICRO for usd in self.sold), initial=0))
        first = next(n for n, usd in enumerate(self.sold) if usd)
        for tick in ALWAYS:
            seen: dict[Input, list[Observation]] = {}
            for source in self.sources:
                for name, observed in source.seen(tick):
                    seen.setdefault(name, []).append(observed)
            sold = SalesVolume(_between(summed, tick, DAY, 0), _between(summed, tick, DAY + WEEK, DAY), None)
            if first <= tick:
                sold = SalesVolume(sold.last_day, sold.week_before, _at(max(first, tick - DAY - WEEK)))
            if (volume := city.volume(sold, _at(tick))) is not None:
                seen[Input.VOLUME] = [volume]
            yield {name: tuple(observations) for name, observations in seen.items()}


@dataclass
class Result:
    """What became of a world: its points, and whatever the rule must never do."""

    points: list[tuple[datetime, Rate, Rate]]
    largest_ppm: int
    broken: list[str]


def follow(formula: Formula, world: World, on_day: Callable[[], None]) -> Result:
    """Apply the rule for a year."""
    result = Result([], 0, [])
    current: Rate | None = None
    bounds = range(formula.floor_nano_usd, formula.ceiling_nano_usd + 1)
    for number, inputs in enumerate(world.ticks()):
        move = next_rate(formula, current, inputs)
        before = (current or move.rate).nano_usd
        moved = abs(move.rate.nano_usd - before)
        if move.rate.nano_usd not in bounds or move.target.nano_usd not in bounds:
            result.broken.append(
                f"{world.name}, tick {number}: {move.rate} or its target {move.target} is out of bounds"
            )
        if moved * PPM > before * formula.step_ppm:
            result.broken.append(f"{world.name}, tick {number}: from {current} to {move.rate} is more than a step")
        result.largest_ppm = max(result.largest_ppm, moved * PPM // before)
        result.points.append((_at(number), move.rate, move.target))
        current = move.rate
        if number % DAY == DAY - 1:
            on_day()
    return result


def worlds() -> list[World]:
    """The five years."""
    chance = random.Random(2026)
    return [_calm(chance), _rising(chance), _crash(chance), _silent(chance), _adversarial(chance)]


def _calm(chance: random.Random) -> World:
    source = Source("venice", *_mood(chance, lambda _: 50), _events(chance, lambda _: 40))
    return World(
        "Calm", "Everything wanders around what is neutral and usual.", [source], _sales(chance, lambda _: 2_000)
    )


def _rising(chance: random.Random) -> World:
    source = Source(
        "venice", *_mood(chance, lambda n: 50 + 40 * n // YEAR), _events(chance, lambda n: 40 + 760 * n // YEAR)
    )
    sold = _sales(chance, lambda n: 2_000 + 18_000 * n // YEAR)
    return World(
        "Rising", "Consciousness and coherence climb from the middle to nine tenths; all grows.", [source], sold
    )


def _crash(chance: random.Random) -> World:
    half = YEAR // 2

    def falling(good: int, bad: int) -> Course:
        return lambda n: good - (good - bad) * max(0, min(DAY, n - half)) // DAY

    source = Source("venice", *_mood(chance, falling(80, 8)), _events(chance, falling(200, 5)))
    sold = _sales(chance, falling(8_000, 100))
    return World("Crash", "A good half year; then everything falls within a day, and stays low.", [source], sold)


def _silent(chance: random.Random) -> World:
    source = Source(
        "venice", *_mood(chance, lambda _: 70), _events(chance, lambda _: 40), lambda n: not _in_months(n, 3, 6)
    )
    note = "Well above neutral; from April to June nobody reports, while ducats are sold as ever."
    return World("Silent Venice", note, [source], _sales(chance, lambda _: 2_000))


def _adversarial(chance: random.Random) -> World:
    def wanted(n: int) -> int:
        """Up, down, up again while nobody else speaks; then the liar is thrown out."""
        return 0 if _in_months(n, 3, 6) else 100

    def flood(n: int) -> int:
        # What is always high becomes usual: up comes in bursts of an hour, down as silence after a burst each week.
        return 1_000_000 * (n % WEEK < HOUR if _in_months(n, 3, 6) else n % (8 * HOUR) < HOUR)

    honest = Source(
        "venice", *_mood(chance, lambda _: 55), _events(chance, lambda _: 40), lambda n: not _in_months(n, 6, 9)
    )
    liar = Source(
        "liar", lambda n: wanted(n) * MICRO // 10, lambda n: wanted(n) * MICRO, flood, lambda n: n < 9 * MONTH
    )
    sold = _sales(chance, lambda n: 50_000 if _in_months(n, 6, 9) and n % WEEK < 2 * DAY else 2_000)
    note = "A liar beside an honest source: up to March, down to June; to September alone, and buying; then gone."
    return World("One liar", note, [honest, liar], sold)


def _mood(chance: random.Random, percent: Course) -> tuple[Course, Course]:
    """A level and a coherence that wander around a percentage of their most, each by itself."""
    level, coherence = _wandering(chance, 80_000), _wandering(chance, 800_000)
    return lambda n: percent(n) * MICRO // 10 + level[n], lambda n: percent(n) * MICRO + coherence[n]


def _wandering(chance: random.Random, step: int) -> Sequence[int]:
    """Whole numbers that wander around zero and are drawn back within about a day."""
    return list(accumulate(ALWAYS, lambda at, _: at - at // DAY + chance.randint(-step, step), initial=0))


def _events(chance: random.Random, per_hour: Course) -> Course:
    """Events of each tick; some hours have more than others."""
    busy = _wandering(chance, 20_000)
    drawn = (per_hour(n) * max(0, MICRO + busy[n]) * chance.randint(0, 2_000) for n in ALWAYS)
    summed = [parts // (HOUR * MICRO * 1_000) for parts in accumulate(drawn, initial=0)]
    return [after - before for before, after in pairwise(summed)].__getitem__


def _sales(chance: random.Random, per_day: Course) -> Sequence[int]:
    """US dollars of each tick: every hour and a half or so somebody buys."""
    return [per_day(n) * chance.randint(2, 34) // DAY if chance.randrange(18) == 0 else 0 for n in ALWAYS]


def _in_months(tick: int, first: int, end: int) -> bool:
    return first * MONTH <= tick < end * MONTH


def _between(summed: Sequence[int], tick: int, longest_ago: int, shortest_ago: int) -> int:
    """What happened in the ticks that are less than ``longest_ago`` and at least ``shortest_ago`` old."""
    return summed[max(0, tick + 1 - shortest_ago)] - summed[max(0, tick + 1 - longest_ago)]


def _at(tick: int) -> datetime:
    return BEGAN + tick * TICK


def _usd(nano_usd: int) -> str:
    return f"{nano_usd / 10**9:.4f}"


@click.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("docs"), show_default=True)
@click.option("--formula", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[default: ours]")
def main(output: Path, path: Path | None) -> None:
    """Follow the five years, print a table, and write the pictures into DIR."""
    formula = Formula.from_toml((path or files("cascade") / "formula.toml").read_text())
    names = ("year", "least", "most", "mean", "last", "largest tick, ppm", "ticks at floor", "at ceiling")
    table = Table(title="USD per ducat; at a bound: within 1 % of it")
    for name in names:
        table.add_column(name, justify="left" if name == "year" else "right")
    runs, broken = [], []
    with Progress(transient=True) as progress:
        everything = worlds()
        task = progress.add_task("Days", total=len(everything) * YEAR // DAY)
        for world in everything:
            result = follow(formula, world, lambda: progress.advance(task))
            rates = [rate.nano_usd for _, rate, _ in result.points]
            least, most = min(rates), max(rates)
            low = sum(rate * 100 <= formula.floor_nano_usd * 101 for rate in rates)
            high = sum(rate * 100 >= formula.ceiling_nano_usd * 99 for rate in rates)
            texts = (_usd(one) for one in (least, most, sum(rates) // len(rates), rates[-1]))
            table.add_row(world.name, *texts, f"{result.largest_ppm:,}", f"{low:,}", f"{high:,}")
            runs.append(Run(world.name, result.points, world.note))
            broken += result.broken
    Console().print(table)
    output.mkdir(parents=True, exist_ok=True)
    (output / "rate-inputs.svg").write_bytes(input_curves(formula))
    (output / "rate-year.svg").write_bytes(year(runs, formula))
    if broken:
        print("\n".join(broken[:20]))
        sys.exit(1)


if __name__ == "__main__":
    main()
