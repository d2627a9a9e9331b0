"""The ducat's rate: what it is and why, its history, the city behind it, and who may report of the city."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.dependencies import SignalSource, StreamHub, StreamRoom, System
from api.idempotency import IdempotentRoute
from api.problems import documented
from api.routes.event_streams import STREAM, EventStream
from api.schemas.economics import (
    CascadeOut,
    ConvertIn,
    ConvertOut,
    ExchangeRateOut,
    HistoryOut,
    Rfc3339Time,
    SignalsIn,
    SignalsOut,
)
from cascade.db import orders
from cascade.db.event_streams import CITY, Topic
from cascade.domain.amount_parser import read_plain
from cascade.domain.money import DUCAT, USD
from cascade.errors import InvalidInput
from cascade.rate import signal_store, tick_store
from cascade.rate.city_state import city_now
from cascade.rate.quotation import current_quotation
from cascade.rate.signals import BASELINE, EARLY
from cascade.rate.tick_store import Interval

router = APIRouter(prefix="/api/economics", tags=["economics"], route_class=IdempotentRoute)


@router.get("/exchange-rate", responses=documented(503))
def exchange_rate(app: System) -> ExchangeRateOut:
    """Return the rate of the moment, in both directions, and why it is what it is."""
    with app.database.transaction() as connection:
        return ExchangeRateOut.of(current_quotation(connection, app.formula))


@router.get("/exchange-rate/history", responses=documented(422, 503))
def history(
    app: System,
    interval: Annotated[Literal["raw", "hour", "day"], Query(description="Each tick, or hours or days (UTC)")] = "raw",
    before: Annotated[Rfc3339Time | None, Query(description="The `next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> HistoryOut:
    """Return the rate's history, newest first: each tick, or open, high, low and close of hours or days."""
    with app.database.transaction() as connection:
        if interval == "raw":
            ticks = tick_store.ticks_before(connection, before, limit)
            return HistoryOut.of_ticks(ticks, more=bool(ticks) and tick_store.has_before(connection, ticks[-1].at))
        candles = tick_store.candles_before(connection, Interval(interval), before, limit)
        more = bool(candles) and tick_store.has_before(connection, candles[-1].start)
        return HistoryOut.of_candles(Interval(interval), candles, more=more)


@router.get("/cascade", responses=documented(503))
def cascade_state(app: System) -> CascadeOut:
    """Return the city's consciousness, its coherence, and the acceleration of its recognition cascade."""
    with app.database.transaction() as connection:
        return CascadeOut.of(city_now(connection), *app.checkout.rate(connection))


@router.get(
    "/cascade/events",
    response_class=Response,
    responses=STREAM | documented(503),
    include_in_schema=False,  # it has no end that a test of the whole document could wait for
)
async def cascade_events(hub: StreamHub, room: StreamRoom) -> Response:
    """Return the same as `/cascade`, now and whenever it changes: messages of the type `cascade`.

    A new `tick` in one says that the rate has moved.
    """
    return EventStream(hub, room, Topic(CITY, ""), 0)


@router.post("/convert", responses=documented(400, 422, 503))
def convert(wish: ConvertIn, app: System) -> ConvertOut:
    """Return what dollars or ducats are worth at the rate of the moment. It moves, locks and counts nothing.

    Dollars are rounded up to the cent and ducats down to the millionth, as when something is bought.
    """
    if (wish.usd_amount is None) == (wish.ducats is None):
        raise InvalidInput("usd_amount", "Give either a usd_amount or ducats, not both and not neither.")
    with app.database.transaction() as connection:
        rate, tick = app.checkout.rate(connection)
    if wish.usd_amount is not None:
        usd = read_plain(wish.usd_amount, USD)
        ducats = rate.ducats_for(usd)
    else:
        ducats = read_plain(wish.ducats or "", DUCAT)
        usd = rate.price_of(ducats)
    return ConvertOut(usd=usd.plain, ducats=ducats.plain, usd_per_ducat=str(rate), tick=tick)


@router.post("/signals", responses=documented(400, 401, 413, 422, 503))
def report(batch: SignalsIn, app: System, source: SignalSource) -> SignalsOut:
    """Report signals of the city, with a key whose scope is `signals`. All of a batch is taken, or nothing.

    A signal is taken once for its id: send a batch again whenever the answer was lost. Order does not matter, and a
    late signal counts from the next tick on; ticks that are written never change.
    """
    reported = [entry.signal for entry in batch.signals]
    with app.database.transaction() as connection:
        now = orders.clock(connection)
        for signal in reported:
            if signal.occurred_at > now + EARLY:
                ahead = f"{signal.occurred_at.isoformat()} has not come yet: it is {now.isoformat()} here."
                raise InvalidInput("occurred_at", f"{signal.id}: {ahead}")
        taken = signal_store.insert(connection, source, reported)
    return SignalsOut.of(taken, sum(signal.occurred_at <= now - BASELINE for signal in reported))
