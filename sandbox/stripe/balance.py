"""The account's balance: every movement of money is a balance transaction. Amounts are in cents."""

from __future__ import annotations

from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.errors import Json

CHARGE_FEE_BASIS_POINTS: Final = 290
CHARGE_FEE_CENTS: Final = 30
DISPUTE_FEE_CENTS: Final = 1500
_SECONDS_UNTIL_AVAILABLE: Final = 2 * 24 * 3600
_CATEGORIES: Final = {"refund_failure": "refund_failure", "adjustment": "dispute"}


def charge_fee(amount: int) -> int:
    """Stripe's fee in cents for a charge of this many cents: 2.9 % rounded to the cent, and 30 cents."""
    return (amount * CHARGE_FEE_BASIS_POINTS + 5000) // 10000 + CHARGE_FEE_CENTS


class Balance:
    """Books movements and adds them up."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def book(
        self, kind: str, amount: int, source: str, description: str, fee: int = 0, category: str | None = None
    ) -> Json:
        """A movement of `amount` cents (negative when it leaves), less `fee`; its source is the object behind it."""
        now = self._account.now()
        fees = [
            {"amount": fee, "application": None, "currency": "usd", "description": f"{description} fee",
             "type": "stripe_fee"}
        ] if fee else []  # fmt: skip
        movement = {
            "id": self._account.new_id("txn"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + _SECONDS_UNTIL_AVAILABLE if amount > 0 else now,
            "balance_type": "payments",
            "created": now,
            "currency": "usd",
            "description": description,
            "exchange_rate": None,
            "fee": fee,
            "fee_details": fees,
            "net": amount - fee,
            "reporting_category": category or _CATEGORIES.get(kind, kind),
            "source": source,
            "status": "pending" if amount > 0 else "available",
            "type": kind,
        }
        self._account.store.put(movement)
        return movement

    def as_of_now(self, movement: Json) -> Json:
        """A movement with its status of today."""
        return movement | {"status": "available" if movement["available_on"] <= self._account.now() else "pending"}

    def retrieve(self) -> Json:
        """The `balance` object: what can be paid out, and what is still on its way."""
        sums = {"available": 0, "pending": 0}
        for movement in self._account.newest("balance_transaction"):
            sums[self.as_of_now(movement)["status"]] += movement["net"]
        return {
            "object": "balance",
            "livemode": False,
            **{name: [{"amount": cents, "currency": "usd", "source_types": {"card": cents}}]
               for name, cents in sums.items()},
        }  # fmt: skip

    def pay_out(self) -> Json:
        """Pays everything that is available to the bank, as of now, and reconciles it: a `payout` with its events.

        Raises `ValueError` when there is nothing to pay out.
        """
        account = self._account
        members = [
            movement for movement in account.newest("balance_transaction")
            if movement["available_on"] <= account.now() and account.store.fact(f"payout of {movement['id']}") is None
        ]  # fmt: skip
        total = sum(movement["net"] for movement in members)
        if total <= 0:
            raise ValueError(f"nothing to pay out: the available balance is {total} cents")
        payout = self._payout(total)
        movement = self.book("payout", -total, payout["id"], "STRIPE PAYOUT")
        payout["balance_transaction"] = movement["id"]
        for member in (*members, movement):
            account.store.set_fact(f"payout of {member['id']}", payout["id"])
        account.store.put(payout)
        account.emit("payout.created", payout)
        before, payout = payout, payout | {"status": "paid"}
        account.emit("payout.paid", payout)
        payout["reconciliation_status"] = "completed"
        account.store.put(payout)
        account.emit("payout.reconciliation_completed", payout, before)
        return payout

    def of_payout(self, payout_id: str, movement: Json) -> bool:
        """Whether a movement was part of a payout."""
        return self._account.store.fact(f"payout of {movement['id']}") == payout_id

    def _payout(self, cents: int) -> Json:
        now = self._account.now()
        nothing = (
            "application_fee", "application_fee_amount", "failure_balance_transaction", "failure_code",
            "failure_message", "original_payout", "payout_method", "reversed_by", "statement_descriptor",
        )  # fmt: skip
        return dict.fromkeys(nothing) | {
            "id": self._account.new_id("po"),
            "object": "payout",
            "amount": cents,
            "arrival_date": now,
            "automatic": True,
            "created": now,
            "currency": "usd",
            "description": "STRIPE PAYOUT",
            "destination": None,
            "livemode": False,
            "metadata": {},
            "method": "standard",
            "reconciliation_status": "in_progress",
            "source_type": "card",
            "status": "in_transit",
            "trace_id": {"status": "pending", "value": None},
            "type": "bank_account",
        }
