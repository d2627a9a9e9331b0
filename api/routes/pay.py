"""The payment link: a page that shows an order and pays it from a wallet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from starlette.responses import Response

from api.dependencies import System
from api.order_schemas import OrderOut
from api.schemas import calls_of
from cascade.bootstrap import Cascade
from cascade.checkout import OrderView
from cascade.delivery.texts import amount as exact
from cascade.domain.money import DUCAT, Money
from cascade.domain.orders import OrderStatus
from cascade.errors import NotFound
from cascade.store import orders

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent.parent / "checkout" / "templates")


@router.get("/pay/{token}", response_class=HTMLResponse)
def pay(token: str, request: Request, cascade: System) -> Response:
    """The payment page of one order; it can be closed and opened again in any state."""
    return page(request, cascade, token)


def page(
    request: Request, cascade: Cascade, token: str, problem: str | None = None, status_code: int = 200
) -> Response:
    """The page of the order behind a link, with a sentence when something did not work."""
    try:
        with cascade.database.transaction() as connection:
            view = cascade.checkout.view(connection, orders.by_link_token(connection, token))
            left = view.order.expires_at - orders.clock(connection)
    except NotFound:
        return templates.TemplateResponse(request, "unknown_link.html", status_code=404)
    chain, quote = cascade.deployment.chain, view.order.quote
    ducats = {payment.reference: payment.grant.total for payment in view.payments if payment.grant}
    terms = view.terms[0]
    # Stripe has sent the payer back. It says nothing by itself: only Stripe's word counts.
    returned = request.query_params.get("card") == "paid" and view.status in (OrderStatus.OPEN, OrderStatus.EXPIRED)
    # The page's modules know no ABI, no address and no wording of money: they hand these calls to the wallet.
    wallet: dict[str, Any] = {
        "order_id": view.order.id,
        "returned": returned,
        "seconds_left": max(0, int(left.total_seconds())),
        "network": _network(cascade),
        "token": {"code": terms.token.code, "address": terms.token_address, "decimals": terms.token.scale},
        "amount": str(terms.units),
        "calls": [call.model_dump() for call in calls_of(terms)],
    }
    context = {
        "order": OrderOut.of(view, chain),
        "reversals": view.reversals,
        "citizen_id": view.order.citizen_id,
        "expires_at": view.order.expires_at,
        "total": quote.total_ducats.display(),
        "ducats": {reference: each.display() for reference, each in ducats.items()},
        "credited": sum(ducats.values(), Money(DUCAT, 0)).display(),
        "arrived": _arrived(view),
        "bonus": quote.bonus.display() if quote.bonus.units else None,
        "dollars": f"${quote.price.display()}",
        "card": None if cascade.card is None else f"/pay/{token}/card",
        "test_mode": cascade.card is not None and cascade.card.stripe.test_mode,
        "returned": returned,
        "problem": problem,
        "terms": terms,
        "network": wallet["network"]["chainName"],
        "wallet": wallet,
    }
    return templates.TemplateResponse(request, "pay.html", context, status_code)


def _arrived(view: OrderView) -> str | None:
    """What has come of the price, while a part is missing."""
    if view.missing is None:
        return None
    arrived = view.order.quote.price_in(view.missing.asset) - view.missing
    return f"{exact(arrived.plain)} {arrived.asset.code}"


def _network(cascade: Cascade) -> dict[str, Any]:
    """The chain as a wallet that does not know it wants it (EIP-3085)."""
    chain, configured = cascade.deployment.chain, cascade.settings
    # On a local test chain the true Polygon would be the wrong one; its RPC URL is no secret.
    local = [configured.rpc_url.get_secret_value()] if configured.test_payer_key else None
    return {
        "chainId": hex(chain.chain_id),
        "chainName": f"{chain.name} (local test)" if local else chain.name,
        "nativeCurrency": {"name": chain.currency, "symbol": chain.currency, "decimals": 18},
        "rpcUrls": local or chain.public_rpc_urls,
        "blockExplorerUrls": [chain.explorer],
    }
