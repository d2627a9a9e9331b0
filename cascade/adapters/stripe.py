"""Stripe: begins payments by card, and tells what became of them. The only module that imports Stripe's SDK.

An event is only a hint that something happened to an intent. What is booked is read from Stripe's API afterwards, so
that it does not matter in which order events arrive, how often, how late, or what they say.

Answers are judged by their HTTP status, never by the class of the SDK's exception: SDK 16 raises a plain APIError for a
409, which says that the first request with this idempotency key is still running.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import stripe
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from cascade.adapters.stripe_clock import StripeClock
from cascade.adapters.stripe_objects import (
    ATTEMPT,
    CHARGES,
    ORDER_ID,
    UNREADABLE,
    Begun,
    BegunState,
    event_of,
    intent_of,
    read_evidence,
    session_of,
    text,
)
from cascade.domain.card_payments import EVENT_TYPES, CardAttempt, CardEvidence, Flow, StripeEvent
from cascade.domain.orders import Order
from cascade.errors import (
    InvalidSignature,
    StripeBusy,
    StripeDenied,
    StripeError,
    StripeFailed,
    StripeRefused,
    StripeUnavailable,
)

__all__ = ["TOLERANCE_SECONDS", "Begun", "BegunState", "Stripe", "read_evidence"]

log = logging.getLogger(__name__)

TOLERANCE_SECONDS: Final = 300
"""A signature is good for this long; Stripe signs every retry anew."""
BUSY_SECONDS: Final = 8.0
"""How long a request waits for the first one with its idempotency key."""
_BUSY_PAUSE_SECONDS: Final = 0.5
_LOOK_BACK: Final = timedelta(minutes=10)
"""How much earlier than an attempt its session is looked for: the clocks may differ a little."""
_CHECKOUT_ORIGIN: Final = "https://checkout.stripe.com"


class Stripe:
    """One Stripe account.

    Args:
        secret_key: of the server's side; in no log and no message.
        webhook_secret: what Stripe signs events with.
        api_base: another address than Stripe's, for a double; None for Stripe.
        checkout_domain: the custom domain of its pages; None for Stripe's own.
        timeout_seconds: for one request. A request is repeated twice under its own idempotency key.
    """

    def __init__(
        self,
        secret_key: str,
        webhook_secret: str,
        *,
        api_base: str | None = None,
        checkout_domain: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        if not webhook_secret.strip():
            raise ValueError("an empty webhook secret verifies nothing")
        self._webhook_secret = webhook_secret
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base} if api_base else {},
            max_network_retries=2,
            http_client=_Listening(self._read_clock, timeout=timeout_seconds),
        )
        self.clock: Final = StripeClock(self._ask_anything)
        self.test_mode: Final = "_live_" not in secret_key
        self.checkout_origin: Final = _origin(api_base) if api_base else _CHECKOUT_ORIGIN
        """Where a payer is sent to pay."""
        custom = [f"https://{checkout_domain}"] if checkout_domain else []
        self.checkout_origins: Final = (self.checkout_origin, *custom)
        """All of them: a custom domain can be switched off in the Dashboard, and then Stripe's own is used again."""

    def _read_clock(self, headers: Mapping[str, str]) -> None:
        self.clock.read(headers)

    def _ask_anything(self) -> None:
        """Ask Stripe for something that costs nothing; a refusal has a time, too."""
        with suppress(StripeError), _speaking():
            self._client.v1.events.list({"limit": 1})

    # Beginning

    def begin_session(self, order: Order, attempt: CardAttempt, page_url: str) -> Begun:
        """Return a page of Stripe's for an order, at its locked price. The same attempt again gives the same page.

        Raises:
            StripeUnavailable: whether there is a page is not known; ask again with the same attempt.
            StripeFailed: Stripe would repeat this for the attempt; look for what it made, and make another attempt.
            StripeRefused: nothing was made, and the operator has to change something.
        """
        metadata = {ORDER_ID: order.id}

        def create() -> Begun:
            session = self._client.v1.checkout.sessions.create(
                {
                    "mode": "payment",
                    "adaptive_pricing": {"enabled": False},
                    "allowed_payment_method_types": ["card"],
                    "line_items": [{"price_data": _price(order), "quantity": 1}],
                    "client_reference_id": attempt.idempotency_key,
                    "metadata": metadata,
                    "payment_intent_data": {"metadata": metadata, "description": f"Order {order.id}"},
                    "success_url": f"{page_url}?card=paid",
                    "cancel_url": page_url,
                    "expires_at": int(attempt.expires_at.timestamp()),
                },
                {"idempotency_key": attempt.idempotency_key},
            )
            page = session_of(session.to_dict(), order)
            if _origin(page.handle) not in self.checkout_origins:
                log.warning(
                    "browsers are led to none but %s, and this page is at %s: set CASCADE_STRIPE_CHECKOUT_DOMAIN",
                    " or ".join(self.checkout_origins), _origin(page.handle),
                )  # fmt: skip
            return page

        return _unless_busy(create)

    def begin_intent(self, order: Order, attempt: CardAttempt) -> Begun:
        """Return an intent for an order, at its locked price, for a form of the platform's. Raises as
        `begin_session`."""

        def create() -> Begun:
            intent = self._client.v1.payment_intents.create(
                {
                    "amount": order.quote.price.units,
                    "currency": "usd",
                    "allowed_payment_method_types": ["card"],
                    "description": f"Order {order.id}",
                    "metadata": {ORDER_ID: order.id, ATTEMPT: attempt.idempotency_key},
                },
                {"idempotency_key": attempt.idempotency_key},
            )
            return intent_of(intent.to_dict(), order)

        return _unless_busy(create)

    def begun(self, flow: Flow, stripe_id: str, order: Order | None = None) -> Begun:
        """Return how a session or an intent stands, held against its order. Raises StripeError."""
        with _speaking():
            if flow is Flow.PAYMENT_INTENT:
                return intent_of(self._client.v1.payment_intents.retrieve(stripe_id).to_dict(), order)
            found = self._client.v1.checkout.sessions.retrieve(stripe_id, {"expand": ["payment_intent"]})
            return session_of(found.to_dict(), order)

    def find(self, attempt: CardAttempt) -> Begun | None:
        """Return what Stripe made of an attempt whose answer is not known, from its own list; None: nothing is there.

        Raises:
            StripeError: the list could not be read to its end.
        """
        since: Any = {"gte": int((attempt.begun_at_stripe - _LOOK_BACK).timestamp())}
        key = attempt.idempotency_key
        with _speaking():
            if attempt.flow is Flow.PAYMENT_INTENT:
                intents = self._client.v1.payment_intents.list({"created": since, "limit": 100}).auto_paging_iter()
                made = (intent.to_dict() for intent in intents)
                return next((intent_of(each) for each in made if each["metadata"].get(ATTEMPT) == key), None)
            sessions = self._client.v1.checkout.sessions.list({"created": since, "limit": 100}).auto_paging_iter()
            pages = (session.to_dict() for session in sessions)
            return next((session_of(each) for each in pages if each["client_reference_id"] == key), None)

    def end(self, flow: Flow, stripe_id: str) -> BegunState:
        """Let nobody pay a session or an intent any more, and return how it stands then.

        Raises:
            StripeUnavailable, StripeFailed: it may still be payable.
        """
        v1 = self._client.v1
        try:
            with _speaking():
                if flow is Flow.PAYMENT_INTENT:
                    return intent_of(v1.payment_intents.cancel(stripe_id).to_dict()).state
                return session_of(v1.checkout.sessions.expire(stripe_id).to_dict()).state
        except StripeDenied:
            raise
        except StripeRefused:  # its state forbids it: which one is that?
            state = self.begun(flow, stripe_id).state
        if state is BegunState.OPEN:
            raise StripeFailed(f"Stripe does not end {stripe_id}, although it can still be paid")
        return state

    # What became of it

    def verified_event(self, body: bytes, signature: str | None) -> StripeEvent:
        """Return the event in a webhook.

        Raises:
            InvalidSignature: Stripe did not sign this body with our secret, or did so too long ago.
        """
        try:
            stripe.WebhookSignature.verify_header(body, signature, self._webhook_secret)
            event = orjson.loads(body) if self._is_fresh(signature or "") else None
        except stripe.SignatureVerificationError:
            raise InvalidSignature("The Stripe-Signature does not fit this body and STRIPE_WEBHOOK_SECRET.") from None
        except ValueError:  # neither text nor JSON
            raise InvalidSignature("The body is no event of Stripe's: it is no JSON.") from None
        if event is None:
            raise InvalidSignature(
                f"The Stripe-Signature is older than {TOLERANCE_SECONDS} seconds, by Stripe's clock as well as by ours."
            )
        try:
            return event_of(event)
        except UNREADABLE as exc:
            raise InvalidSignature(f"The body is no event of Stripe's that can be kept: {_plain(exc)}.") from None

    def _is_fresh(self, signature: str) -> bool:
        """Return whether a good signature is young by Stripe's clock, or by ours, which may be wrong."""
        signed_at = max(int(part[2:]) for part in signature.split(",") if part.startswith("t="))
        oldest = time.time() - TOLERANCE_SECONDS
        return signed_at >= oldest + min(0.0, self.clock.ahead(asking=signed_at < oldest).total_seconds())

    def events_since(self, since: datetime) -> Iterator[StripeEvent]:
        """Yield every event since a moment (by Stripe's clock, which keeps 30 days) that may concern money; youngest
        first.

        Raises:
            StripeError: the list could not be read to its end.
        """
        created: Any = {"gte": int(since.timestamp())}
        types = list(EVENT_TYPES)
        with _speaking():
            pages = self._client.v1.events.list({"created": created, "types": types, "limit": 100})
            for event in pages.auto_paging_iter():
                try:
                    yield event_of(event.to_dict())
                except UNREADABLE as exc:  # one of them must not hide all others
                    log.warning("an event in Stripe's list cannot be kept: %s", _plain(exc))

    def evidence(self, intent_id: str) -> CardEvidence:
        """Fetch everything that Stripe says of an intent now, which may be named by its charge.

        Raises:
            StripeUnavailable, StripeFailed: ask again later.
            StripeRefused: there is no such intent, or the answer cannot be read.
        """
        v1 = self._client.v1
        with _speaking():
            if intent_id.startswith(CHARGES):  # named by an event of an older version of the API
                intent_id = text(v1.charges.retrieve(intent_id).to_dict()["payment_intent"], "payment_intent")
            of_intent: Any = {"payment_intent": intent_id, "limit": 100}
            intent = v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}).to_dict()
            refunds = [r.to_dict() for r in v1.refunds.list(of_intent).auto_paging_iter()]
            disputes = [d.to_dict() for d in v1.disputes.list(of_intent).auto_paging_iter()]
            warnings = [w.to_dict() for w in v1.radar.early_fraud_warnings.list(of_intent).auto_paging_iter()]
            return read_evidence(intent, refunds, disputes, warnings)


class _Listening(stripe.RequestsClient):
    """The SDK's own HTTP client, with the headers of every answer told to somebody."""

    def __init__(self, told: Callable[[Mapping[str, str]], None], *, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._told = told

    def request(self, *wish: Any, **more: Any) -> Any:
        """Send one request, as the SDK does."""
        answer = super().request(*wish, **more)
        self._told(answer[2])
        return answer


def _price(order: Order) -> Any:
    name = f"{order.quote.total_ducats.display()} ducats for {order.citizen_id}"
    return {"currency": "usd", "unit_amount": order.quote.price.units, "product_data": {"name": name}}


def _unless_busy(create: Callable[[], Begun]) -> Begun:
    """Send a request with an idempotency key; while the first one with this key runs, wait and ask again."""
    patient = Retrying(
        retry=retry_if_exception_type(StripeBusy),
        wait=wait_fixed(_BUSY_PAUSE_SECONDS),
        stop=stop_after_delay(BUSY_SECONDS),
        reraise=True,
    )

    def ask() -> Begun:
        with _speaking():
            try:
                return create()
            except UNREADABLE as exc:  # but it was made
                raise StripeFailed(f"Stripe's answer cannot be read: {_plain(exc)}") from None

    return patient(ask)


@contextmanager
def _speaking() -> Iterator[None]:
    """Turn the SDK's errors into ours. Their texts hold neither keys nor card data; bodies and headers stay out."""
    try:
        yield
    except stripe.StripeError as exc:
        raise _judged(exc) from None
    except UNREADABLE as exc:  # ours, while reading the answer
        raise StripeRefused(f"Stripe's answer is not one that Cascade knows how to read: {_plain(exc)}") from None


def _judged(exc: stripe.StripeError) -> StripeError:
    """Return our error for an answer of Stripe's, by its HTTP status and the words in its body."""
    status = exc.http_status
    body = exc.json_body if isinstance(exc.json_body, dict) else {}
    error = body.get("error")
    told = (error.get("type"), error.get("code")) if isinstance(error, dict) else ()
    name = type(exc).__name__
    if status is None:
        return StripeUnavailable(f"Stripe did not answer: {name}")
    if status == 409:
        return StripeBusy("Stripe is still working on the same request: ask again with the same key")
    if status == 429 or "rate_limit" in told:
        return StripeUnavailable(f"Stripe did not answer: HTTP {status}, {name}")
    if status == 401:
        return StripeDenied("Stripe does not know the key: check STRIPE_SECRET_KEY")
    if status == 403:
        return StripeDenied("the key may not do this: check the permissions of STRIPE_SECRET_KEY")
    if "idempotency_error" in told:
        return StripeFailed("the settings changed between two tries of one attempt")
    if status in (400, 402, 404):
        return StripeRefused(f"Stripe refused: {exc.user_message}")
    return StripeFailed(f"Stripe answered with HTTP {status}: {name}")


def _plain(exc: BaseException) -> str:
    """Return what is wrong with an object, without quoting what it holds."""
    return f"{exc.args[0]} is missing" if isinstance(exc, KeyError) else str(exc) or type(exc).__name__


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
