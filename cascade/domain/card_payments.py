"""The state of a payment by card as Stripe tells it, as values. Amounts are US cents; no card datum is among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cascade.domain.money import Money
from cascade.domain.payments import ConfirmedPayment
from cascade.domain.reversals import Reversal, ReversalKind


class Flow(StrEnum):
    """The two ways to begin a payment by card."""

    CHECKOUT_SESSION = "checkout_session"
    """A page of Stripe's."""
    PAYMENT_INTENT = "payment_intent"
    """The platform's own form, with a client secret."""


class IntentStatus(StrEnum):
    """Stripe's own words for where a payment intent stands."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


PAYABLE = (IntentStatus.REQUIRES_PAYMENT_METHOD, IntentStatus.REQUIRES_CONFIRMATION, IntentStatus.REQUIRES_ACTION)
"""An intent that stands so can be paid by anyone who has its secret."""


@dataclass(frozen=True, slots=True)
class CardAttempt:
    """One begun payment by card; its number goes into the idempotency key.

    Attributes:
        order_id: the order.
        flow: how it was begun.
        number: 1, 2, ... for an order and a flow.
        payable_until: UTC; what is paid by this moment is paid at the order's price.
        stripe_id: the session's or intent's id; None while Stripe's answer is not known.
        begun_at: UTC; None before it is stored.
        stripe_ahead_seconds: Stripe's clock less ours when it was begun.
        key_spent: Stripe repeats a failure for its idempotency key.
    """

    order_id: str
    flow: Flow
    number: int
    payable_until: datetime
    stripe_id: str | None = None
    begun_at: datetime | None = None
    stripe_ahead_seconds: int = 0
    key_spent: bool = False

    @property
    def expires_at(self) -> datetime:
        """Return ``payable_until`` by Stripe's clock."""
        return self.payable_until + timedelta(seconds=self.stripe_ahead_seconds)

    @property
    def begun_at_stripe(self) -> datetime:
        """Return when it was begun by Stripe's clock."""
        begun_at = self.begun_at or self.payable_until - timedelta(days=1)
        return begun_at + timedelta(seconds=self.stripe_ahead_seconds)

    @property
    def idempotency_key(self) -> str:
        """Return the same for every repetition of this attempt, so that a lost answer is given again."""
        return f"cascade:{self.order_id}:{self.flow}:{self.number}"


@dataclass(frozen=True, slots=True)
class CardIntent:
    """The state of a payment intent; ``failure_code`` is Stripe's word for why the last card was refused."""

    intent_id: str
    order_id: str | None
    status: IntentStatus
    failure_code: str | None = None


class CaseKind(StrEnum):
    """A bank's word about a payment. Whether it moves money is told by reversals, never by a case."""

    DISPUTE = "dispute"
    INQUIRY = "inquiry"
    EARLY_FRAUD_WARNING = "early_fraud_warning"

    @property
    def next_step(self) -> str:
        """Return what an operator does about it."""
        return _NEXT_STEP[self]


_NEXT_STEP = {
    CaseKind.DISPUTE: "Answer with evidence in Stripe's Dashboard, or accept it there.",
    CaseKind.INQUIRY: "Answer in Stripe's Dashboard, or refund it there before it becomes a dispute.",
    CaseKind.EARLY_FRAUD_WARNING: "Look at the order; refund it in Stripe's Dashboard if it looks stolen.",
}


@dataclass(frozen=True, slots=True)
class CardCase:
    """A dispute, an inquiry or an early fraud warning.

    Attributes:
        case_id: Stripe's id.
        payment: the reference of the payment it is about.
        kind: which of them.
        status: in Stripe's words, e.g. ``needs_response``, ``won``; of a warning ``actionable`` or not.
        reason: in Stripe's words, e.g. ``fraudulent``.
        amount: what it is about; None for a warning.
        respond_by: UTC; until then evidence is heard.
    """

    case_id: str
    payment: str
    kind: CaseKind
    status: str
    reason: str
    amount: Money | None
    respond_by: datetime | None


EVENT_TYPES = (
    *("checkout.session.completed", "checkout.session.expired"),
    *("checkout.session.async_payment_succeeded", "checkout.session.async_payment_failed"),
    *("payment_intent.succeeded", "payment_intent.processing", "payment_intent.payment_failed"),
    *("payment_intent.requires_action", "payment_intent.canceled"),
    *("refund.created", "refund.updated", "refund.failed"),
    *("charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"),
    *("charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
    *("radar.early_fraud_warning.created", "radar.early_fraud_warning.updated"),
)
"""Events after which an intent is looked at again. Stripe's list can be asked for twenty types at most."""


@dataclass(frozen=True, slots=True)
class StripeEvent:
    """The envelope of an event: that something happened, and to which intent. Its contents are never trusted or kept:
    they may be old, and hold client secrets and people's names.

    Attributes:
        event_id: unique; the same however often it is delivered.
        type: e.g. ``payment_intent.succeeded``.
        created_at: by Stripe's clock, UTC.
        object_id: of the refund, dispute, session, ... that it is about.
        intent_id: the payment intent that it is about; None when it is about none.
    """

    event_id: str
    type: str
    created_at: datetime
    object_id: str
    intent_id: str | None

    @property
    def matters(self) -> bool:
        """Return whether its intent has to be looked at; any other event is kept and ignored."""
        return self.intent_id is not None and self.type in EVENT_TYPES

    @property
    def tells_failure(self) -> bool:
        """Return whether a card was refused."""
        return self.type == "payment_intent.payment_failed"

    @property
    def ends_attempt(self) -> bool:
        """Return whether nobody can pay its object any more."""
        return self.type in _ENDS


_ENDS = (
    *("checkout.session.completed", "checkout.session.expired"),
    *("payment_intent.succeeded", "payment_intent.canceled"),
)
_LISTED = ("refund.", "charge.dispute.", "radar.early_fraud_warning.")
_MOVED_BY = {
    "refund.failed": ReversalKind.REFUND_FAILED,
    "charge.dispute.funds_withdrawn": ReversalKind.DISPUTE,
    "charge.dispute.funds_reinstated": ReversalKind.DISPUTE_REINSTATED,
}


@dataclass(frozen=True, slots=True)
class ExchangeGain:
    """Money that a bank gave back beyond what it had taken, because it counts in another currency."""

    reference: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something about card money that a person has to look at; ``reference`` is unique for ever."""

    reference: str
    problem: str


@dataclass(frozen=True, slots=True)
class CardEvidence:
    """The whole state of one intent at Stripe now: what is not booked yet can be booked from it, in any order.

    Attributes:
        intent: how it stands.
        payment: the money, once it is there.
        reversals: every movement since.
        cases: what banks say.
        object_ids: of everything that the answer held: the intent, refunds, disputes, warnings.
        gains: what banks gave back beyond what they took.
        alarms: what a person has to look at.
        moved: ids of refunds and disputes with what they did, also where that was nothing.
    """

    intent: CardIntent
    payment: ConfirmedPayment | None
    reversals: tuple[Reversal, ...]
    cases: tuple[CardCase, ...]
    object_ids: frozenset[str]
    gains: tuple[ExchangeGain, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    moved: frozenset[tuple[str, ReversalKind]] = frozenset()

    def covers(self, event: StripeEvent) -> bool:
        """Return whether the answer holds what an event told of; else it was read too early, or from a copy that lags.

        Only what stays true is looked for: what was paid stays paid, a refund that failed stays failed.
        """
        if event.type == "payment_intent.succeeded":
            return self.intent.status is IntentStatus.SUCCEEDED
        kind = _MOVED_BY.get(event.type)
        if kind is not None:
            return (event.object_id, kind) in self.moved
        return event.object_id in self.object_ids or not event.type.startswith(_LISTED)
