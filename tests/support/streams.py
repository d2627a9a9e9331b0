"""The application on a port, and readers of its streams that see what a browser would see."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

import httpx
import uvicorn

from api.main import create_app
from sandbox.ports import free_port

SOON_SECONDS = 5.0
"""Far less than what polling would take: who waits for longer was not woken."""
EVENT_SOURCE = {"accept": "text/event-stream"}


@dataclass
class Stream:
    """A stream that is open."""

    answer: httpx.Response
    lines: Iterator[str]

    def messages(self) -> Iterator[dict[str, Any]]:
        """Each message's id, event and data, until the stream ends."""
        fields: dict[str, str] = {}
        for line in self.lines:
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif not line and "data" in fields:
                yield {"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])}
                fields = {}

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next messages."""
        return list(islice(self.messages(), count))

    def numbers(self, count: int) -> list[int]:
        """The ids of the next messages."""
        return [message["id"] for message in self.take(count)]


@dataclass
class Api:
    """The application on a port."""

    client: httpx.Client

    @classmethod
    @contextlib.contextmanager
    def served(cls) -> Iterator[Self]:
        """Start it with the environment as it is."""
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(create_app(), port=port, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, name="api", daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the API did not start"
            thread.join(0.01)
        with cls.on(port) as api:
            yield api
        server.should_exit = True
        thread.join(10)

    @classmethod
    @contextlib.contextmanager
    def on(cls, port: int | str) -> Iterator[Self]:
        """Talk to one that was started."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=SOON_SECONDS, trust_env=False, limits=limits) as client:
            yield cls(client)

    @contextlib.contextmanager
    def stream(self, path: str, after: int | None = None, query: str = "") -> Iterator[Stream]:
        """Open a stream, for the time of the block."""
        headers = EVENT_SOURCE | ({} if after is None else {"last-event-id": str(after)})
        with self.client.stream("GET", path + query, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            yield Stream(answer, answer.iter_lines())

    def refusal(self, path: str, **headers: str) -> tuple[int, dict[str, Any], httpx.Headers]:
        """Status, problem and headers of a stream that is not opened."""
        with self.client.stream("GET", path, headers=EVENT_SOURCE | headers) as answer:
            assert answer.headers["content-type"] == "application/problem+json"
            return answer.status_code, json.loads(answer.read()), answer.headers

    def await_room(self, path: str) -> None:
        """Return when a stream can be opened again."""
        deadline = time.monotonic() + SOON_SECONDS
        while time.monotonic() < deadline:
            with self.client.stream("GET", path) as answer:
                if answer.status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("the stream that is gone still takes its room")
