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
WEBHOOK_PATH = "/api/payments/webhook"
MAX_WEBHOOK_BYTES = 1024 * 1024
"""Stripe names no limit; its largest events have tens of kilobytes."""


class Bounds:
    """ASGI middleware that refuses what is too much, before any of it is parsed.

    Args:
        app: what is protected. The limits are its settings' (``orders_per_minute``, ``reads_per_minute``,
            ``webhooks_per_minute``); each process counts for itself.
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
        if "\0" in scope["path"]:  # no name of ours, and nothing that PostgreSQL could look up
            await problem(404, "There is nothing at this address.")(scope, receive, send)
            return
        kind, most_bytes = "read", MAX_BODY_BYTES
        if request.method == "POST":
            kind, most_bytes = (
                ("webhook", MAX_WEBHOOK_BYTES) if scope["path"] == WEBHOOK_PATH else ("order", MAX_BODY_BYTES)
            )
        limit = RateLimitItemPerMinute(getattr(settings, f"{kind}s_per_minute"))
        address = request.client.host if request.client else "unknown"
        if not self._limiter.hit(limit, kind, address):
            detail = f"More than {limit.amount} such requests in a minute from your address. Wait a little."
            await problem(429, detail, headers={"retry-after": "60"})(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, most_bytes), send)


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
