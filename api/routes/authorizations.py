"""Payments that their payers only sign, and that we send: what to sign, and what was signed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import Relayed, System
from api.idempotency import IdempotentRoute
from api.problems import documented
from api.schemas.authorizations import AuthorizationIn, AuthorizationOut, RelayedOut, Token
from api.schemas.purchases import Address
from cascade.app import App
from cascade.db.database import Conn
from cascade.domain.money import USDC
from cascade.domain.orders import ChainTerms
from cascade.services.order_view import lock_signable
from cascade.services.signed_payments import queued

router = APIRouter(prefix="/api/payments/orders/{order_id}", tags=["payments"], route_class=IdempotentRoute)


@router.get("/authorization", responses=documented(404, 409, 422, 503))
def authorization(
    order_id: str,
    payer: Annotated[Address, Query()],
    app: System,
    signed_payments: Relayed,
    token: Annotated[Token, Query()] = USDC.code,
) -> AuthorizationOut:
    """Return what a payer is to sign so that we send the payment and pay its fees, and what would be in the way."""
    account = signed_payments.payer(payer)
    with app.database.transaction() as connection:
        terms = _open_terms(app, connection, order_id, token, only_looks=True)
    # The node is asked outside of any transaction: a slow one would hold the order, and a connection of the pool.
    return AuthorizationOut.of(order_id, account, terms.token.code, signed_payments.offer(terms, account))


@router.post("/authorization", status_code=202, responses=documented(400, 404, 409, 413, 422, 503))
def send_authorization(order_id: str, signed: AuthorizationIn, app: System, signed_payments: Relayed) -> RelayedOut:
    """Take a signed payment, to be sent at once. The same one again is answered with how it stands."""
    account, signature = signed_payments.payer(signed.payer), signed.signature_bytes
    with app.database.transaction() as connection:
        there = queued(connection, order_id, account, signature)
        if there is not None:
            return RelayedOut.of_item(there)
        terms = _open_terms(app, connection, order_id, signed.token)
    has_code = signed_payments.check(terms, account, signature)
    with app.database.transaction() as connection:
        return RelayedOut.of_item(signed_payments.queue(connection, order_id, terms, account, signature, has_code))


def _open_terms(app: App, connection: Conn, order_id: str, token: str, *, only_looks: bool = False) -> ChainTerms:
    view = lock_signable(connection, order_id, only_looks=only_looks)
    return app.checkout.terms(connection, view.order, token)
