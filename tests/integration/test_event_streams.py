"""Streams of orders and notifications over the real application and a real database."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.routes import event_streams as routes
from api.streams import hub as hub_module
from api.streams.hub import Hub, Listener
from cascade.db import order_events
from cascade.db.database import Conn, Database
from cascade.db.event_streams import MOST, ORDER, Feeds, News, Topic
from cascade.domain.order_events import EventType
from cascade.domain.orders import Order
from sandbox.ports import free_port
from tests.support.concurrency import run_concurrently
from tests.support.purchases import open_order
from tests.support.streams import SOON_SECONDS, Api


@pytest.fixture
def serve(environment: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Api]]:
    """Starts the application; keyword arguments become CASCADE_ variables."""
    with contextlib.ExitStack() as stack:

        def start(**variables: str) -> Api:
            given = {"public_balances": "true", "reads_per_minute": "100000", "streams_per_address": "1000"} | variables
            for name, value in given.items():
                monkeypatch.setenv(f"CASCADE_{name.upper()}", value)
            return stack.enter_context(Api.served())

        yield start


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    return serve()


@pytest.fixture
def order(database: Database) -> Order:
    return open_order(database).order


def path_of(order: Order) -> str:
    return f"/api/payments/orders/{order.id}/events"


def inbox_of(citizen: str) -> str:
    return f"/api/citizens/{citizen}/notifications/events"


def tell(database: Database, order: Order, *keys: object, **data: Any) -> None:
    """Appends an event for each key, in one transaction."""
    with database.transaction() as connection:
        for key in keys:
            assert order_events.append(connection, order.id, EventType.ORDER_SEEN, str(key), {"key": key, **data})


def notify(connection: Conn, order: Order, key: object) -> None:
    event = order_events.append(connection, order.id, EventType.ORDER_FULFILLED, str(key), {"key": key})
    assert event is not None
    order_events.notify(connection, order.citizen_id, event)


def seen(database: Database, order: Order) -> int:
    """How many events an order has: opening it may have told of it already."""
    with database.transaction() as connection:
        query = "SELECT count(*) AS count FROM order_events WHERE order_id = %s"
        row = connection.execute(query, (order.id,)).fetchone()
        return int(row["count"]) if row else 0


def test_an_event_arrives_when_it_is_committed(api: Api, database: Database, order: Order) -> None:
    before = seen(database, order)
    with api.stream(path_of(order), before) as stream:
        headers = stream.answer.headers
        assert headers["content-type"] == "text/event-stream"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert headers["x-content-type-options"] == "nosniff"
        assert next(stream.lines) == "retry: 2000"
        tell(database, order, "first", note="two\nlines")
        told = stream.take(1)[0]
    assert (told["id"], told["event"], told["type"]) == (before + 1, "order.seen", "order.seen")
    assert told["data"] == {"key": "first", "note": "two\nlines"}
    assert told["occurred_at"].endswith("Z")


@pytest.mark.parametrize(("header", "query"), [(2, ""), (None, "?last_event_id=2"), (2, "?last_event_id=4")])
def test_a_reader_gets_what_it_missed_and_then_what_comes(
    api: Api, database: Database, order: Order, header: int | None, query: str
) -> None:
    tell(database, order, *range(5 - seen(database, order)))
    with api.stream(path_of(order), 5) as other, api.stream(path_of(order), header, query) as stream:
        assert stream.numbers(3) == [3, 4, 5]
        tell(database, order, "live")
        assert stream.numbers(1) == [6]
        assert other.numbers(1) == [6]  # what is read for one is told to nobody twice


def test_an_order_is_told_from_its_beginning_in_order_however_much_it_is(
    api: Api, database: Database, order: Order
) -> None:
    count = 2 * MOST + 50
    tell(database, order, *range(count - seen(database, order)))
    with api.stream(path_of(order)) as stream:
        assert stream.numbers(count) == list(range(1, count + 1))
        for key in range(count, count + 20):
            tell(database, order, key)
        assert stream.numbers(20) == list(range(count + 1, count + 21))


@pytest.mark.parametrize("order_id", ["ord_" + "a" * 26, "x"])
def test_an_unknown_order_is_not_found_before_a_stream_begins(api: Api, order_id: str) -> None:
    status, body, _ = api.refusal(f"/api/payments/orders/{order_id}/events")
    assert (status, body["detail"]) == (404, "There is no such order.")


@pytest.mark.parametrize("last", ["-1", "x", "", "1.5", str(2**31)])
def test_a_last_event_id_is_a_number_of_ours(api: Api, order: Order, last: str) -> None:
    status, body, _ = api.refusal(path_of(order), **{"last-event-id": last})
    assert (status, body["field"]) == (422, "last-event-id")


def test_a_lost_database_connection_loses_nothing(api: Api, database: Database, order: Order) -> None:
    before = seen(database, order)
    with api.stream(path_of(order), before) as stream:
        for turn in range(3):
            with database.transaction() as connection:
                query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
                assert connection.execute(query + " AND datname = current_database()", ("cascade_feeds",)).rowcount == 1
                order_events.append(connection, order.id, EventType.ORDER_SEEN, f"in between {turn}", {})
            assert stream.numbers(1) == [before + 2 * turn + 1]  # nobody heard of it: it was read
            tell(database, order, turn)
            assert stream.numbers(1) == [before + 2 * turn + 2]


def test_what_is_committed_later_than_what_came_after_it_is_seen(api: Api, database: Database, order: Order) -> None:
    other = open_order(database, citizen="Other").order
    with (
        api.stream(path_of(order), seen(database, order)) as late,
        api.stream(path_of(other), seen(database, other)) as early,
    ):
        with database.transaction() as connection:
            order_events.append(connection, order.id, EventType.ORDER_SEEN, "begun first", {"key": "begun first"})
            tell(database, other, "committed first")
            assert early.take(1)[0]["data"]["key"] == "committed first"
        assert late.take(1)[0]["data"]["key"] == "begun first"


def test_rivals_are_all_seen_in_order(api: Api, database: Database, order: Order) -> None:
    orders = [order, *(open_order(database).order for _ in range(3))]
    with api.stream(path_of(order), before := seen(database, order)) as life, api.stream(inbox_of("Marco_Polo")) as box:

        def act(i: int) -> None:
            for turn in range(5):
                tell(database, order, f"{i} {turn}")
                with database.transaction() as connection:
                    notify(connection, orders[1 + i % 3], f"{i} {turn}")

        run_concurrently(4, act)
        assert life.numbers(20) == list(range(before + 1, before + 21))
        assert box.numbers(20) == list(range(1, 21))


def test_a_citizen_hears_of_what_comes_or_of_what_was_missed(api: Api, database: Database, order: Order) -> None:
    with database.transaction() as connection:
        notify(connection, order, "old")
        order_events.mark_read(connection, order.citizen_id, 1)
    with api.stream(inbox_of(order.citizen_id)) as stream, api.stream(inbox_of(order.citizen_id), 0) as resumed:
        with database.transaction() as connection:
            notify(connection, order, "new")
        told = stream.take(1)[0]
        assert (told["id"], told["number"], told["event"], told["read"]) == (2, 2, "order.fulfilled", False)
        assert told["data"] == {"key": "new"}
        assert [(m["number"], m["read"]) for m in resumed.take(2)] == [(1, True), (2, False)]


def test_a_citizens_stream_is_for_those_who_may_read_it(serve: Callable[..., Api], order: Order) -> None:
    api = serve(public_balances="false", api_key="k" * 32)
    assert api.refusal(inbox_of("Marco_Polo"))[0] == 401
    assert api.refusal(inbox_of("%3Cb%3E"), authorization="Bearer " + "k" * 32)[0] == 422
    with api.stream(path_of(order)):  # whoever knows an order may see it
        pass


def test_streams_of_one_address_are_bounded(serve: Callable[..., Api], order: Order) -> None:
    api = serve(streams_per_address="2")
    with api.stream(path_of(order)):
        with api.stream(path_of(order)):
            status, body, headers = api.refusal(path_of(order))
            assert (status, headers["retry-after"]) == (429, "5")
            assert "has 2 streams open" in body["detail"]
        api.await_room(path_of(order))


def test_all_streams_are_bounded(serve: Callable[..., Api], order: Order) -> None:
    api = serve(streams="1")
    assert api.refusal("/api/payments/orders/x/events")[0] == 404  # and takes no room
    with api.stream(path_of(order)):
        status, _, headers = api.refusal(path_of(order))
        assert (status, headers["retry-after"]) == (503, "5")
    api.await_room(path_of(order))


def test_who_does_not_read_delays_nobody_and_is_let_go(
    serve: Callable[..., Api], database: Database, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_STALLED_SECONDS", 0.5)
    api = serve(streams_per_address="2")
    before = seen(database, order)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", api.client.base_url.port or 0))
        stalled.sendall(f"GET {path_of(order)} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        assert stalled.recv(12) == b"HTTP/1.1 200"
        with api.stream(path_of(order), before) as reader:
            for key in range(40):  # more than the system keeps for who does not read
                tell(database, order, key, much="x" * 250_000)
                assert reader.numbers(1) == [before + key + 1]
            api.await_room(path_of(order))


def test_no_more_is_read_for_a_listener_that_has_not_taken_what_it_was_told() -> None:
    async def listen() -> None:
        asked: list[Topic] = []
        topic = Topic(ORDER, "ord_x")
        listener = Listener(topic, 0, asked.append)
        listener.tell(News(2), [(1, b"1"), (2, b"2")])
        assert not listener.has_room()
        assert asked == []
        assert await listener.next(1) == [b"1", b"2"]
        assert (asked, listener.after, listener.has_room()) == ([topic], 2, True)

    asyncio.run(listen())


def test_200_listeners_share_one_connection_and_each_read(
    api: Api, database: Database, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [open_order(database).order for _ in range(20)]
    before = seen(database, order)

    def connections() -> list[str]:
        with database.transaction() as connection:
            query = "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database()"
            return sorted(row["name"] for row in connection.execute(query).fetchall())

    idle = connections()
    assert idle.count("cascade_feeds") == 1
    with contextlib.ExitStack() as stack:
        streams = [
            *(stack.enter_context(api.stream(path_of(order), before)) for _ in range(180)),
            *(stack.enter_context(api.stream(path_of(other), before)) for other in others),
        ]
        reads: list[int] = []
        read = Feeds.read

        async def counted(self: Feeds, after: dict[Topic, int | None]) -> dict[Topic, News]:
            reads.append(len(after))
            return await read(self, after)

        monkeypatch.setattr(Feeds, "read", counted)
        with database.transaction() as connection:
            for told in (order, *others):
                order_events.append(connection, told.id, EventType.ORDER_SEEN, "all", {})
        assert [stream.numbers(1) for stream in streams] == [[before + 1]] * 200
        assert connections() == idle
    assert sum(reads) < 100  # 21 topics, perhaps once more by looking


def test_what_is_notified_while_a_read_runs_is_heard(database: Database, database_url: str, order: Order) -> None:
    async def listen() -> set[Topic]:
        async with Feeds.opened(database) as feeds:
            with psycopg.connect(database_url) as blocker:
                blocker.execute("LOCK order_events IN ACCESS EXCLUSIVE MODE")
                reading = asyncio.create_task(feeds.read({Topic(ORDER, order.id): 0}))
                await asyncio.sleep(0.1)
                with psycopg.connect(database_url) as other:
                    other.execute("NOTIFY cascade_feeds, 'order:meanwhile'")
                assert not reading.done()
            await reading
            return feeds.heard()

    assert Topic(ORDER, "meanwhile") in asyncio.run(listen())


def test_what_the_database_does_not_tell_is_found_by_looking(database: Database, order: Order) -> None:
    before = seen(database, order)

    async def listen() -> list[bytes] | None:
        hub = Hub(database, poll_seconds=0.2)
        serving = asyncio.create_task(hub.run())
        async with hub.listening(Topic(ORDER, order.id), before) as listener:
            with database.transaction() as connection:
                connection.execute("SET LOCAL session_replication_role = replica")  # no trigger, so no word
                order_events.append(connection, order.id, EventType.ORDER_SEEN, "quiet", {})
            found = await listener.next(SOON_SECONDS)
        serving.cancel()
        return found

    found = asyncio.run(listen())
    assert found is not None
    assert len(found) == 1


def test_an_event_of_a_newer_release_ends_its_own_stream_only(api: Api, database: Database, order: Order) -> None:
    other = open_order(database).order
    before = seen(database, order)
    with api.stream(path_of(order), before) as ending, api.stream(path_of(other), before) as going_on:
        tell(database, order, "known")
        with database.transaction() as connection:
            connection.execute(
                "INSERT INTO order_events (order_id, number, type, key, data)"
                " VALUES (%s, %s, 'order.gifted', '', '{}')",
                (order.id, before + 2),
            )
        assert [message["id"] for message in ending.messages()] == [before + 1]
        tell(database, other, "known")
        assert going_on.numbers(1) == [before + 1]


def test_a_silent_stream_is_kept_alive_and_ends_by_itself(
    api: Api, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(routes, "_STREAM_SECONDS", 0.5)
    with api.stream(path_of(order), 2**31 - 1) as stream:
        assert list(stream.lines).count(": alive") in range(2, 6)


def test_no_stream_is_opened_while_the_database_does_not_answer(
    environment: Path, serve: Callable[..., Api], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Database, channel: str) -> None:
        raise psycopg.OperationalError("down")

    monkeypatch.setattr(Database, "listen", fail)
    monkeypatch.setattr(hub_module, "_OPEN_SECONDS", 0.2)
    status, _, headers = serve().refusal(path_of(order))
    assert (status, headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("command", "number"),
    [(["uvicorn", "api.main:app", "--port"], signal.SIGINT), (["cascade", "api"], signal.SIGTERM)],
)
def test_streams_end_at_once_when_the_server_is_stopped(
    environment: Path, order: Order, monkeypatch: pytest.MonkeyPatch, command: list[str], number: signal.Signals
) -> None:
    port = str(free_port())
    monkeypatch.setenv("CASCADE_PORT", port)
    arguments = [*command, port] if command[-1] == "--port" else command
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Api.on(port) as api:
            while True:
                with contextlib.suppress(httpx.ConnectError):
                    api.client.get("/api/payments/pricing")
                    break
                assert process.poll() is None
                time.sleep(0.02)
            with api.stream(path_of(order), 2**31 - 1) as stream:
                assert next(stream.lines) == "retry: 2000"
                process.send_signal(number)
                stopped = time.monotonic()
                assert list(stream.messages()) == []  # it ends in order: nothing is raised
            process.wait(SOON_SECONDS)
            assert time.monotonic() - stopped < 3
    finally:
        process.kill()
        process.wait()
