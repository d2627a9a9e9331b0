"""The canvas of every picture. Places are CSS pixels from the upper left corner; amounts stay whole until here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from xml.sax.saxutils import escape

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from matplotlib.transforms import IdentityTransform

from cascade.charts.chart_locale import ENGLISH, ChartLocale
from cascade.charts.variants import Theme
from cascade.domain.ducat_rate import NANO_USD
from cascade.rate.parameters import Formula

Course = Sequence[tuple[datetime, int]]
"""Rates over time: moments, UTC, and billionths of a US dollar per ducat; oldest first."""
DOTTED: Any = (0, (1, 3))
DASHED: Any = (0, (5, 3))

_INCH = 72
"""Pixels, so that sizes of text are pixels too."""
_FONT = "DejaVu Sans"
"""Comes with Matplotlib and measures text; readers see their own system's font, which is narrower."""
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cascade",
    "font.family": ["sans-serif"],
    "font.sans-serif": [_FONT],
    "font.size": 13,
}
_ORIGIN = dict.fromkeys(("Date", "Creator", "Format", "Type"))
# Matplotlib keeps its settings and its caches for the whole process.
_drawing = threading.Lock()


@dataclass(frozen=True)
class Palette:
    """Colours of the payment page. What must be told apart differs in brightness, for readers who see no hue."""

    card: str
    ink: str
    quiet: str
    line: str
    rate: str
    gold: str
    down: str
    down_edge: str


PALETTES = {
    Theme.LIGHT: Palette("#fffdf9", "#231d1a", "#6a5f57", "#ddd2c2", "#8c1c24", "#a67c1e", "#8c1c24", "#8c1c24"),
    Theme.DARK: Palette("#1c2027", "#efe8dc", "#aaa196", "#363b44", "#efe8dc", "#d3a94a", "#a8323a", "#ff9a94"),
}


class Canvas:
    """A picture while it is drawn."""

    def __init__(self, figure: Figure, colours: Palette) -> None:
        self.colours = colours
        self._figure = figure
        self._width, self._height = figure.bbox.width, figure.bbox.height

    def write(self, x: float, y: float, text: str, size: int, colour: str | None = None, **style: Any) -> None:
        """Write one line of text on a base line; quiet unless a colour is given."""
        colour = colour or self.colours.quiet
        place = (x, self._height - y)
        self._figure.text(*place, text, size=size, color=colour, transform=IdentityTransform(), **style)

    def rule(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        """Draw a thin straight line."""
        xs, ys = (start[0], end[0]), (self._height - start[1], self._height - end[1])
        self._figure.add_artist(Line2D(xs, ys, color=colour, linewidth=1, transform=IdentityTransform()))

    def bar(self, start: float, end: float, top: float, height: float) -> None:
        """Draw a bar from a start to the right, filled; or to the left, in another colour with an edge."""
        fill, edge = self.colours.gold, self.colours.gold
        if end < start:
            fill, edge = self.colours.down, self.colours.down_edge
        corner = (min(start, end), self._height - top - height)
        bar = Rectangle(corner, abs(end - start), height, facecolor=fill, edgecolor=edge, transform=IdentityTransform())
        self._figure.add_artist(bar)

    def plot(self, left: float, top: float, width: float, height: float, decimal_mark: str = ".") -> Axes:
        """Return axes for numbers, with lines across and without a frame."""
        bottom = self._height - top - height
        place = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        axes = self._figure.add_axes(place, facecolor="none")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(self.colours.quiet)
        axes.grid(axis="y", color=self.colours.line, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=self.colours.quiet, length=3)
        axes.tick_params(axis="y", length=0)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], min_n_ticks=3))
        axes.yaxis.set_major_formatter(_Numbers(decimal_mark))
        return axes

    def explain(self, axes: Axes, highest: float) -> None:
        """Name the lines of a plot by their style, in its upper left corner, above the highest number that matters."""
        low, _ = axes.get_ylim()
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= highest])
        legend = axes.legend(loc="upper left", labelcolor=self.colours.ink, borderpad=0, borderaxespad=0, framealpha=1)
        legend.get_frame().set(facecolor=self.colours.card, edgecolor="none")

    def mark(self, axes: Axes, nano_usd: int) -> None:
        """Draw a dotted line across a plot at a rate."""
        axes.axhline(nano_usd / NANO_USD, color=self.colours.quiet, linewidth=1.2, linestyle=DOTTED)


class _Numbers(ScalarFormatter):
    """Numbers along an axis. Matplotlib knows only the decimal mark of its process."""

    def __init__(self, decimal_mark: str) -> None:
        super().__init__(useOffset=False)
        self._decimal_mark = decimal_mark

    def __call__(self, x: float, pos: int | None = None) -> str:
        return str(super().__call__(x, pos)).replace(".", self._decimal_mark)


def draw_course(axes: Axes, course: Course, most_points: int, **style: Any) -> None:
    """Draw a line over time through at most so many points: the ends, and the least and most of each stretch in
    between."""
    if len(course) > most_points:
        stretches = most_points // 2 - 1
        kept = {0, len(course) - 1}
        for n in range(stretches):
            stretch = range(len(course) * n // stretches, len(course) * (n + 1) // stretches)
            kept |= {min(stretch, key=lambda i: course[i][1]), max(stretch, key=lambda i: course[i][1])}
        course = [course[i] for i in sorted(kept)]
    axes.plot([at.timestamp() for at, _ in course], [nano_usd / NANO_USD for _, nano_usd in course], **style)


def marks(formula: Formula, speech: ChartLocale = ENGLISH) -> tuple[tuple[str, int], ...]:
    """Return the rates that a formula names."""
    say = speech.say
    return (
        (say("floor"), formula.floor_nano_usd),
        (say("base"), formula.base_nano_usd),
        (say("ceiling"), formula.ceiling_nano_usd),
    )


def moment(at: datetime) -> str:
    """Return a moment for people, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def picture(
    size: tuple[int, int], theme: Theme, name: str, title: str, description: str, draw: Callable[[Canvas], None]
) -> bytes:
    """Draw a picture, as SVG that names nothing outside of itself and tells a screen reader what it shows.

    Args:
        size: width and height in CSS pixels.
        theme: what it stands on.
        name: what its ids begin with, so that two pictures may be in one page.
        title, description: what a screen reader says.
        draw: draws it, while no other picture is drawn.
    """
    out = BytesIO()
    width, height = size
    colours = PALETTES[theme]
    with _drawing, rc_context(_SETTINGS):
        figure = Figure(figsize=(width / _INCH, height / _INCH), dpi=_INCH, facecolor=colours.card)
        draw(Canvas(figure, colours))
        figure.savefig(out, format="svg", metadata=_ORIGIN)
    text = out.getvalue().decode()
    text = text[text.index("<svg") :].replace(f"'{_FONT}', sans-serif", "system-ui, sans-serif")
    opening, rest = text.split(">", 1)
    opening = re.sub(r' width="[^"]*" height="[^"]*"', f' width="{width}" height="{height}"', opening)
    told = (
        f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-description">{escape(description)}</desc>'
    )
    opening = f'{opening} role="img" aria-labelledby="{name}-title {name}-description">\n{told}'
    return (opening + rest).encode()
