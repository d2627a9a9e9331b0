"""Orders and payments for tests, made the way the product makes them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from cascade.adapters.chain.router_logs import payment_calls
from cascade.chains import POLYGON, Deployment
from cascade.db.database import Database
from cascade.domain.catalogue import Catalogue
from cascade.domain.money import Asset, Money
from cascade.domain.orders import ChainTerms
from cascade.domain.payments import ConfirmedPayment, Rail
from cascade.domain.reversals import Reversal, ReversalKind
from cascade.services.checkout import Checkout
from cascade.services.order_view import OrderView
from sandbox.polygon import LocalPolygon
from sandbox.wallet import Wallet

CATALOGUE = Catalogue.from_toml((files("cascade") / "catalogue.toml").read_text())
NOWHERE = Deployment(POLYGON, "0x" + "12" * 20, 1, "0x" + "00" * 32, "0x" + "13" * 20, "0x" + "14" * 20)
"""A router for tests that need no chain."""

_blocks = itertools.count(1)


def write_nowhere(folder: Path) -> Path:
    """Its deployment record, as a file."""
    usdc, usdt = POLYGON.stablecoins.values()
    arguments = {"usdc": usdc, "usdt": usdt, "treasury": NOWHERE.treasury, "partner": NOWHERE.partner}
    record = {"chain_id": 137, "router": NOWHERE.router, "block_number": 1, "code_hash": NOWHERE.code_hash}
    path = folder / "137.json"
    path.write_text(json.dumps({**record, "arguments": arguments}))
    return path


def open_order(
    database: Database,
    deployment: Deployment = NOWHERE,
    *,
    citizen: str = "Marco_Polo",
    package: str | None = "merchant",
    usd: str | None = None,
    token: str = "USDC",  # noqa: S107 - a stablecoin
) -> OrderView:
    """A new order, stored."""
    checkout = Checkout(CATALOGUE, deployment, order_minutes=15)
    with database.transaction() as connection:
        return checkout.open_order(
            connection, citizen_id=citizen, package=None if usd else package, usd_amount=usd, token=token
        )


def confirmed(terms: ChainTerms, *, reference: str | None = None, amount: Money | None = None) -> ConfirmedPayment:
    """A payment of these terms that has arrived; by default of the exact amount, at a place of its own."""
    received = amount or terms.amount
    partner = received.units // 2
    return ConfirmedPayment(
        reference=reference or f"chain:137:{next(_blocks)}:0",
        rail=Rail.CHAIN,
        order_key=terms.on_chain_order_id,
        received=received,
        landed={"treasury": received.units - partner, "partner": partner},
        payer="0x" + "22" * 20,
        transaction="0x" + "33" * 32,
    )


def collected(terms: ChainTerms, units: int, asset: Asset | None = None, *, late: bool = False) -> ConfirmedPayment:
    """A plain transfer of any amount that was collected for these terms, at the last moment or a second later."""
    last_second = datetime.fromtimestamp(terms.expires_at - (0 if late else 1), UTC)
    payment = confirmed(terms, amount=Money(asset or terms.token, units))
    return replace(payment, collected=True, paid_at=last_second)


def refund(payment: ConfirmedPayment, units: int | None = None, *, reference: str | None = None) -> Reversal:
    """Money of a payment that goes back, by default all of it, from where it landed."""
    landed = dict(payment.landed)
    if units is not None:
        landed = {next(iter(landed)): units}
    amount = Money(payment.received.asset, sum(landed.values()))
    made = reference or f"refund:{next(_blocks)}"
    return Reversal(made, payment.reference, ReversalKind.REFUND, amount, landed)


def came_again(reversal: Reversal) -> Reversal:
    """The same money, ours again."""
    return replace(reversal, reference=f"{reversal.reference}:failed", kind=ReversalKind.REFUND_FAILED)


def pay(polygon: LocalPolygon, terms: ChainTerms, *, payer: int = 1) -> str:
    """Mints what the terms ask for to a development account, approves and pays with real transactions.

    Returns:
        The hash of the payment's transaction.
    """
    polygon.mint(terms.token.code, polygon.accounts[payer], terms.units)
    wallet = Wallet(polygon.rpc_url, polygon.keys[payer])
    try:
        for call in payment_calls(terms):
            sent = wallet.send(call.to, call.data)
            wallet.receipt(sent)
        return sent
    finally:
        wallet.close()


def balance_of(database: Database, account: str, asset: str = "DUCAT") -> int:
    """Credits minus debits of an account, in units."""
    from cascade.db import balances

    with database.transaction() as connection:
        return balances.balance(connection, account, asset).units
