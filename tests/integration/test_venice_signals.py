"""The pulse of Venice: read exactly where it can be believed, and otherwise a sentence that says why not."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cascade.adapters.venice import CitizenDirectory
from cascade.adapters.venice_metrics import MetricsReport, VeniceMetrics
from cascade.domain.signal_kinds import SignalKind
from sandbox.ports import free_port
from sandbox.venice import VeniceDouble

METRICS = "/api/consciousness/metrics"
PATHS = {
    SignalKind.CONSCIOUSNESS: METRICS,
    SignalKind.COHERENCE: "/api/consciousness/tessere/network",
    SignalKind.REPORTED_ACCELERATION: "/api/consciousness/cascade/status",
}
FIELDS = {
    SignalKind.CONSCIOUSNESS: "average_consciousness_level",
    SignalKind.COHERENCE: "network_coherence",
    SignalKind.REPORTED_ACCELERATION: "acceleration_rate",
}
VALUES = {
    SignalKind.CONSCIOUSNESS: 6_100_000,
    SignalKind.COHERENCE: 87_300_000,
    SignalKind.REPORTED_ACCELERATION: -2_500_000,
}
LIMIT = 1024 * 1024


@dataclass
class Canned:
    """One answer; `pieces` are sent one by one with a pause before each."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    pause_seconds: float = 0.0
    packs: bool = False


@dataclass
class Stub:
    """A server that says what the test has it say, and remembers what it was asked."""

    url: str
    answers: dict[str, Canned]
    asked: list[tuple[str, dict[str, str]]]

    def says(self, level: str) -> None:
        """The level, as the text of a JSON value."""
        self.answers[METRICS] = Canned(f'{{"average_consciousness_level": {level}}}'.encode())


@pytest.fixture
def stub() -> Iterator[Stub]:
    over = threading.Event()
    answers = {
        PATHS[SignalKind.CONSCIOUSNESS]: Canned(b'{"average_consciousness_level": 6.1}'),
        PATHS[SignalKind.COHERENCE]: Canned(b'{"network_coherence": 87.3, "success": true, "_fallback": false}'),
        PATHS[SignalKind.REPORTED_ACCELERATION]: Canned(b'{"acceleration_rate": -2.5}'),
    }
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            canned = answers.get(self.path, Canned(status=404))
            body = canned.body
            self.send_response(canned.status)
            for name, value in canned.headers.items():
                self.send_header(name, value)
            if canned.packs and "gzip" in self.headers.get("accept-encoding", ""):
                body = gzip.compress(body)
                self.send_header("content-encoding", "gzip")
            self.end_headers()
            for piece in canned.pieces or [body]:
                if over.wait(canned.pause_seconds):
                    return
                self.wfile.write(piece)

        def log_message(self, *_: Any) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that went away is no news."""

    server = Listener(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield Stub(f"http://127.0.0.1:{server.server_address[1]}", answers, asked)
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def read(url: str, timeout_seconds: float = 5.0) -> MetricsReport:
    pulse = VeniceMetrics(url, timeout_seconds=timeout_seconds)
    try:
        return pulse.read()
    finally:
        pulse.close()


def error(stub: Stub, timeout_seconds: float = 5.0) -> str:
    """Why the level is not believed; the other two are read all the same, and no part of the address is told."""
    pulse = read(stub.url, timeout_seconds)
    assert pulse.values == {kind: value for kind, value in VALUES.items() if kind != SignalKind.CONSCIOUSNESS}
    assert list(pulse.faults) == [SignalKind.CONSCIOUSNESS]
    assert "127.0.0.1" not in pulse.faults[SignalKind.CONSCIOUSNESS]
    return pulse.faults[SignalKind.CONSCIOUSNESS]


def level(stub: Stub) -> int:
    """The level, in millionths, when nothing is wrong."""
    pulse = read(stub.url)
    assert not pulse.faults
    return pulse.values[SignalKind.CONSCIOUSNESS]


def test_the_double_is_read_exactly() -> None:
    with VeniceDouble.start() as venice:
        venice.control.set_mood(level=6.123456, coherence=87.3, acceleration=-12.5)
        assert read(venice.url) == MetricsReport(
            {
                SignalKind.CONSCIOUSNESS: 6_123_456,
                SignalKind.COHERENCE: 87_300_000,
                SignalKind.REPORTED_ACCELERATION: -12_500_000,
            },
            {},
        )
        venice.control.reset_mood()
        now = venice.mood.now()
        assert read(venice.url).values[SignalKind.CONSCIOUSNESS] == pytest.approx(now.level * 1e6, abs=1000)


def test_one_reader_reads_again_and_again() -> None:
    with VeniceDouble.start() as venice:
        pulse = VeniceMetrics(venice.url)
        for value in (0, 10, 5):
            venice.control.set_mood(level=value, coherence=10 * value, acceleration=value)
            assert set(pulse.read().values.values()) == {value * 10**6, 10 * value * 10**6}
            venice.control.set_chaos(error_rate=1.0)
            assert set(pulse.read().faults) == set(PATHS)
            venice.control.reset_chaos()
        pulse.close()


@pytest.mark.parametrize("seed", range(12))
def test_no_nonsense_of_the_doubles_is_believed(seed: int) -> None:
    with VeniceDouble.start(seed=seed) as venice:
        venice.control.set_chaos(nonsense_rate=1.0)
        for _ in range(3):
            pulse = read(venice.url)
            assert pulse.values in (
                {},
                {SignalKind.REPORTED_ACCELERATION: -1_000_000},
            )  # which is one nonsense that may be true
            assert set(pulse.values) | set(pulse.faults) == set(PATHS)


def test_what_stands_in_for_the_doubles_mood_is_not_believed() -> None:
    with VeniceDouble.start() as venice:
        venice.control.set_chaos(fallback_rate=1.0)
        pulse = read(venice.url)
        assert pulse.values == {}
        assert all("stands in" in said for said in pulse.faults.values())


@pytest.mark.parametrize(
    ("said", "millionths"),
    [
        ("0", 0), ("-0", 0), ("10", 10_000_000), ("10.000", 10_000_000), ("5e0", 5_000_000), ("1E1", 10_000_000),
        ("6.0000005", 6_000_000), ("6.0000015", 6_000_002), ("6.00000050000000000000000000000000001", 6_000_001),
        ("6.1234564999999999999999999999999999", 6_123_456), ("1e-999999", 0), ("9.9999999", 10_000_000),
    ],
)  # fmt: skip
def test_values_are_whole_millionths_rounded_half_to_even(stub: Stub, said: str, millionths: int) -> None:
    stub.says(said)
    assert level(stub) == millionths
    assert type(level(stub)) is int


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [
        (SignalKind.CONSCIOUSNESS, 0, 10),
        (SignalKind.COHERENCE, 0, 100),
        (SignalKind.REPORTED_ACCELERATION, -1_000_000, 1_000_000),
    ],
)
def test_each_has_its_bounds(stub: Stub, kind: SignalKind, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        stub.answers[PATHS[kind]] = Canned(json.dumps({FIELDS[kind]: value}).encode())
        assert read(stub.url) == MetricsReport(VALUES | {kind: value * 10**6}, {})
    for beyond in (f"{lowest}.0000001" if lowest < 0 else "-0.0000001", f"{highest}.0000001", "1e9", "-1e9"):
        stub.answers[PATHS[kind]] = Canned(f'{{"{FIELDS[kind]}": {beyond}}}'.encode())
        pulse = read(stub.url)
        assert kind not in pulse.values
        assert f"from {lowest:,} to {highest:,}" in pulse.faults[kind]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("null", "= null, not with a number from 0 to 10"),
        ('"5"', '= "5", not with a number'),
        ("true", "= true, not with a number"),
        ("false", "= false, not with a number"),
        ("[5]", "= a list, not with a number"),
        ('{"value": 5}', "= an object, not with a number"),
        ("1e9", "= 1E+9, not with a number"),
        ("-1", "= -1, not with a number"),
        ("1e999999999", "= 1E+999999999, not with a number"),
        ("NaN", "something else than a JSON object"),
        ("Infinity", "something else than a JSON object"),
        ("-Infinity", "something else than a JSON object"),
        ("6.1, \"total_citizens\": NaN", "something else than a JSON object"),
        ("1e99999999999999999999", "something else than a JSON object"),
        ("0x5", "something else than a JSON object"),
        ("", "something else than a JSON object"),
        pytest.param("[" * 100_000, "something else than a JSON object", id="nested too deeply"),
        ('"high"', 'Venice answered /api/consciousness/metrics with average_consciousness_level = "high", not with a'),
    ],
)  # fmt: skip
def test_what_is_no_number_within_its_bounds_is_not_believed(stub: Stub, said: str, words: str) -> None:
    stub.says(said)
    assert words in error(stub)


@pytest.mark.parametrize(
    "said",
    ["9" * 500_000, "5." + "9" * 500_000 + "e5", json.dumps("\u2028\0" * 1000)],
    ids=["a whole number", "a fraction", "what cannot be printed"],
)
def test_no_more_than_80_characters_of_an_answer_are_quoted(stub: Stub, said: str) -> None:
    stub.says(said)
    why = error(stub)
    quoted = why.partition(" = ")[2].partition(", not with")[0]
    assert len(quoted) == 80
    assert quoted.endswith("...")
    assert why.isascii()
    assert why.isprintable()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "without average_consciousness_level"),
        (b'{"level": 5}', "without average_consciousness_level"),
        (b'{"average_consciousness_level": 5, "success": false}', "success = false"),
        (b'{"average_consciousness_level": 5, "success": null}', "success = null"),
        (b'{"average_consciousness_level": 5, "success": "true"}', 'success = "true"'),
        (b'{"average_consciousness_level": 5, "success": 1}', "success = 1"),
        (b'{"average_consciousness_level": 5, "_fallback": true}', "stands in"),
        (b'{"average_consciousness_level": 5, "_fallbackError": "down"}', "stands in"),
        (b"[6.1]", "JSON object"),
        (b'[{"average_consciousness_level": 5}]', "JSON object"),
        (b'"average_consciousness_level"', "JSON object"),
        (b"5", "JSON object"),
        (b"null", "JSON object"),
        (b"", "JSON object"),
        (b"<!doctype html><title>Venice</title>", "JSON object"),
        (b'{"average_consciousness_level": 5', "JSON object"),
        (b'{"average_consciousness_level": 5}{}', "JSON object"),
        (b'{"average_consciousness_level": 5, "x": "\xff"}', "JSON object"),
        (b"\x00\xff\xfe\x80", "JSON object"),
    ],
)
def test_an_answer_of_another_shape_is_not_believed(stub: Stub, body: bytes, words: str) -> None:
    stub.answers[METRICS] = Canned(body)
    assert words in error(stub)


@pytest.mark.parametrize("status", [201, 206, 299, 301, 400, 404, 429, 500, 503])
def test_only_status_200_is_believed(stub: Stub, status: int) -> None:
    stub.answers[METRICS] = Canned(stub.answers[METRICS].body, status)
    assert f"with status {status}, not with 200" in error(stub)


def test_a_redirect_is_not_followed(stub: Stub) -> None:
    stub.answers["/elsewhere"] = stub.answers[METRICS]
    stub.answers[METRICS] = Canned(status=302, headers={"location": "/elsewhere"})
    assert "status 302" in error(stub)
    assert [path for path, _ in stub.asked] == list(PATHS.values())


@pytest.mark.parametrize("where", ["mailto:doge", "http://xn--a/", ":a://[", "http://[" + "a" * 90 + "]"])
def test_a_redirect_to_nonsense_does_not_raise_and_is_not_quoted(stub: Stub, where: str) -> None:
    stub.answers[METRICS] = Canned(status=302, headers={"location": where})
    why = error(stub)
    assert why.startswith("Venice gave no answer to /api/consciousness/metrics: ")
    assert len(why) < 90


def test_no_more_than_a_mebibyte_is_read(stub: Stub) -> None:
    body = stub.answers[METRICS].body
    stub.answers[METRICS] = Canned(body + b" " * (LIMIT - len(body)))
    assert level(stub) == VALUES[SignalKind.CONSCIOUSNESS]
    stub.answers[METRICS] = Canned(body + b" " * (LIMIT - len(body) + 1))
    assert "with more than 1,048,576 bytes" in error(stub)


def test_an_answer_that_never_ends_is_left(stub: Stub) -> None:
    stub.answers[METRICS] = Canned(pieces=[b" " * 65536] * 10_000)
    begun = time.monotonic()
    assert "with more than 1,048,576 bytes" in error(stub)
    assert time.monotonic() - begun < 5


def test_packed_answers_are_not_asked_for_and_not_unpacked(stub: Stub) -> None:
    stub.answers[METRICS].packs = True
    assert level(stub) == VALUES[SignalKind.CONSCIOUSNESS]
    stub.answers[METRICS] = Canned(gzip.compress(stub.answers[METRICS].body), headers={"content-encoding": "gzip"})
    assert "something else than a JSON object" in error(stub)


def test_an_answer_that_never_comes_is_given_up(stub: Stub) -> None:
    stub.answers[METRICS] = Canned(stub.answers[METRICS].body, pause_seconds=20)
    begun = time.monotonic()
    assert error(stub, 1.0) == "Venice gave no answer to /api/consciousness/metrics: ReadTimeout"
    assert time.monotonic() - begun < 5


def test_an_answer_that_trickles_is_given_up(stub: Stub) -> None:
    pieces = [bytes([byte]) for byte in b'{"average_consciousness_level": 6.1}']
    stub.answers[METRICS] = Canned(pieces=pieces, pause_seconds=0.1)
    begun = time.monotonic()
    assert "too slowly: it takes more than 1 seconds" in error(stub, 1.0)
    assert time.monotonic() - begun < 3


def test_an_answer_that_breaks_off_is_not_believed(stub: Stub) -> None:
    stub.answers[METRICS] = Canned(stub.answers[METRICS].body, headers={"content-length": "500"})
    assert error(stub) == "Venice gave no answer to /api/consciousness/metrics: RemoteProtocolError"


@pytest.mark.parametrize("kind", PATHS)
def test_one_that_fails_leaves_the_other_two(stub: Stub, kind: SignalKind) -> None:
    stub.answers[PATHS[kind]] = Canned(status=500)
    pulse = read(stub.url)
    assert pulse.values == {other: value for other, value in VALUES.items() if other != kind}
    assert list(pulse.faults) == [kind]
    assert PATHS[kind] in pulse.faults[kind]


@pytest.mark.parametrize("address", ["http://doge:secret@127.0.0.1:{}", "http://127.0.0.1:{}/secret", "secret://x"])
def test_a_city_that_is_down_is_no_error_and_its_address_is_not_told(address: str) -> None:
    pulse = read(address.format(free_port()))
    assert pulse.values == {}
    assert set(pulse.faults) == set(PATHS)
    assert not any("secret" in why or "127.0.0.1" in why for why in pulse.faults.values())


def test_the_address_may_have_a_path(stub: Stub) -> None:
    stub.answers["/venice" + METRICS] = stub.answers[METRICS]
    assert read(stub.url + "/venice/").values == {SignalKind.CONSCIOUSNESS: VALUES[SignalKind.CONSCIOUSNESS]}


def test_no_proxy_of_the_environment_is_asked(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert level(stub) == VALUES[SignalKind.CONSCIOUSNESS]


@pytest.mark.parametrize(
    "canned",
    [
        Canned(status=302, headers={"location": "mailto:doge"}),
        Canned(b"[" * 100_000),
        Canned(status=302, headers={"location": ":a://["}),
    ],
    ids=["a redirect to no address", "nested too deeply", "a redirect to nonsense"],
)
def test_the_register_takes_nonsense_for_no_answer(stub: Stub, canned: Canned) -> None:
    stub.answers["/api/citizens?Username=Marco_Polo"] = canned
    assert CitizenDirectory(stub.url).knows("Marco_Polo") is None
