"""What the database itself refuses, whoever asks: each statement is written by hand, past all of our code."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from cascade.db import balances, ledger
from cascade.db.database import Database
from cascade.domain.money import DUCAT, USDC, Money
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.errors import LedgerConflict
from tests.support.concurrency import run_concurrently
from tests.support.purchases import open_order

Execute = Callable[..., None]

HEADER = (
    "INSERT INTO ledger.transactions (reference, kind, reverses, contents_hash)"
    " VALUES (%s, %s, %s, sha256('x')) RETURNING id"
)
POSTING = (
    "INSERT INTO ledger.postings (transaction_id, leg, asset, debit, credit, units)"
    " SELECT t.id, %s, %s, d.id, c.id, %s FROM ledger.transactions t, ledger.accounts d, ledger.accounts c"
    " WHERE t.reference = %s AND (d.name, d.asset) = (%s, %s) AND (c.name, c.asset) = (%s, %s)"
)


def gift(reference: str, ducats: int, *, back: bool = False) -> Transaction:
    there = ("citizen:Marco", "ducats:sold") if back else ("ducats:sold", "citizen:Marco")
    return Transaction(reference, Kind.SALE, (Posting(*there, Money(DUCAT, ducats)),))


def taken(reference: str, ducats: int, debtor: str = "citizen:Marco", *, original: str = "first") -> Transaction:
    there = Posting(debtor, "ducats:sold", Money(DUCAT, ducats))
    return Transaction(reference, Kind.REVERSAL, (there,), reverses=original)


def given(reference: str, ducats: int, holder: str = "citizen:Marco") -> Transaction:
    there = Posting("ducats:sold", holder, Money(DUCAT, ducats))
    return Transaction(reference, Kind.REINSTATEMENT, (there,), reverses="first")


@pytest.fixture
def books(database: Database) -> Database:
    """Marco holds 100 units, posted as `first`."""
    with database.transaction() as connection:
        ledger.post(connection, gift("first", 100))
    return database


@pytest.fixture
def attempt(books: Database) -> Execute:
    """Runs statements in one transaction."""

    def execute(*statements: str | tuple[str, tuple[object, ...]]) -> None:
        with books.transaction() as connection:
            for statement in statements:
                sql, values = (statement, ()) if isinstance(statement, str) else statement
                connection.execute(sql.encode(), values)

    return execute


def posting(reference: str, units: object, *, debit: str = "ducats:sold", credit: str = "citizen:Marco", leg: int = 0):  # type: ignore[no-untyped-def] # noqa: ANN201
    return POSTING, (leg, "DUCAT", units, reference, debit, "DUCAT", credit, "DUCAT")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.postings SET units = 1",
        "DELETE FROM ledger.postings",
        "TRUNCATE ledger.postings",
        "UPDATE ledger.transactions SET reference = 'other'",
        "DELETE FROM ledger.transactions",
        "TRUNCATE ledger.transactions CASCADE",
        "DELETE FROM ledger.accounts",
        "TRUNCATE ledger.accounts CASCADE",
        "UPDATE payments SET outcome = 'fulfilled'",
        "DELETE FROM payments",
        "UPDATE chain_logs SET units = 0",
        "DELETE FROM chain_logs",
        "UPDATE reversals SET units = 1",
        "DELETE FROM reversals",
    ],
)
def test_the_journal_is_append_only(attempt: Execute, statement: str) -> None:
    with pytest.raises(psycopg.errors.IntegrityError, match="append-only"):
        attempt(statement)


def test_a_balance_cannot_be_set(attempt: Execute, books: Database) -> None:
    with pytest.raises(psycopg.errors.IntegrityError, match="follow from postings"):
        attempt("UPDATE ledger.accounts SET units = 1000000 WHERE name = 'citizen:Marco'")
    with pytest.raises(psycopg.errors.IntegrityError, match="open at zero"):
        attempt("INSERT INTO ledger.accounts (name, asset, units) VALUES ('citizen:Rich', 'DUCAT', 5)")
    with books.transaction() as connection:
        assert balances.balance(connection, "citizen:Marco", "DUCAT").units == 100


@pytest.mark.parametrize("units", [0, -5, 1.5, "0.000001"])
def test_an_amount_is_positive_and_whole(attempt: Execute, units: object) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="units_check"):
        attempt((HEADER, ("x", "sale", None)), posting("x", units))


def test_both_sides_of_a_posting_are_in_one_asset(attempt: Execute) -> None:
    crossed = (POSTING, (0, "DUCAT", 5, "x", "treasury", "USDC", "citizen:Marco", "DUCAT"))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        attempt(
            "INSERT INTO ledger.accounts (name, asset) VALUES ('treasury', 'USDC')",
            (HEADER, ("x", "sale", None)),
            crossed,
        )


def test_a_posting_has_two_accounts(attempt: Execute) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        attempt((HEADER, ("x", "sale", None)), posting("x", 5, debit="citizen:Marco"))


def test_a_transaction_without_postings_cannot_be_committed(attempt: Execute) -> None:
    with pytest.raises(psycopg.errors.IntegrityError, match="has no postings"):
        attempt((HEADER, ("x", "sale", None)))


def test_a_posting_cannot_join_a_transaction_that_is_committed(attempt: Execute) -> None:
    with pytest.raises(psycopg.errors.IntegrityError, match="cannot join"):
        attempt(posting("first", 5, leg=1))


def test_a_reference_is_used_once(attempt: Execute) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        attempt((HEADER, ("first", "sale", None)))


def test_a_citizen_cannot_fall_below_zero(books: Database) -> None:
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="not enough in citizen:Marco"),
        books.transaction() as connection,
    ):
        ledger.post(connection, gift("too much", 101, back=True))
    with books.transaction() as connection:
        ledger.post(connection, gift("all of it", 100, back=True))
        assert balances.balance(connection, "citizen:Marco", "DUCAT").units == 0


def test_a_reversal_takes_no_citizen_below_zero_either(books: Database) -> None:
    with books.transaction() as connection:
        ledger.post(connection, gift("spent", 70, back=True))
    with pytest.raises(psycopg.errors.CheckViolation, match="not enough"), books.transaction() as connection:
        ledger.post(connection, taken("back", 31))


def test_no_more_is_collected_than_is_owed(books: Database) -> None:
    with books.transaction() as connection:
        ledger.post(connection, taken("back", 5, "receivable:x"))
    with (
        pytest.raises(psycopg.errors.CheckViolation, match="not enough in receivable:x"),
        books.transaction() as connection,
    ):
        ledger.post(connection, given("again", 6, "receivable:x"))


def test_no_more_is_taken_back_than_was_given(books: Database) -> None:
    with books.transaction() as connection:
        ledger.post(connection, gift("second", 50))
        ledger.post(connection, taken("back", 60))
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="beyond what first posted"),
        books.transaction() as connection,
    ):
        ledger.post(connection, taken("more", 41))
    with books.transaction() as connection:
        ledger.post(connection, taken("rest", 40))


def test_no_more_is_given_again_than_was_taken_back(books: Database) -> None:
    with books.transaction() as connection:
        ledger.post(connection, taken("back", 60))
        ledger.post(connection, given("again", 30))
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="beyond what first posted"),
        books.transaction() as connection,
    ):
        ledger.post(connection, given("more", 31))


@pytest.mark.parametrize(
    "legs",
    [
        (Posting("ducats:sold", "citizen:Other", Money(DUCAT, 5)),),  # gives to somebody else
        (Posting("citizen:Marco", "ducats:bonus", Money(DUCAT, 5)),),  # an account that it did not touch
        (Posting("treasury", "sales", Money(USDC, 5)),),  # money of another asset
    ],
)
def test_a_reversal_stays_within_its_original(books: Database, legs: tuple[Posting, ...]) -> None:
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="beyond what first posted"),
        books.transaction() as connection,
    ):
        ledger.post(connection, Transaction("back", Kind.REVERSAL, legs, reverses="first"))


@pytest.mark.parametrize(
    "moved",
    [
        Posting("ducats:sold", "ducats:bonus", Money(DUCAT, 5)),  # more was sold than was
        Posting("citizen:Marco", "citizen:Niccolo", Money(DUCAT, 5)),  # more was given than was
    ],
)
def test_a_reversal_shifts_nothing_within_its_original(books: Database, moved: Posting) -> None:
    sale = (
        Posting("ducats:sold", "citizen:Marco", Money(DUCAT, 50)),
        Posting("ducats:bonus", "citizen:Niccolo", Money(DUCAT, 50)),
    )
    with books.transaction() as connection:
        ledger.post(connection, Transaction("both", Kind.SALE, sale))
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="beyond what both posted"),
        books.transaction() as connection,
    ):
        ledger.post(connection, Transaction("back", Kind.REVERSAL, (moved,), reverses="both"))


def test_two_reversals_at_once_take_no_more_than_was_given(books: Database) -> None:
    def attempt_to_take(i: int) -> bool:
        try:
            with books.transaction() as connection:
                ledger.post(connection, taken(f"back {i}", 60, f"receivable:{i}"))
        except psycopg.errors.IntegrityError:
            return False
        return True

    assert sum(run_concurrently(4, attempt_to_take)) == 1


def test_a_reversal_is_not_reversed(books: Database) -> None:
    with books.transaction() as connection:
        ledger.post(connection, taken("back", 5))
    with (
        pytest.raises(psycopg.errors.IntegrityError, match="reverses a reversal"),
        books.transaction() as connection,
    ):
        ledger.post(connection, taken("again", 5, original="back"))


def test_a_reversal_says_what_it_reverses(attempt: Execute) -> None:
    for kind, reverses in (("reversal", None), ("sale", "first")):
        with pytest.raises(psycopg.errors.CheckViolation):
            attempt((HEADER, ("x", kind, reverses)), posting("x", 1))


def test_a_replay_is_a_no_op_but_other_contents_are_refused(books: Database) -> None:
    with books.transaction() as connection:
        assert ledger.post(connection, gift("first", 100)) is False
        assert balances.balance(connection, "citizen:Marco", "DUCAT").units == 100
    with pytest.raises(LedgerConflict, match="other contents"), books.transaction() as connection:
        ledger.post(connection, gift("first", 101))


def test_an_order_is_fulfilled_once_whatever_the_references_say(attempt: Execute, books: Database) -> None:
    order = open_order(books).order.id
    fulfilled = (
        "INSERT INTO payments (reference, rail, order_id, asset, units, payer, transaction, outcome, ducat_units)"
        " VALUES (%s, 'chain', %s, 'USDC', 5, 'p', 't', 'fulfilled', 1)"
    )
    with books.transaction() as connection:
        ledger.post(connection, gift("second", 1))
    with pytest.raises(psycopg.errors.UniqueViolation, match="one_fulfilment_per_order"):
        attempt((fulfilled, ("first", order)), (fulfilled, ("second", order)))


@pytest.mark.parametrize(
    ("outcome", "reason", "collected", "ducats", "bonus"),
    [
        ("fulfilled", None, False, 0, 0),
        ("credited", None, True, 0, 0),
        ("credited", None, False, 1, 0),
        ("credited", None, True, 1, 1),
        ("credited", "short", True, 1, 0),
        ("suspense", "short", True, 1, 0),
        ("suspense", "short", True, 0, 1),
        ("fulfilled", None, True, -1, 0),
    ],
)
def test_a_payment_brings_what_its_outcome_says(
    attempt: Execute, books: Database, outcome: str, reason: str | None, collected: bool, ducats: int, bonus: int
) -> None:
    order = open_order(books).order.id
    insert = (
        "INSERT INTO payments (reference, rail, order_id, asset, units, payer, transaction, outcome, reason, collected,"
        " ducat_units, bonus_units) VALUES ('first', 'chain', %s, 'USDC', 5, 'p', 't', %s, %s, %s, %s, %s)"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        attempt((insert, (order, outcome, reason, collected, ducats, bonus)))


def test_drift_would_be_seen(books: Database) -> None:
    with books.transaction() as connection:
        assert balances.drifts(connection) == []
        connection.execute("ALTER TABLE ledger.accounts DISABLE TRIGGER ALL")  # as only its owner can
        connection.execute("UPDATE ledger.accounts SET units = units + 1 WHERE name = 'citizen:Marco'")
        (drift,) = balances.drifts(connection)
        assert (drift.account, drift.kept.units, drift.posted.units) == ("citizen:Marco", 101, 100)
        connection.execute("ALTER TABLE ledger.accounts ENABLE TRIGGER ALL")
        connection.rollback()
