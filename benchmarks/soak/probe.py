"""Watches the API from outside, in a process of its own: three requests every 200 ms, each with its answer and time.

python -m benchmarks.soak.probe http://127.0.0.1:8000 samples.jsonl

Runs until its standard input is closed. A process of its own is not slowed down by the payers' threads.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import orjson

from benchmarks.soak.judge import Sample

PERIOD_SECONDS = 0.2
PATIENCE_SECONDS = 15.0
HEALTH, READ, WRITE = "GET health", "GET order", "POST order"
_AT_ONCE = 300
_ORDER = {"citizen_id": "Soak_probe", "package": "starter", "token": "USDC"}
_PATH = "/api/payments/crypto-payment-intent"


def read(path: Path) -> Iterator[Sample]:
    """The samples of a file; a last line that is not whole is left out."""
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield Sample(*orjson.loads(line))


class Probe:
    """Asks without waiting for earlier answers, up to a bound."""

    def __init__(self, client: httpx.AsyncClient, out: IO[bytes]) -> None:
        self._client = client
        self._out = out
        self._order_id: str | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, over: asyncio.Event) -> None:
        """Ask until told to stop, then wait for what was asked."""
        due = time.monotonic()
        while not over.is_set():
            if len(self._running) < _AT_ONCE:
                self._begin()
            due += PERIOD_SECONDS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*self._running)

    def _begin(self) -> None:
        requests = [
            (HEALTH, self._client.build_request("GET", "/health")),
            (WRITE, self._client.build_request("POST", _PATH, json=_ORDER)),
        ]
        if self._order_id is not None:
            path = f"/api/payments/orders/{self._order_id}"
            requests.append((READ, self._client.build_request("GET", path)))
        for route, request in requests:
            task = asyncio.create_task(self._ask(route, request))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _ask(self, route: str, request: httpx.Request) -> None:
        sent_at, begun = time.time(), time.monotonic()
        status, retry_after, degraded, body = 0, False, False, {}
        try:
            answer = await self._client.send(request)
            status, retry_after = answer.status_code, "retry-after" in answer.headers
            body = _json(answer)
        except httpx.HTTPError:
            pass
        if route == HEALTH:
            degraded = status == httpx.codes.SERVICE_UNAVAILABLE and body.get("status") == "degraded"
        elif status == httpx.codes.CREATED:
            self._order_id = str(body["order_id"])
        seconds = time.monotonic() - begun
        self._out.write(orjson.dumps((route, sent_at, seconds, status, retry_after, degraded)) + b"\n")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _watch(url: str, path: Path) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, over.set)  # readable: closed, since nobody writes
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    with open(path, "ab", buffering=0) as out:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, trust_env=False, limits=limits) as client:
            await Probe(client, out).run(over)


if __name__ == "__main__":
    asyncio.run(_watch(sys.argv[1], Path(sys.argv[2])))
