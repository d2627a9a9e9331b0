import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.resources import files

import pytest

from cascade.charts.documentation import Run, input_curves, year
from cascade.charts.rate_charts import contributions, history
from cascade.charts.variants import Size, Theme
from cascade.domain.ducat_rate import Rate
from cascade.rate.parameters import Formula
from cascade.rate.rule import Tick, next_rate
from cascade.rate.signals import MICRO, Input, Inputs, Observation
from tests.support.concurrency import run_concurrently

FORMULA = Formula.from_toml((files("cascade") / "formula.toml").read_text())
AT = datetime(2026, 3, 5, 13, 40, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
POINTS = [
    (AT - timedelta(minutes=5 * ago), Rate(100_000_000 + 40_000 * (288 - ago)), Rate(112_345_678))
    for ago in range(288, -1, -1)
]
SEEN: Inputs = {
    Input.CONSCIOUSNESS: (Observation("venice", 6_240_000, 200),),
    Input.COHERENCE: (Observation("venice", 41_500_000, 10_000),),
    Input.RECOGNITION: tuple(Observation(f"s{now}", now * MICRO, 60, 48_300_000) for now in (62, 60, 70)),
    Input.ACCELERATION: (Observation("a", 62 * MICRO, 100_000, 70 * MICRO),),
}


def tick(inputs: Inputs) -> Tick:
    return Tick(AT, None, FORMULA.version, inputs, next_rate(FORMULA, Rate(104_900_000), inputs))


PICTURES: dict[str, Callable[[], bytes]] = {
    **{
        f"{name}-{size}-{theme}": lambda draw=draw, size=size, theme=theme: draw(size, theme)  # type: ignore[misc]
        for size in Size
        for theme in Theme
        for name, draw in (
            ("history", lambda size, theme: history(POINTS, FORMULA, size, theme)),
            ("contributions", lambda size, theme: contributions(tick(SEEN), FORMULA, size, theme)),
            ("nothing-known", lambda size, theme: contributions(tick({}), FORMULA, size, theme)),
        )
    },
    "curves": lambda: input_curves(FORMULA),
    "year": lambda: year([Run("Fish & <chips>", POINTS, "A note."), Run("Two", POINTS, "Another.")], FORMULA),
}
every_picture = pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)


def parsed(picture: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(picture)  # noqa: S314 - it is our own


def texts(picture: bytes) -> list[str]:
    """What a reader of the picture can read, from top to bottom of its source."""
    return [element.text or "" for element in parsed(picture).iter(f"{SVG}text")]


@every_picture
def test_it_tells_a_screen_reader_what_it_shows(draw: Callable[[], bytes]) -> None:
    root = parsed(draw())
    title, description = list(root)[:2]
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert title.text
    assert description.text
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


@every_picture
def test_it_stands_alone(draw: Callable[[], bytes]) -> None:
    text = draw().decode()
    namespaces = r'xmlns(:\w+)?="http://www\.w3\.org/[^"]*"'
    assert "http" not in re.sub(namespaces, "", text)
    assert "<!DOCTYPE" not in text
    assert set(re.findall(r'href="(.)', text)) <= {"#"}
    assert "<image" not in text


@every_picture
def test_text_is_text_in_the_readers_own_font_and_large_enough(draw: Callable[[], bytes]) -> None:
    found = list(parsed(draw()).iter(f"{SVG}text"))
    assert len(found) > 5
    for element in found:
        style = element.get("style") or ""
        assert "font-family: system-ui, sans-serif" in style
        size = re.search(r"font-size: ([\d.]+)px", style)
        assert size is not None
        assert Decimal(size[1]) >= 11


@every_picture
def test_the_same_data_gives_the_same_bytes(draw: Callable[[], bytes]) -> None:
    assert draw() == draw()


@pytest.mark.parametrize(("size", "width"), [(Size.NARROW, 340), (Size.WIDE, 760)])
def test_pixels_of_the_page_are_the_units(size: Size, width: int) -> None:
    root = parsed(history(POINTS, FORMULA, size, Theme.LIGHT))
    assert root.get("width") == str(width)
    assert root.get("viewBox") == f"0 0 {width} {root.get('height')}"


def test_themes_differ_in_colours_alone() -> None:
    light, dark = (history(POINTS, FORMULA, Size.NARROW, theme) for theme in Theme)
    assert b"#fffdf9" in light
    assert b"#1c2027" in dark
    assert texts(light) == texts(dark)


def test_a_history_names_rate_target_and_base() -> None:
    read = texts(history(POINTS, FORMULA, Size.WIDE, Theme.LIGHT))
    assert {"rate", "0.1115", "target", "0.1123", "base 0.10", "USD per ducat", "times in UTC"} <= set(read)
    assert not any("floor" in text or "ceiling" in text for text in read)  # out of view


def test_a_history_tells_times_in_utc() -> None:
    read = texts(history(POINTS, FORMULA, Size.NARROW, Theme.LIGHT))
    assert [text for text in read if re.fullmatch(r"\d\d:\d\d|\d+ [A-Z]\w\w", text)] == [
        "18:00", "5 Mar", "06:00", "12:00",
    ]  # fmt: skip


@pytest.mark.parametrize("size", Size)
def test_a_history_of_one_point_or_of_years_can_be_drawn(size: Size) -> None:
    assert "0.1115" in texts(history(POINTS[-1:], FORMULA, size, Theme.LIGHT))
    years = [(AT + timedelta(days=n), Rate(50_000_000 + n % 7), Rate(500_000_000)) for n in range(4000)]
    read = texts(history(years, FORMULA, size, Theme.LIGHT))
    assert {"floor 0.05", "base 0.10", "ceiling 0.50"} <= set(read)


def test_a_spike_between_many_points_is_kept() -> None:
    calm = [(AT + timedelta(minutes=5 * n), Rate(100_000_000), Rate(100_000_000)) for n in range(50_000)]
    spiked = [*calm]
    spiked[31_111] = (calm[31_111][0], Rate(233_000_000), Rate(100_000_000))
    reach = [
        {y for _, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", year([Run("", points, "")], FORMULA).decode())}
        for points in (calm, spiked)
    ]
    assert len(reach[1] - reach[0]) == 1


def test_a_year_stays_small() -> None:
    moments = (AT + timedelta(minutes=5 * n) for n in range(105_120))
    wild = [(at, Rate(50_000_000 + n * 123_456_789 % 450_000_000), Rate(60_000_000)) for n, at in enumerate(moments)]
    assert len(year([Run(str(n), wild, "") for n in range(5)], FORMULA)) < 600_000


def test_contributions_say_what_was_seen_and_what_it_adds() -> None:
    read = texts(contributions(tick(SEEN), FORMULA, Size.NARROW, Theme.LIGHT))
    assert {"base 0.1000", "Target", "The rate is 0.1054"} <= set(read)
    # (0.3 x 0.248 - 0.3 x 0.17 x 11,600 / 20,700 + 0.15 x 13.7 / 130.3) x 0.40 = 0.02976 - 0.01143 + 0.00631; sums of
    # these are rounded, and not each of them, so that what is shown adds up.
    assert read[read.index("Consciousness") + 1 :][:3] == ["6.24, neutral is 5", "+0.0298", "fresh"]
    assert read[read.index("Coherence") + 1 :][:3] == ["41.5 %, neutral is 50 %", "\N{MINUS SIGN}0.0115", "fading"]
    assert read[read.index("Recognition") + 1 :][:3] == ["62 an hour, usually 48.3; 3 sources", "+0.0063", "fresh"]
    assert read[read.index("Acceleration") + 1 :][:3] == ["62 this hour, 70 before", "0", "stale"]
    assert read[read.index("Sales") + 1 :][:3] == ["nothing known", "0", "missing"]
    assert read[read.index("Target") + 2] == "0.1246"


def test_contributions_add_up_as_they_are_shown() -> None:
    for level in range(0, 10 * MICRO, 777_777):
        seen = {**SEEN, Input.CONSCIOUSNESS: (Observation("venice", level, 0),)}
        read = texts(contributions(tick(seen), FORMULA, Size.WIDE, Theme.LIGHT))
        signed = (text.replace("\N{MINUS SIGN}", "-") for text in read)
        parts = [Decimal(text) for text in signed if re.fullmatch(r"[+-]0\.\d{4}", text)]
        assert parts
        assert Decimal("0.1000") + sum(parts) == Decimal(read[read.index("Target") + 2])


def test_the_documentation_shows_every_input() -> None:
    read = " ".join(texts(input_curves(FORMULA)))
    for name in ("Consciousness, weight 30 %", "Coherence, weight 30 %", "Recognition, weight 15 %",
                 "Acceleration, weight 10 %", "Sales, weight 15 %"):  # fmt: skip
        assert name in read
    assert "within 1 % of 0.50 after 28 hours" in read
    assert "within 1 % of 0.05 after 12 hours" in read


def test_names_are_shown_as_they_are() -> None:
    picture = PICTURES["year"]()
    assert "Fish & <chips>" in texts(picture)
    assert "Fish & <chips>: A note." in (parsed(picture)[1].text or "")


def test_many_threads_may_draw_at_once() -> None:
    draws = [PICTURES[f"{name}-narrow-{theme}"] for name in ("history", "contributions") for theme in Theme]
    alone = [draw() for draw in draws]
    assert run_concurrently(8, lambda n: draws[n % 4]()) == alone * 2
