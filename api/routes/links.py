"""Payment links: made, looked at and deactivated by holders of a key. The page opens them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api.dependencies import System, may_make_links
from api.idempotency import IdempotentRoute
from api.pages.qr import qr
from api.problems import documented
from api.schemas.links import LinkIn, LinkOut, LinkQuery, LinksOut
from cascade.app import App
from cascade.db import payment_links
from cascade.db.database import Conn
from cascade.db.payment_links import LinkUse
from cascade.domain.payment_links import address
from cascade.services.checkout import PurchaseRequest

router = APIRouter(
    prefix="/api/payments/links",
    tags=["links"],
    dependencies=[Depends(may_make_links)],
    route_class=IdempotentRoute,
)


@router.post("", status_code=201, responses=documented(400, 401, 413, 422, 503))
def create_link(wish: LinkIn, app: System) -> LinkOut:
    """Make a link. The order that it opens is priced at the rate of that moment, and opened when somebody comes."""
    app.checkout.validate_purchase(PurchaseRequest(citizen_id=wish.citizen_id))
    with app.database.transaction() as connection:
        link = app.links.create(
            connection,
            package=wish.package,
            usd_amount=wish.usd_amount,
            citizen_id=wish.citizen_id,
            single_use=wish.single_use,
            minutes=wish.valid_minutes,
        )
        return _out(app, connection, LinkUse(link, 0, 0))


@router.get("", responses=documented(401, 404, 422, 503))
def list_links(app: System, query: Annotated[LinkQuery, Query()]) -> LinksOut:
    """Return links, the newest first."""
    with app.database.transaction() as connection:
        found = payment_links.newest(connection, limit=query.limit, before=query.before)
        return LinksOut(links=[_out(app, connection, use) for use in found])


@router.get("/{link_id}", responses=documented(401, 404, 422, 503))
def link(link_id: str, app: System) -> LinkOut:
    """Return how a link stands, and how many orders it has opened."""
    with app.database.transaction() as connection:
        return _out(app, connection, payment_links.by_id(connection, link_id))


@router.post("/{link_id}/deactivate", responses=documented(401, 404, 422, 503))
def deactivate_link(link_id: str, app: System) -> LinkOut:
    """Let a link open nothing any more. Again is a no-op; an order that it opened before stays payable."""
    with app.database.transaction() as connection:
        return _out(app, connection, payment_links.deactivate(connection, link_id))


@router.get("/{link_id}/qr.svg", response_class=Response, responses=documented(401, 404, 422, 503))
def link_picture(link_id: str, app: System) -> Response:
    """Return the link's address as a QR code."""
    with app.database.transaction() as connection:
        use = payment_links.by_id(connection, link_id)
    return qr(address(app.settings.base_url, use.link.token))


def _out(app: App, connection: Conn, use: LinkUse) -> LinkOut:
    return LinkOut.of(use, app.links.state(connection, use), app.settings.base_url)
