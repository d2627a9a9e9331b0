"""Every listing of the command line: whole ids at 80 columns, one line a record in a pipe, and JSON."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from cascade.cli import cli
from cascade.cli.terminal import Record, laid_out
from cascade.db import api_keys
from cascade.db.api_keys import Scope
from cascade.db.database import Database
from cascade.domain.money import DUCAT, USDC, Money
from cascade.services.booking import book_payment
from sandbox.venice import VeniceDouble
from tests.integration.test_card_operations import run
from tests.support.delivery import DispatcherConfig, deliver_all
from tests.support.purchases import confirmed, open_order

COLUMNS = 80
LISTINGS = (
    ("suspense",),
    ("refunds",),
    ("disputes",),
    ("receivables",),
    ("inbox",),
    ("status",),
    ("audit",),
    ("credits",),
    ("credits", "--waiting"),
    ("outbox",),
    ("outbox", "--waiting"),
    ("webhooks", "list"),
    ("rate", "show"),
    ("keys", "list"),
    ("link", "list"),
)
STRANGE = "0x" + "ab" * 32


def on_a_terminal(*words: str) -> str:
    """What a command prints on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "dumb"}
    command = [sys.executable, "-m", "cascade", *words]
    with subprocess.Popen(command, stdout=follower, stderr=subprocess.PIPE, env=environment) as process:
        os.close(follower)
        said = b""
        with suppress(OSError):  # Linux says so when the other side is closed
            while part := os.read(leader, 65_536):
                said += part
        os.close(leader)
        assert process.wait() == 0, process.stderr and process.stderr.read()
    return said.decode().replace("\r\n", "\n")


@pytest.fixture
def busy(environment: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A system with something in most listings; the ids that have to be whole."""
    with VeniceDouble.start() as venice:
        monkeypatch.setenv("CASCADE_VENICE_URL", venice.url)
        view = open_order(database, citizen="stranger")
        strange = confirmed(view.terms[0])
        with database.transaction() as connection:
            book_payment(connection, strange)
            again = confirmed(view.terms[0])
            book_payment(connection, again)
            api_keys.add(connection, "observatory", [Scope.SIGNALS])
        deliver_all(database, DispatcherConfig(venice_url=venice.url), destination="venice")
        run("link", "--package", "noble")
        yield [again.reference, again.transaction, "0x" + view.terms[0].on_chain_order_id.hex(), view.order.id]


def test_ids_are_whole_on_a_terminal_of_80_columns(busy: list[str]) -> None:
    shown = on_a_terminal("suspense")
    for whole in busy:
        assert whole in shown
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert "next step" in shown
    credits = on_a_terminal("credits")
    assert busy[-1] in credits
    assert "problem" in credits
    assert max(map(len, credits.splitlines())) <= COLUMNS


@pytest.mark.parametrize("words", LISTINGS, ids=" ".join)
def test_every_listing_is_json_when_it_is_asked(busy: list[str], words: tuple[str, ...]) -> None:
    value = json.loads(run(*words, "--json"))
    assert isinstance(value, dict if words[0] in ("status", "audit", "rate") else list)


def test_no_value_is_rounded_or_renamed_in_json(busy: list[str]) -> None:
    (waiting,) = json.loads(run("suspense", "--json"))
    assert waiting["amount"] == {"amount": "250", "asset": "USDC", "units": "250000000"}
    assert [waiting[name] for name in ("reference", "transaction", "on_chain_order_id", "order_id")] == busy
    assert datetime.fromisoformat(waiting["recorded_at"]).tzinfo == UTC


def test_a_pipe_gets_a_line_for_each_record_whatever_its_width(busy: list[str]) -> None:
    result = CliRunner(env={"COLUMNS": "20"}).invoke(cli, ["suspense"])
    names, *records = (line.split("\t") for line in result.output.splitlines())
    (record,) = (dict(zip(names, values, strict=True)) for values in records)
    assert [record[name] for name in ("reference", "transaction", "on_chain_order_id", "order_id")] == busy
    assert record["amount"] == "250.000000 USDC"


def test_an_empty_listing_is_empty_in_a_pipe(environment: Path, database: Database) -> None:
    result = CliRunner(mix_stderr=False).invoke(cli, ["receivables"])
    assert (result.stdout, result.stderr) == ("", "Nobody owes any ducats.\n")
    assert json.loads(run("receivables", "--json")) == []


RECORDS: list[Record] = [
    {
        "reference": f"137:{STRANGE}:{number}",
        "amount": Money(USDC, number),
        "order_id": None,
        "next_step": "Look. " * 30,
    }
    for number in (1, 2)
]


@pytest.mark.parametrize("width", [40, 80, 100, 120])
def test_no_word_is_broken_at_any_width(width: int) -> None:
    shown = laid_out(RECORDS, width)
    assert isinstance(shown, str)
    for number in (1, 2):
        assert f"reference 137:{STRANGE}:{number}\n" in shown
    assert max(len(line) for line in shown.splitlines() if STRANGE not in line) <= width
    assert "order id" not in shown  # nothing is known of it


def test_what_fits_is_a_table() -> None:
    records: list[Record] = [{"order_id": "ord_" + "a" * 26, "citizen_id": "Marco_Polo", "owed": Money(DUCAT, 5)}]
    assert not isinstance(laid_out(records, 80), str)


def test_a_value_can_neither_steer_a_terminal_nor_add_a_column() -> None:
    hostile: list[Record] = [{"citizen": "\x1b[31m[/red]\ta\nb\u202ec", "error": "x" * 90}]
    shown = laid_out(hostile, 80)
    assert isinstance(shown, str)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", shown)
    assert "[/red] a b c" in shown
