"""What Stripe does rarely: other currencies and clocks, odd disputes and refunds, old events, long outages."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from stripe import WebhookSignature

from cascade.db import balances, stripe_inbox
from cascade.domain.postings import EXCHANGE
from tests.faults.test_stripe_faults import WEBHOOK, signed
from tests.integration.test_card_attempts import order_of, payable, try_to_begin
from tests.support.card_shop import CardShop

EXPLORER = 525_000_000


def set_stripes_clock(card_shop: CardShop, seconds: int) -> None:
    """Let Stripe's clock be this far ahead of ours."""
    card_shop.double._account.clock._machine = lambda: time.time() + seconds


def alarms(card_shop: CardShop) -> list[str]:
    with card_shop.database.transaction() as connection:
        return [str(each.error) for each in stripe_inbox.waiting(connection) if each.type == "alarm"]


def assert_nothing_waits(card_shop: CardShop) -> None:
    assert [event["error"] for event in card_shop.events() if not event["handled_at"]] == []


class TestWebhookFields:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"created": 1e30}, "created"),
            ({"created": 10**30}, "created"),
            ({"created": -1}, "created"),
            ({"created": 1.5}, "created"),
            ({"created": True}, "created"),
            ({"created": "1"}, "created"),
            ({"created": None}, "created"),
            ({"id": "evt_\0"}, "id"),
            ({"id": "evt_" + "x" * 300}, "id"),
            ({"id": 7}, "id"),
            ({"id": "evt_\ud800"}, "no JSON"),
            ({"type": "x\0"}, "type"),
            ({"data": {"object": {"id": "pi_\0", "object": "payment_intent"}}}, "data.object.id"),
            ({"data": {"object": {"id": "re_1", "object": "refund", "payment_intent": "pi_\0"}}}, "payment_intent"),
            ({"data": {"object": {"id": "re_1", "object": "refund", "payment_intent": {"id": []}}}}, "payment_intent"),
            ({"data": {"object": []}}, ""),
            ({"data": []}, ""),
        ],
    )
    def test_a_field_that_cannot_be_kept_is_refused_by_name(
        self, card_shop: CardShop, change: dict[str, Any], words: str
    ) -> None:
        subject = {"id": "pi_1", "object": "payment_intent"}
        event = {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "data": {"object": subject}}
        body = json.dumps(event | change)
        answer = card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body))
        assert answer.status_code == 400, answer.text
        assert words in answer.json()["detail"]
        assert card_shop.events() == []

    def test_one_in_stripes_list_hides_no_other(self, card_shop: CardShop) -> None:
        card_shop.worker().catch_up()
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        session = card_shop.paid()
        account = card_shop.double._account
        with account.doing():
            (odd, *_) = list(account.newest("event", type="payment_intent.created"))
            subject = odd["data"]["object"] | {"id": "pi_\0"}
            account.store.put(odd | {"type": "payment_intent.succeeded", "data": {"object": subject}})
        card_shop.worker().catch_up()
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"


class TestOtherCurrencies:
    def test_adaptive_pricing_is_switched_off(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(adaptive_pricing=True)
        session = card_shop.session()
        made = card_shop.stripe.v1.checkout.sessions.retrieve(session["session_id"])
        assert made.adaptive_pricing is not None
        assert made.adaptive_pricing.enabled is False

    def test_a_page_that_is_not_what_was_asked_for_is_handed_to_nobody(self, card_shop: CardShop) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(forced_pricing=True)
        assert try_to_begin(card_shop, order_id).status_code == 503
        assert payable(card_shop, order_id) == []
        card_shop.double.control.reset_chaos()
        assert try_to_begin(card_shop, order_id).status_code == 201

    @pytest.mark.parametrize(
        "change", [{"amount_total": 4999}, {"currency": "eur"}, {"payment_method_types": ["card", "link"]}]
    )
    def test_what_stripe_says_later_is_held_against_the_order_too(
        self, card_shop: CardShop, change: dict[str, Any]
    ) -> None:
        session, account = card_shop.session(), card_shop.double._account
        with account.doing():
            account.store.put(account.get("checkout.session", session["session_id"]) | change)
        assert try_to_begin(card_shop, session["order_id"]).status_code == 503
        assert payable(card_shop, session["order_id"]) == []

    def test_money_in_another_currency_goes_to_suspense_with_an_alarm(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        name = card_shop.intent_of(session)
        card_shop.double.control.convert_payment(name, "jpy", 7800)
        card_shop.work()
        (payment,) = card_shop.order(session)["payments"]
        assert (payment["status"], payment["reason"], payment["token"]) == ("suspense", "wrong_token", "JPY")
        assert card_shop.ducats() == 0
        assert_nothing_waits(card_shop)
        (told,) = alarms(card_shop)
        assert "paid in JPY" in told
        with card_shop.database.transaction() as connection:
            assert stripe_inbox.health(connection).waiting == 1
            assert stripe_inbox.ignore(connection, f"stripe:{name}")
            assert stripe_inbox.health(connection).waiting == 0
        assert not any(balances_of(card_shop).values())


class TestDisputes:
    @pytest.mark.parametrize(("given_back", "exchange", "alarm"), [(5100, 100, 0), (4900, -100, 0), (5000, 0, 0)])
    def test_won_at_another_rate(self, card_shop: CardShop, given_back: int, exchange: int, alarm: int) -> None:
        session = card_shop.paid()
        dispute = card_shop.double.control.open_dispute(card_shop.intent_of(session))["id"]
        card_shop.work()
        assert card_shop.ducats() == 0
        card_shop.double.control.close_dispute(dispute, True, given_back)
        card_shop.work()
        assert card_shop.ducats() == EXPLORER
        assert card_shop.order(session)["status"] == "fulfilled"
        assert len(alarms(card_shop)) == alarm
        with card_shop.database.transaction() as connection:
            assert balances.balance(connection, EXCHANGE, "USD").units == exchange
        assert_nothing_waits(card_shop)
        card_shop.assert_books_balance()

    def test_all_told_at_once_and_the_payment_too(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        dispute = card_shop.double.control.open_dispute(card_shop.intent_of(session), taken=5200)["id"]
        card_shop.double.control.close_dispute(dispute, True, 5300)
        card_shop.work()
        assert (card_shop.order(session)["status"], card_shop.ducats()) == ("fulfilled", EXPLORER)
        assert_nothing_waits(card_shop)
        card_shop.assert_books_balance()

    def test_a_part_that_comes_back_brings_its_share_and_an_alarm(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        dispute = card_shop.double.control.open_dispute(card_shop.intent_of(session))["id"]
        card_shop.double.control.close_dispute(dispute, True, 2000)
        card_shop.work()
        assert card_shop.ducats() == EXPLORER * 2 // 5
        (told,) = alarms(card_shop)
        assert "2000 of 5000" in told
        assert_nothing_waits(card_shop)
        card_shop.assert_books_balance()

    def test_a_second_dispute_of_the_same_payment(self, card_shop: CardShop) -> None:
        session, control = card_shop.paid(), card_shop.double.control
        intent = card_shop.intent_of(session)
        control.close_dispute(control.open_dispute(intent)["id"], True, 4900)
        control.close_dispute(control.open_dispute(intent, reason="duplicate")["id"], False)
        card_shop.work()
        assert (card_shop.order(session)["status"], card_shop.ducats()) == ("reversed", 0)
        assert_nothing_waits(card_shop)
        card_shop.assert_books_balance()

    def test_a_movement_of_nothing(self, card_shop: CardShop) -> None:
        session, control = card_shop.paid(), card_shop.double.control
        control.close_dispute(control.open_dispute(card_shop.intent_of(session), taken=0)["id"], True, 0)
        card_shop.work()
        assert card_shop.ducats() == EXPLORER
        assert_nothing_waits(card_shop)

    def test_what_the_ledger_refuses_holds_up_no_other_movement(
        self, card_shop: CardShop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cascade.adapters import stripe_objects

        session = card_shop.paid()
        intent = card_shop.intent_of(session)
        card_shop.stripe.v1.refunds.create({"payment_intent": intent, "amount": 1000})
        card_shop.double.control.fail_refund(card_shop.stripe.v1.refunds.list().data[0].id)
        genuine = stripe_objects._refund

        def twice_as_much(refund: Any, payment: Any) -> Any:  # as a Stripe that gives back more than it took
            book = genuine(refund, payment)
            out, back = book.reversals
            return stripe_objects._Book([back, out], [], [], book.moved)

        monkeypatch.setattr(stripe_objects, "_refund", twice_as_much)
        card_shop.double.control.open_dispute(intent, 2500)
        card_shop.work()
        (told,) = alarms(card_shop)
        assert "the ledger refuses" in told
        payment = card_shop.order(session)["payments"][0]
        assert {r["kind"] for r in payment["reversals"]} == {"refund", "dispute"}
        assert_nothing_waits(card_shop)


class TestRefunds:
    @pytest.mark.parametrize("canceled", [True, False])
    def test_one_that_requires_action(self, card_shop: CardShop, canceled: bool) -> None:
        session, control = card_shop.paid(), card_shop.double.control
        control.set_chaos(pending_refunds=True)
        refund = card_shop.stripe.v1.refunds.create({"payment_intent": card_shop.intent_of(session), "amount": 1000})
        control.ask_for_refund(refund.id)
        card_shop.work()
        assert card_shop.ducats() == EXPLORER * 4 // 5
        if canceled:
            control.cancel_refund(refund.id)
            card_shop.work()
            assert card_shop.ducats() == EXPLORER
        assert_nothing_waits(card_shop)
        card_shop.assert_books_balance()

    def test_a_payment_method_that_changed_since_blocks_none(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        card_shop.work()
        name, account = card_shop.intent_of(session), card_shop.double._account
        with account.doing():
            account.store.put(account.get("payment_intent", name) | {"payment_method": None})
        card_shop.stripe.v1.refunds.create({"payment_intent": name})
        card_shop.work()
        assert (card_shop.order(session)["status"], card_shop.ducats()) == ("reversed", 0)
        assert_nothing_waits(card_shop)

    def test_a_part_that_was_captured_waits_as_short(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        card_shop.double.control.capture_a_part(card_shop.intent_of(session), 3000)
        card_shop.work()
        (payment,) = card_shop.order(session)["payments"]
        assert (payment["status"], payment["reason"], payment["amount"]) == ("suspense", "short", "3000")
        assert_nothing_waits(card_shop)


class TestClocks:
    @pytest.mark.parametrize("ahead", [90, 900, -90, -900, 7200])
    def test_a_page_is_begun_and_paid_whatever_our_clock_says(self, card_shop: CardShop, ahead: int) -> None:
        set_stripes_clock(card_shop, ahead)
        session = card_shop.paid()
        card_shop.work()
        assert card_shop.order(session)["status"] == "fulfilled"

    @pytest.mark.parametrize("ahead", [-900, -86_400])
    def test_the_first_start_finds_what_was_paid_since(self, card_shop: CardShop, ahead: int) -> None:
        set_stripes_clock(card_shop, ahead)
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        card_shop.worker().catch_up()
        session = card_shop.paid()
        card_shop.worker().catch_up()
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"

    @pytest.mark.parametrize("ahead", [-900, 900])
    def test_webhooks_are_as_old_as_stripes_clock_says(self, card_shop: CardShop, ahead: int) -> None:
        set_stripes_clock(card_shop, ahead)
        card_shop.double.control.set_chaos(webhook_clock_seconds=ahead)
        session = card_shop.paid()
        assert card_shop.double.control.deliver_now() == 0
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"
        body = json.dumps({"id": "evt_9", "type": "x", "created": 1, "data": {"object": {"object": "x"}}})
        too_old = int(time.time()) - 301 + min(0, ahead)
        header = WebhookSignature.generate_signature_header(body, card_shop.double.webhook_secret, too_old)
        answer = card_shop.client.post(WEBHOOK, content=body, headers={"stripe-signature": header})
        assert (answer.status_code, "older than" in answer.text) == (400, True)


def test_events_of_an_old_version_are_looked_up_by_their_charge(card_shop: CardShop) -> None:
    session = card_shop.paid()
    card_shop.work()
    card_shop.double.control.set_chaos(old_events=True)
    intent = card_shop.intent_of(session)
    card_shop.stripe.v1.refunds.create({"payment_intent": intent, "amount": 1000})
    card_shop.double.control.warn_of_fraud(intent)
    card_shop.double.control.open_dispute(intent)
    card_shop.work()
    assert card_shop.ducats() == 0
    assert len(card_shop.order(session)["payments"][0]["cases"]) == 2
    assert_nothing_waits(card_shop)
    card_shop.assert_books_balance()


def test_the_first_answer_after_an_outage_makes_due_what_was_postponed(card_shop: CardShop) -> None:
    before = card_shop.paid(citizen_id="before")
    card_shop.double.control.deliver_now()
    card_shop.double.control.set_chaos(reset_before_effect=1.0, only_posts=False)
    worker = card_shop.worker()
    worker.step()
    with card_shop.database.transaction() as connection:  # as after 100 minutes
        connection.execute("UPDATE stripe_events SET due_at = now() + interval '1 hour' WHERE handled_at IS NULL")
    card_shop.double.control.reset_chaos()
    assert card_shop.order(before)["status"] == "open"
    after = card_shop.paid(citizen_id="after")
    card_shop.double.control.deliver_now()
    for _ in range(3):
        worker.step()
    assert {card_shop.order(each)["status"] for each in (before, after)} == {"fulfilled"}


def balances_of(card_shop: CardShop) -> dict[str, int]:
    with card_shop.database.transaction() as connection:
        return balances.totals(connection)
