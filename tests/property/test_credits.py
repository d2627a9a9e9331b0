"""Credits to Venice under any weather: each ends applied exactly once, or visibly parked; nobody is told before.

Hypothesis interleaves sales, refunds, failed refunds, a Venice that fails in every way it can, operators, two
dispatchers at once and dispatchers that are killed at any step.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from cascade.db import balances, credits
from cascade.db.database import Database
from cascade.db.delivery_queue import Filter
from cascade.domain.delivery_states import Problem
from cascade.domain.payments import ConfirmedPayment, Outcome
from cascade.domain.reversals import Reversal
from cascade.services.booking import book_payment, book_reversal
from cascade.services.credits import confirm_credit
from sandbox.venice import VeniceDouble
from tests.faults.dying_dispatcher import spawn
from tests.support.delivery import DispatcherConfig, dispatching, make_due, rows, told
from tests.support.purchases import came_again, collected, confirmed, open_order, refund
from tests.support.soak import histories

_examples = itertools.count(1)
MOST_MESSAGES = 40
LATE_SECONDS = 0.2
PATIENCE = 150.0  # on a machine that does other things as well
RATES = (
    "error_rate", "error_after_effect_rate", "lost_answer_rate", "hang_rate", "hang_before_rate", "forget_rate",
    "late_effect_rate", "execute_twice_rate", "duplicate_request_rate", "unknown_field_rate", "malformed_rate",
    "fallback_rate", "half_done_rate",
)  # fmt: skip


@dataclass
class Sale:
    """An order that was paid, and what has gone back of it since."""

    payment: ConfirmedPayment
    back: list[Reversal]
    again: int = 0


class Credits(RuleBasedStateMachine):
    database: Database
    database_url: str
    venice: VeniceDouble
    happened: ClassVar[Counter[str]] = Counter()
    sales = Bundle("sales")

    def __init__(self) -> None:
        super().__init__()
        with self.database.transaction() as connection:  # what is left of an example that failed is not ours
            for table in ("credits", "outbox"):
                connection.execute(
                    f"UPDATE {table} SET state = 'void', settled_at = now()"
                    " WHERE state IN ('pending', 'parked')".encode()
                )
        example = next(_examples)
        self.citizens = [f"citizen{example}_{number}" for number in range(3)]
        self._let_all_be_well()
        self.parked: dict[str, set[str]] = {}
        # Much longer than Venice can take, also on a machine that is busy with other things.
        self.wishes = DispatcherConfig(venice_url=self.venice.url, settle_seconds=1.5, venice_timeout_seconds=0.25)

    # Money

    @rule(target=sales, who=st.integers(0, 2))
    def sell(self, who: int) -> Sale:
        return self._sale(who)

    @rule(target=sales, who=st.integers(0, 2), cents=st.integers(1, 4_999))
    def sell_in_parts(self, who: int, cents: int) -> Any:
        terms = open_order(self.database, citizen=self.citizens[who], package="explorer").terms[0]
        first = cents * 10_000
        parts = [collected(terms, units) for units in (first, terms.units - first)]
        with self.database.transaction() as connection:
            assert [book_payment(connection, part) for part in parts] == [Outcome.CREDITED, Outcome.FULFILLED]
        return multiple(*(Sale(part, []) for part in parts))

    def _sale(self, who: int) -> Sale:
        citizen = self.citizens[who]
        view = open_order(self.database, citizen=citizen, package="explorer")
        payment = confirmed(view.terms[0])
        with self.database.transaction() as connection:
            book_payment(connection, payment)
        return Sale(payment, [])

    @rule(sale=sales, percent=st.sampled_from([1, 50, 100]))
    def give_back(self, sale: Sale, percent: int) -> None:
        left = sale.payment.received.units - sum(back.amount.units for back in sale.back[sale.again :])
        units = min(left, sale.payment.landed["treasury"]) * percent // 100
        if units > 0:
            reversal = refund(sale.payment, units)
            with self.database.transaction() as connection:
                book_reversal(connection, reversal)
            sale.back.append(reversal)

    @rule(sale=sales)
    def come_again(self, sale: Sale) -> None:
        if sale.again < len(sale.back):
            with self.database.transaction() as connection:
                book_reversal(connection, came_again(sale.back[sale.again]))
            sale.again += 1

    # Venice

    @rule(rates=st.dictionaries(st.sampled_from(RATES), st.sampled_from([0.3, 1.0]), min_size=1, max_size=4),
          process=st.sampled_from([0.0, 0.0, 0.1, -1.0]))  # fmt: skip
    def weather(self, rates: dict[str, float], process: float) -> None:
        self.venice.control.reset_chaos()
        self.venice.control.set_chaos(**rates, late_effect_seconds=LATE_SECONDS, process_seconds=process)

    @rule(target=sales, rates=st.dictionaries(st.sampled_from(RATES), st.just(1.0), min_size=1, max_size=2),
          who=st.integers(0, 2), count=st.sampled_from([1, 2]))  # fmt: skip
    def sell_in_a_storm(self, rates: dict[str, float], who: int, count: int) -> Sale:
        self.weather(rates, 0.0)
        sale = self._sale(who)
        self.dispatch(count, True)
        return sale

    @rule(who=st.integers(0, 2), known=st.booleans())
    def move(self, who: int, known: bool) -> None:
        citizen = self.citizens[who]
        if known:
            self.venice.control.add_citizen(citizen)
        elif not self.venice.control.balance(citizen):  # whoever has ducats stays: they could not be counted any more
            self.venice.control.remove_citizen(citizen)

    @rule(ducats=st.sampled_from([0, 600, 10**9]))
    def fund(self, ducats: int) -> None:
        self.venice.control.fund_processor(Decimal(ducats))

    @rule()
    def execute(self) -> None:
        self.venice.control.process_now()

    # Dispatchers and operators

    @rule(count=st.sampled_from([1, 2]), hurry=st.booleans())
    def dispatch(self, count: int, hurry: bool) -> None:
        if hurry:
            make_due(self.database)
        with dispatching(self.database, self.wishes, count=count):
            time.sleep(0.4)

    @rule(messages=st.integers(1, MOST_MESSAGES), rival=st.booleans())
    def dispatch_and_be_killed(self, messages: int, rival: bool) -> None:
        process = spawn(self.database_url, self.wishes, messages, signal.SIGKILL, seconds=1.0)
        if rival:
            with dispatching(self.database, self.wishes):
                process.join(30)
        process.join(30)
        assert process.exitcode in (0, -signal.SIGKILL)
        self.happened["killed"] += process.exitcode != 0
        make_due(self.database)

    @rule()
    def look_after_what_is_parked(self) -> None:
        """What an operator does, as the next steps say."""
        for row in rows(self.database, "parked", "venice"):
            problem = Problem(row["problem"])
            self.happened[problem] += 1
            self.parked.setdefault(row["reference"], set()).add(problem)
            arrived = bool(self.venice.control.transfers(_mark(row["reference"])))
            with self.database.transaction() as connection:
                if problem in (Problem.UNCLEAR, Problem.CREDITED_TWICE) and arrived:
                    delivery = credits.QUEUE.take_parked(connection, row["id"])
                    assert delivery is not None
                    confirm_credit(connection, delivery)
                else:
                    credits.replay(connection, Filter(id=row["id"]))

    @invariant()
    def nobody_is_told_before_the_ducats_are_there(self) -> None:
        for citizen in self.citizens:
            for notice in told(self.database, citizen):
                if "ducats_credited" in notice["data"]:
                    reference = _credit_of(self.database, notice)
                    assert self.venice.control.transfers(_mark(reference)), notice

    @invariant()
    def the_books_add_up(self) -> None:
        with self.database.transaction() as connection:
            assert not any(balances.totals(connection).values())
            assert balances.drifts(connection) == []

    def teardown(self) -> None:
        """In the end the sun shines, operators have done what they should, and all is delivered."""
        self._let_all_be_well()
        deadline = time.monotonic() + PATIENCE
        while rows(self.database, "pending") or rows(self.database, "parked", "venice"):
            assert time.monotonic() < deadline, rows(self.database, "pending") + rows(self.database, "parked")
            self.venice.control.process_now()
            self.look_after_what_is_parked()
            self.dispatch(1, True)
        self._check_credits()
        self._check_totals()

    def _let_all_be_well(self) -> None:
        self.venice.control.reset_chaos()
        for citizen in self.citizens:
            self.venice.control.add_citizen(citizen)
        self.venice.control.fund_processor(Decimal(10**9))

    def _credits(self) -> list[dict[str, Any]]:
        return [row for row in rows(self.database, destination="venice") if row["citizen_id"] in self.citizens]

    def _check_credits(self) -> None:
        for row in self._credits():
            transfers = self.venice.control.transfers(_mark(row["reference"]))
            seen = self.parked.get(row["reference"], set())
            self.happened[row["state"]] += 1
            if row["state"] == "void":
                assert transfers == [], row
            elif not seen & {Problem.CREDITED_TWICE, Problem.UNCLEAR}:
                assert [t.amount for t in transfers] == [Decimal(int(row["handed_units"])) / 10**6], row
            else:  # an operator has seen it
                assert transfers, row

    def _check_totals(self) -> None:
        """What our ledger says of Venice is what Venice says, but for what it executed too often."""
        for citizen in self.citizens:
            surplus = Decimal(0)
            for row in self._credits():
                if row["citizen_id"] == citizen:
                    extra = self.venice.control.transfers(_mark(row["reference"]))[1:]
                    surplus += sum((t.amount for t in extra), Decimal(0))
            with self.database.transaction() as connection:
                handed = balances.ducats_in_venice(connection, citizen)
                ours = balances.citizen_ducats(connection, citizen)
            assert self.venice.control.balance(citizen) - surplus == Decimal(handed.plain)
            assert not ours.units  # all was handed over


def _mark(reference: str) -> str:
    return f"[cascade:{reference}#"


def _credit_of(database: Database, notice: dict[str, Any]) -> str:
    """The reference of the credit that a notification tells of."""
    for row in rows(database, destination="venice"):
        event = (row["order_id"], row["event_type"])
        if event == (notice["order_id"], notice["type"]) and row["state"] == "delivered":
            return str(row["reference"])
    raise AssertionError(f"{notice} tells of no credit that was acknowledged")


@pytest.fixture
def machine(database: Database, database_url: str) -> Iterator[type[Credits]]:
    Credits.database, Credits.database_url = database, database_url
    with VeniceDouble.start() as Credits.venice:
        yield Credits


def test_every_credit_ends_applied_once_or_visibly_parked(machine: type[Credits]) -> None:
    run_state_machine_as_test(
        machine,
        settings=histories(5, steps=25),
    )


def test_a_history_with_everything_ends_so_too(machine: type[Credits]) -> None:
    """What is drawn may be dull. This holds that the check sees all that may happen, however the dice fall."""
    Credits.happened.clear()
    rail = machine()
    for who, storm in enumerate(["execute_twice_rate", "forget_rate", "lost_answer_rate"]):
        sale = rail.sell_in_a_storm({storm: 1.0}, who, 1)
        rail.dispatch_and_be_killed(6, rival=False)
        rail.give_back(sale, 50)
    rail.dispatch(2, hurry=True)
    rail.look_after_what_is_parked()
    rail.teardown()
    happened = (+Credits.happened).keys()
    assert {"delivered", "killed", Problem.CREDITED_TWICE} <= happened, Credits.happened
