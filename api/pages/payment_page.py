"""The payment page: an order that can be looked at, paid and had again; it can be closed and opened in any state."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated
from urllib.parse import quote

import psycopg
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.dependencies import System
from api.idempotency import IdempotentRoute
from api.pages.payment_page_data import OrderSnapshot, context_of
from api.pages.qr import qr
from api.pages.rendering import language_of, page
from api.pages.shop_page import citizen_form
from cascade.app import App
from cascade.db import order_events, orders, payment_links, receipt_contacts
from cascade.domain.orders import OrderStatus
from cascade.domain.payment_links import LinkState
from cascade.errors import InvalidInput, NotFound, NotPayable
from cascade.services.checkout import PurchaseRequest
from cascade.services.order_view import OrderView

router = APIRouter(include_in_schema=False, route_class=IdempotentRoute)


@router.get("/pay/{token}", response_class=HTMLResponse)
def pay(token: str, request: Request, app: System) -> Response:
    """Return the payment page of one order, or what a payment link opens."""
    return order_page(request, app, token) or _open_link(request, app, token)


@router.post("/pay/{token}")
def submit_citizen(
    token: str, request: Request, app: System, citizen_id: Annotated[str, Form(max_length=254)] = ""
) -> Response:
    """Return the button of a payment link that asks who gets the ducats."""
    return _open_link(request, app, token, citizen_id.strip())


@router.post("/pay/{token}/again")
def renew(token: str, request: Request, app: System) -> Response:
    """Return the button of an order whose price has expired: the same purchase at the price of the moment."""
    try:
        with app.database.transaction() as connection:
            view = app.links.renew(connection, orders.by_link_token(connection, token))
            orders.note_language(connection, view.order.id, language_of(request))
    except NotFound:
        return not_found_page(request)
    except (InvalidInput, NotPayable):  # what it was for is no longer sold, or its link is over
        return page(request, "closed.html", {"why": "expired"}, 410)
    return _to(view)


@router.get("/pay/{token}/again")
def back_to_order(token: str) -> Response:
    """Lead back to the order: an error page under the button's address may be reloaded."""
    return RedirectResponse(f"/pay/{quote(token, safe='')}", 303)


@router.get("/pay/{token}/qr.svg")
def address_picture(token: str, app: System) -> Response:
    """Return the page's address for the camera of a phone."""
    with app.database.transaction() as connection:
        order = orders.by_link_token(connection, token)
    return qr(f"{app.settings.base_url}/pay/{order.link_token}")


def order_page(
    request: Request, app: App, token: str, problem: str | None = None, status_code: int = 200
) -> Response | None:
    """Return the page of the order behind a token, with a sentence when something did not work; None: there is no
    order."""
    try:
        with app.database.transaction() as connection:
            view = app.checkout.view(connection, orders.by_link_token(connection, token))
            left = view.order.expires_at - orders.clock(connection)
            is_over = view.status is OrderStatus.EXPIRED
            renewal = orders.newest_renewal(connection, view.order.id) if is_over else None
            newest = order_events.newest(connection, view.order.id)
            email = receipt_contacts.email_of(connection, view.order.id)
            language = orders.language_of(connection, view.order.id)
    except NotFound:
        return None
    if language is None and view.status is OrderStatus.OPEN:
        _note_language(request, app, view)
    moment = OrderSnapshot(
        view, max(0, int(left.total_seconds())), newest, renewal.link_token if renewal else None, email
    )
    returned = request.query_params.get("card") == "paid"
    return page(request, "pay.html", context_of(app, moment, returned=returned) | {"problem": problem}, status_code)


def _note_language(request: Request, app: App, view: OrderView) -> None:
    """Note the language of the first reader of an order that a program opened; a program says none when it reads."""
    if "accept-language" not in request.headers:
        return
    with suppress(psycopg.Error), app.database.transaction() as connection:  # the page is shown without it, too
        orders.note_language(connection, view.order.id, language_of(request))


def _open_link(request: Request, app: App, token: str, citizen_id: str | None = None) -> Response:
    """Return go on to the order of a payment link, or return a page that asks for whom it is, or that says why
    nothing opens."""
    try:
        with app.database.transaction() as connection:
            use = payment_links.by_token(connection, token)
            state = app.links.state(connection, use)
            standing = app.links.standing(connection, use.link)
            asks = standing is None and use.link.citizen_id is None
            offer = app.checkout.quote(connection, use.link.package, use.link.usd_amount) if asks else None
    except NotFound:
        return not_found_page(request)
    except InvalidInput:  # what it is for is no longer sold
        return page(request, "closed.html", {"why": "deactivated"}, 410)
    if asks and citizen_id is None and state is LinkState.ACTIVE:
        return citizen_form(request, app, offer)
    try:
        if asks and citizen_id is not None:
            app.checkout.validate_purchase(PurchaseRequest(citizen_id=citizen_id))
        with app.database.transaction() as connection:
            view = app.links.open(connection, token, citizen_id if asks else None)
            orders.note_language(connection, view.order.id, language_of(request))
    except InvalidInput as error:
        return citizen_form(request, app, offer, citizen_id or "", error.field)
    except NotPayable:
        return page(request, "closed.html", {"why": state}, 410)
    return _to(view)


def not_found_page(request: Request) -> Response:
    """Return the page that says that there is nothing behind a link."""
    return page(request, "closed.html", {"why": "unknown"}, 404)


def _to(view: OrderView) -> Response:
    return RedirectResponse(f"/pay/{view.order.link_token}", 303)
