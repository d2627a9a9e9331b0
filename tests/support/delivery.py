"""Outgoing deliveries, for tests: dispatchers that run for a while, and a platform that receives."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cascade.adapters.email import Mailer
from cascade.adapters.texts import Texts
from cascade.adapters.venice import VeniceConnector
from cascade.adapters.webhooks import Webhooks, new_endpoint_id, new_secret
from cascade.chains import POLYGON
from cascade.db import webhook_endpoints
from cascade.db.database import Database
from cascade.domain.delivery_states import EMAIL, MESSAGE, WEBHOOK, OutboxMessage
from cascade.domain.order_events import EventType
from cascade.workers.channel_base import AsyncDatabase, Channel
from cascade.workers.credit_sender import CreditSender
from cascade.workers.delivery_loop import DeliveryLoop
from cascade.workers.notification_channels import EmailChannel, MessageChannel, WebhookChannel
from cascade.workers.outbox_dispatcher import OutboxDispatcher
from cascade.workers.retry_policy import RetryPolicy


@dataclass(frozen=True)
class DispatcherConfig:
    """How the dispatchers of a test are set: everything as in production, only faster."""

    venice_url: str | None = None
    venice_timeout_seconds: float = 0.5
    settle_seconds: float = 0.6
    webhook_timeout_seconds: float = 5.0
    disable_after_seconds: float = 3600.0
    smtp_url: str | None = None
    operator: str | None = None
    retries: RetryPolicy = field(default_factory=lambda: RetryPolicy(first_pause_seconds=0.02, expired_seconds=0))

    def dispatcher(self, database: Database, *, poll_seconds: float = 0.05) -> OutboxDispatcher:
        """A dispatcher, as bootstrap makes it."""

        def channels(transact: AsyncDatabase) -> dict[str, Channel[OutboxMessage]]:
            venice = None
            if self.venice_url is not None:
                venice = VeniceConnector(self.venice_url, timeout_seconds=self.venice_timeout_seconds)
            mailer = Mailer(self.smtp_url, "ducats@venice.example") if self.smtp_url else None
            webhooks = Webhooks(allow_private=True, timeout_seconds=self.webhook_timeout_seconds)
            return {
                MESSAGE: MessageChannel(venice, Texts(), POLYGON),
                EMAIL: EmailChannel(mailer, Texts(), POLYGON),
                WEBHOOK: WebhookChannel(
                    webhooks, transact, disable_after_seconds=self.disable_after_seconds, operator=self.operator
                ),
            }

        return OutboxDispatcher(database, channels, poll_seconds=poll_seconds, retries=self.retries)

    def credit_sender(self, database: Database, *, poll_seconds: float = 0.05) -> CreditSender:
        """A sender of credits, as bootstrap makes it."""
        return CreditSender(
            database,
            self.venice_url,
            settle_seconds=self.settle_seconds,
            poll_seconds=poll_seconds,
            retries=self.retries,
            venice_timeout_seconds=self.venice_timeout_seconds,
        )

    def workers(
        self, database: Database, only: str | None = None, *, poll_seconds: float = 0.05
    ) -> list[DeliveryLoop[Any]]:
        """A sender of credits and a dispatcher, or ``only`` one of them."""
        both: list[DeliveryLoop[Any]] = [
            self.credit_sender(database, poll_seconds=poll_seconds),
            self.dispatcher(database, poll_seconds=poll_seconds),
        ]
        return [worker for worker in both if only in (None, worker.name)]


@contextmanager
def dispatching(
    database: Database, wishes: DispatcherConfig, *, count: int = 1, only: str | None = None
) -> Iterator[None]:
    """Some senders of credits and dispatchers, or only some of one kind, side by side, for the time of the block."""
    stop = threading.Event()
    workers = [worker for _ in range(count) for worker in wishes.workers(database, only)]
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def deliver_all(
    database: Database, wishes: DispatcherConfig, *, seconds: float = 20.0, destination: str | None = None
) -> None:
    """Dispatch until nothing waits any more."""
    make_due(database)
    with dispatching(database, wishes):
        until(lambda: not rows(database, "pending", destination), seconds)


def until(holds: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Waits until something holds, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def make_due(database: Database) -> None:
    """Let nothing wait any longer; only while no worker runs, since it ends every lease."""
    with database.transaction() as connection:
        connection.execute("UPDATE credits SET due_at = now() WHERE state = 'pending'")
        connection.execute("UPDATE outbox SET due_at = now() WHERE state = 'pending'")


def rows(database: Database, state: str | None = None, destination: str | None = None) -> list[dict[str, Any]]:
    """Credits, whose destination is ``venice``, then the outbox, each oldest first."""
    found: list[dict[str, Any]] = []
    with database.transaction() as connection:
        for query in ("SELECT *, 'venice' AS destination FROM credits", "SELECT * FROM outbox"):
            found += connection.execute(
                f"SELECT * FROM ({query}) o WHERE (%(state)s::text IS NULL OR state = %(state)s)"
                " AND (%(to)s::text IS NULL OR destination = %(to)s) ORDER BY id".encode(),
                {"state": state, "to": destination},
            ).fetchall()
    return found


def told(database: Database, citizen: str = "Marco_Polo") -> list[dict[str, Any]]:
    """What a citizen was told, oldest first: type, order_id and data."""
    with database.transaction() as connection:
        return connection.execute(
            "SELECT e.type, e.order_id, e.data FROM notifications n JOIN order_events e"
            " ON (e.order_id, e.number) = (n.order_id, n.event_number) WHERE n.citizen_id = %s ORDER BY n.number",
            (citizen,),
        ).fetchall()


@dataclass
class WebhookEndpoint:
    """A platform's endpoint: a real server that keeps what it hears, and answers as a test wants."""

    server: ThreadingHTTPServer
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[bytes], int] = lambda _: 204
    """The status for a body; may wait."""
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end, so that an answer that waits for it ends."""

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Self]:
        """Listens on a free port."""
        hearer: Self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hearer.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = hearer.answer(body)
                try:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the sender did not wait

            def log_message(self, *_: Any) -> None:
                pass

        hearer = cls(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        hearer.server.daemon_threads = True
        thread = threading.Thread(target=hearer.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hearer
        finally:
            hearer.released.set()
            hearer.server.shutdown()
            thread.join()
            hearer.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/hooks"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was heard, in order."""
        return [json.loads(body) for _, body in self.heard]

    def of(self, citizen: str) -> list[dict[str, Any]]:
        """What was heard about a citizen, in order."""
        return [message for message in self.messages if message["data"]["citizen_id"] == citizen]


def add_endpoint(database: Database, url: str, events: Sequence[EventType] = ()) -> tuple[str, str]:
    """An endpoint of the platform's: its id and its secret."""
    endpoint_id, secret = new_endpoint_id(), new_secret()
    with database.transaction() as connection:
        webhook_endpoints.insert(connection, endpoint_id, url, events, secret)
    return endpoint_id, secret
