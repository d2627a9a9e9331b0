"""Balances and notifications of citizens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query

from api.dependencies import System, may_ask_for_citizens
from api.idempotency import IdempotentRoute
from api.problems import documented
from api.schemas.notifications import InboxQuery, NotificationOut, NotificationsOut, ReadIn, ReadOut
from api.schemas.purchases import BalanceOut
from cascade.db import balances, order_events
from cascade.domain.orders import check_citizen_id

router = APIRouter(
    prefix="/api/citizens",
    tags=["citizens"],
    dependencies=[Depends(may_ask_for_citizens)],
    route_class=IdempotentRoute,
)


@router.get("/{citizen_id}/balance", responses=documented(401, 403, 422, 503))
def balance(citizen_id: str, app: System) -> BalanceOut:
    """Return ducats that a citizen holds with us; zero for somebody who never bought any. Where Venice keeps the
    purses, these
    are on their way to it."""
    check_citizen_id(citizen_id)
    with app.database.transaction() as connection:
        with_us = balances.citizen_ducats(connection, citizen_id)
        in_venice = balances.ducats_in_venice(connection, citizen_id)
    return BalanceOut.of(citizen_id, with_us, in_venice)


@router.get("/{citizen_id}/notifications", responses=documented(401, 403, 422, 503))
def notifications(
    citizen_id: str,
    app: System,
    query: Annotated[InboxQuery, Query()],
    accept_language: Annotated[str | None, Header(max_length=200)] = None,
) -> NotificationsOut:
    """Return what a citizen was told, the newest first, in a language that the reader asks for, if there is one."""
    check_citizen_id(citizen_id)
    with app.database.transaction() as connection:
        found = order_events.inbox(connection, citizen_id, before=query.before, unread=query.unread, limit=query.limit)
        waiting = order_events.unread(connection, citizen_id)
    out = [NotificationOut.of(notification, app, accept_language) for notification in found]
    return NotificationsOut(notifications=out, unread=waiting)


@router.post("/{citizen_id}/notifications/read", responses=documented(400, 401, 403, 413, 422, 503))
def mark_read(citizen_id: str, wish: ReadIn, app: System) -> ReadOut:
    """Mark a citizen's notifications up to a number as read. Again is a no-op."""
    check_citizen_id(citizen_id)
    with app.database.transaction() as connection:
        marked = order_events.mark_read(connection, citizen_id, wish.until)
        return ReadOut(marked=marked, unread=order_events.unread(connection, citizen_id))
