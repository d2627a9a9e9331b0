"""The page of the rate: what a ducat costs, what it has cost before, and why. Its words are in the template."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from api.dependencies import System
from api.pages.rendering import language_of, speech
from api.pages.rendering import page as rendered
from api.schemas.economics import CascadeOut, ExchangeRateOut
from cascade.charts import rate_charts
from cascade.charts.prices import Prices
from cascade.charts.variants import Size, Theme
from cascade.db.database import Conn
from cascade.domain.ducat_rate import Rate
from cascade.errors import NotFound
from cascade.locales.translations import ENGLISH, LANGUAGES
from cascade.rate import tick_store
from cascade.rate.city_state import city_now
from cascade.rate.parameters import Formula
from cascade.rate.quotation import Quotation, current_quotation, explain
from cascade.rate.rule import InputState, Tick

MOST_POINTS = 800
MOST_PICTURES = 32 * len(LANGUAGES)
"""Twice what there is to see of one tick; a picture has some tens of kilobytes."""
_LATE_SECONDS = 60
"""A keeper looks every few seconds: a tick that is missing for longer is worth a word."""
_PICTURE_HEADERS = {
    "cache-control": "public, max-age=60",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}

Point = tuple[datetime, Rate, Rate]


class Span(StrEnum):
    """The length of the history that is shown."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def length(self) -> timedelta:
        """Return how long that is."""
        return timedelta(days={Span.DAY: 1, Span.WEEK: 7, Span.MONTH: 30}[self])


class Album:
    """Pictures that were drawn, each of them once, however many ask for it at the same moment.

    One thread draws all of them, and who waits for one holds no thread: the threads are for those who pay.
    """

    def __init__(self) -> None:
        self._pencil = ThreadPoolExecutor(1, "pictures")
        self._pictures: OrderedDict[tuple[object, ...], Future[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pictures)

    async def picture(self, key: tuple[object, ...], draw: Callable[[], bytes]) -> bytes:
        """Return the picture of that key, drawn now unless it is there or being drawn.

        Args:
            key: everything that the picture depends on.
            draw: draws it; what it raises is raised here, and the next one who asks has it drawn again.
        """
        drawn = self._pictures.get(key)
        if drawn is None or (drawn.done() and drawn.exception()):
            drawn = self._pictures[key] = self._pencil.submit(draw)
            while len(self._pictures) > MOST_PICTURES:
                self._pictures.popitem(last=False)
        # A client that goes away while it is drawn does not take it from the others.
        return await asyncio.shield(asyncio.wrap_future(drawn))

    def close(self) -> None:
        """Draw no more."""
        self._pencil.shutdown(cancel_futures=True)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.album = Album()
    try:
        yield
    finally:
        app.state.album.close()


router = APIRouter(include_in_schema=False, lifespan=_lifespan)


def _newest(app: System) -> Tick:
    with app.database.transaction() as connection:
        tick = tick_store.latest(connection)
    if tick is None:
        raise NotFound("There is no picture before the rate has been set for the first time.")
    return tick


def _album(request: Request) -> Album:
    album: Album = request.app.state.album
    return album


NewestTick = Annotated[Tick, Depends(_newest)]
Pictures = Annotated[Album, Depends(_album)]
HowFar = Annotated[Span, Query(alias="range")]
InLanguage = Annotated[str, Query(alias="lang", pattern=f"^({'|'.join(LANGUAGES)})$")]
"""Of a picture, which everybody may keep: nothing but its address says what it shows."""


@router.get("/rate", response_class=HTMLResponse)
def page(request: Request, app: System, span: HowFar = Span.DAY) -> Response:
    """Return the rate with its reasons and its history, as it stands; readable without pictures and without script."""
    with app.database.transaction() as connection:
        quotation = current_quotation(connection, app.formula)
        city = CascadeOut.of(
            city_now(connection),
            quotation.rate,
            quotation.tick.at if quotation.tick else None,
        )
        points = _points(connection, quotation.tick.at, span) if quotation.tick else []
        formula = _formula_of(connection, quotation.tick, app.formula)
    mark = speech(language_of(request)).decimal_mark
    context = {
        **_words(quotation, Prices(app.formula, mark)),
        **_reasons(replace(quotation, formula=formula), Prices(formula, mark)),
        "formula": app.formula,
        "city": city,
        "course": _Course.of(points, Prices(formula, mark)) if points else None,
        "span": span,
        "spans": list(Span),
    }
    return rendered(request, "rate.html", context)


@router.get("/rate/history.svg")
async def history(
    app: System,
    album: Pictures,
    tick: NewestTick,
    size: Size,
    theme: Theme,
    span: HowFar = Span.DAY,
    language: InLanguage = ENGLISH,
) -> Response:
    """Return the rate's course up to the newest tick."""

    def draw() -> bytes:
        with app.database.transaction() as connection:
            points = _points(connection, tick.at, span)
            formula = _formula_of(connection, tick, app.formula)
        return rate_charts.history(points, formula, size, theme, speech(language))

    return _svg(await album.picture((tick.at, "history", span, size, theme, language), draw))


@router.get("/rate/why.svg")
async def why(
    app: System,
    album: Pictures,
    tick: NewestTick,
    size: Size,
    theme: Theme,
    language: InLanguage = ENGLISH,
) -> Response:
    """Return what each input adds to the newest target."""

    def draw() -> bytes:
        with app.database.transaction() as connection:
            formula = _formula_of(connection, tick, app.formula)
        return rate_charts.contributions(tick, formula, size, theme, speech(language))

    return _svg(await album.picture((tick.at, "why", size, theme, language), draw))


def _svg(drawn: bytes) -> Response:
    return Response(drawn, media_type="image/svg+xml", headers=_PICTURE_HEADERS)


def _points(connection: Conn, until: datetime, span: Span) -> list[Point]:
    return tick_store.course(connection, until, span.length, MOST_POINTS)


def _formula_of(connection: Conn, tick: Tick | None, current: Formula) -> Formula:
    """Return what made a tick: after an upgrade not what makes the next one, and its parts would not sum to its
    target."""
    if tick is None or tick.formula == current.version:
        return current
    return tick_store.formulas(connection)[tick.formula]


@dataclass(frozen=True, slots=True)
class _Course:
    """The picture of the history in numbers."""

    since: datetime
    until: datetime
    first: str
    last: str
    lowest: str
    highest: str
    target: str

    @classmethod
    def of(cls, points: Sequence[Point], show: Prices) -> Self:
        """Return the figures of ticks, oldest first."""
        (since, first, _), (until, last, target) = points[0], points[-1]
        lowest, highest = (choose(rate for _, rate, _ in points) for choose in (min, max))
        shown = (show(rate.nano_usd) for rate in (first, last, lowest, highest, target))
        return cls(since, until, *shown)


def _words(quotation: Quotation, show: Prices) -> dict[str, Any]:
    """Return how the rate stands."""
    nano_usd, tick, overdue = quotation.rate.nano_usd, quotation.tick, quotation.overdue_seconds
    return {
        "shown": show(nano_usd),
        "exactly": show.exactly(nano_usd) if show.rounds(nano_usd) else None,
        "rate": ExchangeRateOut.of(quotation),
        "tick": f"{tick.at:%Y-%m-%dT%H:%M:%SZ}" if tick else "",
        "overdue": overdue if overdue >= _LATE_SECONDS else None,
        "confidence_percent": quotation.confidence_ppm // 10_000,
    }


def _reasons(quotation: Quotation, show: Prices) -> dict[str, Any]:
    """Return why the rate stands where it does; the quotation's formula is the one that made its tick."""
    out, tick = ExchangeRateOut.of(quotation), quotation.tick
    base = quotation.formula.base_nano_usd
    explained = explain(tick) if tick else []
    added = show.parts(base, [part.nano_usd for part, _ in explained])
    without_effect = {
        state: [one.name for one in out.inputs if one.state is state]
        for state in (InputState.MISSING, InputState.STALE)
    }
    return {
        "base": show(base),
        "target": show((tick.move.target if tick else quotation.rate).nano_usd),
        "inputs": list(zip(out.inputs, added, strict=True)),
        "missing": without_effect[InputState.MISSING],
        "stale": without_effect[InputState.STALE],
    }
