"""Stripe's objects as evidence, in the shapes that the double cannot be brought to show."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cascade.domain.card import EVENT_TYPES, CaseKind, IntentStatus, StripeEvent
from cascade.domain.money import USD, Money
from cascade.domain.reversals import ReversalKind
from cascade.errors import StripeRefused
from cascade.rails.stripe import Stripe, read_evidence

ORDER_ID = "ord_" + "a" * 26


def intent(**changes: Any) -> dict[str, Any]:
    return {
        "id": "pi_1",
        "status": "succeeded",
        "currency": "usd",
        "amount_received": 5000,
        "payment_method": "pm_1",
        "metadata": {"order_id": ORDER_ID, "amount": "9999999"},
        "last_payment_error": None,
        "latest_charge": {"id": "ch_1", "created": 1_800_000_000},
        **changes,
    }


def refund(status: str, cents: int = 1000) -> dict[str, Any]:
    return {"id": "re_1", "status": status, "amount": cents}


def dispute(*movements: tuple[str, int], **changes: Any) -> dict[str, Any]:
    moved = [{"id": f"txn_{i}", "currency": code, "amount": units} for i, (code, units) in enumerate(movements)]
    details = {"due_by": None}
    base = {"id": "du_1", "status": "needs_response", "reason": "fraudulent", "amount": 5000}
    return {**base, "evidence_details": details, "balance_transactions": moved, **changes}


def test_a_payment_names_its_order_and_its_moment() -> None:
    payment = read_evidence(intent(), [], [], []).payment
    assert payment is not None
    assert (payment.reference, payment.order_key, payment.received) == (
        "stripe:pi_1",
        ORDER_ID.encode(),
        Money(USD, 5000),
    )
    assert payment.paid_at == datetime.fromtimestamp(1_800_000_000, UTC)
    assert (payment.landed, payment.payer) == ({"stripe": 5000}, "pm_1")


@pytest.mark.parametrize(
    "metadata", [{}, {"order_id": ""}, {"order_id": "a\0b"}, {"order_id": "ü"}, {"order_id": "\n"}]
)
def test_what_cannot_be_an_order_of_ours_is_none(metadata: dict[str, str]) -> None:
    evidence = read_evidence(intent(metadata=metadata), [], [], [])
    assert evidence.payment is not None
    assert (evidence.payment.order_key, evidence.intent.order_id) == (b"", None)


@pytest.mark.parametrize("status", [status for status in IntentStatus if status is not IntentStatus.SUCCEEDED])
def test_nothing_but_success_is_a_payment(status: IntentStatus) -> None:
    failure = {"code": "card_declined", "message": "..."}
    evidence = read_evidence(intent(status=status.value, last_payment_error=failure), [], [], [])
    assert (evidence.payment, evidence.intent.status, evidence.intent.failure_code) == (None, status, "card_declined")


@pytest.mark.parametrize("status", ["pending", "requires_action", "succeeded"])
def test_a_refund_leaves_when_it_is_made(status: str) -> None:
    (movement,) = read_evidence(intent(), [refund(status)], [], []).reversals
    assert (movement.reference, movement.payment, movement.kind) == ("stripe:re_1", "stripe:pi_1", ReversalKind.REFUND)


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_refund_that_failed_or_was_canceled_came_back(status: str) -> None:
    out, back = read_evidence(intent(), [refund(status)], [], []).reversals
    assert (out.kind, back.kind) == (ReversalKind.REFUND, ReversalKind.REFUND_FAILED)
    assert (out.amount, back.reference) == (back.amount, "stripe:re_1:failed")


def test_a_dispute_moves_what_its_balance_transactions_say_however_often() -> None:
    lost_again = dispute(("usd", -5000), ("usd", 5000), ("usd", -2000), ("usd", 0))
    movements = read_evidence(intent(), [], [lost_again], []).reversals
    assert [(m.reference, m.kind, m.amount.units) for m in movements] == [
        ("stripe:du_1:txn_0", ReversalKind.DISPUTE, 5000),
        ("stripe:du_1:txn_1", ReversalKind.DISPUTE_REINSTATED, 5000),
        ("stripe:du_1:txn_2", ReversalKind.DISPUTE, 2000),
    ]


def test_an_account_that_settles_in_another_currency_loses_the_disputes_own_amount() -> None:
    (movement,) = read_evidence(intent(), [], [dispute(("eur", -4600))], []).reversals
    assert movement.amount == Money(USD, 5000)


@pytest.mark.parametrize(("status", "kind"), [("warning_under_review", CaseKind.INQUIRY), ("lost", CaseKind.DISPUTE)])
def test_an_inquiry_is_no_dispute(status: str, kind: CaseKind) -> None:
    evidence = read_evidence(intent(), [], [dispute(status=status)], [])
    assert ([case.kind for case in evidence.cases], evidence.reversals) == ([kind], ())


def test_another_currency_is_refused_with_what_to_do() -> None:
    with pytest.raises(StripeRefused, match="paid in JPY, but Cascade books USD only: refund it"):
        read_evidence(intent(currency="jpy"), [], [], [])


def test_every_event_that_matters_can_be_asked_for_in_one_list() -> None:
    assert len(EVENT_TYPES) == len(set(EVENT_TYPES)) <= 20
    assert not any(kind.startswith("charge.") and ".dispute." not in kind for kind in EVENT_TYPES)


@pytest.mark.parametrize(("kind", "intent_id", "matters"), [
    ("refund.created", "pi_1", True), ("refund.created", None, False), ("charge.succeeded", "pi_1", False),
])  # fmt: skip
def test_an_event_matters_when_it_is_about_an_intent(kind: str, intent_id: str | None, matters: bool) -> None:
    assert StripeEvent("evt_1", kind, datetime.now(UTC), "re_1", intent_id).matters is matters


@pytest.mark.parametrize(("kind", "name", "covered"), [
    ("payment_intent.succeeded", "pi_1", True),
    ("checkout.session.completed", "cs_1", True),
    ("refund.updated", "re_1", True),
    ("refund.updated", "re_2", False),
    ("refund.failed", "re_1", False),
    ("charge.dispute.updated", "du_1", True),
    ("charge.dispute.funds_withdrawn", "du_1", True),
    ("charge.dispute.funds_reinstated", "du_1", False),
    ("radar.early_fraud_warning.created", "issfr_1", False),
])  # fmt: skip
def test_an_answer_covers_the_events_whose_news_it_holds(kind: str, name: str, covered: bool) -> None:
    evidence = read_evidence(intent(), [refund("pending")], [dispute(("usd", -5000))], [])
    assert evidence.covers(StripeEvent("evt_1", kind, datetime.now(UTC), name, "pi_1")) is covered


def test_an_intent_that_is_not_paid_covers_no_success() -> None:
    evidence = read_evidence(intent(status="processing"), [], [], [])
    assert not evidence.covers(StripeEvent("evt_1", "payment_intent.succeeded", datetime.now(UTC), "pi_1", "pi_1"))


def test_where_payers_are_sent() -> None:
    assert Stripe("sk_live_x", "whsec_x").checkout_origin == "https://checkout.stripe.com"
    assert Stripe("sk_test_x", "whsec_x", api_base="http://127.0.0.1:9/v1").checkout_origin == "http://127.0.0.1:9"
    assert [Stripe(key, "whsec_x").test_mode for key in ("sk_live_x", "rk_live_x", "sk_test_x")] == [False, False, True]
