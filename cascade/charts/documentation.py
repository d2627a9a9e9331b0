"""Pictures for docs/rate.md: what a formula does, and how it went through whole years."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from matplotlib.axes import Axes

from cascade.charts.canvas import DASHED, Canvas, draw_course, marks, picture
from cascade.charts.chart_locale import ENGLISH
from cascade.charts.rate_charts import name_of
from cascade.charts.variants import Theme
from cascade.domain.ducat_rate import NANO_USD, Rate
from cascade.domain.signal_kinds import SignalKind
from cascade.rate.parameters import Formula
from cascade.rate.rule import next_rate
from cascade.rate.signals import MICRO, Input, Observation

_POINTS = 750
"""Of each of the two lines of a year."""
_ENDLESS = 10**15 * MICRO
_PANEL = (270, 150)


@dataclass(frozen=True)
class Run:
    """One course of the rate.

    Attributes:
        name: what happened.
        points: a moment, UTC, the rate from then on, and its target; oldest first.
        note: one line on what can be seen.
    """

    name: str
    points: Sequence[tuple[datetime, Rate, Rate]]
    note: str


def input_curves(formula: Formula) -> bytes:
    """Return what each input does to the target alone, how reports fade, and how fast the rate can go; as SVG."""
    base, floor, ceiling = formula.base_nano_usd, formula.floor_nano_usd, formula.ceiling_nano_usd
    heaviest = max(weighing.weight_ppm for weighing in formula.weighings.values())
    least, most = (base + (end - base) * heaviest // MICRO for end in (floor, ceiling))
    room = (most - least) // 8
    places = [(58 + 350 * (n % 2), 76 + 232 * (n // 2)) for n in range(7)]

    def draw(canvas: Canvas) -> None:
        canvas.write(
            10, 22, "The target, in USD per ducat, when one input alone moves. The dotted line is the base.", 13
        )
        for name, (x, y) in zip(Input, places, strict=False):
            weight = f"{formula.weighings[name].weight_ppm / 10_000:g} %"
            canvas.write(x, y - 14, f"{name_of(name)}, weight {weight}", 14, canvas.colours.ink, weight="bold")
            axes = canvas.plot(x, y, *_PANEL)
            axes.set_ylim((least - room) / NANO_USD, (most + 3 * room) / NANO_USD)
            canvas.mark(axes, base)
            _draw_input(canvas, axes, formula, name, most / NANO_USD)
        (x, y), (left, below) = places[5:]
        canvas.write(x, y - 14, "Percent of a report that count", 14, canvas.colours.ink, weight="bold")
        _draw_fading(canvas, canvas.plot(x, y, *_PANEL), formula)
        canvas.write(
            left, below - 14, "How fast the rate can go, in USD per ducat", 14, canvas.colours.ink, weight="bold"
        )
        _draw_fastest(canvas, canvas.plot(left, below, places[1][0] - left + _PANEL[0], 170), formula)

    told = (
        "For each input the target in USD per ducat, as it alone goes from its least to its most; then how much of a "
        "report counts as it grows old; and the rate while every input is at its best, or at its worst, for hours."
    )
    return picture((700, 1000), Theme.LIGHT, "curves", f"What the formula {formula.version} does", told, draw)


def year(runs: Sequence[Run], formula: Formula) -> bytes:
    """Return courses of the rate under one another, with one scale of USD per ducat and one of time; as SVG."""
    row, ends = 178, [run.points[end][0] for run in runs for end in (0, -1)]
    room = (formula.ceiling_nano_usd - formula.floor_nano_usd) // 25
    first = min(ends).astimezone(UTC)
    starts = (datetime(first.year + n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in range(first.month - 1, 36))
    months = [start for start in starts if min(ends) <= start <= max(ends)]

    def draw(canvas: Canvas) -> None:
        colours = canvas.colours
        canvas.write(750, 22, "USD per ducat: the rate, and its target in pale", 13, ha="right")
        for number, run in enumerate(runs):
            top = 52 + row * number
            axes = canvas.plot(50, top, 640, 104)
            axes.set_xlim(min(ends).timestamp(), max(ends).timestamp())
            axes.set_ylim((formula.floor_nano_usd - room) / NANO_USD, (formula.ceiling_nano_usd + room) / NANO_USD)
            axes.set_xticks([month.timestamp() for month in months], [f"{month:%b}" for month in months])
            for name, nano_usd in marks(formula):
                canvas.mark(axes, nano_usd)
                beside = axes.get_yaxis_transform()
                aligned = {"floor": "top", "base": "bottom"}.get(name, "center")
                axes.text(1.01, nano_usd / NANO_USD, name, transform=beside, va=aligned, color=colours.quiet)
            targets = [(at, target.nano_usd) for at, _, target in run.points]
            draw_course(axes, targets, _POINTS, color=colours.gold, linewidth=0.8, alpha=0.6)
            rates = [(at, rate.nano_usd) for at, rate, _ in run.points]
            draw_course(axes, rates, _POINTS, color=colours.rate, linewidth=1.6)
            canvas.write(10, top - 30, run.name, 15, colours.ink, weight="bold")
            canvas.write(10, top - 12, run.note, 13)

    told = "The rate as a strong line and its target as a pale one, in USD per ducat. "
    told += " ".join(f"{run.name}: {run.note}" for run in runs)
    size = (760, 20 + row * len(runs))
    return picture(size, Theme.LIGHT, "year", f"Years under the formula {formula.version}", told, draw)


def _draw_input(canvas: Canvas, axes: Axes, formula: Formula, name: Input, highest: float) -> None:
    """Draw a level over its whole range; a flow against a small and a large usual, over how many times it is that."""
    colours, weighing = canvas.colours, formula.weighings[name]
    if weighing.span_micro:
        least, most = (bound * MICRO for bound in SignalKind(name.value).bounds)
        seen = [least + (most - least) * n // 100 for n in range(101)]
        targets = [_target(formula, name, Observation("one", now, 0)) for now in seen]
        axes.plot([now / MICRO for now in seen], targets, color=colours.rate, linewidth=2)
        axes.set_xlabel("level" if name is Input.CONSCIOUSNESS else "percent", color=colours.quiet)
        return
    before = {Input.ACCELERATION: "hour before", Input.VOLUME: "usual day"}.get(name, "usual hour")
    unit = "USD" if name is Input.VOLUME else "events"
    for usual, style in ((20 * weighing.damping_micro, "-"), (weighing.damping_micro // 2, DASHED)):
        targets = [_target(formula, name, Observation("one", usual * n // 10, 0, usual)) for n in range(81)]
        label = f"against {ENGLISH.amount(usual)} {unit}"
        axes.plot([n / 10 for n in range(81)], targets, color=colours.rate, linewidth=2, linestyle=style, label=label)
    canvas.explain(axes, highest)
    axes.set_xlabel(f"times the {before}", color=colours.quiet)


def _target(formula: Formula, name: Input, observation: Observation) -> float:
    return next_rate(formula, None, {name: (observation,)}).target.nano_usd / NANO_USD


def _draw_fading(canvas: Canvas, axes: Axes, formula: Formula) -> None:
    """Draw the percent of a report that count over its age in hours; inputs that fade alike share a line."""
    alike: dict[tuple[int, int], list[str]] = {}
    for name, weighing in formula.weighings.items():
        alike.setdefault((weighing.fresh_seconds, weighing.stale_seconds), []).append(name_of(name).lower())
    for (fresh, stale), style in zip(sorted(alike), ("-", DASHED, "-.", ":", (0, (1, 4))), strict=False):
        label = ", ".join(alike[fresh, stale])
        hours = (0, fresh / 3600, stale / 3600)
        axes.plot(hours, (100, 100, 0), color=canvas.colours.rate, linewidth=2, linestyle=style, label=label)
    axes.set_ylim(0, 105 + 32 * len(alike))
    axes.set_yticks([0, 50, 100])
    axes.set_xlim(0)
    canvas.explain(axes, 100)
    axes.set_xlabel("hours old", color=canvas.colours.quiet)


def _draw_fastest(canvas: Canvas, axes: Axes, formula: Formula) -> None:
    """Draw the rate over hours from the base, while everything is at its best, and at its worst."""
    for name, sign, style in (("best", 1, "-"), ("worst", -1, DASHED)):
        inputs = {}
        for one, weighing in formula.weighings.items():
            flow = (_ENDLESS, 0) if sign > 0 else (0, _ENDLESS)
            now, usual = (sign * _ENDLESS, None) if weighing.span_micro else flow
            inputs[one] = (Observation("one", now, 0, usual),)
        rates = [Rate(formula.base_nano_usd)]
        target = next_rate(formula, None, inputs).target
        while abs(rates[-1].nano_usd - target.nano_usd) * 100 > target.nano_usd:
            rates.append(next_rate(formula, rates[-1], inputs).rate)
        hours = [n * formula.tick_seconds / 3600 for n in range(len(rates))]
        label = f"everything at its {name}: within 1 % of {target} after {hours[-1]:.0f} hours"
        usd = [rate.nano_usd / NANO_USD for rate in rates]
        axes.plot(hours, usd, color=canvas.colours.rate, linewidth=2, linestyle=style, label=label)
    axes.set_xlim(0)
    axes.set_ylim(0, formula.ceiling_nano_usd * 1.3 / NANO_USD)
    canvas.explain(axes, formula.ceiling_nano_usd / NANO_USD)
    axes.set_xlabel("hours", color=canvas.colours.quiet)
