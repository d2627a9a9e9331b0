"""Any sequence of orders, payments, replays and reversals, against PostgreSQL, beside a model of ten lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from cascade.db import balances
from cascade.db.database import Database
from cascade.domain.money import USDC, Money
from cascade.domain.payments import ConfirmedPayment, Outcome
from cascade.domain.reversals import Reversal
from cascade.services.booking import book_payment, book_reversal
from cascade.services.order_view import OrderView
from tests.support.purchases import came_again, confirmed, open_order, refund
from tests.support.soak import histories

citizens = st.sampled_from(["Marco", "Niccolo", "Maffeo"])
purchases = st.one_of(
    st.sampled_from([{"package": name} for name in ("starter", "merchant", "noble")]),
    st.integers(1_000, 1_000_000).map(lambda cents: {"usd": f"{cents // 100}.{cents % 100:02d}"}),
)


class Books(RuleBasedStateMachine):
    """What the ledger must say after anything."""

    database: Database
    orders = Bundle("orders")
    booked = Bundle("booked")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.ducats: Counter[str] = Counter()
        self.money: Counter[str] = Counter()
        self.paid: set[str] = set()
        self.returned: Counter[str] = Counter()

    @rule(target=orders, citizen=citizens, purchase=purchases, token=st.sampled_from(["USDC", "USDT"]))
    def order(self, citizen: str, purchase: dict[str, Any], token: str) -> OrderView:
        return open_order(self.database, citizen=citizen, token=token, **purchase)

    @rule(target=booked, view=orders)
    def pay(self, view: OrderView) -> tuple[ConfirmedPayment, OrderView, Outcome]:
        terms, quote = view.terms[0], view.order.quote
        payment = confirmed(terms)
        first = view.order.id not in self.paid
        outcome = self._book(payment, Outcome.FULFILLED if first else Outcome.SUSPENSE)
        if first:
            self.paid.add(view.order.id)
            self.ducats[view.order.citizen_id] += quote.total_ducats.units
        return payment, view, outcome

    @rule(target=booked, view=orders, difference=st.integers(-5, 5).filter(bool))
    def pay_another_amount(self, view: OrderView, difference: int) -> tuple[ConfirmedPayment, OrderView, Outcome]:
        terms = view.terms[0]
        payment = confirmed(terms, amount=Money(terms.token, terms.units + difference))
        return payment, view, self._book(payment, Outcome.SUSPENSE)

    @rule(units=st.integers(1, 10**12))
    def pay_what_nobody_ordered(self, units: int) -> None:
        terms = open_order(self.database).terms[0]
        known = confirmed(terms, amount=Money(USDC, units))
        unknown = ConfirmedPayment(
            known.reference, known.rail, b"\0" * 32, known.received, known.landed, known.payer, known.transaction
        )
        self._book(unknown, Outcome.SUSPENSE)

    @rule(what=booked)
    def replay(self, what: tuple[ConfirmedPayment, OrderView, Outcome]) -> None:
        payment, _, outcome = what
        gone = self.returned[payment.reference] >= payment.received.units
        expected = Outcome.REVERSED if gone else outcome
        with self.database.transaction() as connection:
            assert book_payment(connection, payment) is expected

    @rule(target=gone, what=booked, percent=st.integers(1, 100))
    def take_back(self, what: tuple[ConfirmedPayment, OrderView, Outcome], percent: int) -> Any:
        payment, view, outcome = what
        units = (payment.received.units - self.returned[payment.reference]) * percent // 100
        if units == 0:
            return multiple()
        reversal = refund(payment, units)
        self._reverse(reversal, view, outcome, payment)
        return reversal, view, outcome, payment

    @rule(what=consumes(gone))
    def come_again(self, what: tuple[Reversal, OrderView, Outcome, ConfirmedPayment]) -> None:
        reversal, view, outcome, payment = what
        with self.database.transaction() as connection:
            assert book_reversal(connection, reversal) is False  # a replay
        self._reverse(came_again(reversal), view, outcome, payment)

    def _reverse(self, reversal: Reversal, view: OrderView, outcome: Outcome, payment: ConfirmedPayment) -> None:
        with self.database.transaction() as connection:
            assert book_reversal(connection, reversal) is True
        sign = 1 if reversal.kind.leaves else -1
        before = self.returned[payment.reference]
        self.returned[payment.reference] += sign * reversal.amount.units
        self.money[payment.received.asset.code] -= sign * reversal.amount.units
        if outcome is Outcome.FULFILLED:
            price, quote = payment.received.units, view.order.quote
            for granted in (quote.ducats.units, quote.bonus.units):
                kept = [granted * (price - r) // price for r in (before, self.returned[payment.reference])]
                self.ducats[view.order.citizen_id] += kept[1] - kept[0]

    @rule(what=booked)
    def die_half_way(self, what: tuple[ConfirmedPayment, OrderView, Outcome]) -> None:
        again = confirmed(what[1].terms[0])
        with pytest.raises(ZeroDivisionError), self.database.transaction() as connection:
            book_payment(connection, again)
            raise ZeroDivisionError

    @rule()
    def meddle(self) -> None:
        with pytest.raises(psycopg.errors.IntegrityError), self.database.transaction() as connection:
            connection.execute("UPDATE ledger.accounts SET units = units + 1")

    @invariant()
    def every_asset_sums_to_zero_and_nothing_drifted(self) -> None:
        with self.database.transaction() as connection:
            assert not any(balances.totals(connection).values())
            assert balances.drifts(connection) == []
            for citizen, units in self.ducats.items():
                assert balances.citizen_ducats(connection, citizen).units == units
            for asset, units in self.money.items():
                halves = [balances.balance(connection, side, asset).units for side in ("treasury", "partner")]
                assert -sum(halves) == units

    def _book(self, payment: ConfirmedPayment, expected: Outcome) -> Outcome:
        with self.database.transaction() as connection:
            outcome = book_payment(connection, payment)
            query = "SELECT FROM ledger.journal WHERE reference = %s"
            assert connection.execute(query, (payment.reference,)).rowcount > 0
        assert outcome is expected
        self.money[payment.received.asset.code] += payment.received.units
        return outcome


@pytest.fixture
def machine(database: Database) -> Callable[[], Books]:
    def fresh() -> Books:
        books = Books()
        with database.transaction() as connection:  # each run starts from empty books, and the guards come back on
            for table in ("reversals", "payments", "ledger.postings", "ledger.transactions", "ledger.accounts"):
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
            connection.execute("DELETE FROM reversals")
            connection.execute("DELETE FROM payments")
            connection.execute("DELETE FROM ledger.postings")
            connection.execute("DELETE FROM ledger.transactions WHERE reverses IS NOT NULL")
            connection.execute("DELETE FROM ledger.transactions")
            connection.execute("DELETE FROM ledger.accounts")
            for table in ("reversals", "payments", "ledger.postings", "ledger.transactions", "ledger.accounts"):
                connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER".encode())
        books.database = database
        return books

    return fresh


def test_any_sequence_leaves_the_books_in_balance(machine: Callable[[], Books]) -> None:
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type] # a callable is enough
        settings=histories(20, steps=25),
    )
