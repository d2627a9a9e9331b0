"""The API as payers meet it: they try again while it fails, lose some of its answers, and send some things twice."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from benchmarks.soak.judge import Payment

_PATIENCE_SECONDS = 10.0
_LOST_ANSWERS = 0.1
_PAUSE_SECONDS = 0.7
_MOST_KEPT = 20
DUCAT = 10**6


class GaveUp(Exception):
    """The payer cannot pay; the message says what the API said last."""


@dataclass
class Book:
    """All honest payments, and what went wrong on the way. Any thread may use it."""

    payments: list[Payment] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    """Statuses of 500 and other surprises, with how often they came."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, kind: str) -> Payment:
        """A new payment, for a citizen of its own."""
        with self.lock:
            payment = Payment(kind, f"Soak_{len(self.payments) + 1:06d}")
            self.payments.append(payment)
        return payment

    def error(self, what: str) -> None:
        """Count something that should not be."""
        with self.lock:
            if what in self.faults or len(self.faults) < _MOST_KEPT:
                self.faults[what] += 1


class Shop:
    """Opens orders and pays them by HTTP. Any thread may use it."""

    def __init__(self, url: str, book: Book, draw: random.Random, *, lossy: bool = True) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=20)
        self._client = httpx.Client(base_url=url, timeout=_PATIENCE_SECONDS, trust_env=False, limits=limits)
        self._book = book
        self.draw = draw
        self._lossy = lossy

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def open(self, payment: Payment, token: str, until: float) -> dict[str, Any]:
        """Open an order for a stablecoin, and note what it must bring."""
        wish = {"citizen_id": payment.citizen, "token": token, **self._wish()}
        intent = self.post("/api/payments/crypto-payment-intent", wish, until)
        payment.chain_id, payment.price = intent["on_chain_order_id"], int(intent["amount"])
        return self._noted(payment, intent)

    def open_for_card(self, payment: Payment, until: float) -> dict[str, Any]:
        """Open an order, and a page of Stripe's that pays it."""
        wish = {"citizen_id": payment.citizen, **self._wish()}
        return self._noted(payment, self.post("/api/payments/checkout-session", wish, until))

    def _noted(self, payment: Payment, intent: dict[str, Any]) -> dict[str, Any]:
        payment.order_id = intent["order_id"]
        payment.ducats = int((Decimal(intent["ducats"]) + Decimal(intent["bonus"])) * DUCAT)
        return intent

    def _wish(self) -> dict[str, str]:
        if self.draw.random() < 0.5:
            return {"package": self.draw.choice(["starter", "explorer", "trader"])}
        return {"usd_amount": f"{self.draw.randint(1000, 9999) / 100:.2f}"}

    def get(self, path: str, until: float, **query: str) -> dict[str, Any]:
        """Ask until there is an answer.

        Raises:
            GaveUp: it was refused, or there was none in time.
        """
        return self._insist(lambda: self._client.get(path, params=query), path, until)

    def post(self, path: str, body: Mapping[str, Any], until: float) -> dict[str, Any]:
        """Send until there is an answer; the same request each time, with one idempotency key.

        Raises:
            GaveUp: it was refused, or there was none in time.
        """
        headers = {"idempotency-key": secrets.token_hex(16)}
        answer = self._insist(lambda: self._send(path, body, headers), path, until)
        if self._lossy and self.draw.random() < _LOST_ANSWERS:
            try:
                again = self._client.post(path, json=body, headers=headers)
                self._look_at(again, path)
            except httpx.TransportError:
                pass
        return answer

    def _send(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        if self._lossy and self.draw.random() < _LOST_ANSWERS:
            # The request goes out whole, and its answer is not waited for: to the payer it is lost.
            hasty = httpx.Timeout(_PATIENCE_SECONDS, read=0.005)
            return self._client.post(path, json=body, headers=headers, timeout=hasty)
        return self._client.post(path, json=body, headers=headers)

    def _insist(self, ask: Callable[[], httpx.Response], path: str, until: float) -> dict[str, Any]:
        last = "no answer"
        while time.time() < until:
            try:
                answer = ask()
            except httpx.TransportError as error:
                last = type(error).__name__
            else:
                self._look_at(answer, path)
                if answer.is_success:
                    body: dict[str, Any] = answer.json()
                    return body
                last = f"HTTP {answer.status_code}: {answer.text[:300]}"
                # A refusal that names a time to come back is none: limits, and a request that is still being answered.
                if answer.status_code < 500 and "retry-after" not in answer.headers:
                    raise GaveUp(last)
            time.sleep(_PAUSE_SECONDS)
        raise GaveUp(f"no luck in time; the last was {last}")

    def _look_at(self, answer: httpx.Response, path: str) -> None:
        if answer.status_code >= 500 and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            self._book.error(f"HTTP {answer.status_code} of {path.split('/ord_')[0]} {path.rsplit('/', 1)[-1][:20]}")
