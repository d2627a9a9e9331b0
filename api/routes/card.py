"""Payments by card: begun here, paid at Stripe."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from api.dependencies import Cards, System
from api.idempotency import IdempotentRoute
from api.pages.payment_page import not_found_page, order_page
from api.problems import documented
from api.schemas.card import CheckoutSessionOut, PaymentIntentOut, PaymentIntentStatusOut
from api.schemas.purchases import CardPaymentIn
from cascade.app import App
from cascade.db import card_attempts as card_store
from cascade.db import orders
from cascade.domain.card_payments import Flow
from cascade.errors import NotFound, NotPayable, StripeError, StripeUnavailable
from cascade.services.card_checkout import CardCheckout, CardPayment

router = APIRouter(tags=["card"], route_class=IdempotentRoute)

_AT_ONCE = threading.BoundedSemaphore(8)
"""Requests that wait for Stripe at the same time: a slow Stripe must not take all threads of the API."""
_PATIENCE_SECONDS = 5.0
_BEGIN = documented(400, 404, 409, 413, 422, 503)


@router.post("/api/payments/checkout-session", status_code=201, responses=_BEGIN)
def create_checkout_session(wish: CardPaymentIn, app: System, cards: Cards) -> CheckoutSessionOut:
    """Open an order, or take an open one, and begin to pay it on a page of Stripe's. The same open order again gives
    the same page."""
    payment = _begin(wish, app, cards, Flow.CHECKOUT_SESSION)
    return CheckoutSessionOut.of(payment, app.settings.base_url)


@router.post("/api/payments/payment-intent", status_code=201, responses=_BEGIN)
def create_payment_intent(wish: CardPaymentIn, app: System, cards: Cards) -> PaymentIntentOut:
    """Open an order, or take an open one, and begin to pay it with the platform's own form. The same open order again
    gives the same intent."""
    payment = _begin(wish, app, cards, Flow.PAYMENT_INTENT)
    return PaymentIntentOut.of(payment, app.settings.base_url)


@router.get("/api/payments/payment-intent/{payment_intent_id}", responses=documented(404, 422, 503))
def payment_intent(payment_intent_id: str, app: System) -> PaymentIntentStatusOut:
    """Return how a payment intent of one of our orders stood when Stripe last told of it."""
    with app.database.transaction() as connection:
        intent = card_store.intent(connection, payment_intent_id)
        if intent is None or intent.order_id is None:
            raise NotFound("There is no such payment intent here.")
        view = app.checkout.view(connection, orders.by_id(connection, intent.order_id))
    return PaymentIntentStatusOut.of(intent, view)


@router.post("/pay/{token}/card", include_in_schema=False)
def pay_by_card(token: str, request: Request, app: System) -> Response:
    """Go on to Stripe's page, or show the order again with a plain sentence."""
    try:
        with app.database.transaction() as connection:
            view = app.checkout.view(connection, orders.by_link_token(connection, token))
        if app.card is None:
            return order_page(request, app, token, "no_cards", 409) or not_found_page(request)
        with _stripe_slot():
            payment = app.card.begin(view.order.id, view.status, Flow.CHECKOUT_SESSION)
    except NotFound:
        return not_found_page(request)
    except NotPayable:
        return order_page(request, app, token, "not_payable", 409) or not_found_page(request)
    except StripeError:
        return order_page(request, app, token, "stripe_fails", 503) or not_found_page(request)
    return RedirectResponse(payment.begun.handle, 303)


@router.get("/pay/{token}/card", include_in_schema=False)
def back_to_page(token: str) -> Response:
    """Show the order again, when the page with a plain sentence under this address is loaded once more."""
    return RedirectResponse(f"/pay/{quote(token, safe='')}", 303)


def _begin(wish: CardPaymentIn, app: App, cards: CardCheckout, flow: Flow) -> CardPayment:
    app.checkout.validate_purchase(wish.wish)
    with app.database.transaction() as connection:
        view = app.checkout.get_or_open_order(connection, wish.wish)
    with _stripe_slot():
        return cards.begin(view.order.id, view.status, flow)


@contextmanager
def _stripe_slot() -> Iterator[None]:
    if not _AT_ONCE.acquire(timeout=_PATIENCE_SECONDS):
        raise StripeUnavailable("too many payments are waiting for Stripe already")
    try:
        yield
    finally:
        _AT_ONCE.release()
