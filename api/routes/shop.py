"""Where somebody says what to buy and for whom: the way into the payment page without a link, or with one that asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.dependencies import System
from api.pages import page
from cascade.bootstrap import Cascade
from cascade.checkout import Wish
from cascade.domain.money import USD, Money
from cascade.domain.quotes import Quote, quote_custom
from cascade.errors import InvalidInput

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Form(max_length=254)]
_OWN = "own"
"""What stands for an amount instead of a package; an empty field would not be told from none."""


@router.get("/")
def front_door() -> Response:
    """Lead people who were given the bare address to the shop."""
    return RedirectResponse("/pay", 303)


@router.get("/pay", response_class=HTMLResponse)
def choose(
    request: Request, cascade: System, usd: Annotated[str, Query(max_length=12)] = "", package: str | None = None
) -> Response:
    """Everything for sale at the rate of the moment; ``usd`` shows what an amount would bring."""
    return _shop(request, cascade, Wish(package=package, usd_amount=usd))


@router.post("/pay")
def buy(
    request: Request,
    cascade: System,
    citizen_id: Text = "",
    package: Text = "",
    usd_amount: Text = "",
    email: Text = "",
) -> Response:
    """Open an order, and go on to its page."""
    is_own = package == _OWN
    wish = Wish(
        citizen_id=citizen_id.strip(),
        package=None if is_own else package or None,
        usd_amount=_plain(usd_amount) if is_own else None,
        email=email.strip() or None,
    )
    try:
        cascade.checkout.check_wish(wish)
        with cascade.database.transaction() as connection:
            view = cascade.checkout.order_to_pay(connection, wish)
    except InvalidInput as fault:
        given = Wish(citizen_id=wish.citizen_id, package=package, usd_amount=usd_amount, email=email)
        return _shop(request, cascade, given, fault.field, 422)
    return RedirectResponse(f"/pay/{view.order.link_token}", 303)


def ask_who(
    request: Request, cascade: Cascade, offer: Quote | None, citizen_id: str = "", problem: str | None = None
) -> Response:
    """The page of a payment link that does not say who gets the ducats."""
    status_code = 200 if problem is None else 422
    return _shop(request, cascade, Wish(citizen_id=citizen_id), problem, status_code, offer)


def _shop(
    request: Request,
    cascade: Cascade,
    given: Wish,
    problem: str | None = None,
    status_code: int = 200,
    offer: Quote | None = None,
) -> Response:
    checkout = cascade.checkout
    with cascade.database.transaction() as connection:
        rate, _ = checkout.rate(connection)
    catalogue = checkout.catalogue
    try:
        custom = quote_custom(catalogue, Money.parse(_plain(given.usd_amount or ""), USD), rate).ducats
    except (InvalidInput, ValueError):
        custom = None
    context = {
        "offer": offer,
        "packages": [(package, rate.price_of(package.ducats)) for package in catalogue.packages.values()],
        "minimum": catalogue.minimum,
        "maximum": catalogue.maximum,
        "custom": custom,
        "given": {
            "citizen_id": given.citizen_id or "",
            "package": given.package,
            "usd_amount": given.usd_amount or "",
            "email": given.email or "",
        },
        "problem": problem,
        "rate": str(rate),
        "minutes": checkout.order_minutes,
        "sends_mail": checkout.sends_mail and offer is None,
    }
    return page(request, "choose.html", context, status_code)


def _plain(amount: str) -> str:
    """An amount as people type it, with a comma or a point, as a plain decimal."""
    return amount.strip().replace(",", ".") if amount.count(",") == 1 and "." not in amount else amount.strip()
