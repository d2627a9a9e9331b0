"""The card rail from order to ducats: the API over HTTP, a double of Stripe with the real SDK, real PostgreSQL."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
import pytest
import stripe
from stripe import WebhookSignature

from cascade.db import card_attempts, orders
from cascade.domain.card_payments import Flow
from cascade.domain.orders import OrderStatus
from cascade.services.booking import book_payment
from tests.support.card_shop import CardShop
from tests.support.concurrency import run_concurrently
from tests.support.purchases import confirmed

EXPLORER = 525_000_000


class TestBuying:
    def test_a_package_on_stripes_page_with_its_bonus(self, card_shop: CardShop) -> None:
        session = card_shop.session(package="explorer")
        assert session["url"].startswith(card_shop.double.url)
        assert (session["price_usd"], session["ducats"], session["bonus"]) == ("50", "500", "25")
        assert session["payable_until"] >= session["expires_at"]
        card_shop.double.control.pay_session(session["session_id"])
        card_shop.work()
        order = card_shop.order(session)
        (payment,) = order["payments"]
        assert (order["status"], payment["rail"], payment["status"]) == ("fulfilled", "card", "fulfilled")
        assert (payment["token"], payment["amount"], payment["amount_display"]) == ("USD", "5000", "50")
        assert payment["transaction"] == card_shop.intent_of(session)
        assert payment["reference"] == f"stripe:{payment['transaction']}"
        assert "transaction_url" not in payment or payment["transaction_url"] is None
        assert card_shop.ducats() == EXPLORER
        card_shop.assert_books_balance()

    def test_a_custom_amount_with_the_platforms_own_form(self, card_shop: CardShop) -> None:
        intent = card_shop.intent(usd_amount="25.01")
        assert intent["client_secret"].startswith(f"{intent['payment_intent_id']}_secret_")
        told = card_shop.client.get(f"/api/payments/payment-intent/{intent['payment_intent_id']}").json()
        assert (told["status"], told["order_id"]) == ("requires_payment_method", intent["order_id"])
        assert "client_secret" not in told
        card_shop.confirm(intent)
        card_shop.work()
        told = card_shop.client.get(f"/api/payments/payment-intent/{intent['payment_intent_id']}").json()
        assert (told["status"], told["order_status"]) == ("succeeded", "fulfilled")
        assert card_shop.ducats() == 250_100_000

    def test_what_is_charged_is_the_locked_price_and_stripe_keeps_the_order_id_only(self, card_shop: CardShop) -> None:
        session = card_shop.session(usd_amount="19.99")
        made = card_shop.stripe.v1.checkout.sessions.retrieve(session["session_id"])
        assert made.amount_total == 1999
        assert made.metadata is not None
        assert made.metadata.to_dict() == {"order_id": session["order_id"]}
        card_shop.double.control.pay_session(session["session_id"])
        intent = card_shop.stripe.v1.payment_intents.retrieve(card_shop.intent_of(session))
        assert intent.metadata.to_dict() == {"order_id": session["order_id"]}

    def test_a_declined_card_may_be_followed_by_a_good_one(self, card_shop: CardShop) -> None:
        intent = card_shop.intent()
        with pytest.raises(stripe.CardError):
            card_shop.confirm(intent, "pm_card_chargeDeclinedInsufficientFunds")
        card_shop.work()
        told = card_shop.client.get(f"/api/payments/payment-intent/{intent['payment_intent_id']}").json()
        assert (told["status"], told["failure_code"]) == ("requires_payment_method", "card_declined")
        assert card_shop.order(intent)["status"] == "open"
        card_shop.confirm(intent)
        card_shop.work()
        assert card_shop.order(intent)["status"] == "fulfilled"
        assert card_shop.ducats() == EXPLORER

    def test_three_d_secure(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        card_shop.double.control.pay_session(session["session_id"], card="4000002500003155")
        card_shop.work()
        assert card_shop.order(session)["status"] == "open"
        card_shop.double.control.authenticate(card_shop.intent_of(session))
        card_shop.work()
        assert card_shop.order(session)["status"] == "fulfilled"

    @pytest.mark.parametrize("succeeded", [True, False])
    def test_a_bank_that_answers_later(self, card_shop: CardShop, succeeded: bool) -> None:
        session = card_shop.session()
        card_shop.double.control.pay_session(session["session_id"], card="bank_account")
        card_shop.work()
        order = card_shop.order(session)
        assert (order["status"], order["payments"][0]["status"]) == ("seen", "seen")
        assert "Your bank is carrying out the payment" in card_shop.client.get(session["payment_link"]).text
        assert card_shop.ducats() == 0
        answer = card_shop.client.post("/api/payments/checkout-session", json={"order_id": session["order_id"]})
        assert (answer.status_code, "on its way" in answer.json()["detail"]) == (409, True)
        card_shop.double.control.complete_async_payment(session["session_id"], succeeded)
        card_shop.work()
        assert card_shop.order(session)["status"] == ("fulfilled" if succeeded else "open")
        assert card_shop.ducats() == (EXPLORER if succeeded else 0)
        if not succeeded:
            again = card_shop.session(order_id=session["order_id"])
            assert again["session_id"] != session["session_id"]

    @pytest.mark.parametrize(
        ("wish", "status", "words"),
        [
            ({"citizen_id": "Marco", "usd_amount": "9.99"}, 422, "from 10 to 10,000 USD"),
            ({"citizen_id": "Marco", "usd_amount": "10000.01"}, 422, "from 10 to 10,000 USD"),
            ({"citizen_id": "Marco", "package": "doge"}, 422, "no package"),
            ({"citizen_id": "Marco"}, 422, "not both and not neither"),
            ({"package": "explorer"}, 422, "which citizen"),
            ({"order_id": "ord_" + "a" * 26}, 404, "no such order"),
            ({"order_id": "ord_" + "a" * 26, "package": "noble"}, 422, "not both"),
            ({"order_id": "x"}, 422, "pattern"),
        ],
    )
    @pytest.mark.parametrize("way", ["checkout-session", "payment-intent"])
    def test_what_cannot_be_sold_is_refused(
        self, card_shop: CardShop, way: str, wish: dict[str, str], status: int, words: str
    ) -> None:
        answer = card_shop.client.post(f"/api/payments/{way}", json=wish)
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
        assert card_shop.stripe.v1.checkout.sessions.list().data == []

    def test_an_intent_of_nobodys_order_is_not_shown(self, card_shop: CardShop) -> None:
        made = card_shop.stripe.v1.payment_intents.create({"amount": 700, "currency": "usd"})
        for name in (made.id, "pi_unknown", "%00"):
            assert card_shop.client.get(f"/api/payments/payment-intent/{name}").status_code in (404, 422)


class TestOneOrderOneQuote:
    def test_begun_by_card_and_finished_by_wallet(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        wallet = card_shop.client.post(
            "/api/payments/crypto-payment-intent", json={"order_id": session["order_id"], "token": "USDT"}
        ).json()
        assert (wallet["order_id"], wallet["amount"], wallet["token"]) == (session["order_id"], "50000000", "USDT")
        again = card_shop.client.post(
            "/api/payments/crypto-payment-intent", json={"order_id": session["order_id"], "token": "USDT"}
        ).json()
        assert again["terms"] == wallet["terms"]
        self._pay_on_chain(card_shop, session["order_id"])
        card_shop.work()  # closes the page: nobody should pay twice
        assert card_shop.stripe.v1.checkout.sessions.retrieve(session["session_id"]).status == "expired"
        assert card_shop.order(session)["status"] == "fulfilled"

    def test_a_second_payment_is_not_lost_but_waits_with_its_reason(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        intent = card_shop.stray_intent(session["order_id"])
        card_shop.double.control.pay_session(session["session_id"])
        card_shop.confirm(intent)  # at the same moment, on another device
        card_shop.work()
        order = card_shop.order(session)
        assert order["status"] == "fulfilled"
        assert sorted((p["status"], p["reason"]) for p in order["payments"]) == [
            ("fulfilled", None),
            ("suspense", "duplicate"),
        ]
        assert card_shop.ducats() == EXPLORER
        card_shop.assert_books_balance()

    def test_paid_by_wallet_first_the_card_waits(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        self._pay_on_chain(card_shop, session["order_id"])
        card_shop.work()
        outcomes = {p["rail"]: p["reason"] for p in card_shop.order(session)["payments"]}
        assert outcomes == {"chain": None, "card": "duplicate"}
        assert card_shop.ducats() == EXPLORER

    def test_an_order_opened_for_a_wallet_can_be_paid_by_card(self, card_shop: CardShop) -> None:
        wish = {"citizen_id": "Marco_Polo", "package": "explorer", "token": "USDT"}
        order = card_shop.client.post("/api/payments/crypto-payment-intent", json=wish).json()
        card_shop.paid(order_id=order["order_id"])
        card_shop.work()
        assert card_shop.order(order)["status"] == "fulfilled"

    def test_a_paid_or_expired_order_is_not_begun_again(self, card_shop: CardShop) -> None:
        session = card_shop.paid()
        card_shop.work()
        for way in ("checkout-session", "payment-intent", "crypto-payment-intent"):
            answer = card_shop.client.post(f"/api/payments/{way}", json={"order_id": session["order_id"]})
            assert (answer.status_code, answer.json()["detail"]) == (409, "This order is paid.")
        old = card_shop.session()
        with card_shop.database.transaction() as connection:
            connection.execute(
                "UPDATE orders SET created_at = created_at - interval '1 hour', expires_at = expires_at"
                " - interval '1 hour' WHERE id = %s",
                (old["order_id"],),
            )
        answer = card_shop.client.post("/api/payments/payment-intent", json={"order_id": old["order_id"]})
        assert (answer.status_code, "expired" in answer.json()["detail"]) == (409, True)

    def test_paid_after_the_price_ran_out_waits(self, card_shop: CardShop) -> None:
        intent = card_shop.intent()
        card_shop.double.control.advance_clock(40 * 60)
        card_shop.confirm(intent)
        card_shop.work()
        (payment,) = card_shop.order(intent)["payments"]
        assert (payment["status"], payment["reason"]) == ("suspense", "late")
        assert card_shop.ducats() == 0
        card_shop.assert_books_balance()

    def test_begun_in_time_and_paid_within_half_an_hour_is_in_time(self, card_shop: CardShop) -> None:
        intent = card_shop.intent()
        card_shop.double.control.advance_clock(29 * 60)  # the order lives for 15 minutes
        card_shop.confirm(intent)
        card_shop.work()
        assert card_shop.order(intent)["status"] == "fulfilled"

    def test_what_can_no_longer_be_paid_in_time_is_canceled(self, card_shop: CardShop) -> None:
        intent = card_shop.intent()
        with card_shop.database.transaction() as connection:
            connection.execute("UPDATE card_attempts SET payable_until = now()")
        card_shop.work()
        assert card_shop.stripe.v1.payment_intents.retrieve(intent["payment_intent_id"]).status == "canceled"
        with pytest.raises(stripe.InvalidRequestError):
            card_shop.confirm(intent)

    def test_money_that_names_no_order_of_ours_waits(self, card_shop: CardShop) -> None:
        for metadata in ({}, {"order_id": "ord_" + "a" * 26}, {"order_id": "\u0131\u2028"}):
            made = card_shop.stripe.v1.payment_intents.create(
                {"amount": 700, "currency": "usd", "metadata": metadata, "payment_method": "pm_card_visa",
                 "confirm": True, "return_url": "https://x.example"}
            )  # fmt: skip
            assert made.status == "succeeded"
        card_shop.work()
        with card_shop.database.transaction() as connection:
            rows = connection.execute("SELECT reason FROM payments").fetchall()
        assert [row["reason"] for row in rows] == ["unknown_order"] * 3
        card_shop.assert_books_balance()

    @staticmethod
    def _pay_on_chain(card_shop: CardShop, order_id: str) -> None:
        with card_shop.database.transaction() as connection:
            terms = orders.chain_terms(connection, order_id)[-1]
            book_payment(connection, confirmed(terms))


class TestBeginning:
    def test_the_same_order_again_gives_the_same_page(self, card_shop: CardShop) -> None:
        first = card_shop.session()
        assert card_shop.session(order_id=first["order_id"]) == first
        intent = card_shop.intent(order_id=first["order_id"])
        assert card_shop.intent(order_id=first["order_id"]) == intent

    def test_many_clicks_at_once_begin_one_payment(self, card_shop: CardShop) -> None:
        order_id = self._order(card_shop)
        begin = card_shop.checkout.begin
        with ExitStack() as connections:  # or they would wait for connections instead of for each other
            for _ in range(8):
                connections.enter_context(card_shop.database.transaction())
        begun = run_concurrently(8, lambda _: begin(order_id, OrderStatus.OPEN, Flow.CHECKOUT_SESSION).begun.stripe_id)
        sessions = run_concurrently(8, lambda _: card_shop.session(order_id=order_id)["session_id"])
        assert len({*begun, *sessions}) == 1
        assert len(card_shop.stripe.v1.checkout.sessions.list().data) == 1

    def test_a_lost_answer_is_asked_for_again_and_not_made_twice(self, card_shop: CardShop) -> None:
        wish = {"citizen_id": "Marco_Polo", "package": "explorer"}
        order = card_shop.client.post("/api/payments/crypto-payment-intent", json=wish).json()
        card_shop.double.control.set_chaos(reset_after_effect=1.0, strikes_left=1)
        session = card_shop.session(order_id=order["order_id"])  # the SDK repeats under the same key
        card_shop.double.control.reset_chaos()
        assert card_shop.session(order_id=order["order_id"]) == session
        assert len(card_shop.stripe.v1.checkout.sessions.list().data) == 1

    def test_when_stripe_does_not_answer_nobody_is_charged_and_the_next_try_goes_on(self, card_shop: CardShop) -> None:
        order_id = self._order(card_shop)
        card_shop.double.control.set_chaos(reset_before_effect=1.0)
        answer = self._try(card_shop, order_id)
        assert (answer.status_code, "You were not charged" in answer.json()["detail"]) == (503, True)
        card_shop.double.control.reset_chaos()
        with card_shop.database.transaction() as connection:
            order = orders.by_id(connection, order_id)
            attempt = card_attempts.open_attempt(connection, order_id, Flow.CHECKOUT_SESSION)
        assert attempt is not None
        page = f"{card_shop.checkout.base_url}/pay/{order.link_token}"
        begun = card_shop.checkout.stripe.begin_session(order, attempt, page)  # it had arrived after all
        session = card_shop.session(order_id=order_id)
        assert session["session_id"] == begun.stripe_id
        assert len(card_shop.stripe.v1.checkout.sessions.list().data) == 1

    def test_a_500_that_stripe_would_repeat_is_not_asked_for_again(self, card_shop: CardShop) -> None:
        order_id = self._order(card_shop)
        card_shop.double.control.set_chaos(fail_after_effect=1.0, strikes_left=1)
        assert self._try(card_shop, order_id).status_code == 503
        session = card_shop.session(order_id=order_id)  # a key of its own
        card_shop.double.control.pay_session(session["session_id"])
        card_shop.work()
        assert card_shop.order(session)["status"] == "fulfilled"

    def test_an_answer_lost_long_ago_does_not_stand_in_the_way(self, card_shop: CardShop) -> None:
        order_id = self._order(card_shop)
        card_shop.double.control.set_chaos(reset_before_effect=1.0)
        assert self._try(card_shop, order_id).status_code == 503
        card_shop.double.control.reset_chaos()
        with card_shop.database.transaction() as connection:
            connection.execute("UPDATE card_attempts SET payable_until = payable_until - interval '5 minutes'")
        assert card_shop.session(order_id=order_id)["url"]

    def test_a_page_that_is_over_is_followed_by_another(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        card_shop.stripe.v1.checkout.sessions.expire(session["session_id"])
        again = card_shop.session(order_id=session["order_id"])
        assert again["session_id"] != session["session_id"]

    def test_what_stripe_says_is_over_is_not_asked_to_end(self, card_shop: CardShop) -> None:
        begun = [card_shop.paid(), card_shop.session()]
        card_shop.stripe.v1.checkout.sessions.expire(begun[1]["session_id"])
        begun.append(card_shop.intent())
        card_shop.confirm(begun[2])
        card_shop.double.control.deliver_now()
        card_shop.double.control.set_chaos(reset_before_effect=1.0)  # no more requests that change anything
        card_shop.work_through_inbox()
        with card_shop.database.transaction() as connection:
            rows = connection.execute("SELECT stripe_id FROM card_attempts WHERE closed_at IS NULL").fetchall()
        assert [row["stripe_id"] for row in rows] == [begun[1]["session_id"]]  # its event names no intent

    def test_attempts_are_bounded(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        for _ in range(9):
            card_shop.stripe.v1.checkout.sessions.expire(session["session_id"])
            session = card_shop.session(order_id=session["order_id"])
        card_shop.stripe.v1.checkout.sessions.expire(session["session_id"])
        answer = self._try(card_shop, session["order_id"])
        assert (answer.status_code, "too often" in answer.json()["detail"]) == (409, True)

    @staticmethod
    def _order(card_shop: CardShop) -> str:
        wish = {"citizen_id": "Marco_Polo", "package": "explorer"}
        return str(card_shop.client.post("/api/payments/crypto-payment-intent", json=wish).json()["order_id"])

    @staticmethod
    def _try(card_shop: CardShop, order_id: str) -> httpx.Response:
        return card_shop.client.post("/api/payments/checkout-session", json={"order_id": order_id})


class TestThePage:
    def test_the_button_leads_to_stripes_page(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        path = httpx.URL(session["payment_link"]).path
        page = card_shop.client.get(path)
        assert f'action="{path}/card"' in page.text
        assert f"form-action 'self' {card_shop.double.url}" in page.headers["content-security-policy"]
        answer = card_shop.client.post(f"{path}/card")
        assert (answer.status_code, answer.headers["location"]) == (303, session["url"])

    def test_the_way_back_credits_nothing(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        path = httpx.URL(session["payment_link"]).path
        for _ in range(2):
            assert "Waiting for Stripe to confirm" in card_shop.client.get(f"{path}?card=paid").text
        card_shop.work()
        assert card_shop.ducats() == 0
        assert card_shop.order(session)["status"] == "open"

    def test_a_paid_order_or_a_stripe_that_is_down_is_told_in_a_sentence(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        path = httpx.URL(session["payment_link"]).path
        card_shop.double.control.set_chaos(reset_before_effect=1.0, only_posts=False)
        answer = card_shop.client.post(f"{path}/card")
        assert (answer.status_code, "You were not charged" in answer.text) == (503, True)
        card_shop.double.control.reset_chaos()
        card_shop.double.control.pay_session(session["session_id"])
        card_shop.work()
        answer = card_shop.client.post(f"{path}/card")
        assert (answer.status_code, "This order cannot be paid by card now." in answer.text) == (409, True)
        assert "ducats were credited" in answer.text
        assert card_shop.client.get(f"{path}/card").headers["location"] == path
        assert card_shop.client.post("/pay/unknown/card").status_code == 404


def test_a_signed_body_that_is_no_event_is_refused(card_shop: CardShop) -> None:
    for body in (b"[]", b"{}", b"null", b"not json", b"\xff", b'{"id": "evt_1", "type": "x", "created": 1, "data": 5}'):
        text = body.decode(errors="replace")
        signature = WebhookSignature.generate_signature_header(text, card_shop.double.webhook_secret)
        answer = card_shop.client.post("/api/payments/webhook", content=body, headers={"stripe-signature": signature})
        assert answer.status_code == 400, (body, answer.text)
    assert card_shop.events() == []


def test_without_a_key_cards_are_refused_and_everything_else_works(environment: Any, database: Any) -> None:
    from fastapi.testclient import TestClient

    from api.main import create_app

    with TestClient(create_app()) as client:
        assert client.get("/api/payments/pricing").json()["card"] == "off"
        for path in ("checkout-session", "payment-intent", "webhook"):
            answer = client.post(f"/api/payments/{path}", json={"citizen_id": "Marco", "package": "explorer"})
            assert (answer.status_code, "STRIPE_SECRET_KEY" in answer.json()["detail"]) == (409, True)
