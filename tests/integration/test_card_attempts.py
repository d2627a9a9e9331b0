"""One payable page for an order: double clicks, answers of every status, and what is paid or lost meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import Any

import httpx
import pytest

from cascade.db import card_attempts, orders
from cascade.domain.card_payments import Flow
from cascade.domain.orders import OrderStatus
from cascade.errors import (
    NotPayable,
    StripeBusy,
    StripeDenied,
    StripeError,
    StripeFailed,
    StripeRefused,
    StripeUnavailable,
)
from cascade.services.booking import book_payment
from cascade.services.card_checkout import CardPayment
from tests.support.card_shop import CardShop
from tests.support.purchases import confirmed

EXPLORER = 525_000_000
SESSION, INTENT = Flow.CHECKOUT_SESSION, Flow.PAYMENT_INTENT


def order_of(card_shop: CardShop) -> str:
    wish = {"citizen_id": "Marco_Polo", "package": "explorer"}
    return str(card_shop.client.post("/api/payments/crypto-payment-intent", json=wish).json()["order_id"])


def try_to_begin(card_shop: CardShop, order_id: str, way: str = "checkout-session") -> httpx.Response:
    return card_shop.client.post(f"/api/payments/{way}", json={"order_id": order_id})


def begin(card_shop: CardShop, order_id: str, flow: Flow = SESSION) -> CardPayment:
    return card_shop.checkout.begin(order_id, OrderStatus.OPEN, flow)


def pay_on_chain(card_shop: CardShop, order_id: str) -> None:
    with card_shop.database.transaction() as connection:
        book_payment(connection, confirmed(orders.chain_terms(connection, order_id)[0]))


def payable(card_shop: CardShop, order_id: str) -> list[str]:
    """Ids of everything at Stripe that could take money for an order now."""
    account = card_shop.double._account
    with account.store.transaction():
        sessions = list(account.newest("checkout.session", status="open"))
        of_sessions = {session["payment_intent"] for session in account.newest("checkout.session")}
        intents = [i for i in account.newest("payment_intent") if i["id"] not in of_sessions]
    waiting = [i for i in intents if i["status"].startswith("requires_") and i["status"] != "requires_capture"]
    return [made["id"] for made in (*sessions, *waiting) if made["metadata"].get("order_id") == order_id]


def attempts(card_shop: CardShop) -> list[dict[str, Any]]:
    with card_shop.database.transaction() as connection:
        return connection.execute("SELECT * FROM card_attempts ORDER BY begun_at, flow, number").fetchall()


def lose_the_answer(card_shop: CardShop, order_id: str, flow: Flow) -> None:
    """Leave an attempt as a crash does: Stripe has made something of it, and nobody here knows its name."""
    card_shop.double.control.set_chaos(reset_before_effect=1.0)
    with pytest.raises(StripeUnavailable):
        begin(card_shop, order_id, flow)
    card_shop.double.control.reset_chaos()
    with card_shop.database.transaction() as connection:
        order, attempt = orders.by_id(connection, order_id), card_attempts.open_attempt(connection, order_id)
    assert attempt is not None
    card_shop.checkout._ask(order, attempt)  # it had arrived after all
    assert len(payable(card_shop, order_id)) == 1


class TestDoubleClick:
    @pytest.mark.parametrize("flow", list(Flow))
    def test_two_clicks_and_a_third_while_stripe_is_slow(self, card_shop: CardShop, flow: Flow) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(slow_seconds=1.5)
        way = "checkout-session" if flow is SESSION else "payment-intent"
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(try_to_begin, card_shop, order_id, way)
            time.sleep(0.05)
            second = pool.submit(try_to_begin, card_shop, order_id, way)
            answers = [first.result(), second.result()]
        answers.append(try_to_begin(card_shop, order_id, way))
        assert [answer.status_code for answer in answers] == [201, 201, 201], [answer.text for answer in answers]
        name = "session_id" if flow is SESSION else "payment_intent_id"
        ids = {answer.json()[name] for answer in answers}
        assert payable(card_shop, order_id) == list(ids)

    def test_a_first_request_that_outlasts_all_patience_leaves_its_attempt_open(
        self, card_shop: CardShop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cascade.adapters.stripe.BUSY_SECONDS", 0.1)
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(slow_seconds=6.0)
        with ThreadPoolExecutor(2) as pool:
            clicks = [pool.submit(begin, card_shop, order_id) for _ in range(2)]
            failed = next(as_completed(clicks))
            assert isinstance(failed.exception(), StripeBusy)
            (attempt,) = attempts(card_shop)
            assert (attempt["closed_at"], attempt["given_up_at"]) == (None, None)
            made = next(click for click in clicks if click is not failed).result()
        assert payable(card_shop, order_id) == [made.begun.stripe_id]

    def test_the_other_way_to_pay_ends_the_first(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        intent = card_shop.intent(order_id=session["order_id"])
        assert payable(card_shop, session["order_id"]) == [intent["payment_intent_id"]]
        again = card_shop.session(order_id=session["order_id"])
        assert payable(card_shop, session["order_id"]) == [again["session_id"]]
        assert again["session_id"] != session["session_id"]

    def test_the_other_way_is_refused_once_the_first_was_paid(self, card_shop: CardShop) -> None:
        session = card_shop.paid()  # and no webhook has come yet
        answer = try_to_begin(card_shop, session["order_id"], "payment-intent")
        assert (answer.status_code, "on its way" in answer.json()["detail"]) == (409, True)
        assert payable(card_shop, session["order_id"]) == []

    def test_the_other_way_waits_for_a_first_request_that_is_still_running(self, card_shop: CardShop) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(slow_seconds=1.5)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(begin, card_shop, order_id, SESSION)
            time.sleep(0.3)
            second = pool.submit(begin, card_shop, order_id, INTENT)
            with pytest.raises(StripeUnavailable, match="another way"):
                first.result()
            made = second.result()
        assert payable(card_shop, order_id) == [made.begun.stripe_id]


ANSWERS = [
    (409, "idempotency_error", "idempotency_key_in_use", StripeBusy),
    (409, "api_error", None, StripeBusy),
    (429, "invalid_request_error", "rate_limit", StripeUnavailable),
    (429, "invalid_request_error", "lock_timeout", StripeUnavailable),
    (400, "invalid_request_error", "rate_limit", StripeUnavailable),
    (400, "idempotency_error", None, StripeFailed),
    (400, "invalid_request_error", "parameter_missing", StripeRefused),
    (401, "invalid_request_error", None, StripeDenied),
    (402, "card_error", "card_declined", StripeRefused),
    (403, "invalid_request_error", None, StripeDenied),
    (404, "invalid_request_error", "resource_missing", StripeRefused),
    (424, "api_error", None, StripeFailed),
    *((status, "api_error", None, StripeFailed) for status in (500, 502, 503, 504)),
]


class TestAnswers:
    @pytest.mark.parametrize(("status", "kind", "code", "wanted"), ANSWERS)
    def test_an_answer_is_judged_by_its_status(
        self, card_shop: CardShop, monkeypatch: pytest.MonkeyPatch, status: int, kind: str, code: str, wanted: type
    ) -> None:
        monkeypatch.setattr("cascade.adapters.stripe.BUSY_SECONDS", 0.1)
        order_id = order_of(card_shop)
        control = card_shop.double.control
        control.set_chaos(fail_before_effect=1.0, fail_status=status, fail_type=kind, fail_code=code or "")
        with pytest.raises(StripeError) as told:
            begin(card_shop, order_id)
        assert type(told.value) is wanted
        control.reset_chaos()
        made = begin(card_shop, order_id)  # whatever it was, the next try goes on
        assert payable(card_shop, order_id) == [made.begun.stripe_id]

    @pytest.mark.parametrize("flow", list(Flow))
    def test_what_was_made_although_stripe_said_no_is_looked_for_before_the_next(
        self, card_shop: CardShop, flow: Flow
    ) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(fail_after_effect=1.0)
        with pytest.raises(StripeFailed):
            begin(card_shop, order_id, flow)
        assert len(payable(card_shop, order_id)) == 1  # in nobody's hands
        card_shop.double.control.reset_chaos()
        made = begin(card_shop, order_id, flow)
        assert payable(card_shop, order_id) == [made.begun.stripe_id]

    @pytest.mark.parametrize("status", [409, 424, 502, 503, 504])
    def test_an_answer_from_before_the_api_hides_nothing(self, card_shop: CardShop, status: int) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(fail_after_effect=1.0, fail_status=status)
        with suppress(StripeError):
            begin(card_shop, order_id)
        card_shop.double.control.reset_chaos()
        made = begin(card_shop, order_id)
        assert payable(card_shop, order_id) == [made.begun.stripe_id]

    def test_a_key_with_other_parameters_is_looked_for_too(self, card_shop: CardShop) -> None:
        order_id = order_of(card_shop)
        lose_the_answer(card_shop, order_id, SESSION)
        with card_shop.database.transaction() as connection:  # as a setting that changed meanwhile
            connection.execute("UPDATE orders SET link_token = 'another-token-of-this-order'")
        with pytest.raises(StripeFailed, match="settings changed"):
            begin(card_shop, order_id)
        made = begin(card_shop, order_id)
        assert payable(card_shop, order_id) == [made.begun.stripe_id]

    def test_attempts_that_no_payer_got_do_not_count(self, card_shop: CardShop) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(fail_before_effect=1.0, fail_status=402)
        answers = [try_to_begin(card_shop, order_id).status_code for _ in range(12)]
        assert set(answers) == {503}
        card_shop.double.control.reset_chaos()
        assert try_to_begin(card_shop, order_id).status_code == 201


class TestPaidMeanwhile:
    @pytest.mark.parametrize("flow", list(Flow))
    def test_what_becomes_known_after_the_order_was_paid_is_ended_at_once(
        self, card_shop: CardShop, flow: Flow
    ) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(slow_seconds=1.5)
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(begin, card_shop, order_id, flow)
            wait_until(lambda: len(attempts(card_shop)) == 1)
            pay_on_chain(card_shop, order_id)
            with pytest.raises(NotPayable, match="is paid"):
                begun.result()
        assert payable(card_shop, order_id) == []
        assert [each["closed_at"] is not None for each in attempts(card_shop)] == [True]

    @pytest.mark.parametrize("flow", list(Flow))
    def test_an_attempt_that_was_closed_meanwhile_is_ended_by_who_learns_of_it(
        self, card_shop: CardShop, flow: Flow
    ) -> None:
        order_id = order_of(card_shop)
        card_shop.double.control.set_chaos(slow_seconds=1.5)
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(begin, card_shop, order_id, flow)
            wait_until(lambda: len(attempts(card_shop)) == 1)
            with card_shop.database.transaction() as connection:
                attempt = card_attempts.open_attempt(connection, order_id)
                assert attempt is not None
                card_attempts.close_attempt(connection, attempt)
            with pytest.raises(StripeUnavailable, match="another way"):
                begun.result()
        assert payable(card_shop, order_id) == []

    @pytest.mark.parametrize("flow", list(Flow))
    @pytest.mark.parametrize("lost", [True, False])
    def test_a_worker_ends_what_a_crash_left(self, card_shop: CardShop, flow: Flow, lost: bool) -> None:
        order_id = order_of(card_shop)
        if lost:
            lose_the_answer(card_shop, order_id, flow)
        else:
            card_shop.double.control.set_chaos(fail_after_effect=1.0)
            with pytest.raises(StripeFailed):
                begin(card_shop, order_id, flow)
            card_shop.double.control.reset_chaos()
        assert len(payable(card_shop, order_id)) == 1
        pay_on_chain(card_shop, order_id)
        card_shop.worker().step()
        assert payable(card_shop, order_id) == []
        assert [each["closed_at"] is not None for each in attempts(card_shop)] == [True]

    def test_a_worker_waits_longer_and_longer_for_a_stripe_that_is_down(self, card_shop: CardShop) -> None:
        session = card_shop.session()
        pay_on_chain(card_shop, session["order_id"])
        card_shop.double.control.set_chaos(reset_before_effect=1.0)
        card_shop.worker().step()
        (attempt,) = attempts(card_shop)
        assert attempt["closed_at"] is None
        assert attempt["due_at"] > attempt["given_up_at"]
        with card_shop.database.transaction() as connection:
            assert card_attempts.attempts_to_close(connection, limit=9) == []
        card_shop.double.control.reset_chaos()
        wait_until(lambda: bool(card_shop.worker().step()) or payable(card_shop, session["order_id"]) == [])

    def test_an_intent_that_a_bank_was_at_is_canceled_when_the_bank_fails_it(self, card_shop: CardShop) -> None:
        intent = card_shop.intent()
        card_shop.confirm(intent, "pm_usBankAccount")
        pay_on_chain(card_shop, intent["order_id"])
        card_shop.work()
        assert attempts(card_shop)[0]["closed_at"] is None
        card_shop.double.control.complete_async_payment(intent["payment_intent_id"], succeeded=False)
        card_shop.work()
        wait_until(lambda: bool(card_shop.worker().step()) or payable(card_shop, intent["order_id"]) == [])
        assert card_shop.stripe.v1.payment_intents.retrieve(intent["payment_intent_id"]).status == "canceled"


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
