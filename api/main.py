"""The application: ``uvicorn api.main:app``. Settings are read when it starts, not when it is imported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from api import problems
from api.bounds import Bounds
from api.routes import card, citizens, health, pay, payments
from cascade import __version__, settings
from cascade.bootstrap import assemble
from cascade.card_checkout import CardCheckout

STATIC = Path(__file__).parent / "checkout" / "static"

HEADERS = {
    "cross-origin-opener-policy": "same-origin-allow-popups",  # some wallets open a window of their own
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def content_security_policy(card: CardCheckout | None) -> str:
    """The page runs nothing but its own files, may be framed by nobody, and talks to nobody but us.

    Its one form leads, by a redirect, to Stripe's page: Chromium holds `form-action` against the redirect too.
    """
    checkout = f" {card.stripe.checkout_origin}" if card else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        f" form-action 'self'{checkout}; base-uri 'none'; frame-ancestors 'none'"
    )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Assemble the parts, and connect to the database for as long as the application runs."""
    cascade = assemble(settings.load())
    cascade.database.open()
    app.state.cascade = cascade
    try:
        yield
    finally:
        cascade.database.close()


def create_app() -> FastAPI:
    """A new application; it reads its settings when it starts."""
    app = FastAPI(
        title="Cascade Payments",
        version=__version__,
        summary="Ducats, the credit of Venice, for cards and stablecoins.",
        lifespan=lifespan,
        docs_url=None,  # both viewers load scripts from a third party
        redoc_url=None,
    )
    app.add_middleware(Bounds)
    problems.install(app)
    for module in (payments, card, citizens, health, pay):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.middleware("http")
    async def set_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.setdefault("content-security-policy", content_security_policy(app.state.cascade.card))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


app = create_app()
