"""Honest payers: they sign, transfer, pay from their wallets and by card, all the while."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Final

from benchmarks.soak.judge import Payment
from benchmarks.soak.shop import DUCAT, Book, GaveUp, Shop
from benchmarks.soak.world import BLOCK_SECONDS, Purse, World
from sandbox.polygon import TOKENS, NodeError
from sandbox.wallet import Wallet

_AT_ONCE: Final = 80
_OPENING_SECONDS: Final = 90.0
_BEFORE_DEADLINE: Final = (2.5, 8.0)
"""How many seconds before its order's deadline a late transfer is in a block."""
_LOOK_SECONDS: Final = 0.5
SIGNED_USDC, SIGNED_USDT, TRANSFER = "USDC signed", "USDT signed", "transfer"
LAST_MOMENT, PARTS, WALLET, CARD = "transfer, last moment", "transfer, two parts", "own wallet", "card"
KINDS: Final = (SIGNED_USDC, SIGNED_USDT, TRANSFER, LAST_MOMENT, PARTS, WALLET, CARD)


class Payers:
    """Begin payments at a rate, each in a thread; any kind is as likely as any other."""

    def __init__(self, parts: World, book: Book, seed: int) -> None:
        self._parts = parts
        self._book = book
        self._draw = random.Random(seed)
        self._shop = Shop(parts.api, book, random.Random(seed + 1))
        self._purses: queue.Queue[Purse] = queue.Queue()
        for key in parts.wallets:
            self._purses.put(Purse(parts, key))
        self._signers = {
            token: [Wallet(parts.polygon.rpc_url, key) for key in keys] for token, keys in parts.signers.items()
        }
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="payer")
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._ways: dict[str, Callable[[Payment], None]] = {
            SIGNED_USDC: lambda payment: self._sign(payment, "USDC"),
            SIGNED_USDT: lambda payment: self._sign(payment, "USDT"),
            TRANSFER: self._transfer,
            LAST_MOMENT: self._transfer_at_last,
            PARTS: self._transfer_twice,
            WALLET: self._pay_from_wallet,
            CARD: self._pay_by_card,
        }

    def run(self, rate: float, until: float, over: threading.Event) -> None:
        """Begin so many payments a second until a monotonic time; what waits for its deadline begins no later."""
        lifetime = self._parts.order_minutes * 60
        number = 0
        while not over.wait(self._draw.uniform(0.2, 1.8) / rate) and (now := time.monotonic()) < until:
            kind = KINDS[number % len(KINDS)]
            number += 1
            if kind == LAST_MOMENT and now + lifetime > until:
                kind = TRANSFER
            if self._room.acquire(blocking=False):
                self._pool.submit(self._pay, self._book.begin(kind))
            else:
                self._book.error(f"more than {_AT_ONCE} payers at once: a payment was not begun")

    def close(self) -> None:
        """Wait for all that were begun."""
        self._pool.shutdown()
        self._shop.close()
        while not self._purses.empty():
            self._purses.get().close()
        for wallets in self._signers.values():
            for wallet in wallets:
                wallet.close()

    def _pay(self, payment: Payment) -> None:
        try:
            self._ways[payment.kind](payment)
        except (GaveUp, NodeError, TimeoutError) as error:
            payment.refused = str(error)[:400]
        except Exception as error:  # noqa: BLE001 - one payer's surprise ends no other payer
            payment.refused = f"{type(error).__name__}: {error}"[:400]
            self._book.error(f"the payer of a {payment.kind} met {type(error).__name__}")
        finally:
            self._room.release()

    def _open(self, payment: Payment, token: str | None = None) -> tuple[dict[str, Any], float]:
        """An order, and when it expires."""
        token = token or self._draw.choice(list(TOKENS))
        intent = self._shop.open(payment, token, time.time() + _OPENING_SECONDS)
        return intent, float(intent["terms"]["expiresAt"])

    def _sign(self, payment: Payment, token: str) -> None:
        _, expires_at = self._open(payment, token)
        signer = self._draw.choice(self._signers[token])
        path = f"/api/payments/orders/{payment.order_id}/authorization"
        offer = self._shop.get(path, expires_at, payer=signer.address, token=token)
        if offer["obstacle"] is not None:
            raise GaveUp(f"an obstacle: {offer['obstacle']['reason']}")
        body = {"payer": signer.address, "signature": signer.sign(offer["typed_data"]), "token": token}
        sent_at = time.time()
        self._shop.post(path, body, expires_at)
        payment.made_at = sent_at

    def _transfer(self, payment: Payment) -> None:
        intent, expires_at = self._open(payment)
        self._send(payment, intent, payment.price, expires_at)

    def _transfer_at_last(self, payment: Payment) -> None:
        intent, expires_at = self._open(payment)
        begin = expires_at - self._draw.uniform(*_BEFORE_DEADLINE) - BLOCK_SECONDS
        time.sleep(max(0.0, begin - time.time()))
        self._send(payment, intent, payment.price, expires_at)

    def _transfer_twice(self, payment: Payment) -> None:
        intent, expires_at = self._open(payment)
        first = payment.price // self._draw.randint(2, 4)
        self._send(payment, intent, first, expires_at)
        payment.made_at = None  # not before all has come
        time.sleep(self._draw.uniform(0.0, 10.0))
        self._send(payment, intent, payment.price - first, expires_at)

    def _send(self, payment: Payment, intent: dict[str, Any], units: int, expires_at: float) -> None:
        """A plain transfer; it is made when its block is."""
        purse = self._purses.get()
        try:
            token = TOKENS[intent["token"]].address
            receipt = purse.mined(purse.wallet.transfer(token, intent["deposit_address"], units))
        finally:
            self._purses.put(purse)
        if receipt["status"] != "0x1":
            raise GaveUp("the transfer reverted")
        payment.withdrawn = receipt["time"] >= expires_at
        payment.made_at = receipt["time"]

    def _pay_from_wallet(self, payment: Payment) -> None:
        intent, _ = self._open(payment)
        purse = self._purses.get()
        try:
            for call in intent["calls"]:
                receipt = purse.mined(purse.wallet.send(call["to"], call["data"]))
        finally:
            self._purses.put(purse)
        if receipt["status"] != "0x1":
            raise GaveUp("the payment reverted")
        payment.made_at = receipt["time"]

    def _pay_by_card(self, payment: Payment) -> None:
        session = self._shop.open_for_card(payment, time.time() + _OPENING_SECONDS)
        time.sleep(self._draw.uniform(0.5, 5.0))
        self._parts.stripe.control.pay_session(session["session_id"])
        payment.made_at = time.time()


def follow(parts: World, book: Book, over: threading.Event) -> None:
    """Note when Venice first holds all ducats of each payment."""
    while True:
        is_last = over.wait(_LOOK_SECONDS)
        held = held_by_venice(parts)
        now = time.time()
        with book.lock:
            waiting = [p for p in book.payments if p.credited_at is None and p.ducats]
        for payment in waiting:
            if held.get(payment.citizen, 0) >= payment.ducats:
                payment.credited_at = now
        if is_last:
            return


def held_by_venice(parts: World) -> dict[str, int]:
    """Millionths of a ducat that were moved to each citizen, every time counted."""
    held: dict[str, int] = {}
    for transfer in parts.venice.control.transfers():
        held[transfer.target] = held.get(transfer.target, 0) + int(Decimal(transfer.amount) * DUCAT)
    return held


def undecided(book: Book) -> int:
    """How many payments are made and not credited yet."""
    with book.lock:
        return sum(p.made_at is not None and p.credited_at is None and not p.withdrawn for p in book.payments)
