"""Checkout Sessions in payment mode, on a page of Stripe's (here: of the double's). Amounts are in cents.

The payment intent is made when the payer first tries to pay, as since API version 2022-08-01: until then
`session.payment_intent` is null. One session has at most one intent, however many attempts it takes.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import urlsplit

from sandbox.stripe.account import Account
from sandbox.stripe.errors import InvalidRequest, Json, WrongState
from sandbox.stripe.form import Parameters
from sandbox.stripe.payment_intents import PaymentIntents, checked_amount, checked_currency
from sandbox.stripe.payment_methods import allowed_types

_SHORTEST_SECONDS: Final = 30 * 60
_LONGEST_SECONDS: Final = 24 * 3600
_NOTHING: Final = (
    "after_expiration", "allow_promotion_codes", "client_secret", "collected_information", "consent",
    "consent_collection", "currency_conversion", "customer", "customer_account", "customer_details",
    "excluded_payment_method_types", "integration_identifier", "invoice", "locale", "origin_context", "payment_intent",
    "payment_link", "payment_method_configuration_details", "permissions", "recovered_from", "return_url",
    "saved_payment_method_options", "setup_intent", "shipping_address_collection", "shipping_cost", "submit_type",
    "subscription", "wallet_options",
)  # fmt: skip
_NO_ADDRESS: Final = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


class CheckoutSessions:
    """The `checkout/sessions` endpoints, and what a payer does on the hosted page."""

    def __init__(self, account: Account, intents: PaymentIntents) -> None:
        self._account = account
        self._intents = intents

    def create(self, parameters: Parameters) -> Json:
        """`POST /v1/checkout/sessions`: mode `payment`, lines with `price_data`, a hosted page."""
        parameters.choice("mode", "payment")
        parameters.choice("ui_mode", "hosted_page", default="hosted_page")
        now, session_id = self._account.now(), self._account.new_id("cs_test", 58)
        expires_at = parameters.optional_integer("expires_at") or now + _LONGEST_SECONDS
        if not now + _SHORTEST_SECONDS <= expires_at + 5 or expires_at > now + _LONGEST_SECONDS + 5:
            # A few seconds' grace: the request was on its way.
            raise InvalidRequest("The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout"
                                 " Session creation.", param="expires_at")  # fmt: skip
        types = allowed_types(parameters)
        lines = [self._line(line) for line in parameters.groups("line_items")]
        if not lines:
            raise InvalidRequest("You must provide `line_items` in payment mode.", param="line_items")
        total = checked_amount(sum(line["amount_total"] for line in lines), "line_items")
        session = self._session(session_id, now, expires_at, types, total) | {
            "success_url": _checked_url(parameters, "success_url", required=True),
            "cancel_url": _checked_url(parameters, "cancel_url", required=False),
            "client_reference_id": parameters.optional_text("client_reference_id", 200),
            "customer_email": parameters.optional_text("customer_email", 800),
            "locale": parameters.optional_text("locale"),
            "metadata": parameters.metadata(),
            "submit_type": parameters.optional_text("submit_type"),
        }
        pricing = parameters.optional_group("adaptive_pricing")
        wants_local_prices = self._account.chaos.adaptive_pricing
        if pricing is not None:
            wants_local_prices = pricing.flag("enabled", wants_local_prices) or self._account.chaos.forced_pricing
            pricing.finish()
        session["adaptive_pricing"] = {"enabled": wants_local_prices}
        wishes = self._intent_wishes(parameters.optional_group("payment_intent_data"))
        parameters.ignore("customer_creation", "billing_address_collection", "payment_method_collection")
        parameters.finish()
        self._account.store.put(session)
        for line in lines:
            self._account.store.put(line)
        self._account.store.set_fact(f"lines of {session_id}", json.dumps([line["id"] for line in lines]))
        self._account.store.set_fact(f"wishes of {session_id}", json.dumps(wishes))
        return session

    def expire(self, parameters: Parameters, session_id: str) -> Json:
        """`POST /v1/checkout/sessions/{id}/expire`, while it is open."""
        parameters.finish()
        session = self._account.get("checkout.session", session_id, "session")
        if session["status"] != "open":
            raise WrongState("Only Checkout Sessions with a status in [\"open\"] can be expired. This Checkout Session"
                             f" has a status of {session['status']}.")  # fmt: skip
        return self._end(session)

    def expire_due(self) -> None:
        """Ends every open session whose time has come."""
        for session in list(self._account.newest("checkout.session", status="open")):
            if session["expires_at"] <= self._account.now():
                self._end(session)

    def lines(self, session_id: str) -> list[Json]:
        """What is bought, the first line first."""
        line_ids = json.loads(self._account.store.fact(f"lines of {session_id}") or "[]")
        return [self._account.get("item", line_id) for line_id in line_ids]

    def pay(self, session_id: str, method: Json) -> Json:
        """The payer pays: the session, now complete, or with an intent that asks for 3-D Secure.

        Raises `CardDeclined` once the refusal is on record, and `WrongState` if the session is not open.
        """
        session = self._account.get("checkout.session", session_id, "session")
        if session["status"] != "open":
            raise WrongState(f"This Checkout Session has a status of {session['status']}.")
        intent = self._intent_of(session)
        billing = method["billing_details"]
        session["customer_details"] = {
            "address": dict(_NO_ADDRESS), "business_name": None, "email": billing["email"] or session["customer_email"],
            "individual_name": None, "name": billing["name"], "phone": None, "tax_exempt": "none", "tax_ids": [],
        }  # fmt: skip
        self._account.store.put(session)
        return_url = f"{self._account.base_url}/c/pay/{session_id}"
        intent = self._intents.attempt(intent, method, return_url)
        return self._follow(session, intent)

    def authenticate(self, intent_id: str, passed: bool) -> Json | None:
        """The payer has answered the 3-D Secure step of an intent: its session, or None if it has none.

        Raises as `PaymentIntents.authenticate` does.
        """
        intent = self._intents.authenticate(intent_id, passed)
        session = self.of_intent(intent_id)
        return None if session is None else self._follow(session, intent)

    def complete_async_payment(self, name: str, succeeded: bool) -> Json:
        """The bank has answered for the payment of a session or an intent: that object."""
        is_session = name.startswith("cs_")
        intent_id = self._account.get("checkout.session", name)["payment_intent"] if is_session else name
        intent = self._intents.complete_processing(str(intent_id), succeeded)
        session = self.of_intent(intent["id"])
        if session is None:
            return intent
        session["payment_status"] = "paid" if succeeded else "unpaid"
        self._account.store.put(session)
        outcome = "succeeded" if succeeded else "failed"
        self._account.emit(f"checkout.session.async_payment_{outcome}", session)
        return session if is_session else intent

    def of_intent(self, intent_id: str) -> Json | None:
        """The session that made an intent."""
        session_id = self._account.store.fact(f"session of {intent_id}")
        return None if session_id is None else self._account.get("checkout.session", session_id)

    def _follow(self, session: Json, intent: Json) -> Json:
        """What an intent's new status means for its session."""
        if intent["status"] not in ("succeeded", "processing"):
            return session
        paid = intent["status"] == "succeeded"
        session |= {"payment_status": "paid" if paid else "unpaid", "status": "complete", "url": None}
        self._account.store.put(session)
        self._account.emit("checkout.session.completed", session)
        return session

    def _end(self, session: Json) -> Json:
        session |= {"status": "expired", "url": None}
        self._account.store.put(session)
        self._account.emit("checkout.session.expired", session)
        if session["payment_intent"] is not None:
            self._intents.void(self._account.get("payment_intent", session["payment_intent"]), "automatic")
        return session

    def _intent_of(self, session: Json) -> Json:
        if session["payment_intent"] is not None:
            return self._account.get("payment_intent", session["payment_intent"])
        intent = self._intents.draft(session["amount_total"], session["currency"], session["payment_method_types"])
        intent |= json.loads(self._account.store.fact(f"wishes of {session['id']}") or "{}")
        self._account.store.set_fact(f"session of {intent['id']}", session["id"])
        session["payment_intent"] = intent["id"]
        self._intents.open(intent)
        return intent

    def _line(self, parameters: Parameters) -> Json:
        price, quantity = parameters.optional_group("price_data"), parameters.optional_integer("quantity") or 1
        if price is None:
            raise InvalidRequest(f"Missing required param: {parameters.name('price_data')}. This double keeps no"
                                 " prices.", code="parameter_missing", param=parameters.name("price_data"))  # fmt: skip
        parameters.finish()
        currency, cents = checked_currency(price), price.integer("unit_amount")
        product = price.optional_group("product_data") or Parameters({}, price.name("product_data"))
        name = product.text("name")
        product.ignore("description", "images", "metadata", "tax_code", "unit_label")
        product.finish()
        price.ignore("tax_behavior")
        price.finish()
        if cents < 0 or quantity < 1:
            raise InvalidRequest("Invalid line item: amounts are not negative, quantities at least 1.",
                                 param="line_items")  # fmt: skip
        return {
            "id": self._account.new_id("li"),
            "object": "item",
            "adjustable_quantity": None,
            "amount_discount": 0,
            "amount_subtotal": cents * quantity,
            "amount_tax": 0,
            "amount_total": cents * quantity,
            "currency": currency,
            "description": name,
            "metadata": {},
            "price": self._price(cents, currency),
            "quantity": quantity,
        }

    def _price(self, cents: int, currency: str) -> Json:
        return {
            "id": self._account.new_id("price"),
            "object": "price",
            "active": False,
            "billing_scheme": "per_unit",
            "created": self._account.now(),
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": self._account.new_id("prod", 14),
            "recurring": None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": cents,
            "unit_amount_decimal": str(cents),
        }

    def _session(self, session_id: str, now: int, expires_at: int, types: list[str], total: int) -> Json:
        return dict.fromkeys(_NOTHING) | {
            "id": session_id,
            "object": "checkout.session",
            "adaptive_pricing": {"enabled": False},
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
            "billing_address_collection": None,
            "created": now,
            "currency": "usd",
            "custom_fields": [],
            "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
            "customer_creation": "if_required",
            "discounts": [],
            "expires_at": expires_at,
            "livemode": False,
            "mode": "payment",
            "payment_method_collection": "if_required",
            "payment_method_options": {"card": {"request_three_d_secure": "automatic"}} if "card" in types else {},
            "payment_method_types": types,
            "payment_status": "unpaid",
            "phone_number_collection": {"enabled": False},
            "shipping_options": [],
            "status": "open",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
            "ui_mode": "hosted_page",
            "url": f"{self._account.base_url}/c/pay/{session_id}",
        }

    def _intent_wishes(self, data: Parameters | None) -> Json:
        """What `payment_intent_data` asks for the intent to come."""
        if data is None:
            return {}
        data.choice("capture_method", "automatic", "automatic_async", default="automatic_async")
        wishes: Json = {
            name: data.optional_text(name) for name in ("description", "receipt_email", "statement_descriptor_suffix")
        }
        wishes["metadata"] = data.metadata()
        data.finish()
        return {name: value for name, value in wishes.items() if value is not None}


def _checked_url(parameters: Parameters, name: str, *, required: bool) -> str | None:
    url = parameters.text(name) if required else parameters.optional_text(name)
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise InvalidRequest("Not a valid URL", code="url_invalid", param=name)
    return url
