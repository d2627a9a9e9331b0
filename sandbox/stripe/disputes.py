"""Disputes and early fraud warnings: a bank takes the payer's side. Amounts are in cents.

A dispute takes its amount (and a fee) from the balance as soon as it is opened. An inquiry (`warning_*`) moves no money
unless it is escalated.
"""

from __future__ import annotations

from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.balance import DISPUTE_FEE_CENTS, Balance
from sandbox.stripe.errors import InvalidRequest, Json, WrongState
from sandbox.stripe.form import Parameters
from sandbox.stripe.payment_methods import card_of

REASONS: Final = (
    "bank_cannot_process", "check_returned", "credit_not_processed", "customer_initiated", "debit_not_authorized",
    "duplicate", "fraudulent", "general", "incorrect_account_details", "insufficient_funds", "noncompliant",
    "product_not_received", "product_unacceptable", "subscription_canceled", "unrecognized",
)  # fmt: skip
_CLOSED: Final = ("won", "lost", "warning_closed")
_SECONDS_TO_ANSWER: Final = 7 * 24 * 3600
_EVIDENCE: Final = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
)  # fmt: skip


class Disputes:
    """The `disputes` endpoints, and what a bank does."""

    def __init__(self, account: Account, balance: Balance) -> None:
        self._account = account
        self._balance = balance

    def open(self, charge_id: str, amount: int | None, reason: str, inquiry: bool, taken: int | None = None) -> Json:
        """`charge.dispute.created`, and unless it is an inquiry `charge.dispute.funds_withdrawn`.

        `amount` in cents, by default what was not refunded; `taken`: what the bank takes instead, at another rate. A
        charge is disputed again only when the dispute before was won. Raises `WrongState` for a charge that took no
        money or is disputed already, `InvalidRequest` for a reason or an amount that cannot be.
        """
        charge = self._account.get("charge", charge_id, "charge")
        left = charge["amount"] - charge["amount_refunded"]
        amount = left if amount is None else amount
        if charge["status"] != "succeeded" or charge["disputed"]:
            raise WrongState(f"Charge {charge_id} cannot be disputed (again).")
        if reason not in REASONS or not 0 < amount <= charge["amount"]:
            raise InvalidRequest(f"A dispute of {amount} cents as {reason!r} is none that a bank would open.")
        dispute = self._dispute(charge, amount, reason, inquiry)
        charge["disputed"] = True
        self._account.store.put(charge)
        self._account.store.put(dispute)
        if not inquiry:
            self._withdraw(dispute, taken)
        # Created already shows the withdrawal, as with Stripe.
        self._account.emit("charge.dispute.created", dispute)
        if not inquiry:
            self._account.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def escalate(self, dispute_id: str) -> Json:
        """An inquiry becomes a dispute: `charge.dispute.updated`, `charge.dispute.funds_withdrawn`."""
        dispute = self._open_dispute(dispute_id)
        if not dispute["status"].startswith("warning_"):
            raise WrongState(f"Dispute {dispute_id} has a status of {dispute['status']}: it is no inquiry.")
        before = dict(dispute)
        dispute |= {"status": "needs_response", "is_charge_refundable": False}
        case = dispute["payment_method_details"]["card"] | {"case_type": "chargeback"}
        dispute["payment_method_details"] = {"card": case, "type": "card"}
        self._withdraw(dispute)
        self._account.emit("charge.dispute.updated", dispute, before)
        self._account.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def update(self, parameters: Parameters, dispute_id: str) -> Json:
        """`POST /v1/disputes/{id}`: evidence (text), `submit`, metadata; `charge.dispute.updated`."""
        dispute = self._account.get("dispute", dispute_id, "dispute")
        before = dict(dispute)
        dispute["metadata"] = parameters.metadata(dispute["metadata"])
        evidence, submit = parameters.optional_group("evidence"), parameters.flag("submit", default=True)
        parameters.finish()
        if evidence is not None:
            self._open_dispute(dispute_id)
            given = {name: evidence.optional_text(name) for name in _EVIDENCE if name in evidence}
            evidence.finish()
            dispute["evidence"] = dispute["evidence"] | given
            details = dispute["evidence_details"] | {"has_evidence": True}
            if submit:
                prefix = "warning_" if dispute["status"].startswith("warning_") else ""
                dispute["status"] = f"{prefix}under_review"
                details |= {"submission_count": details["submission_count"] + 1, "submission_method": "manual"}
            dispute["evidence_details"] = details
        self._account.store.put(dispute)
        self._account.emit("charge.dispute.updated", dispute, before)
        return dispute

    def concede(self, parameters: Parameters, dispute_id: str) -> Json:
        """`POST /v1/disputes/{id}/close`: we do not fight it."""
        parameters.finish()
        return self.close(dispute_id, won=False)

    def close(self, dispute_id: str, won: bool, given_back: int | None = None) -> Json:
        """The bank has decided: `charge.dispute.closed`, and when it was won `charge.dispute.funds_reinstated`.

        `given_back`: cents that come back instead of the dispute's amount: a part, or at another rate. An inquiry just
        closes (`warning_closed`). Raises `WrongState` if it is closed already.
        """
        dispute = self._open_dispute(dispute_id)
        before = dict(dispute)
        inquiry = dispute["status"].startswith("warning_")
        dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
        if inquiry:
            charge = self._account.get("charge", dispute["charge"])
            charge["disputed"] = False
            self._account.store.put(charge)
        elif won:
            back = dispute["amount"] if given_back is None else given_back
            movement = self._balance.book("adjustment", back, dispute["id"], "Chargeback reversal",
                                          category="dispute_reversal")  # fmt: skip
            dispute["balance_transactions"] = [*dispute["balance_transactions"], movement]
            self._account.store.set_fact(f"withdrawn from {dispute['charge']}", "")
            charge = self._account.get("charge", dispute["charge"])
            charge["disputed"] = False  # for the double: a bank may open another one now
            self._account.store.put(charge)
        self._account.store.put(dispute)
        self._account.emit("charge.dispute.closed", dispute, before)
        if won and not inquiry:
            self._account.emit("charge.dispute.funds_reinstated", dispute, before)
        return dispute

    def warn(self, charge_id: str, fraud_type: str) -> Json:
        """An early fraud warning of the card's issuer, `radar.early_fraud_warning.created`; it moves no money."""
        charge = self._account.get("charge", charge_id, "charge")
        warning = {
            "id": self._account.new_id("issfr"),
            "object": "radar.early_fraud_warning",
            "actionable": not charge["refunded"] and not charge["disputed"],
            "charge": charge_id,
            "created": self._account.now(),
            "fraud_type": fraud_type,
            "livemode": False,
            "payment_intent": charge["payment_intent"],
        }
        self._account.store.put(warning)
        self._account.emit("radar.early_fraud_warning.created", warning)
        return warning

    def after_payment(self, charge: Json, method: Json) -> None:
        """What the test cards for disputes and warnings bring about."""
        card, charge_id = card_of(method), charge["id"]
        if card.fraud_warning:
            self._account.afterwards(lambda: self.warn(charge_id, "made_with_stolen_card"))
        if card.disputed_as is not None:
            self._account.afterwards(lambda: self.open(charge_id, None, card.disputed_as or "general", card.inquiry))

    def _withdraw(self, dispute: Json, taken: int | None = None) -> None:
        cents = dispute["amount"] if taken is None else taken
        movement = self._balance.book("adjustment", -cents, dispute["id"], "Chargeback withdrawal",
                                      fee=DISPUTE_FEE_CENTS)  # fmt: skip
        dispute["balance_transactions"] = [*dispute["balance_transactions"], movement]
        self._account.store.put(dispute)
        self._account.store.set_fact(f"withdrawn from {dispute['charge']}", dispute["id"])

    def _open_dispute(self, dispute_id: str) -> Json:
        dispute = self._account.get("dispute", dispute_id, "dispute")
        if dispute["status"] in _CLOSED:
            raise WrongState(f"Dispute {dispute_id} is already closed: {dispute['status']}.")
        return dispute

    def _dispute(self, charge: Json, amount: int, reason: str, inquiry: bool) -> Json:
        details = charge["payment_method_details"]
        brand = details["card"]["brand"] if details["type"] == "card" else "visa"
        case = {"brand": brand, "case_type": "inquiry" if inquiry else "chargeback", "network": brand,
                "network_reason_code": "10.4" if reason == "fraudulent" else "13.1"}  # fmt: skip
        now = self._account.now()
        return {
            "id": self._account.new_id("du"),
            "object": "dispute",
            "amount": amount,
            "balance_transactions": [],
            "charge": charge["id"],
            "created": now,
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": dict.fromkeys(_EVIDENCE) | {"enhanced_evidence": {}},
            "evidence_details": {
                "due_by": now + _SECONDS_TO_ANSWER, "enhanced_eligibility": {}, "has_evidence": False,
                "past_due": False, "submission_count": 0, "submission_method": "not_submitted",
            },
            "is_charge_refundable": inquiry,
            "livemode": False,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {"card": case, "type": "card"},
            "reason": reason,
            "status": "warning_needs_response" if inquiry else "needs_response",
        }  # fmt: skip
