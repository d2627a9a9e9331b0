"""The page that asks what to buy and for whom: the way to the payment page without a link, or with one that asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.responses import Response

from api.dependencies import System
from api.idempotency import IdempotentRoute
from api.pages.rendering import language_of, page
from cascade.adapters.email import check_email
from cascade.app import App
from cascade.db import orders
from cascade.domain.amount_parser import NoAmount, examples, read_typed
from cascade.domain.catalogue import Catalogue
from cascade.domain.money import USD, Money
from cascade.domain.orders import check_citizen_id
from cascade.domain.quotes import Quote, better_package, quote_custom
from cascade.errors import InvalidInput
from cascade.locales.formats import formats
from cascade.services.checkout import PurchaseRequest

router = APIRouter(include_in_schema=False, route_class=IdempotentRoute)

_MOST_CHARACTERS = 254
Text = Annotated[str, Form(max_length=_MOST_CHARACTERS)]
_OWN = "own"
"""What stands for an amount instead of a package; an empty field would not be told from none."""
_UNREADABLE = "unreadable"
"""The problem of an amount that could be another one; ``usd_amount`` is that of one outside the bounds."""


@router.get("/")
def front_door() -> Response:
    """Lead people who were given the bare address to the shop."""
    return RedirectResponse("/pay", 303)


@router.get("/pay", response_class=HTMLResponse)
def choose(
    request: Request,
    app: System,
    usd: Annotated[str, Query(max_length=_MOST_CHARACTERS)] = "",
    package: str | None = None,
) -> Response:
    """Show everything for sale at the rate of the moment; ``usd`` shows what an amount would bring."""
    return _shop(request, app, PurchaseRequest(package=package, usd_amount=usd))


@router.post("/pay")
def buy(
    request: Request,
    app: System,
    citizen_id: Text = "",
    package: Text = "",
    usd_amount: Text = "",
    email: Text = "",
    shown: Text = "",
    change: Text = "",
) -> Response:
    """Open an order and go on to its page. An amount that was typed is shown back first.

    ``shown`` is the amount that the page has shown, as a plain decimal; ``change`` asks for the form again.
    """
    given = PurchaseRequest(citizen_id=citizen_id.strip(), package=package, usd_amount=usd_amount, email=email)
    if change:
        return _shop(request, app, given)
    try:
        usd = _read(request, usd_amount) if package == _OWN else None
        wish = PurchaseRequest(
            citizen_id=given.citizen_id,
            package=None if usd else package or None,
            usd_amount=usd.plain if usd else None,
            email=email.strip() or None,
        )
        app.checkout.validate_purchase(wish)
        if usd is not None and shown != usd.plain:
            return _show_back(request, app, given, wish)
        with app.database.transaction() as connection:
            view = app.checkout.get_or_open_order(connection, wish)
            orders.note_language(connection, view.order.id, language_of(request))
    except InvalidInput as error:
        return _shop(request, app, given, error.field, 422)
    return RedirectResponse(f"/pay/{view.order.link_token}", 303)


def citizen_form(
    request: Request, app: App, offer: Quote | None, citizen_id: str = "", problem: str | None = None
) -> Response:
    """Return the page of a payment link that does not say who gets the ducats."""
    status_code = 200 if problem is None else 422
    return _shop(request, app, PurchaseRequest(citizen_id=citizen_id), problem, status_code, offer)


def _shop(
    request: Request,
    app: App,
    given: PurchaseRequest,
    problem: str | None = None,
    status_code: int = 200,
    offer: Quote | None = None,
) -> Response:
    checkout = app.checkout
    with app.database.transaction() as connection:
        rate, _ = checkout.rate(connection)
    catalogue = checkout.catalogue
    try:
        custom = quote_custom(catalogue, _read(request, given.usd_amount or ""), rate)
    except InvalidInput:
        custom = None
    context = {
        "offer": offer,
        "packages": [(package, rate.price_of(package.ducats)) for package in catalogue.packages.values()],
        "minimum": catalogue.minimum,
        "maximum": catalogue.maximum,
        "examples": examples(formats(language_of(request)).separators),
        "custom": custom,
        "custom_bonus": catalogue.custom_bonus,
        **_better(catalogue, custom),
        "given": _given(given),
        "problem": problem,
        "rate": str(rate),
        "minutes": checkout.order_minutes,
        "sends_mail": checkout.sends_mail and offer is None,
    }
    return page(request, "shop.html", context, status_code)


def _show_back(request: Request, app: App, given: PurchaseRequest, wish: PurchaseRequest) -> Response:
    """Show what an amount that was typed was read as, and what it brings, before an order is opened.

    Raises:
        InvalidInput: no order could be opened for it.
    """
    checkout = app.checkout
    with app.database.transaction() as connection:
        quote = checkout.quote(connection, None, wish.usd_amount)
    check_citizen_id(wish.citizen_id or "")
    if wish.email is not None:
        check_email(wish.email)
    context = {
        "quote": quote,
        **_better(checkout.catalogue, quote),
        "given": _given(given),
        "minutes": checkout.order_minutes,
    }
    return page(request, "confirm.html", context)


def _better(catalogue: Catalogue, custom: Quote | None) -> dict[str, object]:
    """Return the package that gives more than a custom purchase, and its price."""
    package = custom and better_package(catalogue, custom)
    return {"better": package, "better_price": package and custom and custom.rate.price_of(package.ducats)}


def _given(given: PurchaseRequest) -> dict[str, str]:
    return {
        "citizen_id": given.citizen_id or "",
        "package": given.package or "",
        "usd_amount": given.usd_amount or "",
        "email": given.email or "",
    }


def _read(request: Request, typed: str) -> Money:
    """Read an amount as the page's language writes it.

    Raises:
        InvalidInput: it is empty, or cannot be read.
    """
    try:
        return read_typed(typed, USD, formats(language_of(request)).separators)
    except NoAmount as error:
        raise InvalidInput(_UNREADABLE if typed.strip() else "usd_amount", f"{error}.") from None
