"""`Idempotency-Key`: the same request again, with the same key, gets the same answer and makes nothing twice.

An answer is kept for 24 hours when the request made something (a status below 400). Of eight requests at once one is
answered, and the others wait for its answer. A request that made nothing, and a server that crashed, free the key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import anyio
from Crypto.Cipher import AES
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from api.problems import documented, problem
from api.request_limits import WEBHOOK_PATH, address_of
from cascade.db import idempotency
from cascade.db.database import OUTAGES, Database
from cascade.db.idempotency import MOST_ANSWER_BYTES, Claim
from cascade.errors import InvalidInput

log = logging.getLogger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "idempotency-replayed"
WAIT_SECONDS: Final = 5.0
"""Bounds the wait of a request for the answer of the same request."""
_LOOK_SECONDS: Final = 0.1
_AGAIN_SECONDS: Final = 1.0
_MOST_UNSETTLED: Final = 10_000
_KEY: Final = re.compile(r"[\x20-\x7e]{1,255}")
_KEPT: Final = ("content-type", "location")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": (
        "Any text of your own, such as a UUID. The same request again with the same key gets the same answer for 24"
        " hours, and makes nothing twice; another request with that key is refused (422). While the first one is still"
        " being answered: 409, with Retry-After."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x20-\x7e]+$"},
}
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POST requests may carry a key; Stripe's webhook has ids of its own."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._takes_keys = "POST" in (options.get("methods") or ()) and not path.endswith(WEBHOOK_PATH)
        if self._takes_keys:
            extra = options.get("openapi_extra") or {}
            options["openapi_extra"] = {**extra, "parameters": [*extra.get("parameters", ()), _PARAMETER]}
            options["responses"] = {**documented(409, 422), **(options.get("responses") or {})}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """Return the handler of a request, around which keys are looked after."""
        handler = super().get_route_handler()
        return partial(_handle, handler) if self._takes_keys else handler


async def _handle(handler: Handler, request: Request) -> Response:
    keys = request.headers.getlist(HEADER)
    if not keys:
        return await handler(request)
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidInput(HEADER, "An Idempotency-Key is one text of 1 to 255 printable ASCII characters.")
    database: Database = request.app.state.app.database
    asked = await _asked(request, keys[0])
    seal = _Seal(asked.caller, keys[0])
    claim, answer = await _claim(database, asked)
    if claim is Claim.REVOKED:
        return await handler(request)
    if claim is Claim.OTHER:
        raise InvalidInput(HEADER, "This Idempotency-Key was used for another request. Send this one with a new key.")
    if claim is Claim.RUNNING:
        detail = "The same request is being answered at this moment. Send it again, with the same key, in a second."
        return problem(409, detail, headers={"retry-after": "1"})
    if answer is not None:
        return seal.open(answer)
    return await _answer(request.app.state.settlements, asked, seal, partial(handler, request))


async def _asked(request: Request, key: str) -> idempotency.Request:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    is_known = scheme.lower() == "bearer" and credentials
    # A key's hash is the one that the list of keys holds, so that one which was revoked is found.
    caller = credentials.strip() if is_known else f"address {address_of(request)}"
    target = request.url.path + "?" + request.url.query
    digest = hashlib.sha256(f"{request.method} {target}\n".encode() + await request.body())
    return idempotency.Request(_sha256(caller), _sha256(key), digest.digest(), secrets.token_bytes(16))


async def _claim(database: Database, asked: idempotency.Request) -> tuple[Claim, bytes | None]:
    """Ask for a key, and wait a little for the answer of a request that holds it."""

    def claim() -> tuple[Claim, bytes | None]:
        with database.transaction() as connection:
            return idempotency.claim(connection, asked)

    found = await run_in_threadpool(claim)
    with anyio.move_on_after(WAIT_SECONDS):
        while found[0] is Claim.RUNNING:
            await anyio.sleep(_LOOK_SECONDS)
            found = await run_in_threadpool(claim)
    return found


async def _answer(
    settlements: Settlements,
    asked: idempotency.Request,
    seal: _Seal,
    handle: Callable[[], Coroutine[Any, Any, Response]],
) -> Response:
    """Answer a request that holds its key, and store the answer before it is sent."""
    sealed = None
    try:
        response = await handle()
        sealed = seal.close(response) if response.status_code < 400 else None
    finally:
        with anyio.CancelScope(shield=True):
            await settlements.settle(asked, sealed)
    return response


class Settlements:
    """Stores answers and frees keys; what the database did not take while it was away, it is given when it is back.

    Else a request that an outage interrupted would be told to wait until its key frees itself, long after it.

    Args:
        database: holds the keys.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[tuple[idempotency.Request, bytes | None]] = deque(maxlen=_MOST_UNSETTLED)
        self._task: asyncio.Task[None] | None = None

    async def settle(self, asked: idempotency.Request, sealed: bytes | None) -> None:
        """Store the sealed answer of a request, or free its key where there is none."""
        if await run_in_threadpool(self._settle, asked, sealed):
            return
        self._waiting.append((asked, sealed))  # of too many the oldest is dropped, and frees itself
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._settle_waiting())

    async def _settle_waiting(self) -> None:
        """Settle one after the other, so that one thread at most waits for a database that is away."""
        while self._waiting:
            await asyncio.sleep(_AGAIN_SECONDS)
            while self._waiting:
                asked, sealed = self._waiting.popleft()
                if not await run_in_threadpool(self._settle, asked, sealed):
                    self._waiting.appendleft((asked, sealed))
                    break

    def _settle(self, asked: idempotency.Request, sealed: bytes | None) -> bool:
        try:
            with self._database.transaction() as connection:
                if sealed is None:
                    idempotency.release(connection, asked)
                else:
                    idempotency.store(connection, asked, sealed)
        except OUTAGES as error:  # what was made stays made
            log.warning("an answer to a request with a key could not be stored yet: %s", type(error).__name__)
            return False
        return True


class _Seal:
    """Encrypts answers with the caller's own key, which is not stored: they hold client secrets and private links."""

    def __init__(self, caller: bytes, key: str) -> None:
        self._secret = hashlib.sha256(b"cascade idempotency answer\n" + caller + key.encode()).digest()

    def close(self, response: Response) -> bytes | None:
        """Return an answer sealed; None when it is too large to be stored."""
        headers = {name: response.headers[name] for name in _KEPT if name in response.headers}
        body = base64.b64encode(bytes(response.body)).decode()
        plain = json.dumps({"status": response.status_code, "headers": headers, "body": body}).encode()
        if len(plain) + _NONCE_BYTES + _TAG_BYTES > MOST_ANSWER_BYTES:
            return None
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed, tag = AES.new(self._secret, AES.MODE_GCM, nonce=nonce).encrypt_and_digest(plain)
        return nonce + tag + sealed

    def open(self, answer: bytes) -> Response:
        """Return an answer as it was given."""
        nonce, tag = answer[:_NONCE_BYTES], answer[_NONCE_BYTES : _NONCE_BYTES + _TAG_BYTES]
        cipher = AES.new(self._secret, AES.MODE_GCM, nonce=nonce)
        kept = json.loads(cipher.decrypt_and_verify(answer[_NONCE_BYTES + _TAG_BYTES :], tag))
        headers = Headers(kept["headers"] | {REPLAYED: "true"})
        return Response(base64.b64decode(kept["body"]), kept["status"], headers)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
