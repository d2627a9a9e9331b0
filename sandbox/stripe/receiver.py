"""The other end of a webhook, for tests: keeps what it is told and answers as it is told to."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from sandbox.stripe.errors import Json


@dataclass(frozen=True)
class Received:
    """One request: the raw body, its `Stripe-Signature`, and the answer that it was given."""

    body: bytes
    signature: str
    status: int
    at_seconds: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> Json:
        """The body, read and not verified."""
        event: Json = json.loads(self.body)
        return event


class WebhookReceiver:
    """A server on a free port of 127.0.0.1. `answers` are the statuses of the next requests; then it is 200."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[int] = []
        self.most_at_once = 0
        """How many requests were under way at the same time, at the most."""
        self.answers_after_seconds = 0.0
        self._under_way = 0
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhook"

    @property
    def types(self) -> list[str]:
        """The types of the events, in the order of their arrival."""
        with self._changed:
            return [str(received.event["type"]) for received in self.received]

    def wait_for(self, count: int, timeout_seconds: float = 10.0) -> list[Received]:
        """Waits until this many requests have come; raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.received) >= count, timeout_seconds):
                raise TimeoutError(f"{len(self.received)} of {count} webhooks came within {timeout_seconds} seconds")
            return list(self.received)

    def stop(self) -> None:
        """Ends; may be called twice."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _take(self, body: bytes, signature: str) -> int:
        with self._changed:
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
            status = self.answers.pop(0) if self.answers else 200
        if self.answers_after_seconds:
            time.sleep(self.answers_after_seconds)
        with self._changed:
            self._under_way -= 1
            self.received.append(Received(body, signature, status))
            self._changed.notify_all()
        return status


def _handler_for(receiver: WebhookReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name is http.server's
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver._take(body, self.headers.get("Stripe-Signature", ""))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    return Handler
