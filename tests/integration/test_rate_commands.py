"""What an operator sees of the rate, and the keys that an operator gives out, on the command line."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cascade.cli import cli
from cascade.db import api_keys, orders
from cascade.db.api_keys import Scope
from cascade.db.database import Database
from cascade.domain.signal_kinds import SignalKind
from cascade.errors import InvalidInput, NotFound, SettingsError
from cascade.rate.rule import Tick
from tests.integration.test_card_operations import run
from tests.support.rate import FORMULA, ticks_until, write_tick

HIGH = {SignalKind.CONSCIOUSNESS: 7.5, SignalKind.COHERENCE: 80.0}


@pytest.fixture
def ticks(environment: Path, database: Database) -> list[Tick]:
    with database.transaction() as connection:
        return ticks_until(connection, orders.clock(connection), 30, HIGH)


def found_wrong() -> str:
    """What a replay says that ends with exit code 1."""
    result = CliRunner(env={"COLUMNS": "400"}).invoke(cli, ["rate", "replay"])
    assert result.exit_code == 1
    return result.output


def test_the_rate_is_shown_with_its_reasons(ticks: list[Tick]) -> None:
    shown = run("rate", "show")
    assert f"{ticks[-1].rate} USD per ducat since {ticks[-1].at:%Y-%m-%d %H:%M:%S} UTC, drawn to 0.232" in shown
    for words in ("coherence", "fresh", "venice", "80", "+0.072", "volume", "missing"):
        assert words in shown
    assert "late" not in shown
    assert f"Rate: {ticks[-1].rate} USD per ducat since {ticks[-1].at:%Y-%m-%d %H:%M:%S} UTC." in run("status")


def test_before_the_first_tick_it_asks_for_a_keeper(environment: Path, database: Database) -> None:
    assert "0.10 USD per ducat; no tick was written yet: does a rate keeper run?" in run("rate", "show")
    assert "0 ticks" in run("rate", "replay")


def test_a_keeper_that_is_gone_is_noticed(environment: Path, database: Database) -> None:
    with database.transaction() as connection:
        write_tick(connection, orders.clock(connection).replace(second=0, microsecond=0) - timedelta(hours=1))
    assert "s late: does a rate keeper run?" in run("rate", "show")


def test_history_is_computed_again(ticks: list[Tick]) -> None:
    assert "30 ticks: each is what its inputs give, and follows the one before." in run("rate", "replay")
    since, until = (f"{tick.at:%Y-%m-%dT%H:%M:%S}" for tick in (ticks[10], ticks[19]))
    assert "10 ticks: each" in run("rate", "replay", "--since", since, "--until", until)


def test_the_first_difference_is_told(ticks: list[Tick], database: Database) -> None:
    with database.transaction() as connection:  # as somebody with all rights over the database could
        connection.execute("ALTER TABLE rate_ticks DISABLE TRIGGER append_only")
        connection.execute(
            "UPDATE rate_ticks SET inputs = jsonb_set(inputs, '{coherence,0,now_micro}', '10000000') WHERE at >= %s",
            (ticks[12].at,),
        )
    assert f"Tick 13, of {ticks[12].at:%Y-%m-%d %H:%M:%S} UTC" in found_wrong()


def test_what_differs_is_shown(ticks: list[Tick], database: Database) -> None:
    with database.transaction() as connection:
        connection.execute("ALTER TABLE rate_ticks DISABLE TRIGGER append_only")
        connection.execute("UPDATE rate_ticks SET target_nano_usd = 1 WHERE at = %s", (ticks[12].at,))
    told = found_wrong()
    assert f"Tick 13, of {ticks[12].at:%Y-%m-%d %H:%M:%S} UTC, formula venice-1, differs:" in told
    assert re.search(r"target\t0\.000000001\t0\.232", told)


def test_a_tick_that_was_taken_out_is_missed(ticks: list[Tick], database: Database) -> None:
    with database.transaction() as connection:  # replay looks at the chain as well as at each tick
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM rate_ticks WHERE at = %s", (ticks[12].at,))
    assert "it does not follow the tick before it: a tick in between is missing" in found_wrong()


def test_a_formula_that_was_used_keeps_its_meaning(
    ticks: list[Tick], database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "cascade" / "formula.toml").read_text()
    mine = tmp_path / "formula.toml"
    monkeypatch.setenv("CASCADE_RATE_FORMULA", str(mine))
    with pytest.raises(SettingsError, match=r"CASCADE_RATE_FORMULA: .*No such file"):
        run("rate", "show")
    mine.write_text(text.replace('base = "0.10"', 'base = "0.60"'))
    with pytest.raises(SettingsError, match="floor, base and ceiling"):
        run("rate", "show")
    mine.write_text(text.replace('base = "0.10"', 'base = "0.11"').replace("venice-1", "mine-1"))
    assert FORMULA.version in run("rate", "show")  # of the tick; the next one follows the new one


def test_keys_are_made_listed_and_revoked(environment: Path, database: Database) -> None:
    assert "There are no keys." in run("keys", "list")
    made = run("keys", "add", "observatory", "--scope", "signals")
    (key,) = re.findall(r"csk_[\w-]{43}", made)
    with database.transaction() as connection:
        assert api_keys.holder(connection, key, Scope.SIGNALS) == "observatory"
    listed = run("keys", "list")
    assert "observatory" in listed
    assert key not in listed
    assert "observatory is revoked." in run("keys", "revoke", "observatory")
    with database.transaction() as connection:
        assert api_keys.holder(connection, key, Scope.SIGNALS) is None
    with pytest.raises(NotFound, match="no key 'observatory' that could be revoked"):
        run("keys", "revoke", "observatory")
    with pytest.raises(InvalidInput, match="There is or was a key 'observatory' already"):
        run("keys", "add", "observatory", "--scope", "signals")


@pytest.mark.parametrize("name", ["venice", "ledger", "Doge", "", "a b", "x" * 41])
def test_no_key_speaks_in_the_name_of_another(environment: Path, database: Database, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot name a key"):
        run("keys", "add", name, "--scope", "signals")
