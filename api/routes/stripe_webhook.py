"""Stripe's webhook: an event is verified and kept; a worker then asks Stripe what has happened."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request

from api.dependencies import Cards, System
from api.idempotency import IdempotentRoute
from api.problems import documented
from api.request_limits import WEBHOOK_PATH
from api.schemas.card import WebhookOut
from cascade.db import stripe_inbox

router = APIRouter(tags=["card"], route_class=IdempotentRoute)


async def _body(request: Request) -> bytes:
    return await request.body()


@router.post(
    WEBHOOK_PATH,
    responses=documented(400, 409, 413, 503),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}},
)
def webhook(
    app: System,
    cards: Cards,
    body: Annotated[bytes, Depends(_body)],
    stripe_signature: Annotated[str | None, Header(description="Made by Stripe")] = None,
) -> WebhookOut:
    """Take an event of Stripe's. It is answered once it is verified and kept; anything else makes Stripe repeat."""
    event = cards.stripe.verified_event(body, stripe_signature)
    with app.database.transaction() as connection:
        stripe_inbox.insert(connection, [event])
    return WebhookOut()
