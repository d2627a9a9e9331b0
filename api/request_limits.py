"""Bounds on everything that is public: how often one address may ask, and how much it may send."""

from __future__ import annotations

import logging
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.network_counters import Counts, Shares
from api.problems import problem

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 * 1024
WEBHOOK_PATH = "/api/payments/webhook"
FILES_PATH = "/static/"
"""Counted apart from other reads, up to the same limit: the page that says "too often" has a stylesheet too."""
CITIZENS_PATH = "/api/citizens/"
"""What is posted there opens no order, and comes from the platform's server alone."""
CONVERT_PATH = "/api/economics/convert"
"""Reads, although it is posted."""
SIGNALS_PATH = "/api/economics/signals"
AUTHORIZATION = re.compile(r"/api/payments/orders/[^/]+/(authorization|wallet|permit)")
"""Each such request asks the node, and the first may cost us a payment's fees."""
MAX_SIGNALS_BYTES = 256 * 1024
MAX_WEBHOOK_BYTES = 1024 * 1024
"""Stripe names no limit; its largest events have tens of kilobytes."""
PICTURE_COST = 10
"""A picture counts for so many reads: it takes that much longer to draw."""
_OTHER_FILES = 256
"""Open files that everything but streams may need."""


class RequestLimits:
    """ASGI middleware that refuses what is too much, before any of it is parsed.

    Args:
        app: what is protected. The limits are its settings' (``orders_per_minute``, ``reads_per_minute``,
            ``webhooks_per_minute``, ``signals_per_minute``, ``authorizations_per_minute``); each process counts for
            itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._counts = Counts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        settings = request.app.state.app.settings
        if "\0" in scope["path"]:  # no name of ours, and nothing that PostgreSQL could look up
            await problem(404, "There is nothing at this address.")(scope, receive, send)
            return
        kind, most_bytes = _kind_of(request.method, scope["path"])
        most = getattr(settings, f"{'read' if kind == 'file' else kind}s_per_minute")
        cost = PICTURE_COST if scope["path"].endswith(".svg") else 1
        if not self._counts.take(kind, address_of(request), most, cost):
            detail = f"More than {most} such requests in a minute from your address. Wait a little."
            await problem(429, detail, headers={"retry-after": "60"})(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, most_bytes), send)


def _kind_of(method: str, path: str) -> tuple[str, int]:
    """Return which limit a request counts for, and how many bytes it may have."""
    if path.startswith(FILES_PATH):
        return "file", MAX_BODY_BYTES
    if path == WEBHOOK_PATH:
        return "webhook", MAX_WEBHOOK_BYTES
    if path == SIGNALS_PATH:
        return "signal", MAX_SIGNALS_BYTES
    if AUTHORIZATION.fullmatch(path):
        return "authorization", MAX_BODY_BYTES
    opens_order = method == "POST" and path != CONVERT_PATH and not path.startswith(CITIZENS_PATH)
    return "order" if opens_order else "read", MAX_BODY_BYTES


class StreamLimiter:
    """Streams that are open in this process; it bounds them.

    Args:
        streams: most at once. Each is an open file: where the system allows this process fewer, there are fewer.
        per_address: most from one IPv4 address or one /64 of IPv6.
    """

    def __init__(self, streams: int, per_address: int) -> None:
        self._most = _allowed_by_system(streams)
        self._most_each = per_address
        self._shares = Shares(per_address)
        self._all = 0

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """Take one more stream from an address, for the time of the block.

        Raises:
            HTTPException: 503 when all are taken, 429 when that address has taken its share.
        """
        again = {"retry-after": "5"}
        if self._all >= self._most:
            raise HTTPException(
                503, f"All {self._most} streams of this server are taken. Try again in a moment.", again
            )
        if self._shares.is_full(address):
            detail = f"Your address has {self._most_each} streams open, which is the most. Close one first."
            raise HTTPException(429, detail, again)
        self._all += 1
        self._shares.take(address)
        try:
            yield
        finally:
            self._all -= 1
            self._shares.give_back(address)


def address_of(request: Request) -> str:
    """Return the address that the bounds are counted for."""
    return request.client.host if request.client else "unknown"


def _allowed_by_system(streams: int) -> int:
    """Return how many streams this process may have open, once its limit of open files is raised as far as is
    needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return streams
    wanted = streams + _OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < wanted:
        streams = max(1, soft - _OTHER_FILES)
        log.warning("%d open files allow %d streams, not CASCADE_STREAMS: raise the limit (ulimit -n)", soft, streams)
    return streams


def _bounded(receive: Receive, most_bytes: int) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most_bytes:
            raise HTTPException(413, f"A request has at most {most_bytes:,} bytes.")
        return message

    return bounded
