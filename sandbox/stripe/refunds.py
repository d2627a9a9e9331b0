"""Refunds: money on its way back to the payer, never more than was taken. Amounts are in cents."""

from __future__ import annotations

from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.balance import Balance
from sandbox.stripe.errors import InvalidRequest, Json, WrongState
from sandbox.stripe.form import Parameters
from sandbox.stripe.payment_methods import card_of

_REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer")


def dollars(cents: int) -> str:
    """Cents as Stripe's messages say them: `$1,234.50`."""
    return f"${cents // 100:,}.{cents % 100:02d}"


class Refunds:
    """The `refunds` endpoints, and what a bank does with a refund."""

    def __init__(self, account: Account, balance: Balance) -> None:
        self._account = account
        self._balance = balance

    def create(self, parameters: Parameters) -> Json:
        """`POST /v1/refunds` of a `charge` or a `payment_intent`, in full or `amount` cents of it.

        Raises `WrongState` when the charge is already refunded, when more is asked for than is left, or when a dispute
        has taken the money.
        """
        charge_id, intent_id = parameters.optional_text("charge"), parameters.optional_text("payment_intent")
        amount = parameters.optional_integer("amount")
        reason = parameters.optional_text("reason")
        metadata = parameters.metadata()
        parameters.ignore("instructions_email")
        parameters.finish()
        if (charge_id is None) == (intent_id is None):
            raise InvalidRequest("One of the following params should be provided for this request: payment_intent or"
                                 " charge.", code="parameter_missing")  # fmt: skip
        if reason is not None and reason not in _REASONS:
            raise InvalidRequest(f"Invalid reason: must be one of {', '.join(_REASONS)}", param="reason")
        if amount is not None and amount < 1:
            raise InvalidRequest("Invalid positive integer", code="parameter_invalid_integer", param="amount")
        charge = self._charge(charge_id, intent_id)
        amount = self._checked(charge, amount)
        return self._refund(charge, amount, reason, metadata)

    def update(self, parameters: Parameters, refund_id: str) -> Json:
        """`POST /v1/refunds/{id}`: metadata only."""
        refund = self._account.get("refund", refund_id, "refund")
        before = dict(refund)
        refund["metadata"] = parameters.metadata(refund["metadata"])
        parameters.finish()
        self._change(before, refund)
        return refund

    def settle(self, refund_id: str) -> Json:
        """The bank has taken a pending refund: `refund.updated`. Raises `WrongState` unless it is pending."""
        refund = self._account.get("refund", refund_id, "refund")
        if refund["status"] != "pending":
            raise WrongState(f"Refund {refund_id} has a status of {refund['status']}, not pending.")
        before = dict(refund)
        refund["status"] = "succeeded"
        refund.pop("pending_reason", None)
        self._change(before, refund)
        return refund

    def ask(self, refund_id: str) -> Json:
        """A refund that waits for its payer: `refund.updated`. Raises `WrongState` unless it is pending."""
        refund = self._account.get("refund", refund_id, "refund")
        if refund["status"] != "pending":
            raise WrongState(f"Refund {refund_id} has a status of {refund['status']}, not pending.")
        before = dict(refund)
        refund["status"] = "requires_action"
        refund.pop("pending_reason", None)
        self._change(before, refund)
        return refund

    def cancel(self, refund_id: str) -> Json:
        """`POST /v1/refunds/{id}/cancel`: only one that requires action; `refund.updated`, and its money is ours."""
        refund = self._account.get("refund", refund_id, "refund")
        if refund["status"] != "requires_action":
            raise WrongState(f"Refund {refund_id} has a status of {refund['status']}, not requires_action.")
        before = dict(refund)
        movement = self._balance.book("refund_failure", refund["amount"], refund_id, "REFUND CANCELED")
        refund |= {"failure_balance_transaction": movement["id"], "status": "canceled"}
        charge = self._account.get("charge", refund["charge"])
        charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
        self._account.store.put(charge)
        self._change(before, refund)
        return refund

    def fail(self, refund_id: str, reason: str) -> Json:
        """The bank has sent a refund back, even days after it had succeeded: the money is ours again.

        `refund.updated`, `refund.failed`. Raises `WrongState` if it has failed before.
        """
        refund = self._account.get("refund", refund_id, "refund")
        if refund["status"] not in ("pending", "succeeded"):
            raise WrongState(f"Refund {refund_id} has a status of {refund['status']}.")
        before = dict(refund)
        movement = self._balance.book("refund_failure", refund["amount"], refund_id, "REFUND FAILURE")
        refund |= {
            "failure_balance_transaction": movement["id"], "failure_reason": reason, "status": "failed"
        }  # fmt: skip
        refund.pop("pending_reason", None)
        charge = self._account.get("charge", refund["charge"])
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        self._account.store.put(charge)
        self._change(before, refund)
        self._account.emit("refund.failed", refund)
        return refund

    def _charge(self, charge_id: str | None, intent_id: str | None) -> Json:
        if intent_id is not None:
            intent = self._account.get("payment_intent", intent_id, "payment_intent")
            charge_id = intent["latest_charge"]
            if intent["status"] != "succeeded" or charge_id is None:
                raise WrongState(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
                                 param="payment_intent")  # fmt: skip
        charge = self._account.get("charge", str(charge_id), "charge")
        if charge["status"] != "succeeded":
            raise WrongState(f"Charge {charge['id']} has a status of {charge['status']} and cannot be refunded.")
        return charge

    def _checked(self, charge: Json, amount: int | None) -> int:
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise WrongState(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        if self._account.store.fact(f"withdrawn from {charge['id']}"):
            raise WrongState(
                f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
            )
        if amount is not None and amount > left:
            raise WrongState(
                f"Refund amount ({dollars(amount)}) is greater than unrefunded amount on charge ({dollars(left)})",
                code="amount_too_large", param="amount",
            )  # fmt: skip
        return left if amount is None else amount

    def _refund(self, charge: Json, amount: int, reason: str | None, metadata: dict[str, str]) -> Json:
        account = self._account
        method = account.get("payment_method", charge["payment_method"])
        pends = account.chaos.pending_refunds or card_of(method).refunds_pend
        kind = "card" if method["type"] == "card" else "us_bank_transfer"
        destination = {
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund"},
            "us_bank_transfer": {"reference": None, "reference_status": "pending"},
        }[kind]
        refund = {
            "id": account.new_id("re"),
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": account.now(),
            "currency": charge["currency"],
            "customer": None,
            "customer_account": None,
            "destination_details": {kind: destination, "type": kind},
            "metadata": metadata,
            "payment_intent": charge["payment_intent"],
            "payment_method": method["id"],
            "reason": reason,
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "pending" if pends else "succeeded",
            "transfer_reversal": None,
        }
        if pends:
            refund["pending_reason"] = "processing"
        movement = self._balance.book("refund", -amount, refund["id"], "REFUND FOR CHARGE")
        refund["balance_transaction"] = movement["id"]
        before = dict(charge)
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        account.store.put(refund)
        account.store.put(charge)
        account.emit("refund.created", refund)
        account.emit("charge.refunded", charge, before)
        if not pends:
            self._announce_reference(refund)
        return refund

    def _announce_reference(self, refund: Json) -> None:
        """The bank's reference arrives: Stripe tells of it with `refund.updated`, although no money has moved."""
        kind = refund["destination_details"]["type"]
        before = dict(refund)
        details = refund["destination_details"][kind] | {"reference": "TEST0000000", "reference_status": "available"}
        refund["destination_details"] = {kind: details, "type": kind}
        self._change(before, refund)

    def _change(self, before: Json, refund: Json) -> None:
        self._account.store.put(refund)
        self._account.emit("refund.updated", refund, before)
        self._account.emit("charge.refund.updated", refund, before)
