"""`VeniceDouble`: the parts joined, started and stopped; and the hand of the test."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from sandbox.venice.chaos import Chaos
from sandbox.venice.metrics import CityMetrics
from sandbox.venice.server import Server
from sandbox.venice.state import PROCESSOR, Transfer, VeniceState

_TICK_SECONDS = 0.02


class Control:
    """Lets citizens come and go, time pass, and things go wrong."""

    VERBS = ("add_citizen", "remove_citizen", "fund_processor", "balance", "transfers", "messages", "notifications",
             "process_now", "set_chaos", "reset_chaos", "set_mood", "reset_mood")  # fmt: skip

    def __init__(self, city: VeniceState, chaos: Chaos, mood: CityMetrics) -> None:
        self._city = city
        self._chaos = chaos
        self._mood = mood

    def add_citizen(self, username: str) -> None:
        """Lets somebody in; whoever is there stays as they are."""
        self._city.add_citizen(username)

    def remove_citizen(self, username: str) -> None:
        """Lets somebody go, with all ducats."""
        self._city.remove_citizen(username)

    def fund_processor(self, ducats: Decimal | str) -> None:
        """Sets what the payment processor holds."""
        self._city.set_purse(PROCESSOR, Decimal(ducats))

    def balance(self, username: str) -> Decimal:
        """What somebody holds; nothing for a stranger."""
        return self._city.purses().get(username, Decimal(0))

    def transfers(self, reference: str | None = None) -> list[Transfer]:
        """Every time that ducats moved; with a reference only those whose notes hold it."""
        return self._city.transfers(reference)

    def messages(self, receiver: str) -> list[dict[str, Any]]:
        """What somebody was sent, oldest first."""
        return self._city.messages(receiver)

    def notifications(self, username: str) -> list[dict[str, Any]]:
        """What Venice itself told somebody of, oldest first: a `payment_received` for each transfer."""
        return self._city.notifications(username)

    def process_now(self) -> None:
        """Executes all that waits."""
        self._city.execute_due(all_of_them=True)

    def set_chaos(self, **switches: float | Decimal) -> dict[str, Any]:
        """Sets switches of `Chaos` by name: all of them as they are now."""
        self._chaos.set(**switches)
        return self._chaos.switches()

    def reset_chaos(self) -> dict[str, Any]:
        """Turns all switches off."""
        self._chaos.reset()
        return self._chaos.switches()

    def set_mood(
        self,
        level: float | Decimal | None = None,
        coherence: float | Decimal | None = None,
        acceleration: float | Decimal | None = None,
    ) -> None:
        """Pins a level from 0 to 10, a coherence in percent, an acceleration of either sign; None leaves it."""
        self._mood.set(level=level, coherence=coherence, acceleration=acceleration)

    def reset_mood(self) -> None:
        """The mood follows time again."""
        self._mood.reset()


class VeniceDouble:
    """A running double; `start` makes one. A context manager that stops it."""

    def __init__(
        self, directory: Path | None, port: int, seed: int, open_city: bool, clock: Callable[[], float]
    ) -> None:
        self.chaos = Chaos(_random=random.Random(seed))
        self.mood = CityMetrics(seed, clock)
        self._city = VeniceState(directory, self.chaos, open_city)
        self.control = Control(self._city, self.chaos, self.mood)
        self._stopping = threading.Event()
        self._server = Server(port, self._city, self.chaos, self.mood, self.control, Control.VERBS)
        self._scheduler = threading.Thread(target=self._tick, name="venice scheduler", daemon=True)

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        port: int = 0,
        *,
        seed: int = 0,
        open_city: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Starts a double that answers when this returns.

        `directory` keeps everything across restarts, even a kill. `port` 0 takes a free one. `open_city`: whoever has a
        proper name is a citizen. The mood follows `clock`, in seconds since 1970. Raises `OSError` if the port is
        taken.
        """
        double = cls(directory, port, seed, open_city, clock)
        double._server.start()
        double._scheduler.start()
        return double

    @property
    def url(self) -> str:
        """The base address."""
        return self._server.url

    def stop(self) -> None:
        """Ends it, and all answers that hang; may be called twice."""
        self._stopping.set()
        self._server.stop()
        if self._scheduler.is_alive():
            self._scheduler.join()
        self._city.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _tick(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            self._city.execute_due()
