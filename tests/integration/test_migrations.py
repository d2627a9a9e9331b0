"""Migrations on a database that exists, by several processes at once, and with a history that does not fit."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient
from psycopg.errors import IntegrityError

from api.main import create_app
from cascade.cli import cli
from cascade.db import database as database_module
from cascade.db import ledger, payments
from cascade.db.database import Database, Deadlines, Migration, check_schema, migrate, migrations
from cascade.domain.ledger import Kind, Posting, Transaction
from cascade.domain.money import DUCAT, USD, Money
from cascade.domain.partial_payments import Grant
from cascade.errors import MigrationError
from tests.support.purchases import write_nowhere

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


@pytest.mark.parametrize("command", ["api", "indexer", "dispatcher", "rate-keeper", "status"])
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
