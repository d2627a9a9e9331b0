"""Read Stripe's objects. Every field that reaches the database or a clock is checked here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from cascade.domain.card_payments import (
    Alarm,
    CardCase,
    CardEvidence,
    CardIntent,
    CaseKind,
    ExchangeGain,
    IntentStatus,
    StripeEvent,
)
from cascade.domain.money import ASSETS, USD, Money, Rounding, divide
from cascade.domain.orders import Order
from cascade.domain.payments import ConfirmedPayment, Rail
from cascade.domain.postings import EXCHANGE, STRIPE
from cascade.domain.reversals import Reversal, ReversalKind

ORDER_ID: Final = "order_id"
ATTEMPT: Final = "attempt"
LONGEST_TEXT: Final = 255
"""Characters of an id or a word of Stripe's: its own ids have up to 255."""
LATEST_SECOND: Final = 4_102_444_800
"""2100-01-01 UTC: no event, charge or deadline of Stripe's is later."""
MOST_UNITS: Final = 10**15
UNREADABLE: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What reading an object raises that is not in the shape that this module knows."""
_RATES_DIFFER: Final = 10
"""A bank that gives back at most a tenth less than it took has converted it at another rate."""
CHARGES: Final = ("ch_", "py_")
_OF_CHARGES: Final = ("refund.", "charge.dispute.", "radar.early_fraud_warning.")
_CAME_BACK: Final = ("failed", "canceled")

Json = Mapping[str, Any]


class BegunState(Enum):
    """The progress of a payment by a session or an intent."""

    OPEN = "open"
    """A payer can pay it."""
    PROCESSING = "processing"
    """A bank carries it out. An intent can be paid again when the bank fails it."""
    PAID = "paid"
    OVER = "over"
    """Nobody can pay it any more, and nobody has."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session or an intent of one of our attempts.

    Attributes:
        stripe_id: of the session or the intent.
        handle: what the payer needs: the page's URL, or the intent's client secret.
        state: how far it is.
        error: why no payer may get it, when it is not what was asked for.
    """

    stripe_id: str
    handle: str
    state: BegunState
    error: str | None = None


def text(value: object, name: str) -> str:
    """Return a text of Stripe's that the database can hold.

    Raises:
        ValueError: it is none, is too long, or holds control characters.
    """
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        raise ValueError(f"{name} is no text of at most {LONGEST_TEXT} printable characters")
    return value


def moment(value: object, name: str) -> datetime:
    """Return a time of Stripe's, in whole seconds since 1970. Raises ValueError for anything else."""
    if type(value) is not int or not 0 <= value <= LATEST_SECOND:
        raise ValueError(f"{name} is no time in whole seconds between 1970 and 2100")
    return datetime.fromtimestamp(value, UTC)


def units(value: object, name: str) -> int:
    """Return an amount in a currency's smallest unit, of either sign. Raises ValueError for anything else."""
    if type(value) is not int or abs(value) > MOST_UNITS:
        raise ValueError(f"{name} is no whole amount of at most {MOST_UNITS}")
    return value


def session_of(session: Json, order: Order | None = None) -> Begun:
    """Read a Checkout Session, its intent expanded or not, and hold it against the order that it is for."""
    intent = session["payment_intent"]  # null until the payer first tries
    states = {"open": BegunState.OPEN, "expired": BegunState.OVER, "complete": BegunState.PAID}
    state = states[session["status"]]
    if isinstance(intent, Mapping) and state is not BegunState.OVER:
        status = IntentStatus(intent["status"])
        if status is IntentStatus.SUCCEEDED:
            state = BegunState.PAID
        elif status is IntentStatus.PROCESSING:
            state = BegunState.PROCESSING
        elif state is BegunState.PAID:  # the bank has failed it; a complete session is not paid again
            state = BegunState.OVER
    error = _session_fault(session, order) if order is not None else None
    return Begun(text(session["id"], "id"), str(session["url"] or ""), state, error)


def intent_of(intent: Json, order: Order | None = None) -> Begun:
    """Read a payment intent, and hold it against the order that it is for."""
    status = IntentStatus(intent["status"])
    states = {
        IntentStatus.SUCCEEDED: BegunState.PAID,
        IntentStatus.PROCESSING: BegunState.PROCESSING,
        IntentStatus.CANCELED: BegunState.OVER,
    }
    error = None if order is None else _difference(intent, order, intent["amount"])
    return Begun(text(intent["id"], "id"), str(intent["client_secret"]), states.get(status, BegunState.OPEN), error)


def _session_fault(session: Json, order: Order) -> str | None:
    pricing = session.get("adaptive_pricing") or {}
    if pricing.get("enabled"):
        return "Adaptive Pricing is on for this page: switch it off in Stripe's Dashboard"
    return _difference(session, order, session["amount_total"])


def _difference(made: Json, order: Order, cents: object) -> str | None:
    """Return how what Stripe made differs from what was asked for; None when it does not."""
    asked = ("usd", order.quote.price.units, ["card"], order.id)
    types = list(made["payment_method_types"])
    came = (made["currency"], cents, types, (made.get("metadata") or {}).get(ORDER_ID))
    if asked == came:
        return None
    return f"Stripe made a payment of {came} where {asked} was asked for: compare the account's settings"


def event_of(event: Json) -> StripeEvent:
    """Read an event's envelope. Raises one of UNREADABLE when a field is not what Stripe can have sent."""
    subject = event["data"]["object"]
    intent = subject["id"] if subject["object"] == "payment_intent" else subject.get("payment_intent")
    if intent is None and event["type"].startswith(_OF_CHARGES):  # so until API version 2019-08-14, and later for some
        intent = subject.get("charge")
    if isinstance(intent, Mapping):
        intent = intent["id"]
    return StripeEvent(
        text(event["id"], "id"),
        text(event["type"], "type"),
        moment(event["created"], "created"),
        # An object without an id (a balance, say) is none that is ever looked for.
        text(subject.get("id", ""), "data.object.id"),
        None if intent is None else text(intent, "data.object.payment_intent"),
    )


def read_evidence(
    intent: Json, refunds: Sequence[Json], disputes: Sequence[Json], warnings: Sequence[Json]
) -> CardEvidence:
    """Return what Stripe's objects say of an intent, its latest charge expanded. Raises one of UNREADABLE.

    Money in another currency than dollars is told as what it is: no order asks for it, so that it goes to suspense.
    """
    failure = intent["last_payment_error"]
    status = IntentStatus(intent["status"])
    code = failure and failure.get("code")
    state = CardIntent(
        text(intent["id"], "id"), _order_id(intent) or None, status, code and text(code, "last_payment_error.code")
    )
    object_ids = frozenset(text(found["id"], "id") for found in (intent, *refunds, *disputes, *warnings))
    cents = units(intent["amount_received"], "amount_received") if status is IntentStatus.SUCCEEDED else 0
    if not cents:  # not paid, or nothing was to be paid: no money moved
        return CardEvidence(state, None, (), (), object_ids)
    asset = ASSETS[text(intent["currency"], "currency").upper()]
    payment = _payment(intent, Money(asset, cents))
    books = [_refund(refund, payment) for refund in refunds] + [disputed(dispute, payment) for dispute in disputes]
    cases = (
        *(_dispute_case(dispute, payment) for dispute in disputes),
        *(_warning_case(warning, payment.reference) for warning in warnings),
    )
    foreign = Alarm(
        payment.reference, f"paid in {asset.code}, but Cascade sells for USD: refund it in Stripe's Dashboard"
    )
    return CardEvidence(
        state,
        payment,
        tuple(movement for book in books for movement in book.reversals),
        cases,
        object_ids,
        tuple(gain for book in books for gain in book.gains),
        (*(() if asset == USD else (foreign,)), *(alarm for book in books for alarm in book.alarms)),
        frozenset(moved for book in books for moved in book.moved),
    )


def _payment(intent: Json, received: Money) -> ConfirmedPayment:
    return ConfirmedPayment(
        reference=f"stripe:{intent['id']}",
        rail=Rail.CARD,
        order_key=_order_id(intent).encode(),
        received=received,
        landed={STRIPE: received.units},
        payer=text(intent["payment_method"] or "unknown", "payment_method"),
        transaction=intent["id"],
        # When the payer gave the order to pay: a bank may take days to carry it out.
        paid_at=moment(intent["latest_charge"]["created"], "latest_charge.created"),
    )


def _order_id(intent: Json) -> str:
    """Return the order that an intent names; empty for one that names none, or one that cannot be ours."""
    named = str(intent["metadata"].get(ORDER_ID, ""))
    return named if named.isascii() and named.isprintable() else ""


@dataclass(slots=True)
class _Book:
    """The movements of one refund or dispute, as they are booked."""

    reversals: list[Reversal] = field(default_factory=list)
    gains: list[ExchangeGain] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    moved: set[tuple[str, ReversalKind]] = field(default_factory=set)


def _refund(refund: Json, payment: ConfirmedPayment) -> _Book:
    """Return a refund leaves when it is made, also while it is pending; one that failed or was canceled came back."""
    book = _Book()
    amount, reference = Money(payment.received.asset, units(refund["amount"], "amount")), f"stripe:{refund['id']}"
    came_back = refund["status"] in _CAME_BACK
    if came_back:
        book.moved.add((refund["id"], ReversalKind.REFUND_FAILED))
    if amount.units > 0:
        landed = {STRIPE: amount.units}
        book.reversals.append(Reversal(reference, payment.reference, ReversalKind.REFUND, amount, landed))
        if came_back:
            failed = Reversal(f"{reference}:failed", payment.reference, ReversalKind.REFUND_FAILED, amount, landed)
            book.reversals.append(failed)
    return book


def disputed(dispute: Json, payment: ConfirmedPayment) -> _Book:
    """Read what a dispute moved, however often: an inquiry moves nothing.

    A bank may give back more or less than it took, because it counts in another currency. What is more is a gain of
    ours. What is a little less is made up from `exchange`, so that the citizen has all ducats again; of much less the
    ducats follow the money, and a person is told.
    """
    book, asset = _Book(), payment.received.asset
    away, taken = 0, 0  # of the payment's money, and in the currency of the account
    whole = units(dispute["amount"], "amount")
    for movement in dispute["balance_transactions"]:
        moved = units(movement["amount"], "balance_transactions.amount")
        reference = f"stripe:{dispute['id']}:{text(movement['id'], 'balance_transactions.id')}"
        converted = movement["currency"].upper() != asset.code
        if moved <= 0:
            book.moved.add((dispute["id"], ReversalKind.DISPUTE))
            cents = whole if converted and moved else -moved
            away, taken = away + cents, taken - moved
            _move(book, reference, payment, ReversalKind.DISPUTE, cents=cents, account=STRIPE)
        if moved >= 0:
            book.moved.add((dispute["id"], ReversalKind.DISPUTE_REINSTATED))
            cents = divide(away * moved, max(taken, 1), Rounding.CREDIT) if converted else moved
            back = min(cents, away)
            _move(book, reference, payment, ReversalKind.DISPUTE_REINSTATED, cents=back, account=STRIPE)
            if cents > back and not converted:
                book.gains.append(ExchangeGain(f"{reference}:gain", Money(asset, cents - back)))
            short = away - back
            if 0 < short * _RATES_DIFFER <= away and moved:
                _move(
                    book,
                    f"{reference}:difference",
                    payment,
                    ReversalKind.DISPUTE_REINSTATED,
                    cents=short,
                    account=EXCHANGE,
                )
                back += short
            elif short and moved:
                told = f"the bank gave back {back} of {away} cents: look at {dispute['id']} in Stripe's Dashboard"
                book.alarms.append(Alarm(reference, told))
            away, taken = away - back, taken - moved
    return book


def _move(
    book: _Book, reference: str, payment: ConfirmedPayment, kind: ReversalKind, *, cents: int, account: str
) -> None:
    if cents > 0:
        amount = Money(payment.received.asset, cents)
        book.reversals.append(Reversal(reference, payment.reference, kind, amount, {account: cents}))


def _dispute_case(dispute: Json, payment: ConfirmedPayment) -> CardCase:
    status, reason = text(dispute["status"], "status"), text(dispute["reason"], "reason")
    kind = CaseKind.INQUIRY if status.startswith("warning_") else CaseKind.DISPUTE
    due = dispute["evidence_details"]["due_by"]
    amount = Money(payment.received.asset, units(dispute["amount"], "amount"))
    respond_by = moment(due, "due_by") if due else None
    return CardCase(dispute["id"], payment.reference, kind, status, reason, amount, respond_by)


def _warning_case(warning: Json, payment: str) -> CardCase:
    status = "actionable" if warning["actionable"] else "not_actionable"
    reason = text(warning["fraud_type"], "fraud_type")
    return CardCase(warning["id"], payment, CaseKind.EARLY_FRAUD_WARNING, status, reason, None, None)
