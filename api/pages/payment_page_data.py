"""Prepare the data of the payment page and of its modules; the words are in the templates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from api.schemas.orders import OrderOut
from cascade.app import App
from cascade.domain.card_payments import IntentStatus
from cascade.domain.money import DUCAT, Money
from cascade.domain.order_events import EventType
from cascade.domain.orders import OrderStatus
from cascade.domain.payment_links import in_metamask
from cascade.domain.relay_items import RelayKind, RelayState
from cascade.services.order_view import OrderView


class Phase(StrEnum):
    """The state of a payer: mostly that of the order."""

    OPEN = "open"
    PART = "part"
    """A part of the price has come: the rest can be transferred."""
    RETURNED = "returned"
    """Stripe has sent the payer back. That says nothing by itself: only Stripe's word counts."""
    SENDING = "sending"
    """The payer has done everything; it is with us to put the payment on chain."""
    SEEN = "seen"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    EXPIRED = "expired"
    RENEWED = "renewed"
    """Expired, and there is a newer order in its place."""
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """The state of an order at one moment.

    Attributes:
        view: how it stands.
        seconds_left: until its price runs out; 0 when it has.
        newest_event: the number of its newest event.
        renewal: the link token of the order in its place; None when there is none.
        email: where receipts go; None: nowhere.
    """

    view: OrderView
    seconds_left: int
    newest_event: int
    renewal: str | None = None
    email: str | None = None


def phase_of(moment: OrderSnapshot, *, returned: bool) -> Phase:
    """Return where the payer stands. ``returned``: Stripe has sent the payer back."""
    status = moment.view.status
    if status not in (OrderStatus.OPEN, OrderStatus.EXPIRED):
        return Phase(status)
    missing = moment.view.missing
    under_way = (RelayState.QUEUED, RelayState.SENT)
    signed = any(item.state in under_way and item.kind is not RelayKind.COLLECT for item in moment.view.relay)
    if signed or (missing is not None and not missing.units):
        return Phase.SENDING
    if returned:
        return Phase.RETURNED
    if moment.renewal:
        return Phase.RENEWED
    return Phase.PART if missing else Phase(status)


def context_of(app: App, moment: OrderSnapshot, *, returned: bool) -> dict[str, Any]:
    """Return what the template is given."""
    view, chain = moment.view, app.deployment.chain
    sold, here = view.order.quote, f"/pay/{view.order.link_token}"
    granted = {payment.reference: payment.grant.total for payment in view.payments if payment.grant}
    address = f"{app.settings.base_url}{here}"
    network = _network(app)
    missing = view.missing if view.missing and view.missing.units else None
    return {
        "phase": phase_of(moment, returned=returned),
        "order": OrderOut.of(view, chain, collects=app.settings.has_relayer),
        "at_the_bank": any(intent.status is IntentStatus.PROCESSING for intent in view.intents),
        "reversals": view.reversals,
        "email": moment.email,
        "paid_at": max((payment.recorded_at for payment in view.payments if payment.grant), default=None),
        "citizen_id": view.order.citizen_id,
        "expires_at": view.order.expires_at,
        "price": sold.price,
        "total": sold.total_ducats,
        "bought": sold.ducats,
        "bonus": sold.bonus if sold.bonus.units else None,
        "rate": str(sold.rate),
        "credits": granted,
        "credited": sum(granted.values(), Money(DUCAT, 0)),
        "missing": missing,
        "arrived": sold.price_in(missing.asset) - missing if missing else None,
        "coins": [asset.code for asset in chain.stablecoins],
        "card": app.card is not None,
        "test_mode": app.card is not None and app.card.stripe.test_mode,
        "router": app.deployment.router,
        "network": network["chainName"],
        "here": here,
        "renewal": f"/pay/{moment.renewal}" if moment.renewal else None,
        "metamask": in_metamask(address),
        "mail": f"mailto:?body={quote(address, safe='')}",
        "data": _data(app, moment, network),
    }


def _data(app: App, moment: OrderSnapshot, network: dict[str, Any]) -> dict[str, Any]:
    """Return what the page's modules are given: they know no ABI, no address and no wording of money."""
    return {
        "order": f"/api/payments/orders/{moment.view.order.id}",
        "events": list(EventType),
        "newest": moment.newest_event,
        "seconds_left": moment.seconds_left,
        "network": network,
        "router": app.deployment.router,
        "walletconnect": _walletconnect(app),
    }


def _walletconnect(app: App) -> dict[str, Any] | None:
    """Return what a wallet on another device is told of us; None: there is no project id, and so no WalletConnect
    here."""
    settings, chain = app.settings, app.deployment.chain
    if settings.walletconnect_project_id is None:
        return None
    return {
        "projectId": settings.walletconnect_project_id,
        "relayUrl": settings.walletconnect_relay_url,
        "chainId": chain.chain_id,
        "name": "Venice",
        "url": settings.base_url,
    }


def _network(app: App) -> dict[str, Any]:
    """Return the chain as a wallet that does not know it wants it (EIP-3085)."""
    chain, configured = app.deployment.chain, app.settings
    # On a local test chain the true Polygon would be the wrong one; its RPC URL is no secret.
    local = [configured.rpc_url.get_secret_value()] if configured.test_payer_key else None
    return {
        "chainId": hex(chain.chain_id),
        "chainName": f"{chain.name} (local test)" if local else chain.name,
        "nativeCurrency": {"name": chain.currency, "symbol": chain.currency, "decimals": 18},
        "rpcUrls": local or chain.public_rpc_urls,
        "blockExplorerUrls": [chain.explorer],
    }
