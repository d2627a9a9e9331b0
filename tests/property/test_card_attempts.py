"""Anything may happen to one order at once, with a Stripe that takes 1.5 seconds: one payable thing, and one charge."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import stripe

from cascade.domain.card_payments import Flow
from cascade.domain.orders import OrderStatus
from cascade.errors import NotPayable, StripeError
from cascade.services.card_checkout import CardPayment
from sandbox.stripe.errors import StripeRefusal
from tests.integration.test_card_attempts import order_of, pay_on_chain, payable, wait_until
from tests.support.card_shop import CardShop
from tests.support.soak import SOAK

LATENCY_SECONDS = 1.5
ACTS = ("page", "page", "page", "form", "form", "pay", "pay", "chain", "work", "fail", "lose", "well")
FAULTS = {"fail": {"fail_after_effect": 0.5}, "lose": {"reset_before_effect": 0.5}, "well": {}}


class History:
    """What some clicks, payers, workers and faults do to one order in a few seconds."""

    def __init__(self, shop: CardShop, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)  # noqa: S311 - luck, no secret
        self.order_id = order_of(shop)
        self.handed: list[CardPayment] = []
        self.most_payable = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Do everything at moments drawn by lot, and watch Stripe all the while."""
        control = self.shop.double.control
        control.set_chaos(slow_seconds=LATENCY_SECONDS)
        acts = [self.random.choice(ACTS) for _ in range(self.random.randint(4, 9))]
        moments = [self.random.uniform(0, 3) for _ in acts]
        with ThreadPoolExecutor(len(acts) + 1) as pool:
            watching = pool.submit(self.watch)
            doing = [pool.submit(self.act, act, moment) for act, moment in zip(acts, moments, strict=True)]
            try:
                for each in doing:
                    each.result()
            finally:
                self.over.set()
            watching.result()

    def watch(self) -> None:
        while not self.over.wait(0.05):
            self.most_payable = max(self.most_payable, len(payable(self.shop, self.order_id)))

    def act(self, act: str, moment: float) -> None:
        self.over.wait(moment)
        if act in ("page", "form"):
            flow = Flow.CHECKOUT_SESSION if act == "page" else Flow.PAYMENT_INTENT
            with suppress(NotPayable, StripeError):
                self.handed.append(self.shop.checkout.begin(self.order_id, OrderStatus.OPEN, flow))
        elif act == "pay":
            self.pay()
        elif act == "chain":
            with suppress(Exception):  # the router takes an order once
                pay_on_chain(self.shop, self.order_id)
        elif act == "work":
            self.shop.work()
        else:
            self.shop.double.control.reset_chaos()
            self.shop.double.control.set_chaos(slow_seconds=LATENCY_SECONDS, **FAULTS[act])

    def pay(self) -> None:
        """A payer sends every page and every form that was ever handed out."""
        for payment in list(self.handed):
            with suppress(StripeRefusal, stripe.StripeError):
                if payment.attempt.flow is Flow.CHECKOUT_SESSION:
                    self.shop.double.control.pay_session(payment.begun.stripe_id)
                else:
                    self.shop.confirm({"payment_intent_id": payment.begun.stripe_id})

    def settle(self) -> None:
        """Let Stripe be well, and all that was told be booked; then a last payer tries everything."""
        self.shop.double.control.reset_chaos()
        with self.shop.database.transaction() as connection:
            connection.execute("UPDATE card_attempts SET due_at = 'epoch'")
        self.shop.work()
        self.pay()
        self.shop.work()

    @property
    def charges(self) -> int:
        found = self.shop.stripe.v1.charges.list({"limit": 100}).data
        return sum(charge.paid and charge.metadata.to_dict().get("order_id") == self.order_id for charge in found)


@pytest.mark.timeout(600)
def test_one_order_is_never_payable_twice(card_shop: CardShop) -> None:
    for seed in range(40 if SOAK else 3):
        history = History(card_shop, seed)
        history.run()
        history.settle()
        assert history.most_payable <= 1, seed
        assert history.charges <= 1, seed
        if card_shop.order({"order_id": history.order_id})["status"] == "fulfilled":
            wait_until(lambda name=history.order_id: payable(card_shop, name) == [])  # type: ignore[misc]
        card_shop.assert_books_balance()


def test_the_watcher_sees_two_that_are_payable(card_shop: CardShop) -> None:
    session = card_shop.session()
    card_shop.stray_intent(session["order_id"])
    assert len(payable(card_shop, session["order_id"])) == 2
