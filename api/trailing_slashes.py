"""Addresses with a slash too much lead to the right one; the answer never names a host."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """ASGI middleware that redirects `/shop/` to `/shop`.

    The framework's own redirect is absolute and takes its host from the request: with a forged `Host` header it leads
    elsewhere. This one is relative, and begins with exactly one slash: two would name a host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        path = scope["path"] if scope["type"] == "http" else ""
        if not path.endswith("/") or not path.strip("/"):
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        target = "/" + quote(path.strip("/"), safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")
        await RedirectResponse(target, 307)(scope, receive, send)
