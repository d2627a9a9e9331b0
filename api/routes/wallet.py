"""How an account pays an order from its wallet: what it signs and sends, so that a page needs no ABI and no thought."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.authorization_schemas import Token
from api.dependencies import System
from api.problems import documented
from api.schemas import Address, CallOut
from api.wallet_schemas import PermitIn, WalletPlanOut, call_of
from cascade.bootstrap import Cascade
from cascade.domain.orders import Order
from cascade.gasless import check_open
from cascade.store import orders
from cascade.store.database import Conn
from cascade.wallet_plan import check_unsent

router = APIRouter(prefix="/api/payments/orders/{order_id}", tags=["payments"])


@router.get("/wallet", responses=documented(404, 409, 422, 503))
def wallet(
    order_id: str,
    payer: Annotated[Address, Query()],
    cascade: System,
    token: Annotated[Token | None, Query()] = None,
) -> WalletPlanOut:
    """How an account pays an order best, in one stablecoin or in whichever is best, and what would be in the way."""
    account, checkout = cascade.wallets.payer(payer), cascade.checkout
    only = None if token is None else checkout.stablecoin(token)[0]
    with cascade.database.transaction() as connection:
        order = _open_order(cascade, connection, order_id)
        asked = [checkout.terms(connection, order, asset.code) for asset in cascade.deployment.chain.stablecoins]
        relays = cascade.gasless is not None and cascade.gasless.has_share(connection, account)
    # The node is asked outside of any transaction: a slow one would hold the order, and a connection of the pool.
    return WalletPlanOut.of(order_id, cascade.wallets.plan(account, asked, relays=relays, token=only))


@router.post("/permit", responses=documented(400, 404, 409, 413, 422, 503))
def permit(order_id: str, signed: PermitIn, cascade: System) -> CallOut:
    """Take a signed permit; answers the one transaction that allows and pays, for the payer's wallet to send."""
    account = cascade.wallets.payer(signed.payer)
    with cascade.database.transaction() as connection:
        order = _open_order(cascade, connection, order_id)
        terms = cascade.checkout.terms(connection, order, signed.token)
    return call_of(cascade.wallets.permit(terms, account, signed.signature_bytes))


def _open_order(cascade: Cascade, connection: Conn, order_id: str) -> Order:
    view = cascade.checkout.view(connection, orders.by_id(connection, order_id))
    check_open(view.status)
    check_unsent(view.relay)
    return view.order
