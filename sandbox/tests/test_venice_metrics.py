"""The mood of the double of Venice: its answers, its pins, how it follows time, and what may be wrong with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest

from sandbox.venice import CityMetrics, VeniceDouble

METRICS = "/api/consciousness/metrics"
NETWORK = "/api/consciousness/tessere/network"
CASCADE = "/api/consciousness/cascade/status"
VALUES = {METRICS: "average_consciousness_level", NETWORK: "network_coherence", CASCADE: "acceleration_rate"}
CLIENT = httpx.Client(trust_env=False)  # one for all: to make one takes longer than to ask
NOON = datetime(2025, 1, 10, 12, tzinfo=UTC).timestamp()


class Clock:
    """Seconds since 1970, as the test has them."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venice(clock: Clock) -> Iterator[VeniceDouble]:
    with VeniceDouble.start(clock=clock) as double:
        yield double


def get(venice: VeniceDouble, path: str) -> httpx.Response:
    return CLIENT.get(venice.url + path)


def values(venice: VeniceDouble) -> list[float]:
    """Level, coherence and acceleration."""
    return [get(venice, path).json()[field] for path, field in VALUES.items()]


def steer(venice: VeniceDouble, verb: str, **body: Any) -> httpx.Response:
    return CLIENT.post(f"{venice.url}/_double/{verb}", json=body)


def test_the_answers_have_the_fields_that_venice_gives_them(venice: VeniceDouble) -> None:
    metrics, network, cascade = (get(venice, path).json() for path in VALUES)
    when = "2025-01-10T12:00:00.000Z"
    assert metrics == {
        "average_consciousness_level": metrics["average_consciousness_level"], "total_citizens": 2, "timestamp": when,
    }  # fmt: skip
    assert network == {
        "network_coherence": network["network_coherence"], "active_nodes": 5, "neural_pathways": 10,
        "tessere_status": "distributed", "timestamp": when,
    }  # fmt: skip
    assert cascade == {
        "acceleration_rate": cascade["acceleration_rate"], "recognition_events": cascade["recognition_events"],
        "timestamp": when,
    }  # fmt: skip
    assert 4 <= metrics["average_consciousness_level"] <= 8
    assert 50 <= network["network_coherence"] <= 90
    assert type(cascade["acceleration_rate"]) is float
    assert type(cascade["recognition_events"]) is int
    venice.control.add_citizen("Veronica")
    assert get(venice, METRICS).json()["total_citizens"] == 3
    assert CLIENT.post(venice.url + METRICS).status_code == 404
    assert get(venice, METRICS + "/more").status_code == 404


def test_it_follows_time_slowly_and_the_same_moment_feels_the_same(venice: VeniceDouble, clock: Clock) -> None:
    seen, events = [], []
    for minute in range(0, 24 * 60, 10):
        clock.now = NOON + 60 * minute
        seen.append(values(venice))
        events.append(get(venice, CASCADE).json()["recognition_events"])
    for which, step in enumerate((0.1, 1.5, 1.0)):
        walk = [one[which] for one in seen]
        assert max(walk) - min(walk) > 4 * step
        assert all(abs(after - before) < step for before, after in pairwise(walk))
    assert any(one[2] < 0 for one in seen)
    assert any(one[2] > 0 for one in seen)
    assert events == sorted(events)
    assert 20 * 24 < events[-1] - events[0] < 60 * 24
    clock.now = NOON
    assert values(venice) == seen[0]
    with VeniceDouble.start(clock=clock) as again, VeniceDouble.start(seed=1, clock=clock) as other:
        assert values(again) == seen[0]
        assert all(one != another for one, another in zip(values(other), seen[0], strict=True))


def test_what_is_accelerated_are_the_recognitions(clock: Clock) -> None:
    mood, counts = CityMetrics(7, clock), []
    for hour in range(3):
        clock.now = NOON + 3600 * hour
        counts.append(mood.now().recognition_events)
    clock.now = NOON + 3600
    grown = (counts[2] - counts[1]) - (counts[1] - counts[0])
    assert mood.now().acceleration == pytest.approx(grown, abs=2.5)  # both are whole, and the hours are not short


def test_a_city_that_has_not_begun_has_recognised_nothing() -> None:
    assert CityMetrics(clock=lambda: 0.0).now().recognition_events == 0


def test_what_is_pinned_stays_and_the_rest_follows_time(venice: VeniceDouble, clock: Clock) -> None:
    begun = values(venice)
    venice.control.set_mood(level=6.123456)
    assert values(venice) == [6.123456, *begun[1:]]
    venice.control.set_mood(coherence=87.3, acceleration=-2)
    clock.now += 3 * 3600
    assert values(venice) == [6.123456, 87.3, -2]
    assert get(venice, CASCADE).json()["timestamp"] == "2025-01-10T15:00:00.000Z"
    venice.control.set_mood(level=0, acceleration=None)
    assert values(venice) == [0, 87.3, -2]
    venice.control.reset_mood()
    clock.now = NOON
    assert values(venice) == begun


@pytest.mark.parametrize(
    "pins",
    [
        {"level": 10.1}, {"level": -0.1}, {"coherence": 100.5}, {"coherence": -1}, {"level": True},
        {"acceleration": "fast"}, {"acceleration": float("nan")}, {"acceleration": float("inf")},
        {"level": 5, "coherence": 101},
    ],
)  # fmt: skip
def test_what_cannot_be_is_not_pinned(venice: VeniceDouble, pins: dict[str, Any]) -> None:
    begun = values(venice)
    with pytest.raises(ValueError, match=r"cannot be|is from"):
        venice.control.set_mood(**pins)
    assert values(venice) == begun


def test_a_mood_has_no_other_parts() -> None:
    with pytest.raises(ValueError, match="no 'humour'"):
        CityMetrics().set(humour=1)


def test_it_is_pinned_over_http(venice: VeniceDouble) -> None:
    begun = values(venice)
    assert steer(venice, "set_mood", level=6.5, coherence=None).json() == {"result": None}
    assert values(venice) == [6.5, *begun[1:]]
    assert steer(venice, "set_mood", level=11).status_code == 400
    assert steer(venice, "set_mood", humour=1).status_code == 400
    assert steer(venice, "set_mood", acceleration={}).status_code == 400
    assert steer(venice, "reset_mood").status_code == 200
    assert values(venice) == begun
    venice.mood.set(level=3)
    assert values(venice)[0] == 3


def test_many_may_ask_and_pin_at_a_time(venice: VeniceDouble) -> None:
    def pin(level: float) -> None:
        for _ in range(200):
            venice.mood.set(level=level, coherence=10 * level)

    threads = [threading.Thread(target=pin, args=(level,)) for level in (2.0, 4.0)]
    for thread in threads:
        thread.start()
    venice.mood.set(level=2, coherence=20)
    for _ in range(200):
        now = venice.mood.now()
        assert now.coherence == 10 * now.level
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("path", VALUES)
def test_what_stands_in_for_it_says_so(venice: VeniceDouble, path: str) -> None:
    fields = set(get(venice, path).json())
    venice.control.set_chaos(fallback_rate=1.0, nonsense_rate=1.0)
    answer = get(venice, path)
    assert (answer.status_code, set(answer.json())) == (200, fields | {"_fallback"})
    assert answer.json()["_fallback"] is True
    assert answer.json()[VALUES[path]] in (5.0, 50.0, 0.0)


@pytest.mark.parametrize("path", VALUES)
def test_nonsense_is_of_every_kind_and_leaves_the_rest_alone(venice: VeniceDouble, path: str) -> None:
    genuine, field = get(venice, path).json(), VALUES[path]
    venice.control.set_chaos(nonsense_rate=1.0)
    drawn = set()
    for _ in range(150):
        answer = get(venice, path)
        assert answer.status_code == 200
        if "html" in answer.headers["content-type"]:
            assert answer.text.startswith("<!doctype html>")
            drawn.add("page")
            continue
        told = answer.json()
        drawn.add(json.dumps(told.pop(field)) if field in told else "missing")
        assert told == {name: value for name, value in genuine.items() if name != field}
    assert drawn == {"missing", "null", '"high"', "true", "NaN", "Infinity", "-1", "1000000000.0", "page"}
    venice.control.reset_chaos()
    assert get(venice, path).json() == genuine


def test_nonsense_is_drawn_by_seed(clock: Clock) -> None:
    def told(seed: int) -> list[str]:
        with VeniceDouble.start(seed=seed, clock=clock) as venice:
            venice.control.set_mood(level=5)
            venice.control.set_chaos(nonsense_rate=0.5)
            return [get(venice, METRICS).text for _ in range(30)]

    first = told(1)
    assert told(1) == first
    assert told(2) != first
    assert any('"average_consciousness_level": 5.0' in one for one in first)


def test_it_can_fail_like_every_route(venice: VeniceDouble) -> None:
    venice.control.set_chaos(error_rate=1.0)
    assert [get(venice, path).status_code for path in VALUES] == [500] * 3
