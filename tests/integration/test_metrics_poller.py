"""Looking at Venice: what it says becomes signals, once a look, and its silence fades from the rate."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cascade.adapters.venice_metrics import VeniceMetrics
from cascade.db.database import Database
from cascade.domain.ducat_rate import Rate
from cascade.rate.metrics_poller import MetricsPoller
from cascade.rate.rule import InputState, next_rate
from cascade.rate.signals import Input
from cascade.rate.tick_service import collect_inputs
from cascade.workers.polling import PollingWorker
from sandbox.venice import VeniceDouble
from tests.support.concurrency import run_concurrently
from tests.support.delivery import until
from tests.support.rate import FORMULA, clock


@pytest.fixture
def venice() -> Iterator[VeniceDouble]:
    with VeniceDouble.start() as double:
        double.control.set_mood(level=7.25, coherence=81.5, acceleration=-3)
        yield double


def observer(database: Database, venice: VeniceDouble, poll_seconds: float = 60) -> MetricsPoller:
    return MetricsPoller(database, VeniceMetrics(venice.url, timeout_seconds=1), poll_seconds=poll_seconds)


def stored(database: Database) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    with database.transaction() as connection:
        for row in connection.execute("SELECT source, kind, micro FROM signals ORDER BY id").fetchall():
            assert row["source"] == "venice"
            found.setdefault(row["kind"], []).append(row["micro"])
    return found


def test_what_venice_says_is_stored(database: Database, venice: VeniceDouble) -> None:
    assert observer(database, venice).look() == 3
    assert stored(database) == {
        "consciousness": [7_250_000],
        "coherence": [81_500_000],
        "reported_acceleration": [-3_000_000],
    }


def test_of_one_look_by_many_the_first_answer_is_taken(database: Database, venice: VeniceDouble) -> None:
    watchers = [observer(database, venice, 86_400) for _ in range(6)]
    assert sum(run_concurrently(5, lambda number: watchers[number].look())) == 3
    venice.control.set_mood(level=1)
    assert watchers[5].look() == 0
    assert stored(database)["consciousness"] == [7_250_000]


def test_it_looks_again_and_again_and_stops_when_told(database: Database, venice: VeniceDouble) -> None:
    stop, poller = threading.Event(), observer(database, venice, 0.05)
    worker = PollingWorker("observer", poller.step, poll_seconds=0.05, on_end=poller.close)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        until(lambda: len(stored(database).get("consciousness", [])) >= 3)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        poller.look()


def test_one_that_fails_does_not_hide_the_others_and_is_said_once(
    database: Database, venice: VeniceDouble, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cascade.rate.metrics_poller")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # as the command line sets it
    watcher = observer(database, venice, 0.001)
    venice.control.set_chaos(error_rate=1)
    for _ in range(3):
        assert watcher.look() == 0
    assert len(caplog.messages) == 3  # each of the three kinds once
    assert "Venice does not tell its coherence" in caplog.text
    venice.control.reset_chaos()
    caplog.clear()
    assert watcher.look() == 3
    assert sorted(caplog.messages)[0] == "Venice tells its coherence again"


def test_its_silence_fades_from_the_rate_and_is_named(database: Database, venice: VeniceDouble) -> None:
    observer(database, venice).look()
    now = clock(database)

    def states(hours: float) -> list[InputState]:
        with database.transaction() as connection:
            inputs = collect_inputs(connection, now + timedelta(hours=hours))
        move = next_rate(FORMULA, Rate(FORMULA.base_nano_usd), inputs)
        return [part.state for part in move.contributions if part.input in (Input.CONSCIOUSNESS, Input.COHERENCE)]

    assert states(0.01) == [InputState.FRESH] * 2
    assert states(3) == [InputState.FADING] * 2
    assert states(6.1) == [InputState.STALE] * 2
    assert states(24 * 31) == [InputState.MISSING] * 2
