"""Refunds, disputes and warnings: each movement once, the ducats with it, and the order shows it."""

from __future__ import annotations

from typing import Any

import pytest

from cascade.db import card_attempts, ledger, reversals
from cascade.domain.money import DUCAT, Money
from cascade.domain.postings import Kind, Posting, Transaction
from tests.support.card_shop import CardShop

EXPLORER = 525_000_000


@pytest.fixture
def bought(card_shop: CardShop) -> dict[str, Any]:
    """An Explorer package, paid and credited."""
    session = card_shop.paid()
    card_shop.work()
    assert card_shop.ducats() == EXPLORER
    return {**session, "intent": card_shop.intent_of(session)}


def refund(card_shop: CardShop, bought: dict[str, Any], cents: int | None = None) -> str:
    wish: Any = {"payment_intent": bought["intent"]} | ({} if cents is None else {"amount": cents})
    return card_shop.stripe.v1.refunds.create(wish).id


def spend(card_shop: CardShop, units: int) -> None:
    spent = Posting("citizen:Marco_Polo", "ducats:sold", Money(DUCAT, units))
    with card_shop.database.transaction() as connection:
        ledger.post(connection, Transaction(f"spent {units}", Kind.SALE, (spent,)))


def movements(card_shop: CardShop, bought: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    (payment,) = card_shop.order(bought)["payments"]
    return [(r["kind"], r["amount"], r["ducats_taken"], r["ducats_owed"]) for r in payment["reversals"]]


class TestRefunds:
    def test_a_full_one_takes_everything_back(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        refund(card_shop, bought)
        card_shop.work()
        order = card_shop.order(bought)
        assert (order["status"], order["payments"][0]["status"]) == ("reversed", "reversed")
        assert movements(card_shop, bought) == [("refund", "5000", "525", "0")]
        assert card_shop.ducats() == 0
        card_shop.assert_books_balance()

    def test_several_parts_add_up_to_the_whole(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        for cents in (1, 1666, 3332):
            refund(card_shop, bought, cents)
            card_shop.work()
        assert card_shop.order(bought)["status"] == "fulfilled"
        assert card_shop.ducats() == 105_000  # one cent of fifty dollars is still paid for
        refund(card_shop, bought)
        card_shop.work()
        assert card_shop.ducats() == 0
        assert card_shop.order(bought)["payments"][0]["returned"] == "5000"
        card_shop.assert_books_balance()

    def test_one_that_fails_gives_the_ducats_back(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        name = refund(card_shop, bought, 1000)
        card_shop.work()
        assert card_shop.ducats() == 420_000_000
        card_shop.double.control.fail_refund(name)
        card_shop.work()
        assert movements(card_shop, bought) == [
            ("refund", "1000", "105", "0"),
            ("refund_failed", "1000", "-105", "0"),
        ]
        page = card_shop.client.get(bought["payment_link"]).text
        assert "did not reach your bank and came back to us; 105 ducats were credited again." in page
        assert card_shop.ducats() == EXPLORER
        card_shop.assert_books_balance()

    def test_a_pending_one_counts_from_the_start_and_may_fail(
        self, card_shop: CardShop, bought: dict[str, Any]
    ) -> None:
        card_shop.double.control.set_chaos(pending_refunds=True)
        first, second = refund(card_shop, bought, 1000), refund(card_shop, bought, 2000)
        card_shop.work()
        assert card_shop.ducats() == 210_000_000
        card_shop.double.control.settle_refund(first)
        card_shop.double.control.fail_refund(second)
        card_shop.work()
        assert card_shop.ducats() == 420_000_000
        card_shop.assert_books_balance()

    def test_made_and_failed_before_anybody_looked(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        card_shop.double.control.fail_refund(refund(card_shop, bought))
        card_shop.work()
        assert [kind for kind, *_ in movements(card_shop, bought)] == ["refund", "refund_failed"]
        assert card_shop.ducats() == EXPLORER
        assert card_shop.order(bought)["status"] == "fulfilled"

    def test_of_spent_ducats_the_rest_is_owed(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        spend(card_shop, 500_000_000)
        refund(card_shop, bought)
        card_shop.work()
        assert movements(card_shop, bought) == [("refund", "5000", "25", "500")]
        assert card_shop.ducats() == 0
        with card_shop.database.transaction() as connection:
            (debt,) = reversals.receivables(connection)
        assert (debt.citizen_id, debt.owed.display()) == ("Marco_Polo", "500")
        card_shop.assert_books_balance()

    def test_of_a_payment_in_suspense_ends_the_waiting(self, card_shop: CardShop) -> None:
        twice = card_shop.session()
        intent = card_shop.stray_intent(twice["order_id"])
        card_shop.double.control.pay_session(twice["session_id"])
        card_shop.confirm(intent)
        card_shop.work()
        (duplicate,) = [p for p in card_shop.order(twice)["payments"] if p["reason"] == "duplicate"]
        card_shop.stripe.v1.refunds.create({"payment_intent": duplicate["transaction"]})
        card_shop.work()
        statuses = {p["transaction"]: p["status"] for p in card_shop.order(twice)["payments"]}
        assert statuses[duplicate["transaction"]] == "reversed"
        assert (card_shop.order(twice)["status"], card_shop.ducats()) == ("fulfilled", EXPLORER)
        card_shop.assert_books_balance()


class TestDisputes:
    def test_lost(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        dispute = card_shop.double.control.open_dispute(bought["intent"])["id"]
        card_shop.work()
        order = card_shop.order(bought)
        assert (order["status"], card_shop.ducats()) == ("reversed", 0)
        assert movements(card_shop, bought) == [("dispute", "5000", "525", "0")]
        with card_shop.database.transaction() as connection:
            (case,) = card_attempts.open_cases(connection)
        assert (case.case_id, case.reason, case.respond_by is not None) == (dispute, "fraudulent", True)
        card_shop.double.control.close_dispute(dispute, won=False)
        card_shop.work()
        (case_shown,) = card_shop.order(bought)["payments"][0]["cases"]
        assert (case_shown["kind"], case_shown["status"]) == ("dispute", "lost")
        with card_shop.database.transaction() as connection:
            assert card_attempts.open_cases(connection) == []
        card_shop.assert_books_balance()

    def test_won_gives_the_ducats_back(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        dispute = card_shop.double.control.open_dispute(bought["intent"])["id"]
        card_shop.work()
        card_shop.double.control.submit_evidence(dispute)
        card_shop.double.control.close_dispute(dispute, won=True)
        card_shop.work()
        assert [kind for kind, *_ in movements(card_shop, bought)] == ["dispute", "dispute_reinstated"]
        assert (card_shop.order(bought)["status"], card_shop.ducats()) == ("fulfilled", EXPLORER)
        card_shop.assert_books_balance()

    def test_won_settles_the_debt_of_the_order_first(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        spend(card_shop, 500_000_000)
        dispute = card_shop.double.control.open_dispute(bought["intent"])["id"]
        card_shop.work()
        card_shop.double.control.close_dispute(dispute, won=True)
        card_shop.work()
        assert card_shop.ducats() == 25_000_000
        with card_shop.database.transaction() as connection:
            assert reversals.receivables(connection) == []

    def test_an_inquiry_moves_nothing_until_it_becomes_a_dispute(
        self, card_shop: CardShop, bought: dict[str, Any]
    ) -> None:
        dispute = card_shop.double.control.open_dispute(bought["intent"], inquiry=True)["id"]
        card_shop.work()
        (shown,) = card_shop.order(bought)["payments"][0]["cases"]
        assert (shown["kind"], shown["status"]) == ("inquiry", "warning_needs_response")
        assert (movements(card_shop, bought), card_shop.ducats()) == ([], EXPLORER)
        card_shop.double.control.escalate_dispute(dispute)
        card_shop.work()
        (shown,) = card_shop.order(bought)["payments"][0]["cases"]
        assert (shown["kind"], shown["status"], card_shop.ducats()) == ("dispute", "needs_response", 0)

    def test_an_inquiry_that_closes_leaves_everything(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        dispute = card_shop.double.control.open_dispute(bought["intent"], inquiry=True)["id"]
        card_shop.double.control.close_dispute(dispute, won=True)
        card_shop.work()
        assert (movements(card_shop, bought), card_shop.ducats()) == ([], EXPLORER)

    def test_after_a_part_was_refunded(self, card_shop: CardShop, bought: dict[str, Any]) -> None:
        refund(card_shop, bought, 2000)
        card_shop.double.control.open_dispute(bought["intent"], amount=5000)  # banks may take more than is left
        card_shop.work()
        assert card_shop.ducats() == 0
        assert card_shop.order(bought)["payments"][0]["returned"] == "7000"
        card_shop.assert_books_balance()

    def test_an_early_fraud_warning_is_shown_and_moves_nothing(
        self, card_shop: CardShop, bought: dict[str, Any]
    ) -> None:
        card_shop.double.control.warn_of_fraud(bought["intent"])
        card_shop.work()
        (shown,) = card_shop.order(bought)["payments"][0]["cases"]
        assert (shown["kind"], shown["status"]) == ("early_fraud_warning", "actionable")
        assert (movements(card_shop, bought), card_shop.ducats()) == ([], EXPLORER)


@pytest.mark.parametrize("number", ["4000000000000259", "4000000000001976", "4000000000005423"])
def test_cards_that_bring_trouble_at_once(card_shop: CardShop, number: str) -> None:
    session = card_shop.session()
    card_shop.double.control.pay_session(session["session_id"], card=number)
    card_shop.work()
    (payment,) = card_shop.order(session)["payments"]
    assert len(payment["cases"]) == 1
    assert card_shop.ducats() == (0 if number.endswith("0259") else EXPLORER)
    card_shop.assert_books_balance()


def test_the_page_tells_of_money_that_went_back(card_shop: CardShop, bought: dict[str, Any]) -> None:
    spend(card_shop, 500_000_000)
    refund(card_shop, bought, 1000)
    card_shop.work()
    page = card_shop.client.get(bought["payment_link"]).text
    assert "$10 was refunded; 25 ducats were taken back; 80 ducats had been spent and are owed." in page
    refund(card_shop, bought)
    card_shop.work()
    assert "The payment of this order went back" in card_shop.client.get(bought["payment_link"]).text
