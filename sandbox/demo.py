"""`make demo`: buys ducats with real transactions and by card, waits for the credits, and checks what arrived where."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox.operator_drill import DemoFailed as DemoFailed
from sandbox.operator_drill import Rehearsal
from sandbox.ports import free_port
from sandbox.stack import Stack
from sandbox.wallet import Wallet

_PATIENCE_SECONDS = 60.0
_CITIZEN = "Marco_Polo"
_WISHES = (
    {"package": "merchant", "token": "USDC"},
    {"usd_amount": "25.01", "token": "USDT"},
)
_GASLESS = {"package": "starter", "token": "USDC"}
_BY_TRANSFER = {"usd_amount": "12.50", "token": "USDT"}
_BY_CARD = {"package": "explorer"}
_TEST_CARD = {
    "method": "card",
    "number": "4242 4242 4242 4242",
    "expiry": "12 / 34",
    "cvc": "123",
    "name": "Marco Polo",
}


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
        with console.status(
            "Starting PostgreSQL, a local Polygon, the router, doubles of Stripe and Venice, and Cascade ..."
        ):
            box = Stack.start(Path(folder), free_port())
        with box:
            with Rehearsal(box) as rehearsal:
                purchases = _buy_from_wallet(console, box.endpoints, rehearsal)
                purchases += _buy_by_card(console, box.endpoints)
                console.print(_table(purchases))
                _check(console, box.endpoints, purchases)
                _show_inbox(console, box.endpoints, purchases)
                with console.status("Operators pause payments and let them go on, with two signatures of the Safe ..."):
                    done = rehearsal.done()
            for step in done:
                console.print(f"[green]✓[/] {step}")


def _buy_from_wallet(console: Console, endpoints: Mapping[str, Any], rehearsal: Rehearsal) -> list[Purchase]:
    wallet = Wallet(endpoints["rpc_url"], endpoints["funded_key"])
    try:
        with httpx.Client(base_url=endpoints["api"], timeout=10, trust_env=False) as api:
            begun = []
            for wish in _WISHES:
                what = wish.get("package") or f"{wish['usd_amount']} USD"
                with console.status(f"Paying for {what} in {wish['token']} ..."):
                    begun.append((time.monotonic(), _pay_from_wallet(api, wallet, wish)))
            with console.status("Paying with one signature, from an account that has no POL ..."):
                begun.append((time.monotonic(), _pay_with_a_signature(api, wallet, endpoints)))
            with console.status("Paying with a plain transfer to the order's own address ..."):
                begun.append((time.monotonic(), _pay_by_transfer(api, wallet, endpoints)))
            with console.status("Waiting until both are sent on ..."):
                for _, intent in begun[-2:]:
                    _fulfilled(api, intent)
            rehearsal.pause()  # all payments on chain are made
            with console.status("Waiting until the payments are final and the ducats are credited ..."):
                return [
                    Purchase(intent, _fulfilled(api, intent), time.monotonic() - started) for started, intent in begun
                ]
    finally:
        wallet.close()


def _buy_by_card(console: Console, endpoints: Mapping[str, Any]) -> list[Purchase]:
    if "stripe_double" not in endpoints:
        console.print("STRIPE_SECRET_KEY is set: on Stripe's own page only a person can pay, so no card is used.")
        return []
    with (
        console.status(f"Buying {_BY_CARD['package']} by card ..."),
        httpx.Client(base_url=endpoints["api"], timeout=10, trust_env=False) as api,
    ):
        return [_pay_by_card(api)]


def _pay_from_wallet(api: httpx.Client, wallet: Wallet, wish: Mapping[str, str]) -> Mapping[str, Any]:
    intent = _begin(api, "crypto-payment-intent", wish)
    for call in intent["calls"]:
        wallet.receipt(wallet.send(call["to"], call["data"]))
    return intent


def _pay_with_a_signature(api: httpx.Client, giver: Wallet, endpoints: Mapping[str, Any]) -> Mapping[str, Any]:
    """A citizen with USDC and without POL: signs, and somebody else pays the network's fee."""
    intent = _begin(api, "crypto-payment-intent", _GASLESS)
    citizen = Wallet(endpoints["rpc_url"], "0x" + secrets.token_bytes(32).hex())
    try:
        giver.receipt(giver.transfer(endpoints["tokens"]["USDC"], citizen.address, int(intent["amount"])))
        path = f"/api/payments/orders/{intent['order_id']}/authorization"
        offer = api.get(path, params={"payer": citizen.address}).raise_for_status().json()
        if offer["obstacle"] is not None:
            raise DemoFailed(f"{citizen.address} cannot pay with a signature: {offer['obstacle']}")
        answer = api.post(path, json={"payer": citizen.address, "signature": citizen.sign(offer["typed_data"])})
        if answer.status_code != 202 or citizen.pol() != 0:
            raise DemoFailed(f"the signature of {citizen.address}, who holds {citizen.pol()} wei, got {answer.text}")
    finally:
        citizen.close()
    return intent


def _pay_by_transfer(api: httpx.Client, exchange: Wallet, endpoints: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an exchange does at a withdrawal: it transfers, and knows nothing of orders."""
    intent = _begin(api, "crypto-payment-intent", _BY_TRANSFER)
    token = endpoints["tokens"][intent["token"]]
    exchange.receipt(exchange.transfer(token, intent["deposit_address"], int(intent["amount"])))
    return intent


def _pay_by_card(api: httpx.Client) -> Purchase:
    """Sends the form on Stripe's page, as a payer's browser does."""
    started = time.monotonic()
    session = _begin(api, "checkout-session", _BY_CARD)
    answer = httpx.post(session["url"], data=_TEST_CARD, timeout=10, trust_env=False)
    if answer.status_code != 303:
        raise DemoFailed(f"the card was refused on {session['url']}: HTTP {answer.status_code}")
    return Purchase(session, _fulfilled(api, session), time.monotonic() - started)


def _begin(api: httpx.Client, way: str, wish: Mapping[str, str]) -> dict[str, Any]:
    answer = api.post(f"/api/payments/{way}", json={"citizen_id": _CITIZEN, **wish})
    if answer.status_code != 201:
        raise DemoFailed(f"the order {wish} was refused: {answer.text}")
    begun: dict[str, Any] = answer.json()
    return begun


def _fulfilled(api: httpx.Client, begun: Mapping[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        order: dict[str, Any] = api.get(f"/api/payments/orders/{begun['order_id']}").json()
        if order["status"] == "fulfilled":
            return order
        time.sleep(0.2)
    raise DemoFailed(f"order {begun['order_id']} is {order['status']} after {_PATIENCE_SECONDS} s, not fulfilled")


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
            paid = [int(p.intent["amount"]) for p in purchases if p.intent.get("token") == token]
            partner = sum(amount // 2 for amount in paid)
            halves = {"treasury": (endpoints["safe"], sum(paid) - partner), "partner": (endpoints["partner"], partner)}
            for side, (holder, expected) in halves.items():
                _expect(console, f"{side} got {token}", wallet.balance(address, holder), expected)
    finally:
        wallet.close()
    orders = [purchase.order for purchase in purchases]
    expected = int(sum(Decimal(order["ducats"]) + Decimal(order["bonus"]) for order in orders) * 10**6)
    balance = _get(endpoints["api"], f"/api/citizens/{_CITIZEN}/balance")
    _expect(console, f"by our ledger {_CITIZEN} holds DUCAT in Venice", int(balance["in_venice_units"]), expected)
    citizens = _get(endpoints["venice"], "/api/citizens", Username=_CITIZEN)["citizens"]
    _expect(console, f"by Venice {_CITIZEN} holds DUCAT", int(Decimal(str(citizens[0]["ducats"])) * 10**6), expected)
    for purchase in purchases:
        reference = purchase.order["payments"][0]["reference"]
        transfers = _get(endpoints["venice"], "/api/stratagems", type="transfer_ducats", TargetCitizen=_CITIZEN)
        marks = [t for t in transfers["stratagems"] if f"[cascade:{reference}#" in t["notes"]]
        if [t["status"] for t in marks] != ["executed"]:
            raise DemoFailed(f"{reference}: Venice shows {len(marks)} transfers, expected one that is executed")
        console.print(f"[green]✓[/] Venice executed {marks[0]['stratagemId']} for {reference}, once")


def _show_inbox(console: Console, endpoints: Mapping[str, Any], purchases: Sequence[Purchase]) -> None:
    """What the citizen was told, newest first; one receipt for each purchase."""
    inbox = _get(endpoints["api"], f"/api/citizens/{_CITIZEN}/notifications")["notifications"]
    for notification in inbox:
        body = Text(notification["body"].strip(), overflow="fold")  # never cut off
        console.print(Panel(body, title=notification["title"], title_align="left"), soft_wrap=False)
    told = sorted(notification["order_id"] for notification in inbox)
    bought = sorted(purchase.order["order_id"] for purchase in purchases)
    if told != bought:
        raise DemoFailed(f"{_CITIZEN} was told of {told}, but bought {bought}")


def _get(base: str, path: str, **query: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(base + path, params=query, timeout=10, trust_env=False).raise_for_status().json()
    return found


def _expect(console: Console, what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise DemoFailed(f"{what}: {actual} units, expected {expected}")
    console.print(f"[green]✓[/] {what}: {actual:,} units")
