"""The thread that sends webhooks: again and again, with growing pauses, until the receiver answers with 2xx."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from sandbox.stripe.account import Account
from sandbox.stripe.webhooks import Delivery, Webhooks, signature_header

_ANSWER_WITHIN_SECONDS: Final = 20.0
_LONGEST_NAP_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 8
_LIMITS: Final = httpx.Limits(max_keepalive_connections=0)  # a receiver that restarts must not meet a stale connection


class Sender:
    """Sends what is due, one after the other unless chaos says otherwise, and looks after what time brings."""

    def __init__(self, account: Account, webhooks: Webhooks, on_tick: Callable[[], None]) -> None:
        self._account = account
        self._webhooks = webhooks
        self._on_tick = on_tick
        self._client = httpx.Client(timeout=_ANSWER_WITHIN_SECONDS, trust_env=False, limits=_LIMITS)
        self._stopping = threading.Event()
        self._work = threading.Event()
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="stripe webhook")
        self._thread = threading.Thread(target=self._run, name="stripe webhooks", daemon=True)

    def start(self) -> None:
        """Begins; what an earlier run left in the queue is sent too."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the attempts that are under way; may be called twice."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(_ANSWER_WITHIN_SECONDS + 5)
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def wake(self) -> None:
        """Something new is in the queue."""
        self._work.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._work.clear()
            self._on_tick()
            at_once = max(1, min(self._account.chaos.webhooks_at_once, _MOST_AT_ONCE))
            due = self._webhooks.deliveries("state = 'pending' AND due_at <= ?", time.time(), limit=at_once)
            if not due:
                self._work.wait(self._nap_seconds())
            elif at_once == 1:
                self._attempt(due[0])
            else:
                list(self._pool.map(self._attempt, due))

    def _nap_seconds(self) -> float:
        waiting = self._webhooks.deliveries("state = 'pending'", limit=1)
        until_next = waiting[0].due_at - time.time() if waiting else _LONGEST_NAP_SECONDS
        return min(_LONGEST_NAP_SECONDS, max(0.001, until_next))

    def _attempt(self, delivery: Delivery) -> None:
        with self._account.store.transaction():
            endpoint = self._account.store.get("webhook_endpoint", delivery.endpoint)
            event = self._account.store.get("event", delivery.event)
            forged = self._account.chaos.draws(self._account.chaos.bad_signatures)
        if endpoint is None or event is None or endpoint["status"] != "enabled":
            self._webhooks.record(delivery, None)
            return
        secret = self._account.derived("a forger's secret", 32) if forged else self._webhooks.secret_of(endpoint["id"])
        body = json.dumps(event, indent=2).encode()
        # Signed with the machine's time, not the account's: the receiver compares it with its own clock.
        signed_at = int(time.time()) + self._account.chaos.webhook_clock_seconds
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(body, secret, signed_at),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks; sandbox double)",
        }
        status: int | None = None
        try:
            status = self._client.post(endpoint["url"], content=body, headers=headers).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            status = None  # nobody there, or too slow: as good as a refusal
        with self._account.store.transaction():
            self._webhooks.record(delivery, status)
