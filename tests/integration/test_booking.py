"""What becomes of a confirmed payment, with the real database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cascade.db import balances, credits, ledger, payments, reversals
from cascade.db.database import Conn, Database
from cascade.domain.credits import Credit
from cascade.domain.delivery_states import Problem
from cascade.domain.money import DUCAT, USDC, Money
from cascade.domain.payments import ConfirmedPayment, Outcome, SuspenseReason
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.domain.reversals import Reversal
from cascade.errors import LedgerConflict, NotDelivered, NotFound
from cascade.services.booking import book_payment, book_reversal
from cascade.services.credits import debit_credit, fail_credit
from tests.support.concurrency import run_concurrently
from tests.support.purchases import balance_of, came_again, confirmed, open_order, refund


def book(database: Database, payment: ConfirmedPayment) -> Outcome:
    with database.transaction() as connection:
        return book_payment(connection, payment)


def suspended(database: Database) -> list[SuspenseReason | None]:
    with database.transaction() as connection:
        return [payment.reason for payment in payments.in_suspense(connection)]


def test_a_payment_gives_ducats_and_bonus(database: Database) -> None:
    terms = open_order(database).terms[0]
    assert book(database, confirmed(terms)) is Outcome.FULFILLED
    assert balance_of(database, "citizen:Marco_Polo") == 2_750_000_000
    assert balance_of(database, "treasury", "USDC") == -125_000_000  # a debit
    assert balance_of(database, "partner", "USDC") == -125_000_000
    assert balance_of(database, "sales", "USDC") == 250_000_000


def test_the_same_payment_again_changes_nothing(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    assert [book(database, payment) for _ in range(3)] == [Outcome.FULFILLED] * 3
    assert balance_of(database, "citizen:Marco_Polo") == 2_750_000_000
    assert suspended(database) == []


def test_many_processes_with_the_same_payment_book_it_once(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    outcomes = run_concurrently(8, lambda _: book(database, payment))
    assert set(outcomes) == {Outcome.FULFILLED}
    assert balance_of(database, "citizen:Marco_Polo") == 2_750_000_000


def test_many_payments_of_one_order_fulfil_it_once(database: Database) -> None:
    terms = open_order(database).terms[0]
    outcomes = run_concurrently(8, lambda _: book(database, confirmed(terms)))
    assert sorted(outcomes) == [Outcome.FULFILLED] + [Outcome.SUSPENSE] * 7
    assert balance_of(database, "citizen:Marco_Polo") == 2_750_000_000
    assert suspended(database) == [SuspenseReason.DUPLICATE] * 7
    assert balance_of(database, "suspense", "USDC") == 7 * 250_000_000


def test_a_reference_with_other_contents_is_refused(database: Database) -> None:
    terms = open_order(database).terms[0]
    book(database, confirmed(terms, reference="chain:137:5:5"))
    with pytest.raises(LedgerConflict, match="compare the evidence"):
        book(database, confirmed(terms, reference="chain:137:5:5", amount=Money(USDC, 1)))


@pytest.mark.parametrize(("units", "reason"), [(249_999_999, SuspenseReason.SHORT), (250_000_001, SuspenseReason.OVER)])
def test_another_amount_goes_to_suspense(database: Database, units: int, reason: SuspenseReason) -> None:
    terms = open_order(database).terms[0]
    assert book(database, confirmed(terms, amount=Money(USDC, units))) is Outcome.SUSPENSE
    assert suspended(database) == [reason]
    assert balance_of(database, "citizen:Marco_Polo") == 0
    # the order is still open for the right amount
    assert book(database, confirmed(terms)) is Outcome.FULFILLED


def test_a_strangers_payment_is_booked_once_also_when_it_comes_many_times(database: Database) -> None:
    terms = open_order(database).terms[0]
    stranger = ConfirmedPayment(
        "chain:137:1:9",
        confirmed(terms).rail,
        b"\xff" * 32,
        Money(USDC, 50_001),
        {"treasury": 25_001, "partner": 25_000},
        "0x",
        "0x",
    )
    assert set(run_concurrently(8, lambda _: book(database, stranger))) == {Outcome.SUSPENSE}
    assert suspended(database) == [SuspenseReason.UNKNOWN_ORDER]
    assert balance_of(database, "suspense", "USDC") == 50_001


def take_back(database: Database, reversal: Reversal) -> bool:
    with database.transaction() as connection:
        return book_reversal(connection, reversal)


def spend(database: Database, units: int) -> None:
    """The citizen spends ducats in Venice."""
    spent = Posting("citizen:Marco_Polo", "ducats:sold", Money(DUCAT, units))
    with database.transaction() as connection:
        ledger.post(connection, Transaction(f"spent {units}", Kind.SALE, (spent,)))


def somebody_waits(database: Database) -> bool:
    """Whether a transaction waits for another one."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.transaction() as connection:
        return connection.execute(query).fetchone() is not None


def refused(connection: Conn, credit: Credit) -> bool:
    """Venice surely did not move the ducats of a credit."""
    error = NotDelivered("the purse is empty", Problem.INSUFFICIENT_FUNDS)
    return fail_credit(connection, credit, error, pause_seconds=60)


def test_a_payment_is_taken_back_once(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    book(database, payment)
    back = refund(payment)
    assert [take_back(database, back) for _ in range(2)] == [True, False]
    with database.transaction() as connection:
        booked = payments.by_reference(connection, payment.reference)
        assert booked is not None
        assert booked.outcome is Outcome.REVERSED
        assert set(balances.totals(connection).values()) == {0}
    assert balance_of(database, "citizen:Marco_Polo") == 0
    assert book(database, payment) is Outcome.REVERSED  # the same evidence again brings nothing back
    assert balance_of(database, "citizen:Marco_Polo") == 0


def test_many_processes_with_the_same_refund_book_it_once(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    book(database, payment)
    part = refund(payment, 100_000_000)
    assert sum(run_concurrently(8, lambda _: take_back(database, part))) == 1
    assert balance_of(database, "citizen:Marco_Polo") == 1_650_000_000


def test_parts_that_go_back_at_the_same_time_add_up(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    book(database, payment)
    run_concurrently(10, lambda _: take_back(database, refund(payment, 25_000_000)))
    assert balance_of(database, "citizen:Marco_Polo") == 0


def test_more_that_goes_back_at_the_same_time_than_came_takes_no_more_ducats(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    book(database, payment)
    run_concurrently(4, lambda _: take_back(database, refund(payment)))  # a refund, and disputes over the same money
    assert balance_of(database, "citizen:Marco_Polo") == 0
    with database.transaction() as connection:
        assert reversals.receivables(connection) == []


def test_ducats_that_were_spent_are_owed_and_a_debt_is_settled_first(database: Database) -> None:
    view = open_order(database)
    payment = confirmed(view.terms[0])
    book(database, payment)
    spend(database, 2_000_000_000)
    back = refund(payment)
    take_back(database, back)
    with database.transaction() as connection:
        (debt,) = reversals.receivables(connection)
    assert (debt.citizen_id, debt.order_id, debt.owed.units) == ("Marco_Polo", view.order.id, 2_000_000_000)
    assert balance_of(database, "citizen:Marco_Polo") == 0
    take_back(database, came_again(back))
    with database.transaction() as connection:
        assert reversals.receivables(connection) == []
        (out, again) = reversals.of_payments(connection, [payment.reference])
    assert (out.taken.units, out.owed.units) == (750_000_000, 2_000_000_000)
    assert (again.taken.units, again.owed.units) == (-750_000_000, -2_000_000_000)
    assert balance_of(database, "citizen:Marco_Polo") == 750_000_000


def test_two_orders_of_a_citizen_that_go_back_at_once_take_no_more_than_is_there(database: Database) -> None:
    bought = [confirmed(open_order(database, package="starter").terms[0]) for _ in range(6)]
    for payment in bought:
        book(database, payment)
    spend(database, 250_000_000)
    assert all(run_concurrently(6, lambda i: take_back(database, refund(bought[i]))))
    assert balance_of(database, "citizen:Marco_Polo") == 0
    with database.transaction() as connection:
        assert sum(debt.owed.units for debt in reversals.receivables(connection)) == 250_000_000


def test_sales_and_reversals_of_one_citizen_do_not_lock_each_other_out(database: Database) -> None:
    # Somebody else came first, so that the citizen's account is younger than those that all share.
    book(database, confirmed(open_order(database, citizen="Niccolo").terms[0]))
    old = [confirmed(open_order(database, package="starter").terms[0]) for _ in range(40)]
    new = [confirmed(open_order(database, package="starter").terms[0]) for _ in range(40)]
    for payment in old:
        book(database, payment)

    def work(first: int) -> None:
        for i in range(first, 80, 8):
            take_back(database, refund(old[i // 2])) if i % 2 else book(database, new[i // 2])

    run_concurrently(8, work)
    assert balance_of(database, "citizen:Marco_Polo") == 40 * 100_000_000


def test_who_books_much_at_once_waits_for_others_who_do(database: Database) -> None:
    """An indexer's block, a card worker's look: payments of many orders, and what went back, in whatever order."""
    packages = ["explorer", "starter"] * 3  # with a bonus and without: other accounts
    terms = [open_order(database, citizen=f"citizen{i}", package=p).terms[0] for i, p in enumerate(packages)]

    def work(first: int) -> None:
        for turn in range(4):
            with database.transaction() as connection:
                for i in range(len(terms)):
                    payment = confirmed(terms[(first + turn + i) % len(terms)])
                    book_payment(connection, payment)
                    assert book_reversal(connection, refund(payment))

    run_concurrently(8, work)
    with database.transaction() as connection:
        assert set(balances.totals(connection).values()) == {0}
        assert balances.drifts(connection) == []
        (booked,) = connection.execute("SELECT count(*) AS payments FROM reversals").fetchall()
    assert booked["payments"] == 8 * 4 * len(terms)
    assert balance_of(database, "sales", "USDC") == 0


@pytest.mark.parametrize("step", [debit_credit, refused])
def test_who_sends_a_credit_waits_for_who_books_much(
    database: Database, step: Callable[[Conn, Credit], object]
) -> None:
    """Two orders of one citizen: the credit of the first moves while a batch takes back of the second, then of it."""
    first, second = (confirmed(open_order(database).terms[0]) for _ in range(2))
    for payment in (first, second):
        book(database, payment)
    with database.transaction() as connection:
        (credit,) = credits.QUEUE.claim(connection, "venice", limit=5, seconds=60)
    if step is refused:
        with database.transaction() as connection:
            assert debit_credit(connection, credit)

    def send() -> object:
        with database.transaction() as connection:
            return step(connection, credit)

    with ThreadPoolExecutor(1) as pool, database.transaction() as batch:
        assert book_reversal(batch, refund(second, 5))
        sending = pool.submit(send)
        while not somebody_waits(database):
            assert not sending.done()
        assert book_reversal(batch, refund(first, 5))
        batch.commit()
        assert sending.result(20)
    with database.transaction() as connection:
        assert balances.drifts(connection) == []


def test_what_waits_in_suspense_waits_no_more_when_it_went_back(database: Database) -> None:
    terms = open_order(database).terms[0]
    short = confirmed(terms, amount=Money(USDC, 70_000))
    book(database, short)
    take_back(database, refund(short, 30_000))
    assert suspended(database) == [SuspenseReason.SHORT]
    take_back(database, refund(short, 40_000))
    assert suspended(database) == []
    assert balance_of(database, "suspense", "USDC") == 0


def test_only_a_booked_payment_is_taken_back(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    with pytest.raises(NotFound, match="no payment"):
        take_back(database, refund(payment))


def test_a_movement_with_other_contents_is_refused(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    book(database, payment)
    take_back(database, refund(payment, 5, reference="re"))
    with pytest.raises(LedgerConflict, match="compare the evidence"):
        take_back(database, refund(payment, 6, reference="re"))


def test_a_crash_before_the_commit_leaves_nothing(database: Database) -> None:
    payment = confirmed(open_order(database).terms[0])
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        book_payment(connection, payment)
        raise ZeroDivisionError
    assert balance_of(database, "citizen:Marco_Polo") == 0
    assert book(database, payment) is Outcome.FULFILLED
