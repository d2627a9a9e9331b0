"""Prices, orders and their state."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.dependencies import System
from api.idempotency import IdempotentRoute
from api.pages.qr import qr
from api.problems import documented
from api.schemas.orders import OrderOut
from api.schemas.purchases import CryptoPaymentIntentIn, CryptoPaymentIntentOut, PricingOut
from cascade.adapters.chain.router_logs import transfer_uri
from cascade.db import orders
from cascade.domain.money import USDC
from cascade.errors import NotPayable
from cascade.services.order_view import check_payable

router = APIRouter(prefix="/api/payments", tags=["payments"], route_class=IdempotentRoute)


@router.get("/pricing", responses=documented(503))
def pricing(app: System) -> PricingOut:
    """Return packages, bounds of a custom purchase, and the rate of the moment."""
    with app.database.transaction() as connection:
        rate, tick = app.checkout.rate(connection)
    return PricingOut.of(app.checkout, app.card, rate, tick)


@router.post("/crypto-payment-intent", status_code=201, responses=documented(400, 404, 409, 413, 422, 503))
def create_crypto_payment_intent(wish: CryptoPaymentIntentIn, app: System) -> CryptoPaymentIntentOut:
    """Open an order payable in a stablecoin, or pay an open one so: its price is locked until it expires."""
    app.checkout.validate_purchase(wish.wish)
    with app.database.transaction() as connection:
        view = app.checkout.get_or_open_order(connection, wish.wish, wish.token)
        terms = app.checkout.terms(connection, view.order, wish.token)
    return CryptoPaymentIntentOut.of(view, terms, app.settings.base_url, collects=app.settings.has_relayer)


@router.get("/orders/{order_id}", responses=documented(404, 422, 503))
def order(order_id: str, app: System) -> OrderOut:
    """Return how an order stands: open, seen, confirmed, fulfilled, expired or reversed, with its payments."""
    with app.database.transaction() as connection:
        view = app.checkout.view(connection, orders.by_id(connection, order_id))
    return OrderOut.of(view, app.deployment.chain, collects=app.settings.has_relayer)


@router.get("/orders/{order_id}/transfer.svg", response_class=Response, responses=documented(404, 409, 422, 503))
def transfer_picture(order_id: str, app: System, token: Annotated[str, Query(max_length=200)] = USDC.code) -> Response:
    """Return the plain transfer that pays an open order, as a QR code (EIP-681)."""
    if not app.settings.has_relayer:
        raise NotPayable("Plain transfers are not looked for here. The operator takes them by setting a relayer's key.")
    with app.database.transaction() as connection:
        view = app.checkout.view(connection, orders.by_id(connection, order_id))
        check_payable(view, only_looks=True)
        terms = app.checkout.terms(connection, view.order, token)
    uri = transfer_uri(terms, None if view.missing is None else view.missing.units)
    return qr(uri)
