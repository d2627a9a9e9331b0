"""The application: ``uvicorn api.main:app``. Settings are read when it starts, not when it is imported."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.idempotency import Settlements
from api.pages import payment_page, rate_page, shop_page
from api.pages.error_pages import ErrorPages
from api.request_limits import RequestLimits, StreamLimiter
from api.routes import (
    authorizations,
    card,
    citizens,
    economics,
    event_streams,
    health,
    links,
    payments,
    stripe_webhook,
    wallet,
)
from api.streams.hub import Hub
from api.trailing_slashes import Slashes
from cascade import __version__, settings
from cascade.bootstrap import assemble
from cascade.db.database import REQUESTS, check_schema
from cascade.services.card_checkout import CardCheckout
from cascade.settings import Settings

STATIC = Path(__file__).parent / "pages" / "static"

HEADERS = {
    "cross-origin-opener-policy": "same-origin-allow-popups",  # some wallets open a window of their own
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def content_security_policy(card: CardCheckout | None, settings: Settings) -> str:
    """Return the policy by which a page runs only its own files, is framed by nobody and talks to us alone.

    Its one form leads, by a redirect, to Stripe's page: Chromium holds `form-action` against the redirect too. With
    WalletConnect it may also talk to the relay, and Reown's has a frame beside it that attests our address to wallets.
    """
    checkout = "".join(f" {origin}" for origin in card.stripe.checkout_origins) if card else ""
    relay = frame = ""
    if settings.walletconnect_project_id is not None:
        url = urlsplit(settings.walletconnect_relay_url)
        relay = f" {url.scheme}://{url.netloc}"
        # static/built/walletconnect.js asks for it by the same rule.
        frame = " frame-src https://verify.walletconnect.org;" if url.netloc.endswith(".walletconnect.org") else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        f" connect-src 'self'{relay};{frame}"
        f" form-action 'self'{checkout}; base-uri 'none'; frame-ancestors 'none'"
    )


class Headers:
    """ASGI middleware that adds the headers of every answer, where the answer does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if scope["path"].startswith("/static/"):
                    headers.setdefault("cache-control", "no-cache")  # kept, and asked for again with its ETag
                app = scope["app"].state.app
                policy = content_security_policy(app.card, app.settings)
                for name, value in {"content-security-policy": policy, **HEADERS}.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    """Assemble the parts, and connect to the database for as long as the application runs."""
    app = assemble(settings.load(), REQUESTS)
    try:
        app.database.open()
        check_schema(app.database)
    except BaseException:
        app.database.close()
        raise
    api.state.app = app
    api.state.settlements = Settlements(app.database)
    api.state.room = StreamLimiter(app.settings.streams, app.settings.streams_per_address)
    hub = api.state.hub = Hub(app.database, start=app.checkout.start)
    serving = asyncio.create_task(hub.run())
    try:
        with _hearing_signals(hub.end):
            yield
    finally:
        hub.end()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        app.database.close()
        app.wallets.close()
        if app.signed_payments is not None:
            app.signed_payments.close()


@contextmanager
def _hearing_signals(act: Callable[[], None]) -> Iterator[None]:
    """Act when a signal ends the server: it waits for open streams, and tells the application only after them."""
    if threading.current_thread() is not threading.main_thread():  # signals are not heard elsewhere
        yield
        return
    loop = asyncio.get_running_loop()
    heard = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)
        server = heard[signal.Signals(number)]
        if callable(server):
            server(number, frame)

    servers = [number for number, handler in heard.items() if callable(handler)]
    for number in servers:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number in servers:
            signal.signal(number, heard[number])


def create_app() -> FastAPI:
    """Return a new application; it reads its settings when it starts."""
    app = FastAPI(
        title="Cascade Payments",
        version=__version__,
        summary="Ducats, the credit of Venice, for cards and stablecoins.",
        lifespan=lifespan,
        docs_url=None,  # both viewers load scripts from a third party
        redoc_url=None,
        redirect_slashes=False,  # the framework's redirect follows the Host header
    )
    app.add_middleware(Slashes)
    app.add_middleware(GZipMiddleware)
    app.add_middleware(RequestLimits)
    app.add_middleware(ErrorPages)  # around the bounds: what they refuse is told to people too
    app.add_middleware(Headers)  # around the bounds: what they refuse has headers too
    problems.install(app)
    for money in (payments, authorizations, wallet, card, stripe_webhook, links):
        app.include_router(money.router)
    for other in (citizens, economics, event_streams, health, shop_page, payment_page, rate_page):
        app.include_router(other.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


app = create_app()
