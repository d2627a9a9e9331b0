"""Migrations on a database that exists, by several processes at once, and with a history that does not fit."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from psycopg.errors import CheckViolation, IntegrityError
from psycopg.types.json import Jsonb

from api.main import create_app
from cascade.adapters.venice import CreditRequest, VeniceConnector
from cascade.cli import cli
from cascade.db import balances, credits, ledger, outbox, payments
from cascade.db import database as database_module
from cascade.db.database import Database, Deadlines, Migration, check_schema, migrate, migrations
from cascade.db.delivery_queue import Filter
from cascade.domain import postings
from cascade.domain.credits import CreditState
from cascade.domain.money import DUCAT, USD, Money
from cascade.domain.orders import Order
from cascade.domain.partial_payments import Grant, whole
from cascade.domain.postings import Kind, Posting, Transaction
from cascade.errors import MigrationError
from cascade.services.booking import book_payment
from cascade.services.order_view import view_of
from sandbox.venice import VeniceDouble
from tests.support.delivery import DispatcherConfig, deliver_all, rows, told
from tests.support.purchases import confirmed, open_order, write_nowhere

NEXT = Migration("9999_next.sql", "ALTER TABLE orders ADD COLUMN note text DEFAULT 'none'")


def test_a_new_migration_keeps_what_is_there(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO ledger.accounts (name, asset) VALUES ('treasury', 'USDC')")
    assert migrate(database) == []
    assert migrate(database, [*migrations(), NEXT]) == ["9999_next.sql"]
    with database.transaction() as connection:
        assert connection.execute("SELECT name FROM ledger.accounts").fetchall() == [{"name": "treasury"}]
        connection.execute("SELECT note FROM orders")


def test_many_processes_may_migrate_at_once(database_url: str) -> None:
    databases = [Database(database_url, connections=1) for _ in range(6)]
    for database in databases:
        database.open()
    with ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(migrate, databases))
    for database in databases:
        database.close()
    assert sorted(filter(None, applied)) == [[migration.name for migration in migrations()]]


def test_a_failing_migration_leaves_nothing_behind(database: Database) -> None:
    broken = Migration("9999_next.sql", "CREATE TABLE half (id int); SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        migrate(database, [*migrations(), broken])
    with database.transaction() as connection:
        assert connection.execute("SELECT to_regclass('half') AS half").fetchone() == {"half": None}
    assert migrate(database, [*migrations(), NEXT]) == ["9999_next.sql"]


def test_a_migration_may_take_longer_than_a_statement_may(database_url: str) -> None:
    impatient = Database(database_url, deadlines=Deadlines(5, statement_seconds=0.3, lock_seconds=0.3))
    impatient.open()
    slow = Migration("0001_slow.sql", "SELECT pg_sleep(1.6)")
    assert migrate(impatient, [slow]) == ["0001_slow.sql"]
    impatient.close()


def test_a_migration_that_waits_for_a_lock_lets_others_pass_and_tries_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants the table queues behind a migration that waits for it: so it waits for a moment at a time."""
    monkeypatch.setattr(database_module, "_MIGRATION_LOCK_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as long:
            long.execute("SELECT FROM orders")
            applied = pool.submit(migrate, database, [*migrations(), NEXT])
            for _ in range(3):
                with database.transaction() as connection:
                    connection.execute("SET LOCAL lock_timeout = '1500ms'")
                    connection.execute("SELECT FROM orders")
                long.execute("SELECT pg_sleep(0.3)")
            assert not applied.done()
        assert applied.result(20) == ["9999_next.sql"]


def test_a_service_starts_only_on_the_schema_that_it_knows(database: Database, environment: Path) -> None:
    check_schema(database)
    with TestClient(create_app()):
        pass
    migrate(database, [*migrations(), NEXT])
    with pytest.raises(MigrationError, match="upgrade Cascade"), TestClient(create_app()):
        pass
    older = [*migrations(), NEXT, Migration("9999_other.sql", "SELECT 1")]
    with pytest.raises(MigrationError, match=r"lacks migration 9999_other\.sql, .* run `cascade migrate`"):
        check_schema(database, older)


@pytest.mark.parametrize("command", ["api", "indexer", "credit-sender", "dispatcher", "rate-keeper", "status"])
def test_no_command_runs_on_an_empty_database(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("CASCADE_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CASCADE_DEPLOYMENT", str(write_nowhere(tmp_path)))
    outcome = CliRunner().invoke(cli, [command])
    assert isinstance(outcome.exception, MigrationError)
    assert "run `cascade migrate`" in str(outcome.exception)


def test_an_edited_migration_is_refused(database: Database) -> None:
    first, *rest = migrations()
    with pytest.raises(MigrationError, match="must never be edited"):
        migrate(database, [Migration(first.name, first.sql + " "), *rest])


def test_a_newer_database_is_refused(database: Database) -> None:
    migrate(database, [*migrations(), NEXT])
    with pytest.raises(MigrationError, match="upgrade Cascade"):
        migrate(database)


def test_a_migration_numbered_too_low_is_refused(database: Database) -> None:
    late = Migration("0001_a_late.sql", "SELECT 1")
    with pytest.raises(MigrationError, match="number it higher"):
        migrate(database, sorted([*migrations(), late], key=lambda m: m.name))


def test_payments_that_are_booked_learn_the_id_under_which_they_were_made(database_url: str) -> None:
    database = Database(database_url, connections=1)
    database.open()
    earlier = [migration for migration in migrations() if migration.name < "0009"]
    migrate(database, earlier)
    with database.transaction() as connection:
        for reference in ("chain:137:12:3", "chain:137:1:23", "stripe:pi_1"):
            posting = Posting("treasury", "suspense", Money(USD, 1))
            ledger.post(connection, Transaction(reference, Kind.SUSPENSE, (posting,)))
            connection.execute(
                "INSERT INTO payments (reference, rail, asset, units, payer, transaction, outcome, reason)"
                " VALUES (%s, %s, 'USD', 1, '', '', 'suspense', 'short')",
                (reference, "card" if reference.startswith("stripe") else "chain"),
            )
        connection.execute(
            "INSERT INTO chain_logs VALUES"
            " (137, 12, 3, sha256('b'), sha256('t'), 'r', sha256('first'), '', '', 1, 0, 1),"
            " (137, 1, 23, sha256('b'), sha256('t'), 'r', sha256('second'), '', '', 1, 0, 2)"
        )
    migrate(database)
    with database.transaction() as connection:
        rows = connection.execute("SELECT reference, order_key, collected FROM payments ORDER BY reference").fetchall()
        found = {row["reference"]: row["order_key"] and bytes(row["order_key"]) for row in rows}
    assert found == {
        "chain:137:12:3": sha256(b"first").digest(),
        "chain:137:1:23": sha256(b"second").digest(),
        "stripe:pi_1": None,
    }
    assert not any(row["collected"] for row in rows)
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as connection:
        connection.execute("UPDATE payments SET units = 2")
    database.close()


def test_payments_that_are_booked_learn_what_they_brought(database_url: str) -> None:
    database = Database(database_url, connections=1)
    database.open()
    migrate(database, [migration for migration in migrations() if migration.name < "0012"])
    order_id = "ord_" + "a" * 26
    with database.transaction() as connection:
        connection.execute(
            "INSERT INTO orders (id, link_token, citizen_id, package, price_cents, ducat_units, bonus_units,"
            " rate_nano_usd, created_at, expires_at)"
            " VALUES (%s, %s, 'Marco_Polo', 'merchant', 25000, 2500000000, 250000000, 100000000, now(), 'infinity')",
            (order_id, "a" * 22),
        )
        for reference, outcome in (("chain:137:1:1", "fulfilled"), ("chain:137:1:2", "suspense")):
            posting = Posting("treasury", "sales", Money(USD, 1))
            ledger.post(connection, Transaction(reference, Kind.SALE, (posting,)))
            connection.execute(
                "INSERT INTO payments (reference, rail, order_id, asset, units, payer, transaction, outcome, reason)"
                " VALUES (%s, 'chain', %s, 'USDC', 2500000, '', '', %s, %s)",
                (reference, order_id, outcome, "duplicate" if outcome == "suspense" else None),
            )
    migrate(database)
    with database.transaction() as connection:
        sold, waiting = payments.of_order(connection, order_id)
    given = Grant(Money(DUCAT, 2_500_000_000), Money(DUCAT, 250_000_000), fulfils=True)
    assert (sold.grant, waiting.grant) == (given, None)
    with pytest.raises(IntegrityError, match="append-only"), database.transaction() as connection:
        connection.execute("UPDATE payments SET ducat_units = 2")
    database.close()


DUCATS = Money(DUCAT, 525_000_000)


@dataclass
class OldCredit:
    """A credit of before it had a table of its own, and how its order is shown."""

    database: Database
    order: Order
    reference: str

    @classmethod
    def enqueue(
        cls, database: Database, citizen: str, *, sent: bool = False, state: str = "pending", problem: str | None = None
    ) -> Self:
        """A row of the outbox, tried an hour ago unless it is new; ``sent``: Venice was asked, and gave no answer."""
        view = open_order(database, citizen=citizen, package="explorer")
        payment, grant = confirmed(view.terms[0]), whole(view.order.quote)
        paid = {"reference": payment.reference, "rail": "chain", "token": "USDC", "amount": "50", "transaction": "0x"}
        event = {"type": "order.fulfilled", "key": payment.reference, "data": {"payment": paid}}
        with database.transaction() as connection:
            ledger.post(connection, postings.sale(payment, citizen, grant))
            payments.insert(connection, payment, view.order.id, grant)
            row = connection.execute(
                "INSERT INTO outbox (destination, citizen_id, order_id, reference, payload, state, problem, settled_at,"
                " attempts, tried_since, handed_units, sent_at, sent_number)"
                " VALUES ('venice', %(citizen)s, %(order)s, %(reference)s, %(payload)s, %(state)s, %(problem)s,"
                " CASE WHEN %(state)s <> 'pending' THEN now() END, %(tries)s, now() - interval '1 hour', %(handed)s,"
                " CASE WHEN %(sent)s THEN now() - interval '1 hour' END, CASE WHEN %(sent)s THEN 1 END) RETURNING id",
                {
                    "citizen": citizen,
                    "order": view.order.id,
                    "reference": payment.reference,
                    "state": state,
                    "problem": problem,
                    "sent": sent,
                    "handed": DUCATS.units if sent else None,
                    "tries": 1 if sent or problem else 0,
                    "payload": Jsonb({"units": DUCATS.units, "payment": paid, "told": event}),
                },
            ).fetchone()
            assert row is not None
            if sent:
                handed = Posting(f"citizen:{citizen}", f"venice:{citizen}", DUCATS)
                ledger.post(connection, Transaction(f"handover:{row['id']}:1", Kind.HANDOVER, (handed,)))
                connection.execute("INSERT INTO outbox_attempts VALUES (%s, 1, now(), 30, 'no answer')", (row["id"],))
        return cls(database, view.order, payment.reference)

    async def arrive(self, venice: VeniceDouble) -> None:
        """Venice does what the first try has asked for."""
        connector = VeniceConnector(venice.url)
        await connector.send(CreditRequest(self.order.citizen_id, DUCATS, self.reference, 1, self.order.id))
        await connector.close()

    @property
    def shown(self) -> CreditState | None:
        with self.database.transaction() as connection:
            return view_of(connection, self.order, ledger_mode=False).credit


@pytest.fixture
def before_credits(database_url: str) -> Iterator[Database]:
    """A database in the shape of before credits had a table of their own."""
    database = Database(database_url)
    database.open()
    migrate(database, [migration for migration in migrations() if migration.name < "0022"])
    yield database
    database.close()


def test_credits_of_the_outbox_are_sent_from_their_own_table(before_credits: Database) -> None:
    fresh = OldCredit.enqueue(before_credits, "fresh")
    arrived = OldCredit.enqueue(before_credits, "arrived", sent=True)
    lost = OldCredit.enqueue(before_credits, "lost", sent=True)
    migrate(before_credits)
    assert {one.shown for one in (fresh, arrived, lost)} == {CreditState.ON_ITS_WAY}
    with VeniceDouble.start() as venice:
        for citizen in ("fresh", "arrived", "lost"):
            venice.control.add_citizen(citizen)
        asyncio.run(arrived.arrive(venice))
        deliver_all(before_credits, DispatcherConfig(venice_url=venice.url, settle_seconds=60))
        moved = sorted((one.target, int(one.amount)) for one in venice.control.transfers())
    assert moved == [("arrived", 525), ("fresh", 525), ("lost", 525)]
    assert {one.shown for one in (fresh, arrived, lost)} == {CreditState.CREDITED}
    (notice,) = told(before_credits, "lost")
    assert (notice["type"], notice["data"]["payment"]["amount"]) == ("order.fulfilled", "50")
    with before_credits.transaction() as connection:
        assert balances.ducats_in_venice(connection, "lost") == DUCATS
        assert balances.drifts(connection) == []


def test_credits_of_the_outbox_that_have_ended_keep_their_state_and_their_tries(before_credits: Database) -> None:
    delivered = OldCredit.enqueue(before_credits, "delivered", sent=True, state="delivered")
    void = OldCredit.enqueue(before_credits, "void", state="void")
    parked = OldCredit.enqueue(before_credits, "parked", sent=True, state="parked", problem="unclear")
    migrate(before_credits)
    assert [one.shown for one in (delivered, void, parked)] == [
        *(CreditState.CREDITED, CreditState.CREDITED, CreditState.IN_REVIEW)
    ]
    with before_credits.transaction() as connection:
        (entry,) = credits.QUEUE.parked(connection, Filter(), limit=10)
        assert [one["error"] for one in credits.QUEUE.attempts(connection, entry.id)] == ["no answer"]
        assert credits.replay(connection, Filter(id=entry.id)) == 1
    with VeniceDouble.start() as venice:
        venice.control.add_citizen("parked")
        deliver_all(before_credits, DispatcherConfig(venice_url=venice.url, settle_seconds=60))
        assert [one.target for one in venice.control.transfers()] == ["parked"]
    assert parked.shown is CreditState.CREDITED


def test_credits_keep_their_numbers_and_no_later_one_gets_them(before_credits: Database) -> None:
    """The ledger's references of what was handed over are made of them."""
    OldCredit.enqueue(before_credits, "old", sent=True)
    with before_credits.transaction() as connection:
        order_id = OldCredit.enqueue(before_credits, "new").order.id
        outbox.enqueue(connection, "message", "old", order_id, "evt_1", {})
        before = connection.execute("SELECT id, reference FROM outbox ORDER BY id").fetchall()
    migrate(before_credits)
    after = [{"id": row["id"], "reference": row["reference"]} for row in rows(before_credits)]
    assert after == before
    view = open_order(before_credits, citizen="old", package="explorer")
    with before_credits.transaction() as connection:
        book_payment(connection, confirmed(view.terms[0]))
    newest = rows(before_credits, "pending", "venice")[-1]
    assert newest["id"] > before[-1]["id"]
    with VeniceDouble.start() as venice:
        for citizen in ("old", "new"):
            venice.control.add_citizen(citizen)
        deliver_all(before_credits, DispatcherConfig(venice_url=venice.url, settle_seconds=0), destination="venice")
    with before_credits.transaction() as connection:
        assert balances.ducats_in_venice(connection, "old").plain == "1050"


def test_an_earlier_release_that_still_runs_books_no_credit_into_the_outbox(before_credits: Database) -> None:
    migrate(before_credits)
    view = open_order(before_credits)
    with pytest.raises(CheckViolation, match="outbox_carries_no_credits"), before_credits.transaction() as connection:
        outbox.enqueue(connection, "venice", view.order.citizen_id, view.order.id, "chain:137:1:1", {})
