"""Money that goes back: the double's refunds and disputes, and whether its balance agrees with them to the cent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from sandbox.stripe import StripeDouble
from sandbox.stripe.errors import InvalidRequest, WrongState

FEE = 103
"""Stripe's part of 25 dollars, in cents."""


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble.start() as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns so often that they meet wherever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def paid(client: stripe.StripeClient, method: str = "pm_card_visa") -> str:
    """A payment intent over 25 dollars that has succeeded."""
    wish: Any = {
        "amount": 2500,
        "currency": "usd",
        "confirm": True,
        "payment_method": method,
        "allowed_payment_method_types": ["card"],
    }
    return client.v1.payment_intents.create(wish).id


def charge_of(client: stripe.StripeClient, intent_id: str) -> stripe.Charge:
    """The charge of a payment intent."""
    charge = client.v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}).latest_charge
    assert isinstance(charge, stripe.Charge)
    return charge


def new_types(client: stripe.StripeClient) -> list[str]:
    """The types of the events since the payment, the oldest first."""
    seen = [str(event.type) for event in client.v1.events.list({"limit": 100}).data][::-1]
    return seen[seen.index("charge.updated") + 1 :]


def net(client: stripe.StripeClient) -> int:
    """All balance transactions together, in cents; the `balance` object must say the same."""
    total = sum(movement.net for movement in client.v1.balance_transactions.list({"limit": 100}).data)
    balance = client.v1.balance.retrieve()
    assert sum(part.amount for part in balance.available) + sum(part.amount for part in balance.pending) == total
    return total


ONE_REFUND = ["refund.created", "charge.refunded", "refund.updated", "charge.refund.updated"]


class TestRefunds:
    def test_in_full(self, client: stripe.StripeClient) -> None:
        intent = paid(client)
        refund = client.v1.refunds.create({"payment_intent": intent, "reason": "requested_by_customer"})
        assert (refund.amount, refund.status, refund.payment_intent) == (2500, "succeeded", intent)
        charge = charge_of(client, intent)
        assert (charge.amount_refunded, charge.refunded, charge.status) == (2500, True, "succeeded")
        assert client.v1.payment_intents.retrieve(intent).status == "succeeded"
        assert new_types(client) == ONE_REFUND
        assert net(client) == -FEE

    def test_charge_refunded_lists_no_refunds(self, client: stripe.StripeClient) -> None:
        client.v1.refunds.create({"payment_intent": paid(client), "amount": 1})
        event = client.v1.events.list({"type": "charge.refunded"}).data[0]
        assert "refunds" not in event.data.object
        assert event.data.previous_attributes is not None
        assert event.data.previous_attributes.to_dict() == {"amount_refunded": 0}

    def test_in_parts_and_never_more_than_was_paid(self, client: stripe.StripeClient) -> None:
        intent = paid(client)
        for cents in (1000, 1499):
            client.v1.refunds.create({"payment_intent": intent, "amount": cents})
        with pytest.raises(stripe.InvalidRequestError) as too_much:
            client.v1.refunds.create({"payment_intent": intent, "amount": 2})
        assert (too_much.value.http_status, too_much.value.code) == (400, "amount_too_large")
        assert "$0.02" in str(too_much.value)
        assert "$0.01" in str(too_much.value)
        assert client.v1.refunds.create({"payment_intent": intent}).amount == 1
        with pytest.raises(stripe.InvalidRequestError) as again:
            client.v1.refunds.create({"charge": charge_of(client, intent).id})
        assert again.value.code == "charge_already_refunded"
        listed = client.v1.refunds.list({"payment_intent": intent}).data
        assert [refund.amount for refund in listed] == [1, 1499, 1000]
        assert new_types(client) == ONE_REFUND * 3
        assert net(client) == -FEE

    @pytest.mark.parametrize("wish", [{"amount": 0}, {"amount": -5}, {"reason": "whim"}, {"charge": "ch_nobody"}])
    def test_refuses_nonsense(self, client: stripe.StripeClient, wish: Any) -> None:
        intent = paid(client)
        for whole in (wish, wish | {"payment_intent": intent}):
            with pytest.raises(stripe.InvalidRequestError):
                client.v1.refunds.create(whole)
        assert charge_of(client, intent).amount_refunded == 0

    @pytest.mark.usefixtures("hasty_threads")
    def test_many_at_once_never_take_more_than_was_paid(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        intents = [paid(client) for _ in range(4)]

        def refund(turn: int) -> bool:
            rival = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url}, max_network_retries=0)
            try:
                rival.v1.refunds.create({"payment_intent": intents[turn // 8], "amount": 900})
            except stripe.InvalidRequestError:
                return False
            return True

        with ThreadPoolExecutor(16) as rivals:
            assert sum(rivals.map(refund, range(32))) == 8
        assert {charge_of(client, intent).amount_refunded for intent in intents} == {1800}

    def test_refuses_to_refund_what_was_never_paid(self, client: stripe.StripeClient) -> None:
        intent = client.v1.payment_intents.create({"amount": 2500, "currency": "usd"})
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.refunds.create({"payment_intent": intent.id})

    def test_a_pending_refund_counts_at_once_and_settles(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        intent = paid(client, "pm_card_pendingRefund")
        refund = client.v1.refunds.create({"payment_intent": intent})
        assert (refund.status, refund.pending_reason) == ("pending", "processing")
        assert charge_of(client, intent).refunded
        assert new_types(client) == ["refund.created", "charge.refunded"]
        double.control.settle_refund(refund.id)
        assert client.v1.refunds.retrieve(refund.id).status == "succeeded"
        assert new_types(client) == ONE_REFUND
        with pytest.raises(WrongState):
            double.control.settle_refund(refund.id)

    @pytest.mark.parametrize("pending", [True, False])
    def test_a_failed_refund_gives_the_money_back(
        self, double: StripeDouble, client: stripe.StripeClient, pending: bool
    ) -> None:
        double.chaos.pending_refunds = pending
        intent = paid(client)
        refund = client.v1.refunds.create({"payment_intent": intent, "amount": 1000})
        double.control.fail_refund(refund.id)
        failed = client.v1.refunds.retrieve(refund.id)
        assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
        assert str(failed.failure_balance_transaction).startswith("txn_")
        charge = charge_of(client, intent)
        assert (charge.amount_refunded, charge.refunded) == (0, False)
        assert new_types(client)[-3:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
        assert net(client) == 2500 - FEE
        assert client.v1.refunds.create({"payment_intent": intent}).amount == 2500
        with pytest.raises(WrongState):
            double.control.fail_refund(refund.id)


class TestDisputes:
    def test_won(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        intent = paid(client)
        dispute_id = double.control.open_dispute(intent, reason="product_not_received")["id"]
        opened = client.v1.disputes.retrieve(dispute_id)
        assert (opened.amount, opened.status, opened.reason) == (2500, "needs_response", "product_not_received")
        assert charge_of(client, intent).disputed
        assert net(client) == -FEE - 1500
        double.control.submit_evidence(dispute_id)
        assert client.v1.disputes.retrieve(dispute_id).status == "under_review"
        double.control.close_dispute(dispute_id, won=True)
        won = client.v1.disputes.retrieve(dispute_id)
        assert (won.status, [movement.amount for movement in won.balance_transactions]) == ("won", [-2500, 2500])
        assert new_types(client) == [
            *("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.updated"),
            *("charge.dispute.closed", "charge.dispute.funds_reinstated"),
        ]
        assert net(client) == 2500 - FEE - 1500

    @pytest.mark.parametrize("conceded", [True, False])
    def test_lost(self, double: StripeDouble, client: stripe.StripeClient, conceded: bool) -> None:
        dispute_id = double.control.open_dispute(paid(client))["id"]
        if conceded:
            client.v1.disputes.close(dispute_id)
        else:
            double.control.close_dispute(dispute_id, won=False)
        assert client.v1.disputes.retrieve(dispute_id).status == "lost"
        assert new_types(client) == [
            *("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.closed"),
        ]
        assert net(client) == -FEE - 1500
        with pytest.raises(WrongState):
            double.control.close_dispute(dispute_id, won=True)

    def test_an_inquiry_moves_no_money(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        intent = paid(client)
        dispute_id = double.control.open_dispute(intent, inquiry=True)["id"]
        inquiry = client.v1.disputes.retrieve(dispute_id)
        assert (inquiry.status, inquiry.is_charge_refundable) == ("warning_needs_response", True)
        double.control.submit_evidence(dispute_id)
        assert client.v1.disputes.retrieve(dispute_id).status == "warning_under_review"
        double.control.close_dispute(dispute_id, won=True)
        assert client.v1.disputes.retrieve(dispute_id).status == "warning_closed"
        assert new_types(client) == ["charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"]
        assert net(client) == 2500 - FEE
        assert not charge_of(client, intent).disputed

    def test_an_inquiry_may_become_a_dispute(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        dispute_id = double.control.open_dispute(paid(client), inquiry=True)["id"]
        double.control.escalate_dispute(dispute_id)
        assert client.v1.disputes.retrieve(dispute_id).status == "needs_response"
        assert new_types(client)[1:] == ["charge.dispute.updated", "charge.dispute.funds_withdrawn"]
        assert net(client) == -FEE - 1500
        with pytest.raises(WrongState):
            double.control.escalate_dispute(dispute_id)

    def test_takes_what_was_not_refunded_and_bars_refunds(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        intent = paid(client)
        client.v1.refunds.create({"payment_intent": intent, "amount": 1000})
        dispute_id = double.control.open_dispute(intent)["id"]
        assert client.v1.disputes.retrieve(dispute_id).amount == 1500
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.refunds.create({"payment_intent": intent})
        assert refused.value.code == "charge_disputed"
        with pytest.raises(WrongState):
            double.control.open_dispute(intent)
        double.control.close_dispute(dispute_id, won=True)
        assert client.v1.refunds.create({"payment_intent": intent}).amount == 1500

    def test_only_as_banks_do(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        intent = paid(client)
        wishes: list[dict[str, Any]] = [{"amount": 2501}, {"amount": 0}, {"reason": "whim"}]
        for wish in wishes:
            with pytest.raises(InvalidRequest):
                double.control.open_dispute(intent, **wish)
        assert new_types(client) == []

    def test_a_refund_after_all_leaves_nothing_to_dispute(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        intent = paid(client)
        client.v1.refunds.create({"payment_intent": intent})
        with pytest.raises(InvalidRequest):
            double.control.open_dispute(intent)

    @pytest.mark.parametrize(
        ("card", "event"),
        [
            ("pm_card_createDispute", "charge.dispute.funds_withdrawn"),
            ("pm_card_createDisputeInquiry", "charge.dispute.created"),
            ("pm_card_createIssuerFraudRecord", "radar.early_fraud_warning.created"),
        ],
    )
    def test_cards_that_bring_trouble(self, client: stripe.StripeClient, card: str, event: str) -> None:
        paid(client, card)
        assert new_types(client)[-1] == event

    def test_an_early_fraud_warning_moves_no_money(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        intent = paid(client)
        double.control.warn_of_fraud(intent)
        warnings = client.v1.radar.early_fraud_warnings.list({"payment_intent": intent}).data
        assert [(warning.actionable, warning.charge) for warning in warnings] == [(True, charge_of(client, intent).id)]
        assert net(client) == 2500 - FEE


def test_a_payout_is_the_sum_of_its_parts(double: StripeDouble, client: stripe.StripeClient) -> None:
    for _ in range(3):
        paid(client)
    with pytest.raises(ValueError, match="nothing to pay out"):
        double.control.pay_out()
    double.control.advance_clock(2 * 24 * 3600)
    paid(client)
    payout = client.v1.payouts.retrieve(double.control.pay_out()["id"])
    assert (payout.amount, payout.reconciliation_status) == (3 * (2500 - FEE), "completed")
    parts = client.v1.balance_transactions.list({"payout": payout.id, "limit": 100}).data
    assert sum(part.net for part in parts if part.type != "payout") == payout.amount
    assert len(parts) == 4
    assert net(client) == 2500 - FEE
    assert client.v1.events.list().data[0].type == "payout.reconciliation_completed"
