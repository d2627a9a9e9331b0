"""Pictures for the pages that citizens see: how the rate went, and why it goes where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from matplotlib.axes import Axes

from cascade.charts.canvas import DASHED, Canvas, Palette, draw_course, marks, moment, picture
from cascade.charts.chart_locale import ENGLISH, ChartLocale
from cascade.charts.prices import Prices
from cascade.charts.variants import Size, Theme
from cascade.domain.ducat_rate import NANO_USD, Rate
from cascade.rate.parameters import Formula
from cascade.rate.rule import Contribution, InputState, Tick, counting
from cascade.rate.signals import HOUR, Input, Inputs


@dataclass(frozen=True)
class _Frame:
    """The layout in pixels: the room beside a history's plot, and the rows and columns of contributions."""

    width: int
    text: int
    small: int
    history_height: int
    right: int
    moments: int
    points: int
    contributions_height: int
    row: int
    bar: int
    bars_from: int
    bars_to: int


_FRAMES = {
    Size.NARROW: _Frame(340, 14, 13, 270, 92, 4, 600, 282, 40, 12, 128, 256),
    Size.WIDE: _Frame(760, 15, 14, 360, 100, 8, 1400, 336, 49, 18, 310, 660),
}
_TOP, _BOTTOM, _MARGIN = 34, 28, 10
_DAY = 86_400
_STEPS = (300, 600, 900, 1800, *(hours * 3600 for hours in (1, 2, 3, 4, 6, 12)),
          *(days * _DAY for days in (1, 2, 4, 7, 14, 28, 56, 91, 182, 365, 730, 3650)))  # fmt: skip


def name_of(name: Input, speech: ChartLocale = ENGLISH) -> str:
    """Return an input for people."""
    return {
        Input.CONSCIOUSNESS: speech.say("Consciousness"),
        Input.COHERENCE: speech.say("Coherence"),
        Input.RECOGNITION: speech.say("Recognition"),
        Input.ACCELERATION: speech.say("Acceleration"),
        Input.VOLUME: speech.say("Sales"),
    }[name]


def history(
    points: Sequence[tuple[datetime, Rate, Rate]],
    formula: Formula,
    size: Size,
    theme: Theme,
    speech: ChartLocale = ENGLISH,
) -> bytes:
    """Return the rate as a step line and its target as a dashed one, in USD per ducat over UTC, as SVG.

    Args:
        points: a moment, UTC, the rate from then on, and its target; oldest first, at least one.
        formula: its floor, base and ceiling are marked where they are in view.
        size, theme: where it is shown.
        speech: who reads it.
    """
    frame, show, say = _FRAMES[size], Prices(formula, speech.decimal_mark), speech.say
    rates = [(at, rate.nano_usd) for at, rate, _ in points]
    targets = [(at, target.nano_usd) for at, _, target in points]
    amounts = [amount for _, amount in (*rates, *targets)]
    room = max((max(amounts) - min(amounts)) // 10, max(amounts) // 100)
    view = (min(amounts) - room, max(amounts) + room)
    (first, _), (last, now) = rates[0], rates[-1]

    def draw(canvas: Canvas) -> None:
        colours = canvas.colours
        left = 8 + frame.small * 2 * len(show(view[1])) // 3
        width, height = frame.width - left - frame.right, frame.history_height - _TOP - _BOTTOM
        axes = canvas.plot(left, _TOP, width, height, speech.decimal_mark)
        _tell_time(axes, first if first < last else last - HOUR, last, frame.moments, speech)
        axes.set_ylim(view[0] / NANO_USD, view[1] / NANO_USD)
        in_view = [(name, amount) for name, amount in marks(formula, speech) if view[0] <= amount <= view[1]]
        for _, amount in in_view:
            canvas.mark(axes, amount)
        draw_course(axes, targets, frame.points, color=colours.gold, linestyle=DASHED, linewidth=1.4)
        draw_course(axes, rates, frame.points, color=colours.rate, linewidth=2.2, drawstyle="steps-post")
        hollow = {"color": colours.gold, "markerfacecolor": colours.card}
        draw_course(axes, targets[-1:], 1, **hollow, marker="D", markersize=5, clip_on=False)
        draw_course(axes, rates[-1:], 1, color=colours.rate, marker="o", markersize=6, clip_on=False)
        newest = [
            _Label(now, say("rate"), show(now), colours.rate),
            _Label(targets[-1][1], say("target"), show(targets[-1][1]), colours.gold),
        ]
        _label_right(canvas, frame, [*newest, *_mark_labels(in_view, show, colours)], view)
        canvas.write(_MARGIN, 18, say("USD per ducat"), frame.small)
        canvas.write(frame.width - _MARGIN, 18, say("times in UTC"), frame.small, ha="right")

    told = _course_in_words(rates, targets[-1][1], show, speech)
    return picture((frame.width, frame.history_height), theme, "history", say("The rate of the ducat"), told, draw)


def _mark_labels(marked: Iterable[tuple[str, int]], show: Prices, colours: Palette) -> Iterator[_Label]:
    for name, amount in marked:
        yield _Label(amount, f"{name} {min(show.exactly(amount), show(amount), key=len)}", None, colours.quiet)


def _course_in_words(rates: Sequence[tuple[datetime, int]], target: int, show: Prices, speech: ChartLocale) -> str:
    return speech.say(
        "From %(since)s to %(until)s the rate was from %(lowest)s to %(highest)s USD per ducat. It is %(now)s now; its "
        "target is %(target)s.",
        since=moment(rates[0][0]),
        until=moment(rates[-1][0]),
        lowest=show(min(rate for _, rate in rates)),
        highest=show(max(rate for _, rate in rates)),
        now=show(rates[-1][1]),
        target=show(target),
    )


def contributions(tick: Tick, formula: Formula, size: Size, theme: Theme, speech: ChartLocale = ENGLISH) -> bytes:
    """Return why the rate goes where it goes: what each input adds to the base, in USD per ducat, the strongest
    first; as SVG.

    Args:
        tick: what was seen, and what was made of it.
        formula: the one that made it.
        size, theme: where it is shown.
        speech: who reads it.
    """
    frame, show, say = _FRAMES[size], Prices(formula, speech.decimal_mark), speech.say
    base, target = formula.base_nano_usd, tick.move.target.nano_usd
    parts = sorted(tick.move.contributions, key=lambda part: -abs(part.nano_usd))
    shown = show.parts(base, [part.nano_usd for part in parts])
    rows = [
        (
            part.nano_usd,
            name_of(part.input, speech),
            _seen(part, tick.inputs, formula, speech),
            amount,
            _state(part.state, speech),
        )
        for part, amount in zip(parts, shown, strict=True)
    ]
    rate = say("The rate is %(rate)s", rate=show(tick.rate.nano_usd))
    total = (target - base, say("Target"), rate, show(target), "")

    def draw(canvas: Canvas) -> None:
        amounts = [0, *(row[0] for row in (*rows, total))]
        scale = (frame.bars_to - frame.bars_from) / max(max(amounts) - min(amounts), base // 50, 1)
        start = frame.bars_from - min(amounts) * scale
        unit = (_MARGIN, "left") if start > frame.width // 2 else (frame.width - _MARGIN, "right")
        canvas.write(unit[0], 18, say("USD per ducat"), frame.small, ha=unit[1])
        canvas.write(start, 18, f"{say('base')} {show(base)}", frame.small, ha="center")
        rule_at = _TOP + len(rows) * frame.row
        canvas.rule((_MARGIN, rule_at), (frame.width - _MARGIN, rule_at), canvas.colours.line)
        for number, (nano_usd, *texts) in enumerate((*rows, total)):
            top = _TOP + number * frame.row + (7 if number == len(rows) else 0)
            if nano_usd:
                canvas.bar(start, start + nano_usd * scale, top + 2, frame.bar)
            canvas.rule((start, top - 1), (start, top + frame.bar + 5), canvas.colours.quiet)
            _write_row(canvas, frame, top, texts)

    told = "; ".join(f"{name} {amount} ({seen}; {state})" for _, name, seen, amount, state in rows)
    told = say(
        "From the base of %(base)s USD per ducat: %(parts)s. The target is %(target)s.",
        base=show(base),
        parts=told,
        target=show(target),
    )
    title = say("Why the rate moves, %(moment)s", moment=moment(tick.at))
    return picture((frame.width, frame.contributions_height), theme, "contributions", title, f"{told} {rate}.", draw)


@dataclass(frozen=True)
class _Label:
    """A label beside a plot at an amount: one line, or a name above a number."""

    nano_usd: int
    name: str
    number: str | None
    colour: str


def _label_right(canvas: Canvas, frame: _Frame, labels: Iterable[_Label], view: tuple[int, int]) -> None:
    """Write labels beside what they name, moved apart where they would meet, each with a line to where it belongs."""
    bottom, edge = frame.history_height - _BOTTOM, frame.width - frame.right
    scale = (bottom - _TOP) / (view[1] - view[0])
    labels = sorted(labels, key=lambda label: -label.nano_usd)
    heights = [frame.text + frame.small + 6 if label.number else frame.small + 5 for label in labels]
    wanted = [_TOP + (view[1] - label.nano_usd) * scale for label in labels]
    for label, at, y in zip(labels, wanted, _apart(wanted, heights, (_TOP - 10, bottom + 10)), strict=True):
        canvas.rule((edge + 5, at), (edge + 12, y), label.colour)
        if label.number is None:
            canvas.write(edge + 15, y + frame.small / 3, label.name, frame.small - 1)
        else:
            canvas.write(edge + 15, y - 3, label.name, frame.small)
            canvas.write(edge + 15, y + frame.text - 2, label.number, frame.text, canvas.colours.ink, weight="bold")


def _apart(wanted: Sequence[float], heights: Sequence[float], bounds: tuple[float, float]) -> list[float]:
    """Return middles near the wanted ones, in the same order from top to bottom, where nothing overlaps."""
    placed: list[float] = []
    free = bounds[0]
    for middle, height in zip(wanted, heights, strict=True):
        placed.append(max(middle, free + height / 2))
        free = placed[-1] + height / 2
    free = bounds[1]
    for n in reversed(range(len(placed))):
        placed[n] = min(placed[n], free - heights[n] / 2)
        free = placed[n] - heights[n] / 2
    return placed


def _write_row(canvas: Canvas, frame: _Frame, top: int, texts: Sequence[str]) -> None:
    """Write a name over what was seen, and at the other end an amount over a state."""
    name, seen, amount, state = texts
    upper, lower, end = top + frame.text - 1, top + frame.text + frame.small + 2, frame.width - _MARGIN
    canvas.write(_MARGIN, upper, name, frame.text, canvas.colours.ink)
    canvas.write(_MARGIN, lower, seen, frame.small)
    canvas.write(end, upper, amount, frame.text, canvas.colours.ink, ha="right", weight="bold")
    canvas.write(end, lower, state, frame.small, ha="right")


def _state(state: InputState, speech: ChartLocale) -> str:
    return {
        InputState.FRESH: speech.say("fresh"),
        InputState.FADING: speech.say("fading"),
        InputState.STALE: speech.say("stale"),
        InputState.MISSING: speech.say("missing"),
    }[state]


def _seen(part: Contribution, inputs: Inputs, formula: Formula, speech: ChartLocale) -> str:
    """Return what was seen of an input, in plain words: of several sources that count, the middle one."""
    weighing, say = formula.weighings[part.input], speech.say
    counted = counting(weighing, inputs.get(part.input, ()))
    if not counted:
        return say("nothing known")
    middle = counted[(len(counted) - 1) // 2]
    micros = {"now": middle.now_micro, "usual": middle.usual_micro or 0, "neutral": weighing.neutral_micro}
    known = {name: speech.amount(micro) for name, micro in micros.items()}
    said = {
        Input.CONSCIOUSNESS: say("%(now)s, neutral is %(neutral)s", **known),
        Input.COHERENCE: say("%(now)s %%, neutral is %(neutral)s %%", **known),
        Input.RECOGNITION: say("%(now)s an hour, usually %(usual)s", **known),
        Input.ACCELERATION: say("%(now)s this hour, %(usual)s before", **known),
        Input.VOLUME: say("%(now)s USD a day, usually %(usual)s", **known),
    }[part.input]
    return say("%(seen)s; %(count)s sources", seen=said, count=len(counted)) if len(counted) > 1 else said


def _tell_time(axes: Axes, first: datetime, last: datetime, most: int, speech: ChartLocale) -> None:
    """Write the axis from a moment to a moment, told at whole hours or days, UTC."""
    start, end = int(first.timestamp()), int(last.timestamp())
    fits = (step for step in _STEPS if (end - start) // step <= (most if step < _DAY else most - 1))
    step = next(fits, _STEPS[-1])
    told = range(-(-start // step) * step, end + 1, step)
    axes.set_xlim(start, end)
    axes.set_xticks(told, [speech.clock(datetime.fromtimestamp(seconds, UTC), step) for seconds in told])
