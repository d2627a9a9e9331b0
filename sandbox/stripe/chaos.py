"""What may go wrong between Stripe and us: switches, everything off at first, settable while the double runs.

A rate is a share from 0 to 1; what it strikes is drawn with the double's seed. Rates of 0 and 1 leave nothing to luck.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass
class Chaos:
    """The switches. `reset` turns everything off."""

    duplicate_webhooks: float = 0.0
    """The share of events that are sent twice, although the first time was answered."""
    reorder_webhooks: bool = False
    """Events leave in an order drawn by lot, each up to `reorder_seconds` late."""
    reorder_seconds: float = 0.3
    delay_webhooks_seconds: float = 0.0
    """Every event leaves this late."""
    drop_webhooks: float = 0.0
    """The share of events that are never sent and count as failed: only `GET /v1/events` knows them."""
    bad_signatures: float = 0.0
    """The share of attempts that are signed with another secret; what follows is up to the receiver's answer."""
    webhooks_at_once: int = 1
    """How many webhooks are under way at the same time, 1 to 8."""

    fail_before_effect: float = 0.0
    """The share of requests that are answered with 500 and did nothing. An idempotency key remembers the 500."""
    fail_after_effect: float = 0.0
    """The share of requests that are answered with 500 although they did everything. The key remembers the 500."""
    fail_status: int = 500
    """What those two are answered with. A key remembers a 500; anything else came from before Stripe's API."""
    fail_type: str = "api_error"
    fail_code: str = ""
    hang_after_effect: float = 0.0
    """The share of requests that do everything and are then left without an answer for `hang_seconds`."""
    hang_seconds: float = 30.0
    reset_before_effect: float = 0.0
    """The share of requests whose connection is reset before anything was begun."""
    reset_after_effect: float = 0.0
    """The share of requests whose connection is reset once everything is done. The key remembers the true answer."""
    rate_limit: float = 0.0
    """The share of requests that are refused with 429."""
    slow_seconds: float = 0.0
    """Every request takes this much longer; its idempotency key is in use meanwhile."""
    only_posts: bool = True
    """Requests that only read are spared all this."""
    only_paths: str = ""
    """Only requests whose path begins so are struck, for example `/v1/refunds`."""
    strikes_left: int | None = None
    """After this many strikes at requests all is well again; None for no end."""

    adaptive_pricing: bool = False
    """The Dashboard's default for sessions that do not say whether prices are shown in the payer's currency."""
    forced_pricing: bool = False
    """Adaptive Pricing is on, whatever a session asks for."""

    webhook_clock_seconds: int = 0
    """How far the clock that signs webhooks is ahead of the machine's."""
    old_events: bool = False
    """Events are written in a version of the API in which refunds, disputes and warnings name only their charge."""

    delayed_payments: bool = False
    """Hosted pages pay by bank account: the payment is `processing` until `Control.complete_async_payment`."""
    pending_refunds: bool = False
    """Refunds start as `pending`, whatever the card."""
    late_balance_transactions: bool = False
    """Charges have no balance transaction until `Control.settle_charge`, as asynchronous capture allows."""

    _random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def reset(self) -> None:
        """All is well again."""
        self.set(**{name: getattr(Chaos, name) for name in self.switches()})

    def set(self, **switches: Any) -> None:
        """Sets switches by name; raises `ValueError` for a name or a value that does not fit, and sets none then."""
        known = self.switches()
        for name, value in switches.items():
            if name not in known:
                raise ValueError(f"there is no switch {name!r}")
            wanted = (int, type(None)) if name == "strikes_left" else type(getattr(Chaos, name))
            if isinstance(value, bool) != (wanted is bool) or not isinstance(
                value, (int, float) if wanted is float else wanted
            ):
                raise ValueError(f"{name} cannot be {value!r}")
        for name, value in switches.items():
            setattr(self, name, value)

    def switches(self) -> dict[str, Any]:
        """All switches and how they are set."""
        return {member.name: getattr(self, member.name) for member in fields(self) if not member.name.startswith("_")}

    def draws(self, rate: float) -> bool:
        """Whether this one is struck."""
        return rate > 0 and self._random.random() < rate

    def between(self, seconds: float) -> float:
        """A time drawn by lot, from nothing to `seconds`."""
        return self._random.random() * seconds

    def strikes(self, rate: float, method: str, path: str) -> bool:
        """Whether this request is struck by a fault of this rate; counts it if so."""
        if self.only_posts and method != "POST":
            return False
        if self.strikes_left == 0 or not path.startswith(self.only_paths) or not self.draws(rate):
            return False
        if self.strikes_left is not None:
            self.strikes_left -= 1
        return True
