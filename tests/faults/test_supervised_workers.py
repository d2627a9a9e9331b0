"""A worker that meets the unforeseen is started again; nothing else ends, and `/health` names it until it works."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from cascade.db import checkpoints, heartbeats
from cascade.db.database import Database
from cascade.domain.card_payments import CardAttempt, CardEvidence
from cascade.errors import DeploymentMismatch, NodeUnavailable
from cascade.services.card_checkout import CardCheckout
from cascade.workers.heartbeat import Heartbeat
from cascade.workers.supervisor import poll, supervise
from sandbox.ports import free_port
from tests.conftest import ROOT
from tests.support.card_shop import CardShop
from tests.support.delivery import until
from tests.support.purchases import NOWHERE

POISONED = """
import os, sys
from cascade.__main__ import run
from cascade.workers.credit_sender import CreditSender
from cascade.workers.outbox_dispatcher import OutboxDispatcher
from cascade.workers.indexer import Indexer
from cascade.rate.tick_worker import TickWorker

poison = sys.argv[1]

def spoil(cls, name, fault):
    genuine = getattr(cls, name)
    def spoilt(*args, **named):
        if os.path.exists(poison):
            raise fault
        return genuine(*args, **named)
    setattr(cls, name, spoilt)

spoil(TickWorker, "keep_once", ValueError("a number that no rule likes"))
spoil(OutboxDispatcher, "__init__", OverflowError("int too large to convert"))
spoil(CreditSender, "_start_due", ArithmeticError("a sum that no credit has"))
spoil(Indexer, "step", MemoryError())
sys.argv = ["cascade", "up"]
run()
"""
"""`cascade up`, but four of its workers fail as long as a file is there; the second cannot even be made."""


class Wound:
    """A step that raises until it is healed."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error
        self.steps = 0

    def __call__(self) -> bool:
        self.steps += 1
        if self.error is not None:
            raise self.error
        return False


@contextmanager
def supervised(wound: Wound, heartbeat: Heartbeat) -> Iterator[threading.Thread]:
    stop = threading.Event()

    def run(stop: threading.Event, heart: Heartbeat) -> None:
        poll(wound, stop, poll_seconds=0.01, heartbeat=heart)

    thread = threading.Thread(target=supervise, args=(run, stop, heartbeat))
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def alarms(database: Database) -> dict[str, str | None]:
    with database.transaction() as connection:
        return {one.worker: one.fault for one in heartbeats.health(connection)}


@pytest.mark.parametrize("error", [ValueError("once"), OverflowError(), MemoryError(), BaseException("a panic")])
def test_one_surprise_costs_one_pause(database: Database, error: BaseException) -> None:
    wound = Wound(error)
    with supervised(wound, Heartbeat("relayer", database)) as thread:
        until(lambda: alarms(database) == {"relayer": type(error).__name__})
        wound.error = None
        until(lambda: alarms(database) == {"relayer": None})
        assert thread.is_alive()
    assert alarms(database) == {}, "a worker that was told to stop is missed"


def test_health_is_503_while_a_worker_fails_and_says_no_detail(environment: Path, database: Database) -> None:
    with database.transaction() as connection:
        now = connection.execute("SELECT extract(epoch FROM now())::bigint AS now").fetchone()
        assert now is not None
        stream = f"chain:{NOWHERE.chain.chain_id}:{NOWHERE.router}"
        checkpoints.start(connection, stream, 5, b"\1" * 32, now["now"])
        checkpoints.lease(connection, stream, "me", 60)
        for instance, error in (("here", None), ("there", "ValueError")):  # one of two is enough
            heartbeats.save(connection, "relayer", instance, error, error and "secret details")
    with TestClient(create_app()) as client:
        answer = client.get("/health")
        assert answer.status_code == 503
        assert answer.json()["workers"] == [{"worker": "relayer", "standing_still": True, "fault": "ValueError"}]
        assert "secret" not in answer.text
        with database.transaction() as connection:
            connection.execute("UPDATE worker_heartbeats SET beat_at = now() - interval '61 s' WHERE fault IS NOT NULL")
        assert client.get("/health").status_code == 200, "a process that was killed is an alarm for ever"


def test_a_fault_for_ever_is_logged_once_and_waited_for(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    wound = Wound(ValueError("0x1234 is odd"))
    caplog.set_level(logging.INFO, "cascade.workers.heartbeat")
    with supervised(wound, Heartbeat("relayer", database)):
        until(lambda: wound.steps > 3)
        wound.error = ValueError("0x5678 is odd")  # the same but for its numbers
        steps = wound.steps
        until(lambda: wound.steps > steps + 1)
        wound.error = KeyError("another")
        until(lambda: alarms(database) == {"relayer": "KeyError"})
        wound.error = None
        until(lambda: alarms(database) == {"relayer": None})
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert ["ValueError" in said[0], "KeyError" in said[1], said[2]] == [True, True, "relayer: works again"]
    assert "0x1234" not in said[0], "the text of a surprise may hold anything"


def test_what_is_only_an_outage_is_no_alarm(database: Database) -> None:
    wound = Wound(NodeUnavailable("connection refused"))
    with supervised(wound, Heartbeat("watcher", database)):
        until(lambda: wound.steps > 3)
        assert alarms(database) == {"watcher": None}
        wound.error = ValueError()
        until(lambda: alarms(database) == {"watcher": "ValueError"})
        wound.error = NodeUnavailable("connection refused")
        until(lambda: alarms(database) == {"watcher": None})


def test_a_mismatch_ends_only_the_first_start(database: Database) -> None:
    wound = Wound(DeploymentMismatch("another chain"))
    with pytest.raises(DeploymentMismatch):
        supervise(
            lambda stop, heart: poll(wound, stop, poll_seconds=0.01, heartbeat=heart),
            threading.Event(),
            Heartbeat("indexer", database),
        )
    wound.error = None
    with supervised(wound, Heartbeat("indexer", database)) as thread:
        until(lambda: alarms(database) == {"indexer": None})
        wound.error = DeploymentMismatch("another chain")
        until(lambda: alarms(database) == {"indexer": "DeploymentMismatch"})
        wound.error = None
        until(lambda: alarms(database) == {"indexer": None})
        assert thread.is_alive()


def test_the_whole_system_outlives_four_broken_workers(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API goes on, the healthy workers work, and `/health` names the others until they work again."""
    poison = tmp_path / "poison"
    poison.touch()
    port = free_port()
    monkeypatch.setenv("CASCADE_PORT", str(port))
    monkeypatch.setenv("CASCADE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CASCADE_POLL_SECONDS", "0.1")
    with (tmp_path / "log").open("wb") as output:
        command = [sys.executable, "-c", POISONED, str(poison)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        try:
            broken = {"rate keeper": "ValueError", "dispatcher": "OverflowError", "indexer": "MemoryError"}
            broken["credit sender"] = "ArithmeticError"
            until(lambda: named(port) == broken, 30)
            wish = {"citizen_id": "Marco", "package": "starter", "token": "USDC"}
            path = f"http://127.0.0.1:{port}/api/payments/crypto-payment-intent"
            assert httpx.post(path, json=wish).status_code == 201
            poison.unlink()
            until(lambda: named(port) == dict.fromkeys(broken), 30)  # that there is no node is no fault of the indexer
            process.send_signal(signal.SIGINT)
            assert process.wait(15) in (0, -signal.SIGINT)
        finally:
            process.kill()
            process.wait()
    log = (tmp_path / "log").read_text()
    assert log.count("MemoryError") < 6, log  # a line and its traceback, not one for each step


def named(port: int) -> dict[str, str | None]:
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health").json()
    except httpx.TransportError:
        return {}
    return {one["worker"]: one["fault"] for one in answer["workers"]}


def test_one_intent_that_raises_holds_up_no_other(card_shop: CardShop, monkeypatch: pytest.MonkeyPatch) -> None:
    bought = [card_shop.paid() for _ in range(6)]  # more than are looked at side by side
    odd = card_shop.intent_of(bought[0])
    card_shop.double.control.deliver_now()
    worker, genuine = card_shop.worker(), card_shop.checkout.stripe.evidence

    def evidence(intent_id: str) -> CardEvidence:
        if intent_id == odd:
            raise OverflowError("a number that no decoder likes")
        return genuine(intent_id)

    monkeypatch.setattr(card_shop.checkout.stripe, "evidence", evidence)
    worker.step()
    assert [card_shop.order(one)["status"] for one in bought] == ["open", *["fulfilled"] * 5]
    monkeypatch.undo()
    card_shop.make_due()
    card_shop.work_through_inbox()
    assert card_shop.order(bought[0])["status"] == "fulfilled"


def test_one_attempt_that_cannot_be_closed_holds_up_no_other(
    card_shop: CardShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = [card_shop.session() for _ in range(6)]
    with card_shop.database.transaction() as connection:
        connection.execute("UPDATE card_attempts SET payable_until = now()")
    worker, genuine, closed = card_shop.worker(), CardCheckout.close, list[str | None]()

    def close(checkout: CardCheckout, attempt: CardAttempt) -> None:
        if attempt.stripe_id == begun[0]["session_id"]:
            raise ValueError("an answer that cannot be read")
        genuine(checkout, attempt)
        closed.append(attempt.stripe_id)

    monkeypatch.setattr(CardCheckout, "close", close)
    with pytest.raises(ValueError, match="cannot be read"):
        worker.step()
    assert len(closed) == 5
