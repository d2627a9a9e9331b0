"""Connections that send half a request, or nothing, keep nobody out; real sockets, at the server of `cascade api`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from cascade.cli import http_connections
from cascade.cli.http_connections import Connections, bounded
from sandbox.ports import free_port
from tests.conftest import ROOT

HALF = b"POST /api/payments/crypto-payment-intent HTTP/1.1\r\nhost: x\r\ncontent-le"
MANY = 2_500
SOON_SECONDS = 2.0
"""Within this, an honest request is answered, whatever others do."""


def affordable(wanted: int) -> int:
    """As many connections as this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 300:
        soft = min(wanted + 300, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, soft - 300)


@pytest.fixture
def serve(environment: Path, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts `cascade api` as a process of its own that may open 1,024 files, the usual limit; returns its port."""
    with contextlib.ExitStack() as stack:

        def start(**variables: str) -> int:
            port = free_port()
            given = {**os.environ, "CASCADE_PORT": str(port), **variables}
            with open(tmp_path / "api.log", "wb") as log:
                command = ["sh", "-c", 'ulimit -n 1024; exec "$0" -m cascade api', sys.executable]
                process = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            deadline = time.monotonic() + 60
            while not is_answered(port, 5.0):
                assert process.poll() is None, (tmp_path / "api.log").read_text()
                assert time.monotonic() < deadline
            return port

        yield start


def is_answered(port: int, seconds: float, source: str = "127.0.0.1") -> bool:
    """Whether somebody at an address is told the prices within a time."""
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, timeout=seconds) as client:
        try:
            return client.get(f"http://127.0.0.1:{port}/api/payments/pricing").status_code == 200
        except httpx.TransportError:
            return False


@contextlib.contextmanager
def half_sent(port: int, count: int, source: str) -> Iterator[list[socket.socket]]:
    """Many connections from one address, each with half a request."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10, (source, 0)))
            with contextlib.suppress(OSError):  # it may be ended at once
                one.sendall(HALF)
            opened.append(one)
        yield opened


@pytest.mark.parametrize("honest", ["127.0.0.3", "127.0.0.1", "127.0.0.2"])
def test_half_sent_requests_of_one_address_keep_nobody_out(serve: Callable[..., int], honest: str) -> None:
    port = serve()
    with half_sent(port, affordable(MANY), "127.0.0.2"):
        assert is_answered(port, SOON_SECONDS, honest)


def test_nor_do_those_of_a_trusted_address_that_take_all_room(serve: Callable[..., int]) -> None:
    port = serve()
    with half_sent(port, affordable(MANY), "127.0.0.1"):
        assert is_answered(port, SOON_SECONDS, "127.0.0.3")
        assert is_answered(port, SOON_SECONDS, "127.0.0.1")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server whose connections have little time; it sends back what it was sent, or a megabyte."""
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(http_connections, "BODY_SECONDS", 0.5)
    monkeypatch.setattr(http_connections, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(http_connections, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(http_connections, "MOST_OF_ONE", 5)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/slow":
            await asyncio.sleep(1.0)
        content = b"x" * 10_000_000 if scope["path"] == "/large" else body
        length = str(len(content)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": content})

    port = free_port()
    config = uvicorn.Config(
        application,
        port=port,
        http=bounded(50, "127.0.0.9"),
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=2,  # what comes after an upgrade that is not taken is no request
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    yield port
    server.should_exit = True
    thread.join(10)


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, (source, 0))


def is_ended(one: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the other side ends a connection within a time."""
    one.settimeout(seconds)
    try:
        while one.recv(1_000_000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n" + b"GET /",
    ],
)
def test_a_request_has_a_deadline(hasty: int, sent: bytes) -> None:
    with connect(hasty) as one:
        one.sendall(sent)
        assert is_ended(one)


def test_the_half_head_of_a_second_request_has_a_deadline_of_its_own(hasty: int) -> None:
    """It comes in one piece with a whole request; without a deadline the two seconds of keep-alive would end it."""
    with connect(hasty) as one:
        one.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HT")
        assert is_ended(one, 1.5)


def test_a_byte_now_and_then_does_not_move_the_deadline(hasty: int) -> None:
    with connect(hasty) as one:
        begun = time.monotonic()
        one.sendall(b"GET / HTTP/1.1\r\nx: ")
        with contextlib.suppress(OSError):
            while time.monotonic() < begun + 5:
                one.sendall(b"x")
                one.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    if not one.recv(100):
                        break
        assert time.monotonic() < begun + 4


def test_a_head_has_a_bound(hasty: int) -> None:
    with connect(hasty) as one:
        with contextlib.suppress(OSError):
            one.sendall(b"GET / HTTP/1.1\r\n")
            for number in range(100):
                one.sendall(f"x-{number}: {'y' * 1000}\r\n".encode())
            one.sendall(b"\r\n")
        one.settimeout(5)
        with contextlib.suppress(OSError):
            assert not one.recv(100).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_is_let_go(hasty: int) -> None:
    with connect(hasty) as one:
        one.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(2)  # it reads nothing meanwhile: this is what is tried
        received = 0
        with contextlib.suppress(OSError):
            while chunk := one.recv(1_000_000):
                received += len(chunk)
        assert received < 10_000_000


def test_who_is_honest_keeps_the_connection(hasty: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{hasty}", timeout=5) as client:
        for _ in range(3):
            assert client.post("/", content=b"hello").content == b"hello"
            assert client.get("/slow").status_code == 200  # an answer may take longer than a head
        assert len(client.get("/large").content) == 10_000_000


def test_one_address_has_its_share_and_a_trusted_one_more(hasty: int) -> None:
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(connect(hasty, "127.0.0.2")) for _ in range(6)]
        waiting[0].settimeout(0.4)
        assert not waiting[0].recv(1)  # the oldest made place before its deadline
        held = [stack.enter_context(connect(hasty, "127.0.0.9")) for _ in range(10)]
        for one in held:
            one.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        for one in held:
            one.settimeout(5)
            assert one.recv(1000).startswith(b"HTTP/1.1 200")
        busy = [stack.enter_context(connect(hasty, "127.0.0.3")) for _ in range(5)]
        for one in busy:
            one.sendall(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        time.sleep(0.2)  # until they have come; who came first is not told
        with connect(hasty, "127.0.0.3") as refused:
            assert is_ended(refused, 0.4)
        for one in busy:
            one.settimeout(5)
            assert one.recv(1000).startswith(b"HTTP/1.1 200")


def test_nothing_is_left_of_what_has_ended() -> None:
    class Connection:
        transport = type("Transport", (), {"abort": lambda _: None, "is_closing": lambda _: False})()
        awaits_head = True
        networks: tuple[str, ...] = ()

        def __init__(self, host: str) -> None:
            self.client = (host, 1)

        def is_overdue(self, _now: float) -> bool:
            return False

    async def come_and_go() -> None:
        crowd = Connections(100, "127.0.0.0/8, ::1")
        every = [Connection(f"2001:db8:{number:x}::1") for number in range(300)]
        for one in every:
            assert crowd.admit(one)  # type: ignore[arg-type]
        assert len(crowd._all) == 100
        for one in every:
            crowd.forget(one)  # type: ignore[arg-type]
        assert not crowd._all
        assert not crowd._of_network
        for host in ("127.1.2.3", "::ffff:127.0.0.1", "::1"):
            trusted = Connection(host)
            crowd.admit(trusted)  # type: ignore[arg-type]
            assert trusted.networks == ()

    asyncio.run(come_and_go())
