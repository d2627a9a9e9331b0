"""Health, for monitors."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.dependencies import System
from api.problems import documented
from api.schemas.health import DestinationOut, HealthOut, InboxOut, RateOut, RelayerOut, StreamOut, WorkerOut
from cascade import bootstrap
from cascade.app import App
from cascade.db import checkpoints, credits, heartbeats, outbox, relay_transactions, stripe_inbox
from cascade.db.checkpoints import StreamHealth
from cascade.db.database import OUTAGES, Conn
from cascade.db.delivery_queue import DestinationHealth
from cascade.db.relay_transactions import SenderHealth
from cascade.db.stripe_inbox import InboxHealth
from cascade.rate.quotation import Quotation, current_quotation
from cascade.workers.heartbeat import describe

CARD_ALARM_SECONDS = 900
"""An event that has waited for longer, or a list of events that was not read for longer, is worth an alarm."""
OUTBOX_ALARM_SECONDS = 900
"""A delivery that was due for longer and was not tried: its worker does not run. A receiver that is down is none."""
RELAY_ALARM_SECONDS = 60
"""What a payer signed and nobody has sent for longer: no relayer runs, or it cannot."""
RATE_ALARM_SECONDS = 900
"""A tick that has been missing for longer: no rate keeper runs, and orders are opened at an old rate."""

_Part = StreamOut | InboxOut | DestinationOut | RateOut | RelayerOut | WorkerOut

log = logging.getLogger(__name__)
router = APIRouter(tags=["health"])


@router.get("/health", responses={**documented(), 503: {"model": HealthOut, "description": "Not working as it should"}})
def health(app: System, response: Response) -> HealthOut:
    """Answer 200 when all is well; 503 when the database is down or cannot be written, or payments are not being
    booked."""
    try:
        with app.database.transaction() as connection:
            heartbeats.prove_writable(connection)
            found = _look(app, connection)
    except OUTAGES as exc:
        log.error("the database does not serve: %s", describe(exc))
        found = HealthOut(status="down", database=False, streams=[])
        response.headers["retry-after"] = "5"
    response.status_code = 200 if found.status == "ok" else 503
    return found


def _look(app: App, connection: Conn) -> HealthOut:
    relays = app.settings.has_relayer
    relayer = _relayer(relay_transactions.health(connection, app.deployment.chain.chain_id)) if relays else None
    card = _card(stripe_inbox.health(connection)) if app.card is not None else None
    open_deliveries = sorted([*credits.QUEUE.health(connection), *outbox.QUEUE.health(connection)])
    destinations = [_destination(destination) for destination in open_deliveries]
    rate = _rate(current_quotation(connection, app.formula))
    followed, now = bootstrap.followed_streams(app), datetime.now(UTC)
    streams = [_stream(stream, now) for stream in checkpoints.health(connection) if stream.stream in followed]
    workers = [
        WorkerOut(worker=w.worker, standing_still=w.fault is not None, fault=w.fault)
        for w in heartbeats.health(connection)
    ]
    allowed = app.deployment.chain.finality_alarm_seconds
    parts: list[_Part | None] = [*streams, card, *destinations, rate, relayer, *workers]
    well = bool(streams) and not any(s.finality_lag_seconds > allowed for s in streams)
    well = well and not any(part is not None and part.standing_still for part in parts)
    return HealthOut(
        status="ok" if well else "degraded",
        database=True,
        streams=streams,
        card=card,
        outbox=destinations,
        rate=rate,
        relayer=relayer,
        workers=workers,
    )


def _stream(stream: StreamHealth, now: datetime) -> StreamOut:
    return StreamOut(
        stream=stream.stream,
        height=stream.height,
        behind_blocks=stream.behind_blocks,
        finality_lag_seconds=max(0, int((now - stream.finalized_at).total_seconds())),
        standing_still=stream.alarm is not None or not stream.led,
    )


def _card(health: InboxHealth) -> InboxOut:
    unread = health.checked_seconds is None or health.checked_seconds > CARD_ALARM_SECONDS
    return InboxOut(
        waiting=health.waiting,
        oldest_seconds=health.oldest_seconds,
        checked_seconds=health.checked_seconds,
        standing_still=unread or health.oldest_seconds > CARD_ALARM_SECONDS,
    )


def _destination(health: DestinationHealth) -> DestinationOut:
    return DestinationOut(
        destination=health.destination,
        waiting=health.waiting,
        parked=health.parked,
        oldest_seconds=health.oldest_seconds,
        standing_still=health.overdue_seconds > OUTBOX_ALARM_SECONDS,
    )


def _relayer(senders: list[SenderHealth]) -> RelayerOut:
    oldest = max((sender.oldest_seconds for sender in senders), default=0)
    return RelayerOut(
        waiting=max((sender.waiting for sender in senders), default=0),
        oldest_seconds=oldest,
        standing_still=oldest > RELAY_ALARM_SECONDS or any(sender.alarm for sender in senders),
    )


def _rate(quotation: Quotation) -> RateOut:
    return RateOut(
        tick=quotation.tick.at if quotation.tick else None,
        overdue_seconds=quotation.overdue_seconds,
        standing_still=quotation.overdue_seconds > RATE_ALARM_SECONDS,
    )
