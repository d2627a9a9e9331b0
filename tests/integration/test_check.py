"""`cascade check`: all is well in a whole system, and each line fails for its own reason."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import psycopg
import pytest
from click.testing import CliRunner

from cascade import readiness, settings
from cascade.bootstrap import assemble
from cascade.cli import cli
from cascade.db.database import Database
from cascade.readiness import Finding, Level, database, machine, services
from cascade.readiness import chain as chain_checks
from cascade.readiness import findings as findings_module
from sandbox.polygon import LocalPolygon
from sandbox.polygon.anvil import Anvil
from sandbox.polygon.faulty_node import FaultyNode
from sandbox.ports import free_port
from sandbox.stripe import StripeDouble
from sandbox.venice import VeniceDouble
from tests.integration.test_email import PASSWORD, serving

WEBHOOK = "https://pay.example.org/api/payments/webhook"
SECRETS = ("hunter2", "sk_test_", "whsec_")
Look = Callable[..., dict[str, Finding]]


@pytest.fixture
def look(environment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    """Runs one check with further variables; returns what it found by name."""
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "home"))

    def run(check: readiness.Check, **variables: str) -> dict[str, Finding]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            found = readiness.run_checks(assemble(settings.load()), [check])
        assert all(finding.remedy for finding in found if finding.level is not Level.OK)
        return {finding.check: finding for finding in found}

    return run


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeDouble]:
    with StripeDouble.start(webhook_url=WEBHOOK) as double:
        monkeypatch.setenv("STRIPE_SECRET_KEY", double.secret_key)
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", double.webhook_secret)
        monkeypatch.setenv("CASCADE_STRIPE_API_BASE", double.url)
        yield double


def test_all_is_well_in_a_whole_system(
    look: Look, polygon: LocalPolygon, deployment: Path, stripe: StripeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(log_in=True) as mail, VeniceDouble.start() as venice:
        for name, value in {
            "CASCADE_RPC_URL": polygon.rpc_url,
            "CASCADE_DEPLOYMENT": str(deployment),
            "CASCADE_RELAYER_KEY": polygon.keys[5],
            "CASCADE_SMTP_URL": f"smtp://hunter2:{quote(PASSWORD)}@127.0.0.1:{mail.port}",
            "CASCADE_MAIL_FROM": "payments@pay.example.org",
            "CASCADE_VENICE_URL": venice.url,
        }.items():
            monkeypatch.setenv(name, value)
        polygon.mine(3)  # it mines what is sent, and after a while of nothing it looks as if it stood still
        told = CliRunner().invoke(cli, ["check", "--json"])
    found = {one["check"]: one for one in json.loads(told.stdout)}
    assert told.exit_code == 0, told.stdout
    not_well = {name: one["text"] for name, one in found.items() if one["level"] != "ok"}
    assert set(not_well) == {"Stripe", "public URL"}, not_well  # test mode, and a host that is nowhere
    assert "in test mode" in not_well["Stripe"]
    assert {"versions", "database", "database writable", "schema", "chain", "node", "router", "finality"} <= set(found)
    assert {"log ranges", "history", "relayer", "Stripe's webhook", "Venice", "mail", "disk"} <= set(found)
    assert {"clock (the database)", "clock (the chain)", "clock (Stripe)"} <= set(found)
    assert not mail.taken  # it logged in, and sent nothing
    assert mail.logins
    assert not any(secret in told.output for secret in (*SECRETS, PASSWORD, polygon.keys[5]))


def test_a_fault_ends_with_exit_code_1_and_has_its_remedy(look: Look) -> None:
    told = CliRunner().invoke(cli, ["check"])
    assert told.exit_code == 1
    lines = told.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fault   node "))
    assert lines[at + 1].split("-> ")[1].startswith("correct CASCADE_RPC_URL")


database_checks = database.database


def test_the_database(look: Look, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    down = look(database.database, DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{free_port()}/x")["database"]
    assert (down.level, "nothing listens at PostgreSQL" in down.text) == (Level.FAULT, True)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM migrations WHERE name > '0010'")
        missing = look(database.database)["schema"]
        assert (missing.level, "migrations are missing, the first is 0010" in missing.text) == (Level.FAULT, True)
        assert missing.remedy is not None
        assert "cascade migrate" in missing.remedy
        connection.execute("INSERT INTO migrations (name, digest) VALUES ('9999_future.sql', '')")
        newer = look(database.database)["schema"]
        assert (newer.level, "9999_future.sql" in newer.text) == (Level.FAULT, True)
        connection.execute("DROP TABLE migrations")
        assert "0001_ledger.sql" in look(database.database)["schema"].text
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        read_only = look(database.database)["database"]
        assert (read_only.level, "read-only: PostgreSQL at " in read_only.text) == (Level.FAULT, True)
        connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'.encode())
    monkeypatch.setattr(database, "version_of", lambda _: 140_012)
    old = look(database.database)["database"]
    assert (old.level, old.text) == (Level.FAULT, "PostgreSQL 14.12 is too old")


def test_what_is_written_to_try_is_taken_back(look: Look, database: Database) -> None:
    assert look(database_checks)["database writable"].level is Level.OK
    with database.transaction() as connection:
        assert connection.execute("SELECT to_regclass('cascade_check') AS it").fetchone() == {"it": None}


def test_the_chain(look: Look, polygon: LocalPolygon, deployment: Path, tmp_path: Path) -> None:
    silent = look(chain_checks.node)["node"]
    assert (silent.level, "no usable answer" in silent.text) == (Level.FAULT, True)
    other = Anvil("--chain-id", "1")
    try:
        wrong = look(chain_checks.node, CASCADE_RPC_URL=f"http://127.0.0.1:{other.port}")["chain"]
    finally:
        other.stop()
    assert (wrong.level, "is of chain 1, CASCADE_DEPLOYMENT of 137" in wrong.text) == (Level.FAULT, True)
    stranger = look(chain_checks.node, CASCADE_RPC_URL=polygon.rpc_url)["router"]
    assert (stranger.level, "another deployment" in stranger.text) == (Level.FAULT, True)


def test_what_a_provider_allows(look: Look, polygon: LocalPolygon, deployment: Path) -> None:
    polygon.rpc("anvil_mine", "0x800")
    with FaultyNode(polygon.rpc_url) as node:
        here = {"CASCADE_RPC_URL": node.url, "CASCADE_DEPLOYMENT": str(deployment)}
        node.faults.max_log_range = 1_000
        assert look(chain_checks.node, **here)["log ranges"] == Finding(
            "log ranges",
            Level.OK,
            "1,000 blocks in one answer, not the 2,000 of CASCADE_LOG_RANGE_BLOCKS: it is asked for fewer by itself",
        )
        node.faults.max_log_range = 10
        assert look(chain_checks.node, **here)["log ranges"].level is Level.WARNING


def test_the_hot_key(look: Look, polygon: LocalPolygon, tmp_path: Path) -> None:
    poor = look(chain_checks.relayer, CASCADE_RPC_URL=polygon.rpc_url, CASCADE_RELAYER_KEY="0x" + "77" * 32)["relayer"]
    assert (poor.level, "holds 0.0000 POL" in poor.text) == (Level.FAULT, True)
    polygon.rpc("anvil_setBalance", poor.text.split()[0], hex(10**18))
    low = look(chain_checks.relayer, CASCADE_RPC_URL=polygon.rpc_url, CASCADE_RELAYER_KEY="0x" + "77" * 32)["relayer"]
    assert (low.level, "holds 1.0000 POL" in low.text) == (Level.WARNING, True)
    keystore = {"CASCADE_RELAYER_KEYSTORE": str(tmp_path / "none.json"), "CASCADE_RELAYER_PASSWORD": "hunter2"}
    missing = look(chain_checks.relayer, **keystore)["relayer"]
    assert (missing.level, "No such file" in missing.text) == (Level.FAULT, True)


def test_stripe(look: Look, stripe: StripeDouble) -> None:
    assert look(services.stripe)["Stripe's webhook"].level is Level.OK
    wrong = look(services.stripe, STRIPE_SECRET_KEY="sk_test_wrongwrongwrong")
    assert list(wrong) == ["Stripe"]
    assert (wrong["Stripe"].level, wrong["Stripe"].text) == (Level.FAULT, "it does not know the key")
    elsewhere = look(services.stripe, CASCADE_PUBLIC_URL="https://shop.example.org")["Stripe's webhook"]
    assert elsewhere.level is Level.WARNING
    assert elsewhere.text == "no endpoint is registered for https://shop.example.org/api/payments/webhook"
    down = look(services.stripe, CASCADE_STRIPE_API_BASE=f"http://127.0.0.1:{free_port()}")["Stripe"]
    assert (down.level, "gives no answer" in down.text) == (Level.FAULT, True)
    stripe.chaos.only_posts, stripe.chaos.fail_before_effect, stripe.chaos.fail_status = False, 1.0, 503
    assert (look(services.stripe)["Stripe"].level) is Level.FAULT


def test_mail_and_venice(look: Look) -> None:
    sender = {"CASCADE_MAIL_FROM": "payments@pay.example.org"}
    down = look(services.mail, CASCADE_SMTP_URL=f"smtp://u:hunter2@127.0.0.1:{free_port()}", **sender)["mail"]
    assert (down.level, "could not connect" in down.text) == (Level.FAULT, True)
    with serving(log_in=True) as server:
        wrong = look(services.mail, CASCADE_SMTP_URL=f"smtp://u:hunter2@127.0.0.1:{server.port}", **sender)["mail"]
    assert (wrong.level, "does not take the user name and password" in wrong.text) == (Level.FAULT, True)
    silent = look(services.venice, CASCADE_VENICE_URL=f"http://127.0.0.1:{free_port()}")["Venice"]
    assert silent.level is Level.FAULT
    with VeniceDouble.start() as venice:
        venice.control.remove_citizen("CASCADE_PAYMENT_PROCESSOR")
        unknown = look(services.venice, CASCADE_VENICE_URL=venice.url)["Venice"]
    assert (unknown.level, "knows no citizen CASCADE_PAYMENT_PROCESSOR" in unknown.text) == (Level.FAULT, True)


def test_this_machine(look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    assert look(machine.disk, CASCADE_HOME=str(tmp_path / "file" / "x"))["disk"].level is Level.FAULT
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=50 * 1024 * 1024))
    assert look(machine.disk)["disk"].level is Level.FAULT
    plain = look(machine.public_url, CASCADE_PUBLIC_URL="http://pay.example.org")["public URL"]
    assert (plain.level, "not encrypted" in plain.text) == (Level.FAULT, True)
    monkeypatch.delenv("CASCADE_PUBLIC_URL")
    assert "unset" in look(machine.public_url)["public URL"].text


@pytest.mark.parametrize(
    ("behind", "level", "words"),
    [
        (3, Level.OK, "within 3 s"),
        (20, Level.WARNING, "20 s behind that of Stripe"),
        (90, Level.FAULT, "90 s behind"),
        (-900, Level.FAULT, "900 s ahead of that"),
    ],
)
def test_clocks(behind: float, level: Level, words: str) -> None:
    finding = findings_module.clock("Stripe", behind)
    assert finding.level is level
    assert words in finding.text


def test_a_check_that_hangs_or_fails_holds_up_no_other(look: Look) -> None:
    cascade = assemble(settings.load())

    def hangs(_: object) -> list[Finding]:
        time.sleep(60)  # for ever, as far as this test goes
        return []

    def fails(_: object) -> list[Finding]:
        raise RuntimeError("hunter2")

    begun = time.monotonic()
    found = readiness.run_checks(cascade, [hangs, fails, machine.versions], 1.0)
    assert time.monotonic() - begun < 10
    assert [(one.check, one.level) for one in found] == [
        ("hangs", Level.FAULT),
        ("fails", Level.FAULT),
        ("versions", Level.OK),
    ]
    assert "hunter2" not in str(found)
