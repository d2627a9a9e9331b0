"""One Stripe account in test mode: its clock, its keys, its objects and the events that tell of them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sandbox.stripe.chaos import Chaos
from sandbox.stripe.errors import Json, NoSuchObject
from sandbox.stripe.store import Store

API_VERSION: Final = "2026-10-28.endive"
"""The version that the events are written in: the one that Stripe's SDK 16 asks for."""
_ONLY_CHARGES: Final = ("refund.", "charge.dispute.", "radar.early_fraud_warning.")
"""What named no payment intent in old versions of the API."""
_ALPHABET: Final = string.ascii_letters + string.digits


class Clock:
    """The account's time: the machine's, plus what it was advanced by. Survives a restart with the store."""

    def __init__(self, store: Store, machine: Callable[[], float]) -> None:
        self._store = store
        self._machine = machine

    def now(self) -> int:
        """Seconds since 1970."""
        return int(self._machine()) + int(self._store.fact("clock_advanced_seconds") or 0)

    def advance(self, seconds: int) -> None:
        """Moves it forward; never back."""
        if seconds < 0:
            raise ValueError(f"the clock cannot go back by {-seconds} seconds")
        with self._store.transaction():
            total = int(self._store.fact("clock_advanced_seconds") or 0) + seconds
            self._store.set_fact("clock_advanced_seconds", str(total))


@dataclass(frozen=True)
class Cause:
    """The request behind an event; both are None for what a payer, a bank or Stripe itself did."""

    request_id: str | None = None
    idempotency_key: str | None = None


def random_text(length: int) -> str:
    """Letters and digits that nobody can guess."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Account:
    """What all the kinds of objects share. Everything happens inside `doing`."""

    def __init__(
        self, store: Store, chaos: Chaos, machine_clock: Callable[[], float] = time.time, seed: int = 0
    ) -> None:
        self.store = store
        self.chaos = chaos
        self.clock = Clock(store, machine_clock)
        self.base_url = ""
        self._root = hashlib.sha256(f"sandbox.stripe {seed}".encode()).digest()
        self.id = f"acct_{self.derived('account', 16)}"
        self.secret_key = f"sk_test_{self.derived('secret key', 48)}"
        self.publishable_key = f"pk_test_{self.derived('publishable key', 48)}"
        self._cause = Cause()
        self._announce: Callable[[Json], None] = lambda _event: None
        self._afterwards: list[Callable[[], object]] = []
        self._depth = 0

    def derived(self, purpose: str, length: int) -> str:
        """A text that is the same for every double with this seed: so no key needs to be kept anywhere."""
        return hmac.new(self._root, purpose.encode(), hashlib.sha512).hexdigest()[:length]

    def on_event(self, announce: Callable[[Json], None]) -> None:
        """Sets who is told of every new event, in the transaction that made it."""
        self._announce = announce

    @contextmanager
    def doing(self, cause: Cause | None = None) -> Iterator[None]:
        """All or nothing; events made inside name this cause. What was put off with `afterwards` is done last."""
        with self.store.transaction():
            before, self._cause = self._cause, cause or self._cause
            self._depth += 1
            try:
                yield
                while self._depth == 1 and self._afterwards:
                    self._afterwards.pop(0)()
            finally:
                self._depth -= 1
                self._cause = before
                if self._depth == 0:
                    self._afterwards.clear()

    def afterwards(self, action: Callable[[], object]) -> None:
        """Puts something off to the end of what is being done."""
        self._afterwards.append(action)

    def now(self) -> int:
        """The account's time in seconds since 1970."""
        return self.clock.now()

    def new_id(self, prefix: str, length: int = 24) -> str:
        """A new identifier. Never drawn with the seed: two runs must not give the same name to two payments."""
        return f"{prefix}_{random_text(length)}"

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """An object; raises `NoSuchObject`, naming the parameter that asked for it."""
        found = self.store.get(kind, object_id)
        if found is None:
            raise NoSuchObject(kind.rsplit(".", 1)[-1], object_id, param)
        return found

    def newest(self, kind: str, **wanted: str) -> Iterator[Json]:
        """The objects of a kind whose fields are as wanted, the youngest first."""
        return self.store.newest_first(kind, wanted)

    def emit(self, event_type: str, subject: Json, before: Json | None = None) -> Json:
        """Makes an event: the subject as it is now, and for a change the fields that were otherwise before."""
        old = self.chaos.old_events and event_type.startswith(_ONLY_CHARGES)
        data: Json = {"object": {k: v for k, v in subject.items() if k != "payment_intent"} if old else subject}
        if before is not None:
            data["previous_attributes"] = {
                name: before.get(name) for name in subject if before.get(name) != subject[name]
            }
        event = {
            "id": self.new_id("evt"),
            "object": "event",
            "account": None,
            "api_version": "2018-11-08" if old else API_VERSION,
            "context": None,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self._cause.request_id, "idempotency_key": self._cause.idempotency_key},
            "type": event_type,
        }
        self._announce(event)  # counts the endpoints that wait for it
        self.store.put(event)
        return event
