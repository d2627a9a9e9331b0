"""Any interleaving of checkout, payment, webhooks, refunds, disputes, kills and catching up, against PostgreSQL.

Whatever happened and however it was told: when everything has been told in the end, the books, Stripe's double and the
orders agree to the cent and the ducat. What should be there is worked out from the double alone.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import pytest
import stripe
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cascade.db import balances, ledger, orders
from cascade.domain.money import DUCAT, Money
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.services.booking import book_payment
from sandbox.stripe.errors import StripeRefusal
from tests.faults.dying_card_worker import spawn
from tests.support.card_shop import CardShop
from tests.support.purchases import confirmed
from tests.support.soak import histories

CARDS = st.sampled_from(
    ["4242424242424242", "4242424242424242", "4000000000000002", "4000002500003155", "4000000000000259", "bank_account"]
)
PACKAGES = st.sampled_from(["starter", "explorer", "noble"])
WAYS = st.sampled_from(["s", "i", "si"])
FORM_CARDS = ["pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired"]
MOST_MESSAGES = 60
REFUSED = (StripeRefusal, stripe.StripeError)


@dataclass(frozen=True)
class Sale:
    """An order of this run, and how it was begun by card."""

    order_id: str
    citizen: str
    session: dict[str, Any] | None
    intent: dict[str, Any] | None


class CardRail(RuleBasedStateMachine):
    """What a payer, a bank, the weather and an operator may do, in any order."""

    shop: CardShop
    database_url: str
    numbers: ClassVar[count[int]] = count()
    happened: ClassVar[Counter[str]] = Counter()
    sales = Bundle("sales")

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Sale] = []
        self.by_wallet: set[str] = set()

    @initialize(target=sales, package=PACKAGES, ways=WAYS)
    def begin_and_pay(self, package: str, ways: str) -> Sale:
        """Every run has a sale: most of what follows needs one."""
        return self._begin(package, ways, paid=True)

    @rule(target=sales, package=PACKAGES, ways=WAYS, paid=st.booleans())
    def begin(self, package: str, ways: str, paid: bool) -> Sale:
        return self._begin(package, ways, paid)

    def _begin(self, package: str, ways: str, paid: bool) -> Sale:
        citizen = f"citizen{next(self.numbers)}"
        wish = {"citizen_id": citizen, "package": package}
        order = self.shop.client.post("/api/payments/crypto-payment-intent", json=wish).json()
        session = self.shop.session(order_id=order["order_id"]) if "s" in ways else None
        intent = None
        if "i" in ways:
            make = self.shop.stray_intent if "s" in ways else lambda name: self.shop.intent(order_id=name)
            intent = make(order["order_id"])
        sale = Sale(order["order_id"], citizen, session, intent)
        self.made.append(sale)
        if paid and session is not None:
            self.shop.double.control.pay_session(session["session_id"])
        elif paid and intent is not None:
            self.shop.confirm(intent)
        return sale

    # Payers

    @rule(sale=sales, card=CARDS)
    def pay_on_stripes_page(self, sale: Sale, card: str) -> None:
        if sale.session is not None:
            self._attempt(self.shop.double.control.pay_session, sale.session["session_id"], card)

    @rule(sale=sales, method=st.sampled_from(FORM_CARDS))
    def send_the_platforms_form(self, sale: Sale, method: str) -> None:
        if sale.intent is not None:
            self._attempt(self.shop.confirm, sale.intent, method)

    @rule(sale=sales, passed=st.booleans())
    def answer_the_bank(self, sale: Sale, passed: bool) -> None:
        for intent in self._intents(sale):
            self._attempt(self.shop.double.control.authenticate, intent.id, passed)
            self._attempt(self.shop.double.control.complete_async_payment, intent.id, passed)

    @rule(sale=sales)
    def pay_from_a_wallet(self, sale: Sale) -> None:
        if sale.order_id in self.by_wallet:  # the router takes an order once
            return
        self.by_wallet.add(sale.order_id)
        with self.shop.database.transaction() as connection:
            book_payment(connection, confirmed(orders.chain_terms(connection, sale.order_id)[0]))

    @rule(sale=sales, percent=st.integers(1, 100))
    def spend(self, sale: Sale, percent: int) -> None:
        with self.shop.database.transaction() as connection:
            ledger.lock(connection)
            units = balances.citizen_ducats(connection, sale.citizen).units * percent // 100
            if units:
                spent = Posting(f"citizen:{sale.citizen}", "venice", Money(DUCAT, units))
                ledger.post(connection, Transaction(f"spent {next(self.numbers)}", Kind.SALE, (spent,)))

    # Money that goes back

    @rule(sale=sales, percent=st.one_of(st.none(), st.integers(1, 110)))
    def refund(self, sale: Sale, percent: int | None) -> None:
        for intent in self._intents(sale):
            wish: Any = {"payment_intent": intent.id}
            if percent is not None:  # else all that is left
                wish["amount"] = intent.amount * percent // 100
            self._attempt(self.shop.stripe.v1.refunds.create, wish)

    @rule(sale=sales, settles=st.booleans())
    def decide_refunds(self, sale: Sale, settles: bool) -> None:
        control = self.shop.double.control
        for intent in self._intents(sale):
            for refund in self.shop.stripe.v1.refunds.list({"payment_intent": intent.id}).data:
                decide = control.settle_refund if settles else lambda name: control.fail_refund(name)
                self._attempt(decide, refund.id)

    @rule(sale=sales, inquiry=st.booleans(), whole=st.booleans())
    def dispute(self, sale: Sale, inquiry: bool, whole: bool) -> None:
        for intent in self._intents(sale):
            amount = intent.amount if whole else None
            self._attempt(self.shop.double.control.open_dispute, intent.id, amount, "fraudulent", inquiry)

    @rule(sale=sales, verdict=st.sampled_from(["won", "lost", "escalated"]))
    def decide_disputes(self, sale: Sale, verdict: str) -> None:
        control = self.shop.double.control
        for intent in self._intents(sale):
            for dispute in self.shop.stripe.v1.disputes.list({"payment_intent": intent.id}).data:
                if verdict == "escalated":
                    self._attempt(control.escalate_dispute, dispute.id)
                else:
                    self._attempt(control.close_dispute, dispute.id, verdict == "won")

    # What is told, and who listens

    @rule(drop=st.sampled_from([0.0, 0.3, 1.0]), double=st.sampled_from([0.0, 0.5]), reorder=st.booleans(),
          pending=st.booleans(), at_once=st.sampled_from([1, 4]))  # fmt: skip
    def weather(self, drop: float, double: float, reorder: bool, pending: bool, at_once: int) -> None:
        self.shop.double.control.set_chaos(
            drop_webhooks=drop, duplicate_webhooks=double, reorder_webhooks=reorder, pending_refunds=pending,
            webhooks_at_once=at_once, delay_webhooks_seconds=0.2 if reorder else 0.0,
        )  # fmt: skip

    @rule()
    def tell(self) -> None:
        self.shop.double.control.deliver_now()

    @rule(data=st.data())
    def tell_again(self, data: st.DataObject) -> None:
        events = self.shop.stripe.v1.events.list({"limit": 20}).data
        if events:
            self.shop.double.control.resend_event(data.draw(st.sampled_from([event.id for event in events])))

    @rule()
    def work(self) -> None:
        self.shop.worker().step()

    @rule()
    def catch_up(self) -> None:
        self.shop.worker().catch_up()

    @rule(messages=st.integers(1, MOST_MESSAGES))
    def work_and_be_killed(self, messages: int) -> None:
        process = spawn(self.database_url, self.shop.double, messages, signal.SIGKILL)
        process.join(60)
        assert process.exitcode in (0, -signal.SIGKILL)
        self.happened["killed"] += process.exitcode != 0

    @invariant()
    def the_books_add_up(self) -> None:
        with self.shop.database.transaction() as connection:
            assert not any(balances.totals(connection).values())
            assert balances.drifts(connection) == []

    def teardown(self) -> None:
        """In the end everything is told, and worked through."""
        self.shop.double.control.reset_chaos()
        self.shop.worker().catch_up()
        self.shop.make_due()
        self.shop.work()
        self.shop.assert_books_balance()
        for sale in self.made:
            self._check(sale)

    def _check(self, sale: Sale) -> None:
        order = self.shop.order({"order_id": sale.order_id})
        by_card = {p["transaction"]: p for p in order["payments"] if p["rail"] == "card" and p["reference"]}
        succeeded = {intent.id: intent for intent in self._intents(sale) if intent.status == "succeeded"}
        assert by_card.keys() == succeeded.keys()  # each payment once, and nothing else
        fulfilled = [p for p in order["payments"] if p["reference"] and p["reason"] is None]
        paid = bool(succeeded) or sale.order_id in self.by_wallet
        assert len(fulfilled) == (1 if paid else 0)
        for name, payment in by_card.items():
            assert int(payment["amount"]) == succeeded[name].amount_received
            assert int(payment["returned"]) == self._returned(name), payment
            self.happened[payment["reason"] or "fulfilled"] += 1
            self.happened.update(reversal["kind"] for reversal in payment["reversals"])
        self._check_ducats(sale, order, fulfilled)

    def _check_ducats(self, sale: Sale, order: dict[str, Any], fulfilled: list[dict[str, Any]]) -> None:
        expected = 0
        if fulfilled:
            (payment,) = fulfilled
            price, returned = int(payment["amount"]), 0
            if payment["rail"] == "card":
                returned = self._returned(payment["transaction"])
            left = max(0, price - returned)
            expected = sum(Money.parse(order[name], DUCAT).units * left // price for name in ("ducats", "bonus"))
            assert order["status"] == ("reversed" if returned >= price else "fulfilled")
        else:
            assert order["status"] in ("open", "seen")
        moved: Counter[str] = Counter()
        with self.shop.database.transaction() as connection:
            rows = connection.execute(
                "SELECT account, sum(units) AS units FROM ledger.journal WHERE asset = 'DUCAT' AND (account = %s OR"
                " account = %s OR reference IN (SELECT reference FROM ledger.journal WHERE account = %s)"
                " AND account = 'venice') GROUP BY account",
                (f"citizen:{sale.citizen}", f"receivable:{sale.order_id}", f"citizen:{sale.citizen}"),
            ).fetchall()
        for row in rows:
            moved[row["account"]] = int(row["units"])
        assert moved[f"citizen:{sale.citizen}"] >= 0
        assert sum(moved.values()) == expected  # held, spent, less what is owed

    def _returned(self, intent_id: str) -> int:
        """Cents that have gone back of an intent, as the double's balance tells."""
        v1 = self.shop.stripe.v1
        refunds = v1.refunds.list({"payment_intent": intent_id, "limit": 100}).data
        disputes = v1.disputes.list({"payment_intent": intent_id, "limit": 100}).data
        refunded = sum(refund.amount for refund in refunds if refund.status != "failed")
        return refunded - sum(movement.amount for dispute in disputes for movement in dispute.balance_transactions)

    def _intents(self, sale: Sale) -> list[stripe.PaymentIntent]:
        names = [sale.intent["payment_intent_id"]] if sale.intent else []
        if sale.session is not None:
            session = self.shop.stripe.v1.checkout.sessions.retrieve(sale.session["session_id"])
            if session.payment_intent is not None:
                names.append(str(session.payment_intent))
        return [self.shop.stripe.v1.payment_intents.retrieve(name) for name in names]

    @staticmethod
    def _attempt(act: Callable[..., Any], *arguments: Any) -> None:
        """What the state forbids is refused, and then nothing has happened."""
        try:
            act(*arguments)
        except REFUSED:
            return


@pytest.fixture
def machine(card_shop: CardShop, database_url: str) -> Callable[[], CardRail]:
    card_shop.worker().catch_up()  # Stripe's list is read from here on

    def fresh() -> CardRail:
        rail = CardRail()
        rail.shop, rail.database_url = card_shop, database_url
        return rail

    return fresh


def test_any_interleaving_leaves_books_stripe_and_orders_in_agreement(machine: Callable[[], CardRail]) -> None:
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type] # a callable is enough
        settings=histories(12, steps=40),
    )


def test_a_history_with_everything_is_in_agreement(machine: Callable[[], CardRail]) -> None:
    """What is drawn may be dull. This holds that the check sees all that may happen, however the dice fall."""
    CardRail.happened.clear()
    rail = machine()
    twice, once, lost = (
        rail.begin_and_pay("noble", "si"),
        rail.begin_and_pay("explorer", "s"),
        rail.begin_and_pay("starter", "i"),
    )
    rail.send_the_platforms_form(twice, "pm_card_visa")
    rail.tell()
    rail.work_and_be_killed(12)
    rail.work()
    rail.refund(once, 40)
    rail.spend(once, 50)
    rail.dispute(lost, inquiry=False, whole=True)
    rail.teardown()
    assert {"fulfilled", "duplicate", "refund", "dispute", "killed"} <= (+CardRail.happened).keys(), CardRail.happened
