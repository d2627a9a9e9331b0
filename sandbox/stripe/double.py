"""`StripeDouble`: the parts joined, started and stopped."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sandbox.stripe.account import Account
from sandbox.stripe.api import Api
from sandbox.stripe.chaos import Chaos
from sandbox.stripe.control import Control
from sandbox.stripe.delivery import Sender
from sandbox.stripe.idempotency import IdempotencyKeys
from sandbox.stripe.payer import Payer
from sandbox.stripe.router import World
from sandbox.stripe.server import Server
from sandbox.stripe.store import Store

WEBHOOK_TIME_FACTOR: Final = 0.001
"""The first retry of a webhook waits 60 milliseconds instead of a minute, the last gives up after four minutes."""


class StripeDouble:
    """A running double; `start` makes one. A context manager that stops it."""

    def __init__(
        self, directory: Path | None, port: int, seed: int, clock: Callable[[], float], webhook_time_factor: float
    ) -> None:
        self.chaos = Chaos(_random=random.Random(seed))
        self._store = Store(directory)
        self._account = Account(self._store, self.chaos, clock, seed)
        self._world = World(self._account, webhook_time_factor)
        self._server = Server(port)
        self._account.base_url = self._server.url
        self._stopping = threading.Event()
        self._sender = Sender(self._account, self._world.webhooks, self._tick)
        self.control = Control(self._world, self._sender)
        self._next_tick = 0.0
        self._endpoint_id: str | None = None

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        port: int = 0,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        seed: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        webhook_time_factor: float = WEBHOOK_TIME_FACTOR,
    ) -> Self:
        """Starts a double that answers when this returns.

        `directory` keeps everything across restarts, even a kill; without it all is forgotten in the end. `port` 0
        takes a free one. `webhook_url` is told of every event, signed with `webhook_secret` (by default one that the
        seed gives). `seed` draws the luck of the chaos switches and the keys, never the ids. `clock` is the machine's
        time in seconds. Raises `OSError` if the port is taken.
        """
        if webhook_secret is not None and not webhook_secret.strip():
            raise ValueError("an empty webhook secret signs nothing")
        double = cls(directory, port, seed, clock, webhook_time_factor)
        if webhook_url is not None:
            endpoint = double._world.webhooks.register(webhook_url, webhook_secret)
            double._endpoint_id = endpoint["id"]
        api = Api(double._world, IdempotencyKeys(double._account), double.chaos, double._stopping.is_set)
        double._server.start(api, Payer(double._world), double.control, double._sender.wake)
        double._sender.start()
        return double

    @property
    def url(self) -> str:
        """The base address: for `base_addresses={"api": …}`, the hosted pages and `/_double`."""
        return self._server.url

    @property
    def secret_key(self) -> str:
        """The key of the server's side, `sk_test_…`: the same for the same seed, kept nowhere."""
        return self._account.secret_key

    @property
    def publishable_key(self) -> str:
        """The key of the browser's side, `pk_test_…`: it may confirm an intent whose client secret it has."""
        return self._account.publishable_key

    @property
    def webhook_secret(self) -> str:
        """What the webhooks to `webhook_url` are signed with; raises `ValueError` if none was given."""
        if self._endpoint_id is None:
            raise ValueError("the double was started without a webhook_url")
        return self._world.webhooks.secret_of(self._endpoint_id)

    def stop(self) -> None:
        """Ends the server and the delivery of webhooks; may be called twice."""
        self._stopping.set()
        self._server.stop()
        self._sender.stop()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _tick(self) -> None:
        """Once a second: what time alone brings about."""
        if time.monotonic() < self._next_tick:
            return
        self._next_tick = time.monotonic() + 1.0
        with self._account.doing():
            self._world.sessions.expire_due()
