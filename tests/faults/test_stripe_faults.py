"""What may go wrong between Stripe and us: lost, repeated, forged and disordered webhooks, a Stripe that is down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from stripe import WebhookSignature

from cascade.adapters.stripe import Stripe
from cascade.db import stripe_inbox
from cascade.domain.card_payments import CardEvidence, StripeEvent
from cascade.errors import StripeUnavailable
from cascade.workers.stripe_worker import StripeWorker
from tests.support.card_shop import CardShop
from tests.support.concurrency import run_concurrently

EXPLORER = 525_000_000
WEBHOOK = "/api/payments/webhook"


def event_of(card_shop: CardShop, kind: str = "payment_intent.succeeded") -> str:
    """A true event, as Stripe's list tells it."""
    (event,) = card_shop.stripe.v1.events.list({"type": kind}).data
    return json.dumps(event.to_dict())


def signed(card_shop: CardShop, body: str, *, seconds_ago: int = 0, secret: str | None = None) -> dict[str, str]:
    key = secret or card_shop.double.webhook_secret
    return {
        "stripe-signature": WebhookSignature.generate_signature_header(body, key, int(time.time()) - seconds_ago),
        "content-type": "application/json",
    }


def envelope(row: dict[str, Any]) -> StripeEvent:
    return StripeEvent(**{name: row[name] for name in ("event_id", "type", "created_at", "object_id", "intent_id")})


class TestWebhooks:
    def test_a_forged_one_is_refused_and_not_kept(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        card_shop.paid()
        body = event_of(card_shop)
        answers = [
            card_shop.client.post(WEBHOOK, content=body),
            card_shop.client.post(WEBHOOK, content=body, headers={"stripe-signature": ""}),
            card_shop.client.post(WEBHOOK, content=body, headers={"stripe-signature": "t=1,v1=00"}),
            card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body, secret="whsec_guess")),
            card_shop.client.post(WEBHOOK, content=body + " ", headers=signed(card_shop, body)),
            card_shop.client.post(WEBHOOK, content=b"\xff\xfe", headers=signed(card_shop, body)),
        ]
        assert {answer.status_code for answer in answers} == {400}
        assert all(card_shop.double.webhook_secret not in answer.text for answer in answers)
        assert card_shop.events() == []

    def test_one_that_was_signed_long_ago_is_refused(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        card_shop.paid()
        body = event_of(card_shop)
        headers = signed(card_shop, body, seconds_ago=301)
        assert card_shop.client.post(WEBHOOK, content=body, headers=headers).status_code == 400
        headers = signed(card_shop, body, seconds_ago=290)
        assert card_shop.client.post(WEBHOOK, content=body, headers=headers).status_code == 200

    def test_true_ones_get_through_between_forged_ones(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(bad_signatures=0.5)
        session = card_shop.paid()
        deadline = time.monotonic() + 20
        while card_shop.double.control.deliver_now() and time.monotonic() < deadline:
            pass
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"

    @pytest.mark.parametrize("at_once", [1, 8])
    def test_repeated_ones_credit_once(self, card_shop: CardShop, at_once: int) -> None:
        card_shop.double.control.set_chaos(duplicate_webhooks=1.0, reorder_webhooks=True, webhooks_at_once=at_once)
        card_shop.paid()
        card_shop.work()
        assert card_shop.ducats() == EXPLORER
        card_shop.assert_books_balance()

    def test_one_that_comes_again_after_days_changes_nothing(self, card_shop: CardShop) -> None:
        card_shop.paid()
        card_shop.work()
        body = event_of(card_shop)
        for _ in range(2):
            assert card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body)).status_code == 200
            card_shop.work_through_inbox()
        with card_shop.database.transaction() as connection:  # even if nobody remembers it
            connection.execute("DELETE FROM stripe_events")
        assert card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body)).status_code == 200
        card_shop.work_through_inbox()
        assert card_shop.ducats() == EXPLORER

    def test_many_copies_at_the_same_time_are_kept_once(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        card_shop.paid()
        body = event_of(card_shop)
        headers = signed(card_shop, body)
        codes = run_concurrently(8, lambda _: card_shop.client.post(WEBHOOK, content=body, headers=headers).status_code)
        assert set(codes) == {200}
        assert len(card_shop.events()) == 1

    def test_the_refund_is_told_of_before_the_payment(self, card_shop: CardShop) -> None:
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        session = card_shop.paid()
        card_shop.stripe.v1.refunds.create({"payment_intent": card_shop.intent_of(session), "amount": 1000})
        for kind in ("refund.created", "payment_intent.succeeded"):
            body = event_of(card_shop, kind)
            assert card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body)).status_code == 200
            card_shop.work_through_inbox()
            assert card_shop.ducats() == 420_000_000
        card_shop.assert_books_balance()

    def test_an_unknown_type_is_kept_and_ignored(self, card_shop: CardShop) -> None:
        subject = {"id": "x_1", "object": "novelty", "payment_intent": "pi_1"}
        body = json.dumps({"id": "evt_1", "type": "novelty.made", "created": 1, "data": {"object": subject}})
        assert card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body)).status_code == 200
        (event,) = card_shop.events()
        assert (event["type"], event["outcome"], event["handled_at"] is not None) == ("novelty.made", "ignored", True)

    def test_one_that_cannot_be_kept_is_not_answered_well_so_stripe_repeats_it(self, card_shop: CardShop) -> None:
        with card_shop.database.transaction() as connection:
            connection.execute("ALTER TABLE stripe_events RENAME TO gone")
        session = card_shop.paid()
        assert card_shop.double.control.deliver_now() > 0  # refused, and in Stripe's queue
        with card_shop.database.transaction() as connection:
            connection.execute("ALTER TABLE gone RENAME TO stripe_events")
        card_shop.work()
        assert card_shop.order(session)["status"] == "fulfilled"

    def test_a_large_one_is_taken_and_an_endless_one_is_not(self, card_shop: CardShop) -> None:
        subject = {"id": "pi_1", "object": "payment_intent", "description": "x" * 200_000}
        body = json.dumps({"id": "evt_1", "type": "novelty", "created": 1, "data": {"object": subject}})
        assert card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body)).status_code == 200
        assert card_shop.client.post(WEBHOOK, content="x" * 2_000_000).status_code == 413

    @pytest.mark.usefixtures("card_shop")
    def test_they_are_limited_apart_from_orders(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from fastapi.testclient import TestClient

        from api.main import create_app

        monkeypatch.setenv("CASCADE_ORDERS_PER_MINUTE", "1")
        monkeypatch.setenv("CASCADE_WEBHOOKS_PER_MINUTE", "3")
        with TestClient(create_app()) as client:
            codes = [client.post(WEBHOOK, content=b"x").status_code for _ in range(5)]
            assert codes == [400, 400, 400, 429, 429]
            wish = {"citizen_id": "Marco", "package": "starter"}
            assert client.post("/api/payments/crypto-payment-intent", json=wish).status_code == 201


class TestCatchingUp:
    def test_what_no_webhook_told_of_is_found_in_stripes_list(self, card_shop: CardShop) -> None:
        card_shop.worker().catch_up()
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        session = card_shop.paid()
        card_shop.stripe.v1.refunds.create({"payment_intent": card_shop.intent_of(session), "amount": 1000})
        card_shop.work()
        assert card_shop.ducats() == 0
        assert card_shop.worker().catch_up() > 0
        card_shop.work_through_inbox()
        assert card_shop.ducats() == 420_000_000
        assert card_shop.worker().catch_up() == 0
        card_shop.assert_books_balance()

    def test_after_days_of_downtime_and_a_hundred_events(self, card_shop: CardShop) -> None:
        card_shop.worker().catch_up()
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        for i in range(30):
            intent = card_shop.intent(citizen_id=f"citizen{i}", package="starter")
            card_shop.confirm(intent)
            with pytest.raises(Exception, match="status of succeeded"):
                card_shop.stripe.v1.payment_intents.cancel(intent["payment_intent_id"])
            card_shop.stripe.v1.refunds.create({"payment_intent": intent["payment_intent_id"], "amount": 500})
        card_shop.double.control.advance_clock(3 * 24 * 3600)
        card_shop.worker().catch_up()
        card_shop.work_through_inbox()
        assert [card_shop.ducats(f"citizen{i}") for i in range(30)] == [50_000_000] * 30

    def test_a_list_that_breaks_off_is_read_again_from_where_it_began(self, card_shop: CardShop) -> None:
        card_shop.worker().catch_up()
        with card_shop.database.transaction() as connection:
            before = stripe_inbox.read_until(connection)
        card_shop.double.control.set_chaos(drop_webhooks=1.0)
        session = card_shop.paid()
        card_shop.double.control.set_chaos(reset_before_effect=1.0, only_posts=False, only_paths="/v1/events")
        with pytest.raises(StripeUnavailable):
            card_shop.worker().catch_up()
        with card_shop.database.transaction() as connection:
            assert stripe_inbox.read_until(connection) == before
        card_shop.double.control.reset_chaos()
        card_shop.worker().catch_up()
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"


class TestAStripeThatFails:
    @pytest.mark.parametrize("switch", ["reset_before_effect", "fail_before_effect", "rate_limit"])
    def test_events_wait_with_their_reason_and_are_booked_later(self, card_shop: CardShop, switch: str) -> None:
        session = card_shop.paid()
        card_shop.double.control.set_chaos(**{switch: 1.0}, only_posts=False)
        card_shop.work()
        with card_shop.database.transaction() as connection:
            health = stripe_inbox.health(connection)
        assert health.waiting > 0
        assert health.error is not None
        assert health.error.startswith(("StripeUnavailable", "StripeFailed"))
        assert card_shop.ducats() == 0
        card_shop.double.control.reset_chaos()
        card_shop.make_due()
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"
        with card_shop.database.transaction() as connection:
            assert stripe_inbox.health(connection).error is None

    def test_the_pause_grows_but_not_for_ever(self, card_shop: CardShop) -> None:
        card_shop.paid()
        card_shop.double.control.deliver_now()
        with card_shop.database.transaction() as connection:
            waits = []
            for attempts in (1, 5, 10, 1000):
                connection.execute("UPDATE stripe_events SET attempts = %s", (attempts,))
                stripe_inbox.postpone(connection, [envelope(event) for event in card_shop.events()], "down")
                row = connection.execute(
                    "SELECT max(extract(epoch FROM due_at - clock_timestamp())) AS wait FROM stripe_events"
                    " WHERE handled_at IS NULL"
                ).fetchone()
                assert row is not None
                waits.append(float(row["wait"]))
        assert waits == sorted(waits)
        assert waits[0] <= 2
        assert 3_000 < waits[-1] <= 3_600

    def test_an_event_that_cannot_be_booked_holds_up_no_other(self, card_shop: CardShop) -> None:
        subject = {"id": "pi_unknown", "object": "payment_intent"}
        body = json.dumps(
            {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "data": {"object": subject}}
        )
        card_shop.client.post(WEBHOOK, content=body, headers=signed(card_shop, body))
        session = card_shop.paid()
        card_shop.work()
        assert card_shop.order(session)["status"] == "fulfilled"
        with card_shop.database.transaction() as connection:
            health = stripe_inbox.health(connection)
        assert (health.waiting, "No such payment_intent" in str(health.error)) == (1, True)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"status": "novel"}, "not one that Cascade knows"),
            ({"latest_charge": None}, "not subscriptable"),
        ],
    )
    def test_an_answer_that_cannot_be_booked_waits_for_a_person(
        self, card_shop: CardShop, change: dict[str, str], words: str
    ) -> None:
        name, account = card_shop.intent_of(card_shop.paid()), card_shop.double._account
        with account.doing():
            account.store.put(account.get("payment_intent", name) | change)
        card_shop.work()  # and the worker goes on
        with card_shop.database.transaction() as connection:
            waiting = stripe_inbox.waiting(connection)
            assert {words in str(event.error) for event in waiting} == {True}
            assert all(stripe_inbox.ignore(connection, event.event_id) for event in waiting)
            assert not stripe_inbox.ignore(connection, waiting[0].event_id)
            assert stripe_inbox.health(connection).waiting == 0

    def test_health_tells_of_a_list_that_was_not_read(self, card_shop: CardShop) -> None:
        card_shop.worker().catch_up()
        assert card_shop.client.get("/health").json()["card"]["standing_still"] is False
        with card_shop.database.transaction() as connection:
            connection.execute("UPDATE stripe_catch_up SET checked_at = now() - interval '20 minutes'")
        assert card_shop.client.get("/health").json()["card"]["standing_still"] is True


class TestRivals:
    def test_many_workers_book_once(self, card_shop: CardShop) -> None:
        sessions = [card_shop.paid(citizen_id=f"citizen{i}", package="starter") for i in range(6)]
        card_shop.double.control.deliver_now()
        run_concurrently(4, lambda _: [card_shop.worker().step() for _ in range(5)])
        assert {card_shop.order(session)["status"] for session in sessions} == {"fulfilled"}
        assert [card_shop.ducats(f"citizen{i}") for i in range(6)] == [100_000_000] * 6
        card_shop.assert_books_balance()

    def test_what_a_dead_worker_took_is_due_again(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        card_shop.double.control.deliver_now()
        with card_shop.database.transaction() as connection:
            assert stripe_inbox.claim(connection, limit=100, seconds=0.5)  # and dies
            assert stripe_inbox.claim(connection, limit=100, seconds=0.5) == {}
        time.sleep(0.6)
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"

    def test_what_a_worker_holds_that_loses_the_database_is_due_again_soon(
        self, card_shop: CardShop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = card_shop.paid()
        card_shop.double.control.deliver_now()

        def away(*_: object, **__: object) -> None:
            raise psycopg.OperationalError("the server closed the connection")

        with monkeypatch.context() as patched:
            patched.setattr(Stripe, "evidence", away)
            patched.setattr(stripe_inbox, "postpone", away)
            with pytest.raises(psycopg.OperationalError):
                StripeWorker(card_shop.database, card_shop.checkout, poll_seconds=0.02, catch_up_seconds=0.02).step()
        with card_shop.database.transaction() as connection:
            row = connection.execute(
                "SELECT extract(epoch FROM max(due_at) - clock_timestamp()) AS seconds FROM stripe_events"
                " WHERE handled_at IS NULL"
            ).fetchone()
        assert row is not None
        assert 5 < row["seconds"] <= 15
        card_shop.make_due()
        card_shop.work_through_inbox()
        assert card_shop.order(session)["status"] == "fulfilled"

    def test_an_older_answer_never_replaces_a_younger_one(
        self, card_shop: CardShop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = card_shop.paid()
        card_shop.work()
        dispute = card_shop.double.control.open_dispute(card_shop.intent_of(session))["id"]
        card_shop.double.control.deliver_now()
        genuine = Stripe.evidence

        def slow(self: Stripe, intent_id: str) -> CardEvidence:
            old = genuine(self, intent_id)
            monkeypatch.setattr(Stripe, "evidence", genuine)
            card_shop.double.control.close_dispute(dispute, won=True)  # meanwhile, and another worker books it
            card_shop.work()
            return old

        monkeypatch.setattr(Stripe, "evidence", slow)
        card_shop.worker().step()
        (case,) = card_shop.order(session)["payments"][0]["cases"]
        assert case["status"] == "won"
        assert card_shop.ducats() == EXPLORER
        card_shop.assert_books_balance()


@pytest.mark.parametrize("what", ["payment", "refund", "failed refund", "dispute", "won dispute", "warning"])
def test_an_answer_from_a_copy_that_lags_loses_nothing(
    card_shop: CardShop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The event is there, but the first answer still is the one of before."""
    genuine, control = Stripe.evidence, card_shop.double.control
    session = card_shop.session()
    if what == "payment":
        control.pay_session(session["session_id"], card="4000002500003155")  # waits for the bank's step
    else:
        control.pay_session(session["session_id"])
    card_shop.work()
    intent = card_shop.intent_of(session)
    refund = card_shop.stripe.v1.refunds.create({"payment_intent": intent}).id if what == "failed refund" else ""
    dispute = control.open_dispute(intent)["id"] if what == "won dispute" else ""
    card_shop.work()
    old = genuine(card_shop.checkout.stripe, intent)
    change: dict[str, Callable[[], Any]] = {
        "payment": lambda: control.authenticate(intent),
        "refund": lambda: card_shop.stripe.v1.refunds.create({"payment_intent": intent}),
        "failed refund": lambda: control.fail_refund(refund),
        "dispute": lambda: control.open_dispute(intent),
        "won dispute": lambda: control.close_dispute(dispute, won=True),
        "warning": lambda: control.warn_of_fraud(intent),
    }
    change[what]()
    monkeypatch.setattr(Stripe, "evidence", lambda *_: old)
    card_shop.work()
    with card_shop.database.transaction() as connection:
        health = stripe_inbox.health(connection)
    assert (health.waiting > 0, "does not hold yet" in str(health.error)) == (True, True)
    monkeypatch.setattr(Stripe, "evidence", genuine)
    card_shop.make_due()
    card_shop.work_through_inbox()
    assert all(event["handled_at"] for event in card_shop.events())
    assert card_shop.ducats() == (0 if what in ("refund", "dispute") else EXPLORER)
    card_shop.assert_books_balance()
    assert len(card_shop.order(session)["payments"][0]["cases"]) == (what in ("dispute", "won dispute", "warning"))


def test_no_content_of_an_event_is_kept(card_shop: CardShop) -> None:
    session = card_shop.paid()
    card_shop.work()
    secret = card_shop.stripe.v1.payment_intents.retrieve(card_shop.intent_of(session)).client_secret
    kept: list[dict[str, Any]] = card_shop.events()
    assert kept
    text = json.dumps(kept, default=str)
    assert str(secret).split("_secret_")[1] not in text
    assert "Marco Polo" not in text
    assert "4242" not in text
