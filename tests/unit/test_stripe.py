"""Stripe's objects as evidence, in the shapes that the double cannot be brought to show."""

from datetime import UTC, datetime
from typing import Any

import pytest

from cascade.adapters.stripe import Stripe, read_evidence
from cascade.adapters.stripe_objects import event_of
from cascade.domain.card_payments import EVENT_TYPES, CaseKind, IntentStatus, StripeEvent
from cascade.domain.money import ASSETS, USD, Money
from cascade.domain.reversals import ReversalKind

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


def test_another_currency_is_told_as_what_it_is_with_an_alarm() -> None:
    evidence = read_evidence(intent(currency="jpy"), [refund("pending")], [dispute(("jpy", -900), amount=900)], [])
    yen = ASSETS["JPY"]
    assert evidence.payment is not None
    assert evidence.payment.received == Money(yen, 5000)
    assert [r.amount for r in evidence.reversals] == [Money(yen, 1000), Money(yen, 900)]
    assert [alarm.reference for alarm in evidence.alarms] == ["stripe:pi_1"]
    assert "paid in JPY" in evidence.alarms[0].problem


@pytest.mark.parametrize(("movements", "booked", "gains", "alarms"), [
    ((-5000, 5000), [(-5000, "stripe"), (5000, "stripe")], [], 0),
    ((-5000, 5100), [(-5000, "stripe"), (5000, "stripe")], [100], 0),
    ((-5000, 4900), [(-5000, "stripe"), (4900, "stripe"), (100, "exchange")], [], 0),
    ((-5000, 2000), [(-5000, "stripe"), (2000, "stripe")], [], 1),
    ((-5000, 2000, 2900), [(-5000, "stripe"), (2000, "stripe"), (2900, "stripe"), (100, "exchange")], [], 1),
    ((-5000, 5000, -5000, 5100), [(-5000, "stripe"), (5000, "stripe")] * 2, [100], 0),
    ((700,), [], [700], 0),
    ((0,), [], [], 0),
])  # fmt: skip
def test_a_dispute_never_gives_back_more_than_it_took(
    movements: tuple[int, ...], booked: list[tuple[int, str]], gains: list[int], alarms: int
) -> None:
    evidence = read_evidence(intent(), [], [dispute(*(("usd", units) for units in movements))], [])
    told = [(-r.amount.units if r.kind.leaves else r.amount.units, *r.landed) for r in evidence.reversals]
    assert told == booked
    assert [gain.amount.units for gain in evidence.gains] == gains
    assert len(evidence.alarms) == alarms
    assert len({r.reference for r in evidence.reversals}) == len(booked)


def test_a_dispute_in_the_currency_of_the_account_gives_back_its_share() -> None:
    evidence = read_evidence(intent(), [], [dispute(("eur", -4600), ("eur", 2300))], [])
    assert [r.amount.units for r in evidence.reversals] == [5000, 2500]
    evidence = read_evidence(intent(), [], [dispute(("eur", -4600), ("eur", 4700))], [])
    assert ([r.amount.units for r in evidence.reversals], evidence.gains) == ([5000, 5000], ())


@pytest.mark.parametrize("kind", ["charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"])
def test_a_movement_of_nothing_is_waited_for_no_longer(kind: str) -> None:
    evidence = read_evidence(intent(), [], [dispute(("usd", 0))], [])
    assert evidence.covers(StripeEvent("evt_1", kind, datetime.now(UTC), "du_1", "pi_1"))


def test_a_payment_of_nothing_is_none_and_covers_its_event() -> None:
    evidence = read_evidence(intent(amount_received=0), [], [], [])
    assert evidence.payment is None
    assert evidence.covers(StripeEvent("evt_1", "payment_intent.succeeded", datetime.now(UTC), "pi_1", "pi_1"))


def test_an_event_of_an_old_version_names_its_charge() -> None:
    subject = {"id": "du_1", "object": "dispute", "charge": "ch_1"}
    event = event_of({"id": "evt_1", "type": "charge.dispute.created", "created": 1, "data": {"object": subject}})
    assert (event.intent_id, event.matters) == ("ch_1", True)


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


def test_a_custom_domain_is_one_more_place_to_pay() -> None:
    from types import SimpleNamespace
    from typing import cast

    from api.main import content_security_policy
    from cascade.services.card_checkout import CardCheckout
    from cascade.settings import Settings

    stripe = Stripe("sk_live_x", "whsec_x", checkout_domain="pay.example.org")
    card = cast(CardCheckout, SimpleNamespace(stripe=stripe))
    settings = cast(Settings, SimpleNamespace(walletconnect_project_id=None))
    policy = content_security_policy(card, settings)
    assert "form-action 'self' https://checkout.stripe.com https://pay.example.org;" in policy
