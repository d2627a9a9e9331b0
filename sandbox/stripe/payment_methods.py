"""Payment methods: what is known of a card once its number is forgotten."""

from __future__ import annotations

import calendar
import hashlib
from datetime import UTC, datetime
from typing import Final

from sandbox.stripe.account import Account
from sandbox.stripe.cards import BY_TOKEN, Card, with_last4, with_number
from sandbox.stripe.errors import CardDeclined, InvalidRequest, Json
from sandbox.stripe.form import Parameters

_TYPES: Final = ("card", "us_bank_account")
_NO_ADDRESS: Final = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


def allowed_types(parameters: Parameters) -> list[str]:
    """The kinds of methods that an intent or a session may be paid with: `card`, unless `allowed_payment_method_types`
    or `excluded_payment_method_types` say otherwise. Kinds that do not fit are left out without a word.

    Raises `InvalidRequest` for `payment_method_types`, which this version of the API no longer takes, and when nothing
    is left.
    """
    if "payment_method_types" in parameters:
        raise InvalidRequest(
            "payment_method_types is no longer supported on this API version. Use allowed_payment_method_types,"
            " excluded_payment_method_types or dynamic payment methods instead.",
            code="payment_method_types_no_longer_supported", param="payment_method_types",
        )  # fmt: skip
    allowed = parameters.texts("allowed_payment_method_types")
    excluded = parameters.texts("excluded_payment_method_types")
    if allowed and (excluded or "automatic_payment_methods" in parameters):
        raise InvalidRequest("You may only specify one of these parameters: allowed_payment_method_types,"
                             " automatic_payment_methods, excluded_payment_method_types.")  # fmt: skip
    kinds = [kind for kind in allowed if kind in _TYPES] if allowed else ["card"]
    kinds = [kind for kind in kinds if kind not in excluded]
    if not kinds:
        raise InvalidRequest("No valid payment method types for this payment.", param="allowed_payment_method_types")
    return kinds


def card_of(method: Json) -> Card:
    """How a payment method behaves."""
    return with_last4(method[method["type"]]["last4"])


class PaymentMethods:
    """Makes payment methods from Stripe's test tokens and card numbers."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create(self, parameters: Parameters) -> Json:
        """`POST /v1/payment_methods`: `type=card` with the card's `number`, `exp_month`, `exp_year` and `cvc`, or
        `type=us_bank_account`. Raises `CardDeclined` for a number, date or code that cannot be a card's."""
        kind = parameters.choice("type", "card", "us_bank_account")
        billing = parameters.optional_group("billing_details")
        metadata = parameters.metadata()
        parameters.ignore("allow_redisplay")
        if kind == "us_bank_account":
            parameters.ignore("us_bank_account")
            method = self._method(with_last4("6789"), 12, 2034)
        else:
            method = self._card(parameters)
        if billing is not None:
            billing.ignore("address", "phone", "tax_id")
            method["billing_details"] |= {
                "name": billing.optional_text("name"), "email": billing.optional_text("email")
            }  # fmt: skip
        method["metadata"] = metadata
        parameters.finish()
        self._account.store.put(method)
        return method

    def from_card(self, number: str, month: int, year: int, cvc: str, name: str | None, email: str | None) -> Json:
        """A method from what a payer typed; raises `CardDeclined` as `create` does."""
        card = with_number(number)
        if card is None:
            raise CardDeclined("Your card number is incorrect.", code="incorrect_number", param="number")
        self._check_date(month, year)
        if not cvc.isdigit() or len(cvc) not in (3, 4):
            raise CardDeclined("Your card's security code is invalid.", code="invalid_cvc", param="cvc")
        method = self._method(card, month, year)
        method["billing_details"] |= {"name": name, "email": email}
        self._account.store.put(method)
        return method

    def bank_account(self, name: str | None, email: str | None) -> Json:
        """A bank account, whose payments settle later."""
        method = self._method(with_last4("6789"), 0, 0)
        method["billing_details"] |= {"name": name, "email": email}
        self._account.store.put(method)
        return method

    def resolve(self, name: str) -> Json:
        """The method that an id names; a new one for a test token, as Stripe makes one for `pm_card_visa`."""
        card = BY_TOKEN.get(name)
        if card is None:
            return self._account.get("payment_method", name, "payment_method")
        method = self._method(card, 12, 2034)
        self._account.store.put(method)
        return method

    def _card(self, parameters: Parameters) -> Json:
        card = parameters.optional_group("card") or Parameters({}, "card")
        number, cvc = card.text("number"), card.optional_text("cvc") or "123"
        month, year = card.integer("exp_month"), card.integer("exp_year")
        card.finish()
        return self.from_card(number, month, year, cvc, None, None)

    def _check_date(self, month: int, year: int) -> None:
        if not 1 <= month <= 12:
            message = "Your card's expiration month is invalid."
            raise CardDeclined(message, code="invalid_expiry_month", param="exp_month")
        now = self._account.now()
        in_range = datetime.fromtimestamp(now, UTC).year <= year <= datetime.fromtimestamp(now, UTC).year + 50
        if not in_range or _end_of(month, year) <= now:
            raise CardDeclined("Your card's expiration year is invalid.", code="invalid_expiry_year", param="exp_year")

    def _method(self, card: Card, month: int, year: int) -> Json:
        fingerprint = hashlib.sha256(f"{card.brand} {card.last4}".encode()).hexdigest()[:16]
        method = {
            "id": self._account.new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": {
                "address": dict(_NO_ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None
            },
            "created": self._account.now(),
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": {},
        }  # fmt: skip
        if card.settles_later:
            details: Json = {
                "account_holder_type": "individual", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
                "financial_connections_account": None, "fingerprint": fingerprint, "last4": card.last4,
                "networks": {"preferred": "ach", "supported": ["ach"]}, "routing_number": "110000000",
                "status_details": None,
            }  # fmt: skip
            return method | {"type": "us_bank_account", "us_bank_account": details}
        details = {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": month,
            "exp_year": year,
            "fingerprint": fingerprint,
            "funding": "credit",
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
        return method | {"type": "card", "card": details}


def _end_of(month: int, year: int) -> int:
    """When a card expires: the end of its month, in seconds since 1970."""
    following = (year + month // 12, month % 12 + 1)
    return calendar.timegm((*following, 1, 0, 0, 0))
