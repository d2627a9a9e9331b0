"""The payment page: an order that can be looked at, paid and had again; it can be closed and opened in any state."""

from __future__ import annotations

from io import BytesIO

import segno
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.dependencies import System
from api.order_page import Moment, context_of
from api.pages import page
from cascade.bootstrap import Cascade
from cascade.domain.orders import OrderStatus
from cascade.errors import NotFound
from cascade.store import events, orders

router = APIRouter(include_in_schema=False)


@router.get("/pay/{token}", response_class=HTMLResponse)
def pay(token: str, request: Request, cascade: System) -> Response:
    """The payment page of one order."""
    return order_page(request, cascade, token)


@router.post("/pay/{token}/again")
def renew(token: str, cascade: System) -> Response:
    """The button of an order whose price has expired: the same purchase at the price of the moment."""
    with cascade.database.transaction() as connection:
        view = cascade.checkout.renew(connection, orders.by_link_token(connection, token))
    return RedirectResponse(f"/pay/{view.order.link_token}", 303)


@router.get("/pay/{token}/qr.svg")
def address_picture(token: str, cascade: System) -> Response:
    """The page's address for the camera of a phone."""
    with cascade.database.transaction() as connection:
        order = orders.by_link_token(connection, token)
    drawn = BytesIO()
    address = f"{cascade.settings.base_url}/pay/{order.link_token}"
    segno.make(address, error="m").save(drawn, kind="svg", scale=4, light="#fff")
    return Response(drawn.getvalue(), media_type="image/svg+xml")


def order_page(
    request: Request, cascade: Cascade, token: str, problem: str | None = None, status_code: int = 200
) -> Response:
    """The page of the order behind a token, with a sentence when something did not work."""
    try:
        with cascade.database.transaction() as connection:
            view = cascade.checkout.view(connection, orders.by_link_token(connection, token))
            left = view.order.expires_at - orders.clock(connection)
            renewal = (
                getattr(orders, "renewal", lambda c, i: None)(connection, view.order.id)
                if view.status is OrderStatus.EXPIRED
                else None
            )
            newest = events.newest(connection, view.order.id)
    except NotFound:
        return page(request, "closed.html", {"why": "unknown"}, 404)
    moment = Moment(view, max(0, int(left.total_seconds())), newest, renewal)
    returned = request.query_params.get("card") == "paid"
    return page(request, "pay.html", context_of(cascade, moment, returned=returned) | {"problem": problem}, status_code)
