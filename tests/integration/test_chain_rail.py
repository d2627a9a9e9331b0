"""The whole chain rail: `cascade up` as an operator starts it, real tokens, real transactions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from cascade.adapters.chain.router_logs import on_chain_order_id
from cascade.chains import Deployment
from cascade.db import checkpoints
from cascade.db.database import Database
from cascade.domain.money import USDC
from cascade.domain.orders import ChainTerms
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.wallet import Wallet
from tests.conftest import ROOT, RunningCascade
from tests.support import purchases

PAYER = 1


def order(cascade: RunningCascade, **wish: str) -> dict[str, Any]:
    answer = httpx.post(f"{cascade.api}/api/payments/crypto-payment-intent", json={"citizen_id": "Marco", **wish})
    assert answer.status_code == 201, answer.text
    intent: dict[str, Any] = answer.json()
    return intent


def pay(polygon: LocalPolygon, intent: Mapping[str, Any]) -> str:
    polygon.mint(intent["token"], polygon.accounts[PAYER], int(intent["amount"]))
    wallet = Wallet(polygon.rpc_url, polygon.keys[PAYER])
    for call in intent["calls"]:
        sent = wallet.send(call["to"], call["data"])
        wallet.receipt(sent)
    wallet.close()
    return sent


def becomes(cascade: RunningCascade, intent: Mapping[str, Any], status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        order: dict[str, Any] = httpx.get(f"{cascade.api}/api/payments/orders/{intent['order_id']}").json()
        if order["status"] == status:
            return order
        time.sleep(0.05)
    raise AssertionError(f"the order is {order['status']}, not {status}")


def ducats(cascade: RunningCascade) -> str:
    balance: str = httpx.get(f"{cascade.api}/api/citizens/Marco/balance").json()["ducats"]
    return balance


@pytest.mark.parametrize(
    ("wish", "units", "credited"),
    [
        ({"package": "merchant", "token": "USDC"}, 250_000_000, "2750"),
        ({"usd_amount": "25.01", "token": "USDT"}, 25_010_000, "250.1"),
    ],
)
def test_an_order_is_paid_and_credited(
    cascade_up: RunningCascade, polygon: LocalPolygon, wish: dict[str, str], units: int, credited: str
) -> None:
    token = TOKENS[wish["token"]].address
    holders = [str(cascade_up.endpoints["safe"]), str(cascade_up.endpoints["partner"])]
    wallet = Wallet(polygon.rpc_url, polygon.keys[PAYER])
    before = [wallet.balance(token, holder) for holder in holders]
    intent = order(cascade_up, **wish)

    sent = pay(polygon, intent)
    seen = becomes(cascade_up, intent, "seen")
    assert [(p["status"], p["transaction"]) for p in seen["payments"]] == [("seen", sent)]
    assert ducats(cascade_up) == "0"  # nothing before finality

    polygon.mine(2)
    done = becomes(cascade_up, intent, "fulfilled")
    (payment,) = done["payments"]
    assert (payment["status"], payment["amount"], payment["transaction"]) == ("fulfilled", str(units), sent)
    assert payment["payer"] == wallet.address
    assert ducats(cascade_up) == credited
    after = [wallet.balance(token, holder) for holder in holders]
    assert [b - a for a, b in zip(before, after, strict=True)] == [units - units // 2, units // 2]
    wallet.close()


def test_a_payment_that_a_reorg_takes_away_is_no_longer_seen(cascade_up: RunningCascade, polygon: LocalPolygon) -> None:
    intent = order(cascade_up, package="starter", token="USDC")
    pay(polygon, intent)
    becomes(cascade_up, intent, "seen")
    polygon.rpc("anvil_reorg", 1, [])
    becomes(cascade_up, intent, "open")
    pay_again = Wallet(polygon.rpc_url, polygon.keys[PAYER])
    pay_again.receipt(pay_again.send(intent["calls"][1]["to"], intent["calls"][1]["data"]))
    pay_again.close()
    polygon.mine(3)
    becomes(cascade_up, intent, "fulfilled")
    assert ducats(cascade_up) == "100"


def test_payments_made_while_the_system_is_down_are_credited_when_it_is_back(
    start_cascade: Callable[..., RunningCascade], polygon: LocalPolygon
) -> None:
    first = start_cascade()
    intents = [order(first, package="starter", token=token) for token in ("USDC", "USDT")]
    first.process.kill()
    first.process.wait()
    for intent in intents:
        pay(polygon, intent)
    polygon.mine(3)
    second = start_cascade()
    for intent in intents:
        becomes(second, intent, "fulfilled")
    assert ducats(second) == "200"


def test_a_payment_of_nobodys_order_waits_in_suspense(
    cascade_up: RunningCascade, polygon: LocalPolygon, deployment: Path, database_url: str
) -> None:
    record = Deployment.load(deployment)
    usdc, expires_at, salt = TOKENS["USDC"].address, int(time.time()) + 10**6, b"\7" * 32
    stranger = on_chain_order_id(137, record.router, usdc, 70_000, expires_at, salt)
    sent = purchases.pay(polygon, ChainTerms(stranger, 137, record.router, USDC, usdc, 70_000, expires_at, salt))
    polygon.mine(3)
    deadline = time.monotonic() + 15
    shown = ""
    while sent not in shown and time.monotonic() < deadline:
        shown = subprocess.run(
            [sys.executable, "-m", "cascade", "suspense"],
            cwd=ROOT,
            env={**cascade_up.environment, "COLUMNS": "400"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert sent in shown
    assert "unknown_order" in shown
    assert "Refund the payer from the Safe" in shown


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_and_takes_the_endpoints_away(
    cascade_up: RunningCascade, polygon: LocalPolygon, database: Database, wish: signal.Signals
) -> None:
    polygon.mine(3)  # the router's own block is final, so there is something to lead
    deadline = time.monotonic() + 15
    while led(database) != [True]:
        assert time.monotonic() < deadline, "no indexer took the lead"
        time.sleep(0.05)
    written = Path(cascade_up.environment["CASCADE_HOME"]) / "endpoints.json"
    assert written.stat().st_mode & 0o777 == 0o600
    cascade_up.process.send_signal(wish)
    assert cascade_up.process.wait(15) == 0
    assert not written.exists()
    assert led(database) == [False]  # given up: another indexer need not wait


def led(database: Database) -> list[bool]:
    with database.transaction() as connection:
        return [stream.led for stream in checkpoints.health(connection)]


def test_endpoints_tell_where_everything_is(cascade_up: RunningCascade, polygon: LocalPolygon) -> None:
    endpoints = cascade_up.endpoints
    assert set(endpoints) == {"api", "rpc_url", "database_url", "chain_id", "router", "safe", "partner", "tokens"}
    assert endpoints["rpc_url"] == polygon.rpc_url
    assert endpoints["tokens"] == {symbol: token.address for symbol, token in TOKENS.items()}


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"CASCADE_PORT": "x"}, "CASCADE_PORT"),
        ({"CASCADE_DEPLOYMENT": "nowhere.json"}, "CASCADE_DEPLOYMENT: there is no nowhere.json"),
        ({"CASCADE_CATALOGUE": "nowhere.toml"}, "CASCADE_CATALOGUE"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "DATABASE_URL: nothing listens at"),
    ],
)
def test_a_bad_setting_ends_the_start_with_its_name(
    deployment: Path, database_url: str, variables: dict[str, str], complaint: str
) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CASCADE_RPC_URL": "http://127.0.0.1:1",
        "CASCADE_DEPLOYMENT": str(deployment),
        **variables,
    }
    command = [sys.executable, "-m", "cascade", "up"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_record_of_another_router_ends_the_start(
    polygon: LocalPolygon, deployment: Path, database_url: str, tmp_path: Path
) -> None:
    record = json.loads(deployment.read_text())
    record["router"] = TOKENS["USDC"].address
    (tmp_path / "137.json").write_text(json.dumps(record))
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CASCADE_HOME": str(tmp_path),
        "CASCADE_PORT": "0",
        "CASCADE_RPC_URL": polygon.rpc_url,
        "CASCADE_DEPLOYMENT": str(tmp_path / "137.json"),
    }
    command = [sys.executable, "-m", "cascade", "up"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "it is the record of another deployment or of another chain" in done.stderr
