"""The payment plan of an account: what it signs and sends, so that a page needs no ABI."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import System
from api.idempotency import IdempotentRoute
from api.problems import documented
from api.schemas.authorizations import Token
from api.schemas.purchases import Address, CallOut
from api.schemas.wallet import PermitIn, WalletPlanOut, call_of
from cascade.app import App
from cascade.db.database import Conn
from cascade.domain.orders import ChainTerms
from cascade.services.order_view import lock_signable

router = APIRouter(prefix="/api/payments/orders/{order_id}", tags=["payments"], route_class=IdempotentRoute)


@router.get("/wallet", responses=documented(404, 409, 422, 503))
def wallet(
    order_id: str,
    payer: Annotated[Address, Query()],
    app: System,
    token: Annotated[Token | None, Query()] = None,
) -> WalletPlanOut:
    """Return how an account pays an order best, in one stablecoin or in whichever is best, and what would be in the
    way."""
    account = app.wallets.payer(payer)
    only = None if token is None else app.checkout.stablecoin(token)[0]
    with app.database.transaction() as connection:
        asked = _open_terms(app, connection, order_id)
        relays = app.signed_payments is not None and app.signed_payments.within_quota(connection, account)
    # The node is asked outside of any transaction: a slow one would hold the order, and a connection of the pool.
    return WalletPlanOut.of(order_id, app.wallets.plan(account, asked, relays=relays, token=only))


@router.post("/permit", responses=documented(400, 404, 409, 413, 422, 503))
def permit(order_id: str, signed: PermitIn, app: System) -> CallOut:
    """Take a signed permit; answers the one transaction that allows and pays, for the payer's wallet to send."""
    account, (token, _) = app.wallets.payer(signed.payer), app.checkout.stablecoin(signed.token)
    with app.database.transaction() as connection:
        asked = _open_terms(app, connection, order_id)
    return call_of(app.wallets.permit(account, asked, signed.signature_bytes, token=token))


def _open_terms(app: App, connection: Conn, order_id: str) -> list[ChainTerms]:
    """Return what an open order asks for, in every stablecoin."""
    view = lock_signable(connection, order_id)
    stablecoins = app.deployment.chain.stablecoins
    return [app.checkout.terms(connection, view.order, asset.code) for asset in stablecoins]
