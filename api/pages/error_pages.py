"""Problems as pages: a browser gets a page where a program gets ``application/problem+json``."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Final

import jinja2
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.pages.rendering import language_of, sold_by, templates
from cascade.domain.seller import Seller

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_FOR_PROGRAMS: Final = re.compile(r"/(api|static|health|openapi\.json)(/.*)?")
_KEPT: Final = ("allow", "retry-after")
"""Headers of a problem that its page has too."""
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "vary": "Accept, Accept-Language, Cookie",
}
"""The page of a status 500 is sent outside of the middleware that adds headers, so it brings them along."""
_LAST_RESORT: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Something went wrong</title>"
    "<h1>Something went wrong on our side</h1><p>Nothing was charged. Try again in a moment.</p>"
    '<p><a href="/pay">Buy ducats</a></p>'
)


class ErrorPages:
    """ASGI middleware that turns a problem into a page, for a browser that asked for one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or not wants_page(scope["path"], Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        is_replaced = False

        async def send_page(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_replaced = headers.get("content-type") == MEDIA_TYPE
                if is_replaced:
                    await page_of(Request(scope), message["status"], headers)(scope, receive, send)
            if not is_replaced:
                await send(message)

        await self._app(scope, receive, send_page)


def wants_page(path: str, headers: Headers) -> bool:
    """Return whether a person reads the answer: a browser asks for HTML, and not for something of the API's."""
    return "text/html" in headers.get("accept", "").lower() and not _FOR_PROGRAMS.fullmatch(path)


def page_instead(request: Request, problem: Response) -> Response:
    """Return the page of a problem for a person, and the problem itself for a program."""
    is_read = wants_page(request.url.path, request.headers)
    return page_of(request, problem.status_code, problem.headers) if is_read else problem


def page_of(request: Request, status: int, headers: Headers | MutableHeaders | None = None) -> Response:
    """Return the page of a status. It shows nothing of the request, and asks nothing of the database."""
    kept = {name: headers[name] for name in _KEPT if headers and name in headers}
    try:
        content = _rendered(language_of(request), _kind(status), request.app.state.app.settings.seller)
    except (jinja2.TemplateError, OSError) as exc:
        log.error("the page of status %d cannot be written: %s", status, exc)
        content = _LAST_RESORT
    return HTMLResponse(content, status, _HEADERS | kept)


@cache
def _rendered(language: str, kind: str, seller: Seller) -> str:
    words = {"kind": kind, "language": language, **sold_by(language, seller)}
    return templates(language).get_template("error.html").render(words)


def _kind(status: int) -> str:
    """Return which of the template's texts tells of a status."""
    if status in (404, 405, 410):
        return "missing"
    if status == 429:
        return "busy"
    if status in (502, 503, 504):
        return "away"
    return "ours" if status >= 500 else "unclear"
