"""The HTTP server: Starlette on uvicorn, in a thread, on 127.0.0.1 only."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.stripe import pages
from sandbox.stripe.api import Api, Call
from sandbox.stripe.control import VERBS, Control
from sandbox.stripe.errors import StripeRefusal
from sandbox.stripe.payer import Answer, Payer, as_page

_START_WITHIN_SECONDS: Final = 10.0
_STOP_WITHIN_SECONDS: Final = 10.0
_HOSTS: Final = ["127.0.0.1", "localhost"]  # a foreign page that resolves its own name to us is refused


class _Protocol(H11Protocol):
    """uvicorn's own, and a way for the application to reset the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_hang_up(scope: Any, receive: Any, send: Any) -> None:
            scope["hang_up"] = lambda: _reset(transport)
            await app(scope, receive, send)

        self.app = with_hang_up


def _reset(transport: asyncio.Transport) -> None:
    open_socket = transport.get_extra_info("socket")
    if open_socket is not None:
        open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Server:
    """Serves until it is stopped."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, api: Api, payer: Payer, control: Control, on_change: Callable[[], None]) -> None:
        """Begins; returns once it answers. `on_change` is called after every request."""
        config = uvicorn.Config(
            _Doors(api, payer, control, on_change).application(), http=_Protocol, log_config=None, access_log=False,
            lifespan="off", date_header=False, timeout_graceful_shutdown=1, server_header=False, ws="none",
        )  # fmt: skip
        self._uvicorn = uvicorn.Server(config)
        started = self._uvicorn
        self._thread = threading.Thread(
            target=started.run, kwargs={"sockets": [self._socket]}, name="stripe double", daemon=True
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_START_WITHIN_SECONDS / 0.01)):
            if started.started:
                return
            waited.wait(0.01)
        raise TimeoutError(f"The double of Stripe did not start within {_START_WITHIN_SECONDS} seconds")

    def stop(self) -> None:
        """Ends; may be called twice."""
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.should_exit = True
            self._thread.join(_STOP_WITHIN_SECONDS)
        self._socket.close()


class _Doors:
    """What is answered where."""

    def __init__(self, api: Api, payer: Payer, control: Control, on_change: Callable[[], None]) -> None:
        self._api = api
        self._payer = payer
        self._control = control
        self._on_change = on_change

    def application(self) -> Starlette:
        both = ["GET", "POST"]
        return Starlette(
            routes=[
                Route("/v1/{path:path}", self._v1, methods=["GET", "POST", "DELETE"]),
                Route("/c/pay/{session_id}", self._checkout, methods=both),
                Route("/authenticate/{intent_id}", self._authenticate, methods=both),
                Route("/_double/{verb}", self._controlled, methods=["POST"]),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False)],
        )

    async def _v1(self, request: Request) -> Response:
        form = "&".join(part for part in (request.url.query, await _text(request)) if part)
        call = Call(request.method, request.url.path, form, dict(request.headers))
        reply = await run_in_threadpool(self._api.answer, call)
        self._on_change()
        return _HangUp() if reply.hang_up else JSONResponse(reply.body, reply.status, reply.headers)

    async def _checkout(self, request: Request) -> Response:
        session_id, form = request.path_params["session_id"], await _text(request)
        if request.method == "POST":
            return await self._shown(lambda: self._payer.send_checkout(session_id, form))
        return await self._shown(lambda: self._payer.open_checkout(session_id))

    async def _authenticate(self, request: Request) -> Response:
        intent_id, query, form = request.path_params["intent_id"], request.url.query, await _text(request)
        if request.method == "POST":
            return await self._shown(lambda: self._payer.send_authentication(intent_id, query, form))
        return await self._shown(lambda: self._payer.open_authentication(intent_id, query))

    async def _shown(self, act: Callable[[], Answer]) -> Response:
        try:
            answer = await run_in_threadpool(act)
        except StripeRefusal as refusal:
            answer = as_page(refusal)
        self._on_change()
        if answer.location is not None:
            return RedirectResponse(answer.location, answer.status, pages.HEADERS)
        return HTMLResponse(answer.page, answer.status, pages.HEADERS)

    async def _controlled(self, request: Request) -> Response:
        verb = request.path_params["verb"]
        if verb not in VERBS:
            return JSONResponse({"error": f"no such verb; there are {', '.join(VERBS)}"}, 404)
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            # No page of a stranger can send this type here without asking first.
            return JSONResponse({"error": "send application/json"}, 415)
        return await run_in_threadpool(_controlled, self._control, verb, await request.body())


async def _text(request: Request) -> str:
    return (await request.body()).decode(errors="replace")


class _HangUp(Response):
    """No answer: the connection is reset."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002  ASGI's signature
        scope["hang_up"]()
        await receive()  # the disconnect


def _controlled(control: Control, verb: str, body: bytes) -> Response:
    act = getattr(control, verb)
    try:
        arguments = json.loads(body or b"{}")
        inspect.signature(act).bind(**arguments)
        return JSONResponse({"result": act(**arguments)})
    except StripeRefusal as refusal:
        return JSONResponse(refusal.body, refusal.status)
    except (TypeError, ValueError, TimeoutError) as error:
        return JSONResponse({"error": str(error)}, 400)
