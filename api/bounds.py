"""Bounds on everything that is public: how often one address may ask, and how much it may send."""

from __future__ import annotations

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

MAX_BODY_BYTES = 16 * 1024


class Bounds:
    """ASGI middleware that refuses what is too much, before any of it is parsed.

    Args:
        app: what is protected. The limits are its settings' (``orders_per_minute``, ``reads_per_minute``); each
            process counts for itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        settings = request.app.state.cascade.settings
        writes = request.method == "POST"
        limit = RateLimitItemPerMinute(settings.orders_per_minute if writes else settings.reads_per_minute)
        address = request.client.host if request.client else "unknown"
        if not self._limiter.hit(limit, "write" if writes else "read", address):
            detail = f"More than {limit.amount} such requests in a minute from your address. Wait a little."
            await problem(429, detail, headers={"retry-after": "60"})(scope, receive, send)
            return
        await self._app(scope, _bounded(receive), send)


def _bounded(receive: Receive) -> Receive:
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise HTTPException(413, f"A request has at most {MAX_BODY_BYTES:,} bytes.")
        return message

    return bounded
