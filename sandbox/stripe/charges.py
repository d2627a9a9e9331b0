"""Charges: one attempt to take money, successful or not. Amounts are in cents."""

from __future__ import annotations

from sandbox.stripe.account import Account
from sandbox.stripe.balance import Balance, charge_fee
from sandbox.stripe.cards import GENERIC, Decline
from sandbox.stripe.errors import Json, WrongState
from sandbox.stripe.payment_methods import card_of

_NOTHING = (
    "application", "application_fee", "application_fee_amount", "balance_transaction", "customer",
    "failure_balance_transaction", "failure_code", "failure_message", "on_behalf_of", "receipt_number", "review",
    "shipping", "source", "source_transfer", "statement_descriptor", "statement_descriptor_suffix", "transfer_data",
    "transfer_group",
)  # fmt: skip


class Charges:
    """Makes charges on behalf of payment intents and settles them."""

    def __init__(self, account: Account, balance: Balance) -> None:
        self._account = account
        self._balance = balance

    def succeed(self, intent: Json, method: Json, authenticated: bool) -> Json:
        """Takes the money: a charge, and `charge.succeeded`. Its balance transaction follows with `settle`."""
        charge = self._charge(intent, method, authenticated) | {
            "amount_captured": intent["amount"], "captured": True, "paid": True, "status": "succeeded"
        }  # fmt: skip
        self._account.store.put(charge)
        self._account.emit("charge.succeeded", charge)
        self._settle_soon(charge)
        return charge

    def pend(self, intent: Json, method: Json) -> Json:
        """A charge that waits for the bank, and `charge.pending`."""
        charge = self._charge(intent, method, authenticated=False) | {"captured": True, "status": "pending"}
        self._account.store.put(charge)
        self._account.emit("charge.pending", charge)
        return charge

    def fail(self, intent: Json, method: Json, decline: Decline, authenticated: bool) -> Json:
        """An attempt that the bank refused, and `charge.failed`."""
        charge = self._charge(intent, method, authenticated) | {
            "failure_code": decline.code,
            "failure_message": decline.message,
            "outcome": _outcome(decline),
            "status": "failed",
        }
        self._account.store.put(charge)
        self._account.emit("charge.failed", charge)
        return charge

    def finish_pending(self, charge: Json, succeeded: bool) -> Json:
        """The bank has answered for a charge that waited."""
        if succeeded:
            charge |= {"amount_captured": charge["amount"], "paid": True, "status": "succeeded"}
        else:
            charge |= {
                "captured": False, "failure_code": "payment_method_bank_account_declined",
                "failure_message": "The bank declined the debit.", "outcome": _outcome(GENERIC), "status": "failed",
            }  # fmt: skip
        self._account.store.put(charge)
        self._account.emit("charge.succeeded" if succeeded else "charge.failed", charge)
        if succeeded:
            self._settle_soon(charge)
        return charge

    def settle(self, charge_id: str) -> Json:
        """Gives a charge its balance transaction, and `charge.updated`; raises `WrongState` if it cannot have one."""
        charge = self._account.get("charge", charge_id, "charge")
        if charge["status"] != "succeeded" or charge["balance_transaction"] is not None:
            raise WrongState(f"Charge {charge_id} has nothing to settle.")
        before, amount = dict(charge), charge["amount"]
        movement = self._balance.book(
            "charge" if charge["payment_method_details"]["type"] == "card" else "payment",
            amount, charge_id, "Charge", fee=charge_fee(amount), category="charge",
        )  # fmt: skip
        charge["balance_transaction"] = movement["id"]
        self._account.store.put(charge)
        self._account.emit("charge.updated", charge, before)
        return charge

    def _settle_soon(self, charge: Json) -> None:
        """Capture is asynchronous: `charge.succeeded` knows of no balance transaction yet."""
        if not self._account.chaos.late_balance_transactions:
            self._account.afterwards(lambda: self.settle(charge["id"]))

    def _charge(self, intent: Json, method: Json, authenticated: bool) -> Json:
        return dict.fromkeys(_NOTHING) | {
            "id": self._account.new_id("ch" if method["type"] == "card" else "py"),
            "object": "charge",
            "amount": intent["amount"],
            "amount_captured": 0,
            "amount_refunded": 0,
            "billing_details": method["billing_details"],
            "calculated_statement_descriptor": "DUCATS TEST MODE",
            "captured": False,
            "created": self._account.now(),
            "currency": intent["currency"],
            "description": intent["description"],
            "disputed": False,
            "fraud_details": {},
            "livemode": False,
            "metadata": dict(intent["metadata"]),
            "outcome": _outcome(None),
            "paid": False,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": _details(method, intent["amount"], authenticated),
            "radar_options": {},
            "receipt_email": intent["receipt_email"],
            "receipt_url": None,
            "refunded": False,
            "status": "pending",
        }


def _outcome(decline: Decline | None) -> Json:
    blocked = decline is not None and decline.decline_code == "fraudulent"
    return {
        "advice_code": None if decline is None else "try_again_later",
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if decline is None
        else "not_sent_to_network" if blocked else "declined_by_network",
        "reason": None if decline is None else decline.decline_code or decline.code,
        "risk_level": "highest" if blocked else "normal",
        "risk_score": 99 if blocked else 20,
        "seller_message": "Payment complete." if decline is None else "The bank returned the decline code.",
        "type": "authorized" if decline is None else "blocked" if blocked else "issuer_declined",
    }  # fmt: skip


def _details(method: Json, amount: int, authenticated: bool) -> Json:
    kind = method["type"]
    known = method[kind]
    if kind != "card":
        shared = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
        details = {name: known[name] for name in shared}
        return {"type": kind, kind: details | {"expected_debit_date": None, "mandate": None, "payment_reference": None}}
    shown = (
        "brand",
        "country",
        "exp_month",
        "exp_year",
        "fingerprint",
        "funding",
        "last4",
        "regulated_status",
        "wallet",
    )
    checks = {"address_line1_check": None, "address_postal_code_check": None}
    secure = {
        "authentication_flow": "challenge", "electronic_commerce_indicator": "05", "exemption_indicator": None,
        "exemption_indicator_applied": None, "result": "authenticated", "result_reason": None, "transaction_id": None,
        "version": "2.2.0",
    }  # fmt: skip
    details = {name: known[name] for name in shown} | {
        "amount_authorized": amount,
        "authorization_code": None,
        "checks": checks | {"cvc_check": "fail" if _wrong_cvc(method) else "pass"},
        "extended_authorization": {"status": "disabled"},
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": known["brand"],
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "three_d_secure": secure if authenticated else None,
    }
    return {"type": "card", "card": details}


def _wrong_cvc(method: Json) -> bool:
    decline = card_of(method).decline
    return decline is not None and decline.code == "incorrect_cvc"
