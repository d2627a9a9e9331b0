"""`make demo`: buys ducats with real transactions, waits for the credits, and checks that both halves arrived."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from sandbox.box import Box
from sandbox.ports import free_port
from sandbox.wallet import Wallet

_PATIENCE_SECONDS = 60.0
_CITIZEN = "Marco_Polo"
_WISHES = (
    {"package": "merchant", "token": "USDC"},
    {"usd_amount": "25.01", "token": "USDT"},
)


class DemoFailed(Exception):
    """What was bought, paid or credited is not what it should be."""


@dataclass(frozen=True)
class Purchase:
    """One order and how it ended."""

    intent: Mapping[str, Any]
    order: Mapping[str, Any]
    seconds: float


def run(console: Console) -> None:
    """Runs the whole system on free ports in a temporary folder and buys in it.

    Raises DemoFailed when anything is not as it should be.
    """
    with tempfile.TemporaryDirectory(prefix="cascade-demo-") as folder:
        with console.status("Starting PostgreSQL, a local Polygon, the router and Cascade ..."):
            box = Box.start(Path(folder), free_port())
        with box:
            purchases = _buy(console, box.endpoints)
            console.print(_table(purchases))
            _check(console, box.endpoints, purchases)


def _buy(console: Console, endpoints: Mapping[str, Any]) -> list[Purchase]:
    wallet = Wallet(endpoints["rpc_url"], endpoints["funded_key"])
    try:
        with httpx.Client(base_url=endpoints["api"], timeout=10, trust_env=False) as api:
            purchases = []
            for wish in _WISHES:
                what = wish.get("package") or f"{wish['usd_amount']} USD"
                with console.status(f"Buying {what} in {wish['token']} ..."):
                    purchases.append(_purchase(api, wallet, wish))
            return purchases
    finally:
        wallet.close()


def _purchase(api: httpx.Client, wallet: Wallet, wish: Mapping[str, str]) -> Purchase:
    started = time.monotonic()
    answer = api.post("/api/payments/crypto-payment-intent", json={"citizen_id": _CITIZEN, **wish})
    if answer.status_code != 201:
        raise DemoFailed(f"the order {wish} was refused: {answer.text}")
    intent = answer.json()
    for call in intent["calls"]:
        wallet.receipt(wallet.send(call["to"], call["data"]))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        order = api.get(f"/api/payments/orders/{intent['order_id']}").json()
        if order["status"] == "fulfilled":
            return Purchase(intent, order, time.monotonic() - started)
        time.sleep(0.2)
    raise DemoFailed(f"order {intent['order_id']} is {order['status']} after {_PATIENCE_SECONDS} s, not fulfilled")


def _table(purchases: Sequence[Purchase]) -> Table:
    table = Table(title="Bought and credited")
    for name in ("order", "rail", "token", "amount", "transaction", "ducats", "seconds"):
        table.add_column(name, overflow="fold")  # never cut off: people copy from here
    for purchase in purchases:
        (payment,) = purchase.order["payments"]
        ducats, bonus = purchase.order["ducats"], purchase.order["bonus"]
        table.add_row(
            purchase.order["order_id"],
            payment["rail"],
            payment["token"],
            payment["amount_display"],
            payment["transaction"],
            ducats if bonus == "0" else f"{ducats} + {bonus}",
            f"{purchase.seconds:.1f}",
        )
    return table


def _check(console: Console, endpoints: Mapping[str, Any], purchases: Sequence[Purchase]) -> None:
    """Holds the chain and the ledger against what was bought. Amounts are the tokens' smallest units."""
    wallet = Wallet(endpoints["rpc_url"], endpoints["funded_key"])
    try:
        for token, address in endpoints["tokens"].items():
            paid = [int(p.intent["amount"]) for p in purchases if p.intent["token"] == token]
            partner = sum(amount // 2 for amount in paid)
            halves = {"treasury": (endpoints["safe"], sum(paid) - partner), "partner": (endpoints["partner"], partner)}
            for side, (holder, expected) in halves.items():
                _expect(console, f"{side} got {token}", wallet.balance(address, holder), expected)
    finally:
        wallet.close()
    balance = httpx.get(f"{endpoints['api']}/api/citizens/{_CITIZEN}/balance", timeout=10, trust_env=False).json()
    expected = (2_500 + 250) * 10**6 + 250_100_000
    _expect(console, f"{_CITIZEN} holds DUCAT", int(balance["units"]), expected)


def _expect(console: Console, what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise DemoFailed(f"{what}: {actual} units, expected {expected}")
    console.print(f"[green]✓[/] {what}: {actual:,} units")
