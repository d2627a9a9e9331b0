"""Events are posted to a real HTTP server, and nowhere where they must not go."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cascade.adapters import webhooks
from cascade.adapters.webhooks import Webhooks, new_endpoint_id, new_secret
from cascade.domain.delivery_states import Problem
from cascade.errors import DeliveryError, DeliveryRefused, NotDelivered

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOT_HTTP = "the answer is not HTTP, or ended before it began"
SECRET, OLDER = new_secret(), new_secret()
PAYLOAD = {"type": "order.fulfilled", "data": {"order_id": "ord_1", "citizen_id": "mărco", "ducats": "250.1"}}
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """What a receiver got."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """A real server on this machine."""

    port: int = 0
    got: list[Request] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?key=in-the-path"


@asynccontextmanager
async def receiving(answer: bytes | Answer = OK, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver that answers each request with these bytes, or as a function does."""
    receiver = Receiver()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        receiver.connections += 1
        try:
            line, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
            receiver.got.append(Request(line, headers, await reader.readexactly(int(headers["content-length"]))))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def post(
    url: str, *, secrets: Sequence[str] = (SECRET,), message_id: str = "evt_1_1", **options: Any
) -> Coroutine[Any, Any, None]:
    """One try of a `Webhooks` of its own."""

    async def once() -> None:
        sender = Webhooks(options.pop("allow_private", True), options.pop("timeout_seconds", 5), **options)
        try:
            await sender.send(url, secrets, message_id, PAYLOAD)
        finally:
            await sender.close()

    return once()


def refusal(answer: bytes | Answer, **options: Any) -> DeliveryError:
    """The error that an answer leads to."""

    async def once() -> DeliveryError:
        async with receiving(answer) as receiver:
            with pytest.raises(DeliveryError) as raised:
                await post(receiver.url, **options)
            return raised.value

    return asyncio.run(once())


def posted(tries: int = 1, **options: Any) -> list[Request]:
    """What a receiver that accepts everything gets."""

    async def all_of_them() -> list[Request]:
        async with receiving() as receiver:
            for _ in range(tries):
                await post(receiver.url, **options)
            return receiver.got

    return asyncio.run(all_of_them())


# Signatures


@pytest.mark.parametrize("secret", [SECRET, OLDER], ids=["newer", "older"])
def test_the_published_verifier_accepts_a_message_with_each_secret(secret: str) -> None:
    (request,) = posted(secrets=[SECRET, OLDER])
    assert Webhook(secret).verify(request.body, request.headers) == PAYLOAD
    assert request.line == "POST /hooks?key=in-the-path HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert re.fullmatch(r"Cascade-Payments/\d+\.\d+\.\d+", request.headers["user-agent"])
    assert re.fullmatch(r"v1,\S+ v1,\S+", request.headers["webhook-signature"])


def test_the_published_verifier_refuses_what_was_not_signed_so() -> None:
    (request,) = posted()
    forged = request.body.replace(b"250.1", b"999.9")
    assert forged != request.body
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(forged, request.headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(OLDER).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(request.body, request.headers | {"webhook-id": "evt_1_2"})
    later = str(int(request.headers["webhook-timestamp"]) + 60)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(request.body, request.headers | {"webhook-timestamp": later})


def test_the_published_verifier_refuses_a_message_of_six_minutes_ago() -> None:
    (request,) = posted(clock=lambda: time.time() - 360)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(request.body, request.headers)


def test_a_message_is_the_same_at_every_try_and_signed_anew() -> None:
    moments = iter([time.time() - 100, time.time()])
    first, second = posted(tries=2, clock=lambda: next(moments))
    seen = {first.headers["webhook-id"]}
    assert second.headers["webhook-id"] in seen  # how a receiver tells a repetition
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    for request in (first, second):
        Webhook(SECRET).verify(request.body, request.headers)


def test_the_body_does_not_depend_on_the_order_of_keys() -> None:
    async def both() -> list[Request]:
        async with receiving() as receiver:
            sender = Webhooks(True)
            await sender.send(receiver.url, [SECRET], "evt_1_1", {"b": "ă", "a": {"d": 1, "c": 2}})
            await sender.send(receiver.url, [SECRET], "evt_1_1", {"a": {"c": 2, "d": 1}, "b": "ă"})
            await sender.close()
            return receiver.got

    first, second = asyncio.run(both())
    assert first.body == second.body == '{"a":{"c":2,"d":1},"b":"ă"}'.encode()


def test_the_payload_is_json() -> None:
    (request,) = posted()
    assert json.loads(request.body) == PAYLOAD
    assert request.body == json.dumps(PAYLOAD, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_nothing_is_sent_unsigned() -> None:
    async def attempt() -> int:
        async with receiving() as receiver:
            with pytest.raises(DeliveryRefused, match="no secret"):
                await post(receiver.url, secrets=[])
            return receiver.connections

    assert asyncio.run(attempt()) == 0


def test_secrets_and_ids_have_their_forms() -> None:
    assert new_secret() != new_secret()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{32}", new_secret())
    assert new_endpoint_id() != new_endpoint_id()
    assert re.fullmatch(r"ep_[a-z2-7]{16}", new_endpoint_id())


# Answers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_accepted(status: int) -> None:
    async def attempt() -> None:
        async with receiving(f"HTTP/1.1 {status} Fine\r\n\r\n".encode()) as receiver:
            await post(receiver.url)

    asyncio.run(attempt())


@pytest.mark.parametrize("status", [300, 400, 401, 404, 409, 429, 500, 503])
def test_anything_else_is_tried_again(status: int) -> None:
    error = refusal(f"HTTP/1.1 {status} No\r\nContent-Length: 6\r\n\r\nwhsec_".encode())
    assert isinstance(error, NotDelivered)
    assert str(error) == f"answered {status}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    async def attempt() -> None:
        async with receiving() as elsewhere:
            moved = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
            async with receiving(moved.encode()) as receiver:
                with pytest.raises(NotDelivered, match=f"answered {status}"):
                    await post(receiver.url)
            assert (len(receiver.got), elsewhere.connections) == (1, 0)

    asyncio.run(attempt())


def test_a_receiver_that_is_gone_wants_an_operator() -> None:
    error = refusal(b"HTTP/1.1 410 Gone\r\n\r\n")
    assert isinstance(error, DeliveryRefused)
    assert error.problem == Problem.ENDPOINT_DISABLED
    assert "is gone" in str(error)


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(300):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_receiver_cannot_hold_a_try_longer_than_its_time(answer: Answer) -> None:
    began = time.monotonic()
    error = refusal(answer, timeout_seconds=0.5)
    assert isinstance(error, NotDelivered)
    assert str(error) == "no answer within 0.5 s"
    assert time.monotonic() - began < 3


def test_a_server_that_never_shakes_hands_cannot_hold_a_try_either() -> None:
    async def attempt() -> None:
        held = asyncio.Event()

        async def listen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await held.wait()
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        with pytest.raises(NotDelivered, match=r"no answer within 0\.4 s"):
            await post(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_seconds=0.4)
        held.set()
        server.close()

    asyncio.run(attempt())


def test_a_name_server_that_hangs_cannot_hold_a_try_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, port: int) -> list[str]:
        time.sleep(1)
        return ["127.0.0.1"]

    monkeypatch.setattr(webhooks, "resolve", resolve)
    with pytest.raises(NotDelivered, match=r"no answer within 0\.2 s"):
        asyncio.run(post("https://hooks.example.org/", timeout_seconds=0.2))


def flooding(sent: list[int], head: bytes) -> Answer:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while sent[0] < 50_000_000:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent[0] += 65_536

    return flood


def test_a_huge_head_is_not_read_to_its_end() -> None:
    error = refusal(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n")
    assert isinstance(error, NotDelivered)
    assert str(error) == "the head of the answer has more than 16,384 bytes"


def test_endless_beginnings_are_not_read_to_their_end() -> None:
    error = refusal(b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000 + OK)
    assert str(error) == "the head of the answer has more than 16,384 bytes"


def test_a_huge_body_is_left_where_it_is() -> None:
    sent = [0]

    async def attempt() -> None:
        async with receiving(flooding(sent, b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")) as receiver:
            await post(receiver.url)
            await asyncio.sleep(0.1)

    asyncio.run(attempt())
    assert sent[0] < 20_000_000  # what fits into the buffers in between


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"", NOT_HTTP),
        (b"220 SMTP whsec_abc\r\n", NOT_HTTP),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", NOT_HTTP),
    ],
)
def test_odd_answers_are_tried_again_and_not_quoted(answer: bytes, text: str) -> None:
    error = refusal(answer)
    assert isinstance(error, NotDelivered)
    assert str(error) == text


def test_a_closed_port_is_tried_again(unused_port: int) -> None:
    with pytest.raises(NotDelivered, match=r"^could not connect$"):
        asyncio.run(post(f"http://127.0.0.1:{unused_port}/"))


@pytest.fixture
def unused_port() -> int:
    async def find() -> int:
        async with receiving() as receiver:
            return receiver.port

    return asyncio.run(find())


def test_errors_name_neither_secrets_nor_the_path() -> None:
    async def close_at_once(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    answers: list[bytes | Answer] = [b"HTTP/1.1 500 No\r\n\r\n" + SECRET.encode(), b"HTTP/1.1 410 Gone\r\n\r\n"]
    for answer in [*answers, b"junk", close_at_once]:
        error = refusal(answer)
        assert SECRET not in str(error)
        assert "in-the-path" not in str(error)


def test_no_connection_is_used_twice() -> None:
    async def twice() -> int:
        async with receiving(OK) as receiver:
            sender = Webhooks(True)
            for _ in range(2):
                await sender.send(receiver.url, [SECRET], "evt_1_1", PAYLOAD)
            await sender.close()
            return receiver.connections

    assert asyncio.run(twice()) == 2


def test_receivers_that_hang_delay_no_other() -> None:
    async def attempt() -> None:
        async with receiving(hang) as dead, receiving() as alive:
            sender = Webhooks(True, 1)
            tries = [asyncio.create_task(sender.send(dead.url, [SECRET], "evt_1_1", PAYLOAD)) for _ in range(30)]
            while len(dead.got) < len(tries):
                await asyncio.sleep(0.01)
            await sender.send(alive.url, [SECRET], "evt_1_1", PAYLOAD)
            assert not any(one.done() for one in tries)
            ends = await asyncio.gather(*tries, return_exceptions=True)
            assert {str(end) for end in ends} == {"no answer within 1 s"}
            await sender.close()

    asyncio.run(attempt())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(posted()) == 1
