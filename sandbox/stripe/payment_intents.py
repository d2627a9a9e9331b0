"""Payment intents: from the wish to take money to the money, through declines and 3-D Secure. Amounts are in cents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sandbox.stripe.account import Account, random_text
from sandbox.stripe.cards import Decline
from sandbox.stripe.charges import Charges
from sandbox.stripe.errors import CardDeclined, InvalidRequest, Json, WrongState
from sandbox.stripe.form import Parameters
from sandbox.stripe.payment_methods import PaymentMethods, allowed_types, card_of

LEAST_CENTS: Final = 50
MOST_CENTS: Final = 99_999_999
_OPEN: Final = ("requires_payment_method", "requires_confirmation", "requires_action")
_REASONS: Final = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
_NOTHING: Final = (
    "application", "application_fee_amount", "automatic_payment_methods", "canceled_at", "cancellation_reason",
    "customer", "customer_account", "excluded_payment_method_types", "last_payment_error", "latest_charge",
    "next_action", "on_behalf_of", "payment_method", "payment_method_configuration_details", "processing",
    "receipt_email", "review", "setup_future_usage", "shipping", "source", "statement_descriptor",
    "statement_descriptor_suffix", "transfer_data", "transfer_group",
)  # fmt: skip
_FAILED_AUTHENTICATION: Final = (
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new PaymentMethod"
    " to attempt to fulfill this PaymentIntent again."
)


def checked_amount(cents: int, param: str = "amount") -> int:
    """An amount that Stripe would charge; raises `InvalidRequest` for less than 50 cents or eight digits and more."""
    if cents < LEAST_CENTS:
        message = "The Checkout Session's or PaymentIntent's total must convert to at least 50 cents."
        raise InvalidRequest(message, code="amount_too_small", param=param)
    if cents > MOST_CENTS:
        message = "Amount must be no more than $999,999.99"
        raise InvalidRequest(message, code="amount_too_large", param=param)
    return cents


def checked_currency(parameters: Parameters) -> str:
    """`usd`, the only currency of this account; raises `InvalidRequest` for any other."""
    currency = parameters.text("currency").lower()
    if currency != "usd":
        raise InvalidRequest(f"Invalid currency: {currency}. This double knows usd.", param=parameters.name("currency"))
    return currency


class PaymentIntents:
    """The `payment_intents` endpoints, and what a payer does to an intent."""

    def __init__(self, account: Account, charges: Charges, methods: PaymentMethods) -> None:
        self._account = account
        self._charges = charges
        self._methods = methods
        self._after_payment: Callable[[Json, Json], None] = lambda _charge, _method: None

    def on_payment(self, then: Callable[[Json, Json], None]) -> None:
        """Sets what follows a successful charge of a test card that wants more: a dispute, a warning."""
        self._after_payment = then

    def create(self, parameters: Parameters) -> Json:
        """`POST /v1/payment_intents`."""
        amount = checked_amount(parameters.integer("amount"))
        currency = checked_currency(parameters)
        types = allowed_types(parameters)
        automatic = parameters.optional_group("automatic_payment_methods")
        confirm = parameters.flag("confirm")
        intent = self.draft(amount, currency, types) | {
            "description": parameters.optional_text("description"),
            "metadata": parameters.metadata(),
            "receipt_email": parameters.optional_text("receipt_email"),
            "statement_descriptor_suffix": parameters.optional_text("statement_descriptor_suffix", 22),
        }
        parameters.choice("capture_method", "automatic", "automatic_async", default="automatic_async")
        parameters.choice("confirmation_method", "automatic", default="automatic")
        if "allowed_payment_method_types" not in parameters:
            redirects = "always"
            if automatic is not None:
                automatic.flag("enabled")
                redirects = automatic.choice("allow_redirects", "always", "never", default="always")
                automatic.finish()
            intent["automatic_payment_methods"] = {"allow_redirects": redirects, "enabled": True}
        method = self._method_in(parameters)
        return_url = parameters.optional_text("return_url")
        parameters.finish()
        if confirm:
            self._check_return_url(intent, return_url)
        if method is not None:
            intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
        self.open(intent)
        return self._confirm(intent, return_url) if confirm else intent

    def draft(self, amount: int, currency: str, types: list[str]) -> Json:
        """A new intent, not yet stored."""
        intent_id = self._account.new_id("pi")
        return dict.fromkeys(_NOTHING) | {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "capture_method": "automatic_async",
            "client_secret": f"{intent_id}_secret_{random_text(25)}",
            "confirmation_method": "automatic",
            "created": self._account.now(),
            "currency": currency,
            "description": None,
            "livemode": False,
            "metadata": {},
            "payment_method_options": {kind: _OPTIONS[kind] for kind in types if kind in _OPTIONS},
            "payment_method_types": types,
            "status": "requires_payment_method",
        }

    def open(self, intent: Json) -> None:
        """Stores a new intent, and `payment_intent.created`."""
        self._account.store.put(intent)
        self._account.emit("payment_intent.created", intent)

    def update(self, parameters: Parameters, intent_id: str) -> Json:
        """`POST /v1/payment_intents/{id}`: metadata, description, amount (while open), payment method."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        amount = parameters.optional_integer("amount")
        if amount is not None and amount != intent["amount"]:
            self._require(intent, "update the amount of", "requires_payment_method", "requires_confirmation")
            intent["amount"] = checked_amount(amount)
        if "currency" in parameters:
            checked_currency(parameters)
        for name in ("description", "receipt_email"):
            if name in parameters:
                intent[name] = parameters.optional_text(name)
        intent["metadata"] = parameters.metadata(intent["metadata"])
        method = self._method_in(parameters)
        parameters.finish()
        if method is not None:
            self._require(intent, "update the payment method of", *_OPEN)
            intent |= {"payment_method": method["id"], "status": "requires_confirmation", "next_action": None}
        self._account.store.put(intent)
        return intent

    def confirm(self, parameters: Parameters, intent_id: str) -> Json:
        """`POST /v1/payment_intents/{id}/confirm`; raises `CardDeclined` with the intent in it."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        self._refuse_if_checkouts(intent, "confirm")
        method = self._method_in(parameters)
        return_url = parameters.optional_text("return_url")
        parameters.ignore("client_secret", "use_stripe_sdk", "receipt_email")
        parameters.finish()
        self._require(intent, "confirm", *_OPEN)
        self._check_return_url(intent, return_url)
        if method is not None:
            intent["payment_method"] = method["id"]
        if intent["payment_method"] is None:
            raise WrongState(
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state", payment_intent=intent,
            )  # fmt: skip
        return self._confirm(intent, return_url)

    def cancel(self, parameters: Parameters, intent_id: str) -> Json:
        """`POST /v1/payment_intents/{id}/cancel`, while no money was taken."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        reason = parameters.optional_text("cancellation_reason")
        parameters.finish()
        if reason is not None and reason not in _REASONS:
            raise InvalidRequest(f"Invalid cancellation_reason: must be one of {', '.join(_REASONS)}",
                                 param="cancellation_reason")  # fmt: skip
        self._refuse_if_checkouts(intent, "cancel")
        self._require(intent, "cancel", *_OPEN)
        return self.void(intent, reason)

    def void(self, intent: Json, reason: str | None) -> Json:
        """Ends an intent for good, and `payment_intent.canceled`."""
        intent |= {
            "canceled_at": self._account.now(), "cancellation_reason": reason, "next_action": None, "status": "canceled"
        }  # fmt: skip
        self._account.store.put(intent)
        self._account.emit("payment_intent.canceled", intent)
        return intent

    def attempt(self, intent: Json, method: Json, return_url: str | None, authenticated: bool = False) -> Json:
        """Tries to take the money, with all that follows; raises `CardDeclined` once the refusal is on record."""
        card = card_of(method)
        intent |= {"payment_method": method["id"], "next_action": None}
        if card.settles_later:
            return self._process(intent, method)
        if card.authenticates and not authenticated:
            return self._ask_for_authentication(intent, return_url)
        if card.decline is not None:
            return self._decline(intent, method, card.decline, authenticated)
        charge = self._charges.succeed(intent, method, authenticated)
        return self._succeed(intent, charge, method)

    def authenticate(self, intent_id: str, passed: bool) -> Json:
        """The payer has passed or failed the 3-D Secure step; raises `CardDeclined` if the card is refused then, and
        `WrongState` if no step was asked for."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        self._require(intent, "authenticate", "requires_action")
        method = self._account.get("payment_method", intent["payment_method"])
        if passed:
            return self.attempt(intent, method, None, authenticated=True)
        error = {
            "code": "payment_intent_authentication_failure", "message": _FAILED_AUTHENTICATION,
            "payment_method": method, "type": "invalid_request_error",
        }  # fmt: skip
        self._fail(intent, error)
        return intent

    def complete_processing(self, intent_id: str, succeeded: bool) -> Json:
        """The bank has answered for a payment that was `processing`."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        self._require(intent, "settle", "processing")
        method = self._account.get("payment_method", intent["payment_method"])
        charge = self._account.get("charge", intent["latest_charge"])
        charge = self._charges.finish_pending(charge, succeeded)
        if succeeded:
            return self._succeed(intent, charge, method)
        self._fail(intent, {
            "charge": charge["id"], "code": charge["failure_code"], "message": charge["failure_message"],
            "payment_method": method, "type": "card_error",
        })  # fmt: skip
        return intent

    def convert(self, intent_id: str, currency: str, amount: int) -> Json:
        """A paid intent and its charge in another currency. Raises `WrongState` unless it is paid."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        self._require(intent, "convert", "succeeded")
        charge = self._account.get("charge", intent["latest_charge"]) | {"currency": currency, "amount": amount}
        intent |= {"currency": currency, "amount": amount, "amount_received": amount}
        self._account.store.put(charge)
        self._account.store.put(intent)
        return intent

    def capture_a_part(self, intent_id: str, amount: int) -> Json:
        """A paid intent of which only a part was captured. Raises `WrongState` unless it is paid."""
        intent = self._account.get("payment_intent", intent_id, "intent")
        self._require(intent, "capture", "succeeded")
        intent["amount_received"] = amount
        charge = self._account.get("charge", intent["latest_charge"]) | {"amount_captured": amount}
        self._account.store.put(charge)
        self._account.store.put(intent)
        return intent

    def _confirm(self, intent: Json, return_url: str | None) -> Json:
        if intent["payment_method"] is None:
            raise InvalidRequest("You must provide a payment method to confirm this PaymentIntent.",
                                 code="parameter_missing", param="payment_method")  # fmt: skip
        method = self._account.get("payment_method", intent["payment_method"])
        return self.attempt(intent, method, return_url)

    def _succeed(self, intent: Json, charge: Json, method: Json) -> Json:
        intent |= {
            "amount_received": intent["amount"], "last_payment_error": None, "latest_charge": charge["id"],
            "processing": None, "status": "succeeded",
        }  # fmt: skip
        self._account.store.put(intent)
        self._account.emit("payment_intent.succeeded", intent)
        self._after_payment(charge, method)
        return intent

    def _process(self, intent: Json, method: Json) -> Json:
        charge = self._charges.pend(intent, method)
        intent |= {"latest_charge": charge["id"], "last_payment_error": None, "status": "processing"}
        self._account.store.put(intent)
        self._account.emit("payment_intent.processing", intent)
        return intent

    def _ask_for_authentication(self, intent: Json, return_url: str | None) -> Json:
        url = f"{self._account.base_url}/authenticate/{intent['id']}?client_secret={intent['client_secret']}"
        if return_url is not None:
            action = {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"}
        else:
            action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"stripe_js": url, "type": "three_d_secure_redirect"}}
        intent |= {"last_payment_error": None, "next_action": action, "status": "requires_action"}
        self._account.store.put(intent)
        self._account.emit("payment_intent.requires_action", intent)
        return intent

    def _decline(self, intent: Json, method: Json, decline: Decline, authenticated: bool) -> Json:
        charge = self._charges.fail(intent, method, decline, authenticated)
        error = {
            "charge": charge["id"], "code": decline.code, "message": decline.message, "payment_method": method,
            "type": "card_error", "doc_url": f"https://docs.stripe.com/error-codes#{decline.code.replace('_', '-')}",
        }  # fmt: skip
        if decline.decline_code is not None:
            error["decline_code"] = decline.decline_code
        intent["latest_charge"] = charge["id"]
        self._fail(intent, error)
        more = {name: value for name, value in error.items() if name not in ("code", "message", "type")}
        raise CardDeclined(decline.message, code=decline.code, payment_intent=intent, **more)

    def _fail(self, intent: Json, error: Json) -> None:
        intent |= {
            "last_payment_error": error, "next_action": None, "payment_method": None, "processing": None,
            "status": "requires_payment_method",
        }  # fmt: skip
        self._account.store.put(intent)
        self._account.emit("payment_intent.payment_failed", intent)

    def _method_in(self, parameters: Parameters) -> Json | None:
        name = parameters.optional_text("payment_method")
        data = parameters.optional_group("payment_method_data")
        if data is not None:
            return self._methods.create(data)
        return None if name is None else self._methods.resolve(name)

    def _check_return_url(self, intent: Json, return_url: str | None) -> None:
        automatic = intent["automatic_payment_methods"]
        if automatic is not None and automatic["allow_redirects"] == "always" and return_url is None:
            raise InvalidRequest(
                "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of"
                " these payment methods might redirect your customer off of your page, you must provide a"
                " `return_url`. If you don't want to accept redirect-based payment methods, set"
                " `automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to"
                " `never` when creating Setup Intents and Payment Intents.", param="return_url",
            )  # fmt: skip

    def _refuse_if_checkouts(self, intent: Json, verb: str) -> None:
        if self._account.store.fact(f"session of {intent['id']}") is not None:
            raise WrongState(f"You cannot {verb} this PaymentIntent: it belongs to a Checkout Session. You may expire"
                             " the Checkout Session instead.", code="payment_intent_unexpected_state")  # fmt: skip

    def _require(self, intent: Json, verb: str, *statuses: str) -> None:
        if intent["status"] not in statuses:
            raise WrongState(
                f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}. Only a"
                f" PaymentIntent with one of the following statuses allows this: {', '.join(statuses)}.",
                code="payment_intent_unexpected_state", payment_intent=intent,
            )  # fmt: skip


_OPTIONS: Final[Json] = {
    "card": {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"},
    "us_bank_account": {"verification_method": "automatic"},
}
