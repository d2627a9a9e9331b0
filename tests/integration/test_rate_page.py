"""The page of the rate and its pictures, over the real application and a real database."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from html import unescape
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from api.pages.rate_page import MOST_PICTURES, MOST_POINTS, Album, Span
from cascade.charts import rate_charts
from cascade.db.database import Database
from cascade.domain.ducat_rate import Rate
from cascade.rate import tick_store
from cascade.rate.parameters import Formula
from cascade.rate.rule import Tick, next_rate
from cascade.rate.signals import MICRO, Input, Inputs, Observation
from tests.support.concurrency import run_concurrently

FORMULA = Formula.from_toml((files("cascade") / "formula.toml").read_text())
MINUS = "\N{MINUS SIGN}"
HISTORY, WHY = "/rate/history.svg?size=wide&theme=light", "/rate/why.svg?size=wide&theme=light"
SEEN = {
    Input.CONSCIOUSNESS: (
        Observation("<b>gazzetta</b>", 6_200_000, 120),
        Observation("rialto", 6_400_000, 130),
        Observation("venice", 6_100_000, 61),
    ),
    Input.COHERENCE: (Observation("venice", 40_000_000, 4 * 3600),),
    Input.RECOGNITION: (Observation("rialto", 30 * MICRO, 7 * 3600, 1_234_500_000),),
    Input.VOLUME: (Observation("ledger", 1_500_500_000, 0, 980 * MICRO),),
}


@pytest.fixture
def client(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("CASCADE_READS_PER_MINUTE", "100000")
    with TestClient(create_app(), raise_server_exceptions=False) as client:
        yield client


Writer = Callable[..., list[Tick]]


@pytest.fixture
def write(database: Database) -> Writer:
    """Adds ticks to a history that ends about now."""

    def write(
        count: int,
        *,
        seen: Inputs = SEEN,
        ago: timedelta = timedelta(0),
        formula: Formula = FORMULA,
        follows: Tick | None = None,
    ) -> list[Tick]:
        ticks = [] if follows is None else [follows]
        newest = int((datetime.now(UTC) - ago).timestamp()) // formula.tick_seconds
        with database.transaction() as connection:
            tick_store.remember(connection, formula)
            for n in range(newest - count + 1, newest + 1):
                last = ticks[-1] if ticks else None
                move = next_rate(formula, last.rate if last else None, seen)
                at = datetime.fromtimestamp(n * formula.tick_seconds, UTC)
                ticks.append(Tick(at, (last.at, last.rate) if last else None, formula.version, seen, move))
                assert tick_store.insert(connection, ticks[-1])
        return ticks

    return write


class Wrapper:
    """Stands before a function that draws, and remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.may_draw = threading.Event()
        self.may_draw.set()
        self._draw = getattr(rate_charts, name)
        monkeypatch.setattr(rate_charts, name, self)

    def __call__(self, *arguments: Any) -> bytes:
        self.calls.append(arguments)
        assert self.may_draw.wait(30)
        drawn: bytes = self._draw(*arguments)
        return drawn


def text_of(page: httpx.Response) -> str:
    """What the page says, without its markup; pictures say their alternative text."""
    assert page.status_code == 200
    shown = re.sub(r'<img [^>]*alt="([^"]*)">', r"\1", page.text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def is_problem(answer: httpx.Response, status: int, words: str, field: str | None = None) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert words in answer.json()["detail"]


def test_before_the_first_tick_there_is_a_sentence_and_no_picture(client: TestClient) -> None:
    page = client.get("/rate")
    text = text_of(page)
    assert "0.1000 US dollars for one ducat One US dollar buys 10 ducats." in text
    assert "The rate has not been set for the first time yet." in text
    assert "never sold back" in text
    assert "<picture" not in page.text
    for path in (HISTORY, WHY):
        is_problem(client.get(path), 404, "before the rate has been set for the first time")


def test_the_page_is_complete_without_a_picture(client: TestClient, write: Writer) -> None:
    tick = write(300)[-1]
    text = text_of(client.get("/rate"))
    assert f"Exactly {tick.rate}." in text
    assert "hardly changed within the hour, up 22.5 % within the day. It is drawn to" in text
    assert "Ducats for 1,500.50 USD were sold in the 24 hours before" in text
    assert "so a fair amount of trade stands behind it: confidence 60 %." in text
    assert "Nothing is known of acceleration, or not for long enough to compare: that counts as neutral." in text
    assert "What is known of recognition is too old: that counts as neutral." in text
    for row in (
        "How awake the city is, from 0 to 10. 6.2 neutral is 5; the middle one of 3 sources Fresh, 1 minute old. +",
        "How well its TESSERE network holds together. 40 % neutral is 50 % Fading, 4 hours old: counts less. ~",
        "against the usual hour. 30 in an hour usually 1,234.5 Too old, 7 hours: counts as neutral. 0 ",
        "Events of recognition in the last hour, against the hour before. nothing Missing: counts as neutral. 0 ",
        "Sales Ducats sold here in 24 hours, against the usual day. 1,500.50 USD usually 980 USD From our own books. +",
    ):
        assert row.replace("~", MINUS) in text
    assert "Every 5 minutes the rate goes 8 % of the way to it, and by no more than 0.5 % at once." in text


def test_the_page_and_its_pictures_speak_the_readers_language(client: TestClient, write: Writer) -> None:
    tick = write(300)[-1]
    page = client.get("/rate?range=week", headers={"accept-language": "it"})
    assert '<html lang="it"' in page.text
    text = text_of(page)
    assert f"Esattamente {str(tick.rate).replace('.', ',')}." in text
    assert "quasi invariato nell'ultima ora, +22,5 % nell'ultimo giorno. Tende a" in text
    assert "Con un dollaro USA si comprano 7," in text
    assert "venduti ducati per 1.500,50 USD, perciò dietro ci sono parecchi scambi: attendibilità 60 %." in text
    assert "Quello che si sa di riconoscimento è troppo vecchio: vale come neutro." in text
    assert (
        "Quanto è desta la città, da 0 a 10. 6,2 neutro è 5; quello di mezzo tra 3 fonti Recente, di 1 minuto fa. +0,0"
        in text
    )
    assert "Ogni 5 minuti il cambio percorre una parte della distanza (8 %), e mai più di 0,5 % in una volta." in text
    for english in ("rate", "target", "ducat ", "neutral", "hour", "old", "Missing"):
        assert not re.search(rf"\b{english}\b", text), english
    named = {unescape(path) for path in re.findall(r'(?:srcset|src)="(/rate/[^"]*)"', page.text)}
    assert len(named) == 8
    for path in named:
        drawn = client.get(path, headers={"accept-language": "en"}).text
        assert ">USD al ducato<" in drawn
        assert not re.search(r">[^<]*\b(rate|target|ducat|UTC time|neutral|fresh|missing|nothing)\b[^<]*<", drawn)
        assert not re.search(r">[^<]*\b0\.\d[^<]*</text>", drawn)
    assert ">USD per ducat<" in client.get(WHY, headers={"accept-language": "it"}).text


def test_what_the_inputs_add_sums_to_the_target(client: TestClient, write: Writer) -> None:
    """As they are shown: 0.00135, 0.00125 and 0.00082 would not, each rounded by itself."""
    levels = {Input.CONSCIOUSNESS: 5_056_250, Input.COHERENCE: 50_520_833}
    sales = Observation("ledger", 1_041_500_000, 0, 1_000 * MICRO)
    write(1, seen={name: (Observation("one", level, 0),) for name, level in levels.items()} | {Input.VOLUME: (sales,)})
    text = text_of(client.get("/rate"))
    table = text[text.index("Base What") : text.index("How it moves")].replace(MINUS, "-")
    base, *added, target = re.findall(r"[+-]?\d\.\d{4}", table)
    units = [int(one.replace(".", "")) for one in (base, *added, target)]
    assert (base, len(added)) == ("0.1000", 3)
    assert sum(units[:-1]) == units[-1]


def test_sales_are_told_before_they_can_be_compared(client: TestClient, write: Writer) -> None:
    ticks = write(1, ago=timedelta(minutes=10), seen={Input.VOLUME: (Observation("ledger", 0, 0),)})
    text = text_of(client.get("/rate"))
    assert "No ducats were sold in the 24 hours before" in text
    assert "Nothing is known of consciousness, coherence, recognition, acceleration, and sales, or" in text
    write(1, seen={Input.VOLUME: (Observation("ledger", 500 * MICRO, 0),)}, follows=ticks[0])
    text = text_of(client.get("/rate"))
    assert "Ducats for 500 USD were sold in the 24 hours before" in text
    assert "so a fair amount of trade stands behind it: confidence 33 %." in text


def test_names_of_reporters_are_not_shown(client: TestClient, write: Writer) -> None:
    write(1)
    page = client.get("/rate").text
    assert "gazzetta" not in page
    assert "rialto" not in page


def test_a_tick_that_does_not_come_is_said(client: TestClient, write: Writer) -> None:
    late = "The rate should have moved 2 hours ago and has not."
    ticks = write(1, ago=timedelta(hours=2, minutes=20))
    assert late in text_of(client.get("/rate"))
    write(1, follows=ticks[-1])
    assert "should have moved" not in text_of(client.get("/rate"))


def test_a_tick_is_explained_by_the_formula_that_made_it(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = {**FORMULA.data["usd_per_ducat"], "base": "0.09"}
    older = Formula.from_data({**FORMULA.data, "version": "older", "usd_per_ducat": prices})
    write(1, formula=older)
    drawing = Wrapper(monkeypatch, "contributions")
    assert "What a ducat costs when everything is neutral. 0.09000" in text_of(client.get("/rate"))
    assert client.get(WHY).status_code == 200
    assert drawing.calls[0][1] == older


@pytest.mark.parametrize("size", ["narrow", "wide"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_picture_that_the_page_names_is_there(client: TestClient, write: Writer, size: str, theme: str) -> None:
    write(20)
    for span in ("day", "week", "month"):
        named = re.findall(r'(?:srcset|src)="([^"]*)"', client.get(f"/rate?range={span}").text)
        wanted = [unescape(path) for path in named if f"size={size}&amp;theme={theme}" in path]
        assert [path.partition("?")[0] for path in wanted] == ["/rate/history.svg", "/rate/why.svg"]
        assert f"range={span}&tick=" in wanted[0]
        for path in wanted:
            answer = client.get(path)
            assert answer.headers["content-type"] == "image/svg+xml"
            assert answer.headers["cache-control"] == "public, max-age=60"
            assert answer.headers["content-security-policy"].startswith(
                "default-src 'none'; style-src 'unsafe-inline';"
            )
            drawn = ElementTree.fromstring(answer.content)  # noqa: S314 - our own
            assert drawn.tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/rate?range=year", "range"),
        ("/rate/history.svg?size=wide&theme=light&range=%00", "range"),
        ("/rate/history.svg?size=huge&theme=light", "size"),
        ("/rate/history.svg?size=wide&theme=sepia", "theme"),
        ("/rate/why.svg?theme=light", "size"),
        ("/rate/why.svg?size=wide", "theme"),
        ("/rate/why.svg?size=wide&theme=light&lang=xx", "lang"),
    ],
)
def test_what_cannot_be_drawn_is_refused(client: TestClient, write: Writer, path: str, field: str) -> None:
    write(1)
    is_problem(client.get(path), 422, field, field)


def test_a_picture_is_drawn_once_for_all_who_ask_at_the_same_moment(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(5)
    for name, path in (("history", HISTORY), ("contributions", WHY)):
        drawing = Wrapper(monkeypatch, name)
        answers = run_concurrently(20, lambda _, path=path: client.get(path))  # type: ignore[misc]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert len(drawing.calls) == 1


def test_who_waits_for_a_picture_is_in_nobodys_way(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(5)
    drawing = Wrapper(monkeypatch, "history")
    drawing.may_draw.clear()
    kinds = list(product(("narrow", "wide"), ("light", "dark"), ("day", "week", "month")))
    paths = [f"/rate/history.svg?size={size}&theme={theme}&range={span}" for size, theme, span in 5 * kinds]
    with ThreadPoolExecutor(len(paths) + 1) as pool:
        waiting = [pool.submit(client.get, path) for path in paths]  # more than the server has threads
        try:
            for _ in range(20):
                assert pool.submit(client.get, "/rate").result(10).status_code == 200
            assert not any(one.done() for one in waiting)
        finally:
            drawing.may_draw.set()
        assert {one.result(30).status_code for one in waiting} == {200}
    assert len(drawing.calls) == len(kinds)


def test_nothing_that_can_be_asked_makes_the_album_grow(client: TestClient, write: Writer) -> None:
    write(5)
    album: Album = client.app.state.album  # type: ignore[attr-defined]
    for n in range(50):
        for path in (HISTORY, WHY):
            assert client.get(f"{path}&tick={n}&unknown{n}={n}").status_code == 200
            assert client.get(f"{path}&size=huge{n}").status_code == 422
    assert len(album) == 2


def test_a_new_tick_is_a_new_picture(client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing = Wrapper(monkeypatch, "history")
    earlier = write(1, ago=timedelta(hours=1))
    first = client.get(HISTORY).content
    write(1, follows=earlier[0])
    assert client.get(HISTORY).content != first
    assert client.get(HISTORY).content != first
    assert len(drawing.calls) == 2


def test_the_album_is_bounded() -> None:
    album = Album()

    async def fill() -> None:
        for n in range(3 * MOST_PICTURES):
            assert await album.picture((n,), str(n).encode) == str(n).encode()
            assert len(album) == min(n + 1, MOST_PICTURES)

    asyncio.run(fill())
    album.close()


def test_who_goes_away_takes_a_picture_from_nobody_else() -> None:
    album, may_draw = Album(), threading.Event()

    def draw() -> bytes:
        assert may_draw.wait(30)
        return b"drawn"

    async def ask() -> bytes:
        before, goes, stays = (asyncio.create_task(album.picture(key, draw)) for key in (("a",), ("b",), ("b",)))
        await asyncio.sleep(0.05)
        goes.cancel()
        await asyncio.sleep(0.05)
        may_draw.set()
        return await before + await stays

    assert asyncio.run(ask()) == b"drawndrawn"
    album.close()


def test_a_picture_that_could_not_be_drawn_is_drawn_when_it_is_asked_for_again(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(5)
    with monkeypatch.context() as broken:
        broken.setattr(rate_charts, "contributions", lambda *_: 1 // 0)
        assert client.get(WHY).status_code == 500
    assert client.get(WHY).status_code == 200


def test_a_long_history_is_thinned_and_ends_with_the_newest_tick(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    every_minute = Formula.from_data({**FORMULA.data, "version": "every-minute", "tick_seconds": 60})
    ticks = write(2 * 1440, formula=every_minute)
    known = {tick.at: (tick.rate, tick.move.target) for tick in ticks}
    drawing = Wrapper(monkeypatch, "history")
    for span, least in ((Span.DAY, 700), (Span.WEEK, 200), (Span.MONTH, 50)):
        assert client.get(f"{HISTORY}&range={span}").status_code == 200
        points: list[tuple[datetime, Rate, Rate]] = drawing.calls[-1][0]
        assert least < len(points) <= MOST_POINTS
        assert [at for at, _, _ in points] == sorted({at for at, _, _ in points})
        assert all(known[at] == (rate, target) for at, rate, target in points)
        assert points[-1][0] == ticks[-1].at
        assert ticks[-1].at - points[0][0] <= span.length + timedelta(minutes=1)


def test_a_young_history_is_drawn_from_its_first_tick_on(
    client: TestClient, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = write(4, formula=Formula.from_data({**FORMULA.data, "version": "every-second", "tick_seconds": 1}))
    drawing = Wrapper(monkeypatch, "history")
    assert client.get(f"{HISTORY}&range={Span.MONTH}").status_code == 200
    assert [at for at, _, _ in drawing.calls[-1][0]] == [tick.at for tick in ticks]
