"""Live streams of an order's life and of a citizen's notifications, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.dependencies import StreamHub, StreamRoom, may_ask_for_citizens
from api.problems import documented
from api.request_limits import StreamLimiter, address_of
from api.schemas.event_streams import ALIVE, RETRY
from api.streams.hub import Hub, Listener
from cascade.db.event_streams import CITIZEN, ORDER, Topic
from cascade.domain.orders import check_citizen_id
from cascade.errors import NotFound

ALIVE_SECONDS = 15.0
"""How long a stream is silent at most."""
_STREAM_SECONDS = 3600.0
"""Then it ends, and its reader comes back, perhaps to a process that has fewer of them."""
_STALLED_SECONDS = 30.0
_ORDER_ID = re.compile(r"ord_[a-z2-7]{26}")
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "A stream of events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


class EventStream(Response):
    """A stream of what is new of one topic.

    Args:
        hub: tells what is new.
        room: where streams are counted.
        topic: an order, a citizen or the city.
        after: the last number that the reader has seen; None: only what comes from now on.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, room: StreamLimiter, topic: Topic, after: int | None) -> None:
        self._hub, self._room, self._topic, self._after = hub, room, topic, after
        self.status_code, self.background = 200, None
        self.init_headers(
            {"content-type": self.media_type, "cache-control": "no-store", "x-accel-buffering": "no"}  # for nginx
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the reader is gone, the time is over or the server stops."""
        with self._room.taken(address_of(Request(scope))):
            async with self._hub.listening(self._topic, self._after) as listener:
                watch = asyncio.create_task(_end_when_gone(receive, listener))
                try:
                    await self._stream(listener, send)
                finally:
                    watch.cancel()

    async def _stream(self, listener: Listener, send: Send) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _STREAM_SECONDS
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send(_chunk(RETRY))
        while (left := until - loop.time()) > 0:
            messages = await listener.next(min(ALIVE_SECONDS, left))
            if messages is None:
                break
            for message in messages or [ALIVE]:
                try:
                    async with asyncio.timeout(_STALLED_SECONDS):
                        await send(_chunk(message))
                except TimeoutError:  # it is connected, but does not read: let it come back when it does
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _chunk(text: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": True}


async def _end_when_gone(receive: Receive, listener: Listener) -> None:
    with suppress(HTTPException):  # it sends more than a request may have
        while (await receive())["type"] != "http.disconnect":
            pass
    listener.end()


async def _seen(
    last_event_id: Annotated[int | None, Header(ge=0, le=2**31 - 1, description="As EventSource sends it")] = None,
    first: Annotated[
        int | None, Query(alias="last_event_id", ge=0, le=2**31 - 1, description="For the first time; the header wins")
    ] = None,
) -> int | None:
    """Return the last number that the reader has seen."""
    return first if last_event_id is None else last_event_id


Seen = Annotated[int | None, Depends(_seen)]

router = APIRouter(tags=["streams"])


@router.get(
    "/api/payments/orders/{order_id}/events",
    response_class=Response,
    responses=STREAM | documented(404, 422, 503),
)
async def order_events(order_id: str, seen: Seen, hub: StreamHub, room: StreamRoom) -> Response:
    """Return an order's life as it happens, from its first event or from the one after `Last-Event-ID` on.

    Each message has the event's number as `id`, its type as `event`, and as `data` JSON with `type`, `occurred_at` and
    `data`. The stream ends after an hour, or when the server stops; EventSource then goes on where it was.
    """
    if not _ORDER_ID.fullmatch(order_id):
        raise NotFound("There is no such order.")
    return EventStream(hub, room, Topic(ORDER, order_id), seen or 0)


@router.get(
    "/api/citizens/{citizen_id}/notifications/events",
    response_class=Response,
    responses=STREAM | documented(401, 403, 422, 503),
    dependencies=[Depends(may_ask_for_citizens)],
    include_in_schema=False,  # it has no end that a test of the whole document could wait for
)
async def notification_events(citizen_id: str, seen: Seen, hub: StreamHub, room: StreamRoom) -> Response:
    """Return what a citizen is told, as it happens, from now on or from the one after `Last-Event-ID` on.

    Each message has the notification's number as `id`, its type as `event`, and as `data` JSON with `type`,
    `occurred_at`, `data`, `number` and `read`.
    """
    check_citizen_id(citizen_id)
    return EventStream(hub, room, Topic(CITIZEN, citizen_id), seen)
