"""Stripe: begins payments by card, and tells what became of them. The only module that imports Stripe's SDK.

An event is only a hint that something happened to an intent. What is booked is read from Stripe's API afterwards, so
that it does not matter in which order events arrive, how often, how late, or what they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import stripe

from cascade.domain.card import (
    EVENT_TYPES,
    CardAttempt,
    CardCase,
    CardEvidence,
    CardIntent,
    CaseKind,
    IntentStatus,
    StripeEvent,
)
from cascade.domain.ledger import STRIPE
from cascade.domain.money import USD, Money
from cascade.domain.orders import Order
from cascade.domain.payments import ConfirmedPayment, Rail
from cascade.domain.reversals import Reversal, ReversalKind
from cascade.errors import InvalidSignature, StripeFailed, StripeRefused, StripeUnavailable

TOLERANCE_SECONDS: Final = 300
"""A signature is good for this long; Stripe signs every retry anew."""
_ORDER_ID: Final = "order_id"
_CHECKOUT_ORIGIN: Final = "https://checkout.stripe.com"
_CAME_BACK: Final = ("failed", "canceled")
_PAID: Final = (IntentStatus.PROCESSING, IntentStatus.SUCCEEDED)
_CONFLICT: Final = 409

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Begun:
    """A payment that a payer can go on with.

    Attributes:
        stripe_id: of the session or the intent.
        handle: what the payer needs: the page's URL, or the intent's client secret.
        is_open: whether it can still be paid.
        is_paid: whether it was paid, or the bank is at it.
    """

    stripe_id: str
    handle: str
    is_open: bool
    is_paid: bool


class Stripe:
    """One Stripe account.

    Args:
        secret_key: of the server's side; in no log and no message.
        webhook_secret: what Stripe signs events with.
        api_base: another address than Stripe's, for a double; None for Stripe.
        timeout_seconds: for one request. A request is repeated twice under its own idempotency key.
    """

    def __init__(
        self, secret_key: str, webhook_secret: str, *, api_base: str | None = None, timeout_seconds: float = 10.0
    ) -> None:
        if not webhook_secret.strip():
            raise ValueError("an empty webhook secret verifies nothing")
        self._webhook_secret = webhook_secret
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=2,
            http_client=stripe.RequestsClient(timeout=timeout_seconds),
        )
        self.test_mode: Final = "_live_" not in secret_key
        self.checkout_origin: Final = _origin(api_base) if api_base else _CHECKOUT_ORIGIN
        """Where a payer is sent to pay."""

    # Beginning

    def begin_session(self, order: Order, attempt: CardAttempt, page_url: str) -> Begun:
        """A page of Stripe's for an order, at its locked price. The same attempt again gives the same page.

        Raises:
            StripeUnavailable: whether there is a page is not known; ask again with the same attempt.
            StripeFailed: this attempt leads nowhere; make another one.
            StripeRefused: the operator has to change something.
        """
        metadata = {_ORDER_ID: order.id}
        price: Any = {
            "currency": "usd",
            "unit_amount": order.quote.price.units,
            "product_data": {"name": f"{order.quote.total_ducats.display()} ducats for {order.citizen_id}"},
        }
        with _speaking():
            session = self._client.v1.checkout.sessions.create(
                {
                    "mode": "payment",
                    "allowed_payment_method_types": ["card"],
                    "line_items": [{"price_data": price, "quantity": 1}],
                    "metadata": metadata,
                    "payment_intent_data": {"metadata": metadata, "description": f"Order {order.id}"},
                    "success_url": f"{page_url}?card=paid",
                    "cancel_url": page_url,
                    "expires_at": int(attempt.payable_until.timestamp()),
                },
                {"idempotency_key": attempt.idempotency_key},
            )
        return _session(session.to_dict())

    def begin_intent(self, order: Order, attempt: CardAttempt) -> Begun:
        """An intent for an order, at its locked price, for a form of the platform's. Raises as `begin_session`."""
        with _speaking():
            intent = self._client.v1.payment_intents.create(
                {
                    "amount": order.quote.price.units,
                    "currency": "usd",
                    "allowed_payment_method_types": ["card"],
                    "description": f"Order {order.id}",
                    "metadata": {_ORDER_ID: order.id},
                },
                {"idempotency_key": attempt.idempotency_key},
            )
        return _intent(intent.to_dict())

    def session(self, session_id: str) -> Begun:
        """How a page stands. Raises StripeError."""
        with _speaking():
            found = self._client.v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent"]})
            return _session(found.to_dict())

    def intent(self, intent_id: str) -> Begun:
        """How an intent stands. Raises StripeError."""
        with _speaking():
            return _intent(self._client.v1.payment_intents.retrieve(intent_id).to_dict())

    def expire_session(self, session_id: str) -> None:
        """Let nobody pay on a page any more; one that is paid or over stays as it is.

        Raises:
            StripeUnavailable, StripeFailed: it may still be payable.
        """
        with _speaking(), _unless_over():
            self._client.v1.checkout.sessions.expire(session_id)

    def cancel_intent(self, intent_id: str) -> None:
        """Let nobody pay an intent any more; one that is paid or over stays as it is. Raises as `expire_session`."""
        with _speaking(), _unless_over():
            self._client.v1.payment_intents.cancel(intent_id)

    # What became of it

    def verified_event(self, body: bytes, signature: str | None) -> StripeEvent:
        """The event in a webhook.

        Raises:
            InvalidSignature: Stripe did not sign this body with our secret, or did so too long ago.
        """
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret, TOLERANCE_SECONDS)
            return _event(orjson.loads(body))
        except stripe.SignatureVerificationError:
            raise InvalidSignature(
                "The Stripe-Signature does not fit this body and STRIPE_WEBHOOK_SECRET, or is older than"
                f" {TOLERANCE_SECONDS} seconds."
            ) from None
        except (KeyError, TypeError, ValueError):  # not text, or text that Stripe cannot have sent
            raise InvalidSignature("The body is no event of Stripe's.") from None

    def events_since(self, since: datetime) -> Iterator[StripeEvent]:
        """Every event since a moment (by Stripe's clock, which keeps 30 days) that may concern money; youngest first.

        Raises:
            StripeError: the list could not be read to its end.
        """
        created: Any = {"gte": int(since.timestamp())}
        types = list(EVENT_TYPES)
        with _speaking():
            pages = self._client.v1.events.list({"created": created, "types": types, "limit": 100})
            for event in pages.auto_paging_iter():
                yield _event(event.to_dict())

    def evidence(self, intent_id: str) -> CardEvidence:
        """Everything that Stripe says of an intent now.

        Raises:
            StripeUnavailable, StripeFailed: ask again later.
            StripeRefused: there is no such intent, it is not in dollars, or the answer cannot be read.
        """
        of_intent: Any = {"payment_intent": intent_id, "limit": 100}
        v1 = self._client.v1
        with _speaking():
            intent = v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}).to_dict()
            refunds = [r.to_dict() for r in v1.refunds.list(of_intent).auto_paging_iter()]
            disputes = [d.to_dict() for d in v1.disputes.list(of_intent).auto_paging_iter()]
            warnings = [w.to_dict() for w in v1.radar.early_fraud_warnings.list(of_intent).auto_paging_iter()]
            return read_evidence(intent, refunds, disputes, warnings)


@contextmanager
def _speaking() -> Iterator[None]:
    """Turns the SDK's errors into ours. Their texts hold neither keys nor card data; bodies and headers stay out."""
    try:
        yield
    except stripe.AuthenticationError:
        raise StripeRefused("Stripe does not know the key: check STRIPE_SECRET_KEY") from None
    except stripe.PermissionError:
        raise StripeRefused("the key may not do this: check the permissions of STRIPE_SECRET_KEY") from None
    except (stripe.APIConnectionError, stripe.RateLimitError) as fault:
        raise StripeUnavailable(f"Stripe did not answer: {type(fault).__name__}") from None
    except stripe.IdempotencyError as fault:
        if fault.http_status == _CONFLICT:
            raise StripeUnavailable("Stripe is still at the same request") from None
        raise StripeFailed("the settings changed between two tries of one attempt") from None
    except stripe.InvalidRequestError as fault:
        raise StripeRefused(f"Stripe refused: {fault.user_message}") from None
    except (KeyError, TypeError, ValueError) as fault:  # ours, while reading the answer
        raise StripeRefused(f"Stripe's answer is not one that Cascade knows how to read: {fault!r}") from None
    except stripe.StripeError as fault:
        raise StripeFailed(f"Stripe answered with HTTP {fault.http_status}: {type(fault).__name__}") from None


@contextmanager
def _unless_over() -> Iterator[None]:
    try:
        yield
    except stripe.InvalidRequestError:
        return


def _session(session: Json) -> Begun:
    intent = session["payment_intent"]  # null until the payer first tries
    is_paid = isinstance(intent, Mapping) and IntentStatus(intent["status"]) in _PAID
    return Begun(session["id"], session["url"] or "", session["status"] == "open", is_paid)


def _intent(intent: Json) -> Begun:
    status = IntentStatus(intent["status"])
    is_open = status not in (*_PAID, IntentStatus.CANCELED)
    return Begun(intent["id"], intent["client_secret"], is_open, status in _PAID)


def _event(event: Json) -> StripeEvent:
    subject = event["data"]["object"]
    intent = subject["id"] if subject["object"] == "payment_intent" else subject.get("payment_intent")
    if isinstance(intent, Mapping):
        intent = intent["id"]
    # An object without an id (a balance, say) is none that is ever looked for.
    return StripeEvent(event["id"], event["type"], _time(event["created"]), subject.get("id", ""), intent)


def read_evidence(
    intent: Json, refunds: Sequence[Json], disputes: Sequence[Json], warnings: Sequence[Json]
) -> CardEvidence:
    """What Stripe's objects say of an intent, its latest charge expanded.

    Raises:
        StripeRefused: it was not paid in dollars.
        KeyError, TypeError, ValueError: something is missing, or in words that are not known.
    """
    failure = intent["last_payment_error"]
    status = IntentStatus(intent["status"])
    state = CardIntent(intent["id"], _order_id(intent) or None, status, failure and failure.get("code"))
    object_ids = frozenset(found["id"] for found in (intent, *refunds, *disputes, *warnings))
    if state.status is not IntentStatus.SUCCEEDED:
        return CardEvidence(state, None, (), (), object_ids)
    if intent["currency"] != "usd":
        raise StripeRefused(
            f"{intent['id']} was paid in {intent['currency'].upper()}, but Cascade books USD only: refund it in"
            " Stripe's Dashboard and `cascade inbox --ignore` its events; give Cascade a Stripe account of its own"
        )
    payment = _payment(intent)
    reversals = (
        *(movement for refund in refunds for movement in _refund(refund, payment.reference)),
        *(movement for dispute in disputes for movement in _dispute(dispute, payment.reference)),
    )
    cases = (
        *(_dispute_case(dispute, payment.reference) for dispute in disputes),
        *(_warning_case(warning, payment.reference) for warning in warnings),
    )
    return CardEvidence(state, payment, reversals, cases, object_ids)


def _payment(intent: Json) -> ConfirmedPayment:
    cents, charge = int(intent["amount_received"]), intent["latest_charge"]
    return ConfirmedPayment(
        reference=f"stripe:{intent['id']}",
        rail=Rail.CARD,
        order_key=_order_id(intent).encode(),
        received=Money(USD, cents),
        landed={STRIPE: cents},
        payer=intent["payment_method"] or "unknown",
        transaction=intent["id"],
        # When the payer gave the order to pay: a bank may take days to carry it out.
        paid_at=_time(charge["created"]),
    )


def _order_id(intent: Json) -> str:
    """The order that an intent names; empty for one that names none, or one that cannot be ours."""
    named = str(intent["metadata"].get(_ORDER_ID, ""))
    return named if named.isascii() and named.isprintable() else ""


def _refund(refund: Json, payment: str) -> Iterator[Reversal]:
    """A refund leaves when it is made, also while it is pending; one that failed or was canceled came back."""
    amount, reference = Money(USD, int(refund["amount"])), f"stripe:{refund['id']}"
    landed = {STRIPE: amount.units}
    yield Reversal(reference, payment, ReversalKind.REFUND, amount, landed)
    if refund["status"] in _CAME_BACK:
        yield Reversal(f"{reference}:failed", payment, ReversalKind.REFUND_FAILED, amount, landed)


def _dispute(dispute: Json, payment: str) -> Iterator[Reversal]:
    """What a dispute moved, however often: an inquiry moves nothing."""
    for movement in dispute["balance_transactions"]:
        # In the account's own currency, which need not be the payment's.
        units = abs(int(movement["amount"])) if movement["currency"] == "usd" else int(dispute["amount"])
        kind = ReversalKind.DISPUTE if movement["amount"] < 0 else ReversalKind.DISPUTE_REINSTATED
        if units:
            reference = f"stripe:{dispute['id']}:{movement['id']}"
            yield Reversal(reference, payment, kind, Money(USD, units), {STRIPE: units})


def _dispute_case(dispute: Json, payment: str) -> CardCase:
    kind = CaseKind.INQUIRY if dispute["status"].startswith("warning_") else CaseKind.DISPUTE
    due = dispute["evidence_details"]["due_by"]
    amount = Money(USD, int(dispute["amount"]))
    respond_by = _time(due) if due else None
    return CardCase(dispute["id"], payment, kind, dispute["status"], dispute["reason"], amount, respond_by)


def _warning_case(warning: Json, payment: str) -> CardCase:
    status = "actionable" if warning["actionable"] else "not_actionable"
    return CardCase(warning["id"], payment, CaseKind.EARLY_FRAUD_WARNING, status, warning["fraud_type"], None, None)


def _time(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
