"""Serve all listeners to orders, citizens and the city by one task over one connection to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
from starlette.exceptions import HTTPException
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from api.schemas.event_streams import city_message, message
from cascade.db.database import Database
from cascade.db.event_streams import CITY, Feeds, News, Topic
from cascade.domain.ducat_rate import START, Rate
from cascade.errors import NotFound
from cascade.rate.city_state import read_city

log = logging.getLogger(__name__)

POLL_SECONDS = 15.0
"""How often everything is read again, in case the database's word was lost."""
_OPEN_SECONDS = 2.0
_READ_SECONDS = 5.0
_SHORTEST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 3.0
_TOPICS_AT_ONCE = 500
_CITY = Topic(CITY, "")


class Listener:
    """One who listens. It holds what one read has found at most: no more is read for it before it has taken that.

    Args:
        topic: what it listens to.
        after: it is told of larger numbers only; None: of what comes from now on.
        ask: called when it has room for more of the topic.
    """

    __slots__ = ("_ask", "_behind", "_messages", "_rest", "after", "ended", "exists", "topic")

    def __init__(self, topic: Topic, after: int | None, ask: Callable[[Topic], None]) -> None:
        self.topic = topic
        self.after = after
        self.exists: bool | None = None
        """Whether there is such a topic; None until it was looked for."""
        self.ended = False
        self._ask = ask
        self._behind = False
        self._messages: list[bytes] = []
        self._rest: asyncio.Future[None] | None = None

    async def found(self, seconds: float) -> bool | None:
        """Return whether there is such a topic; None when that could not be found out in time."""
        if self.exists is None and not self.ended:
            await self._wait(seconds)
        return self.exists

    async def next(self, seconds: float) -> list[bytes] | None:
        """Return what is new, as soon as there is something; nothing when the time is over, and None at the end."""
        if not self._messages and not self.ended:
            await self._wait(seconds)
        messages, self._messages = self._messages, []
        if self._behind:
            self._behind = False
            self._ask(self.topic)
        return messages or (None if self.ended else [])

    def has_room(self) -> bool:
        """Return whether it has taken all that it was told; otherwise it asks again when it has."""
        self._behind = bool(self._messages)
        return not self._messages

    def tell(self, news: News | None, messages: list[tuple[int, bytes]]) -> None:
        """Give it what is new for it.

        Args:
            news: of its topic; None: there is no such topic.
            messages: the news' items with their numbers, ready to be sent.
        """
        if self.ended:
            return
        is_first, self.exists = self.exists is None, news is not None
        if news is not None:
            after = news.last if self.after is None else self.after
            self._messages = [text for number, text in messages if number > after]
            self.after = max(after, messages[-1][0]) if messages else after
            self.ended = news.untold
            self._behind = news.more
            if news.more and not self._messages:
                self._ask(self.topic)
        if is_first or self._messages or self.ended:
            self._rouse()

    def end(self) -> None:
        """Tell it nothing more; the listener comes back with the last number that it has seen."""
        self.ended = True
        self._messages = []
        self._rouse()

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._rest = loop.create_future()
        timer = loop.call_later(seconds, self._rouse)
        try:
            await self._rest
        finally:
            timer.cancel()
            self._rest = None

    def _rouse(self) -> None:
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)


class Hub:
    """Reads what is new once for all who listen to it, when the database says so and now and then.

    Args:
        database: where events and notifications are stored.
        start: the rate before the first tick.
        poll_seconds: how often everything is read even though the database said nothing.
    """

    def __init__(self, database: Database, *, start: Rate = START, poll_seconds: float = POLL_SECONDS) -> None:
        self._database = database
        self._start = start
        self._poll_seconds = poll_seconds
        self._listeners: dict[Topic, set[Listener]] = {}
        self._due: dict[Topic, None] = {}  # a set that keeps its order, so that everybody's turn comes
        self._wake = asyncio.Event()
        self._ended = False

    @asynccontextmanager
    async def listening(self, topic: Topic, after: int | None) -> AsyncIterator[Listener]:
        """Listen for the time of the block, which begins when the topic has been read for the first time.

        Args:
            topic: an order, a citizen or the city.
            after: tell of larger numbers only; None: of what comes from now on.

        Raises:
            NotFound: there is no such order.
            HTTPException: 503, the database does not answer, or this process is being stopped.
        """
        listener = Listener(topic, after, self._ask)
        if self._ended:
            listener.end()
        self._listeners.setdefault(topic, set()).add(listener)
        self._ask(topic)
        try:
            exists = await listener.found(_OPEN_SECONDS)
            if exists is None:
                detail = "The stream cannot be opened right now. Try again in a moment."
                raise HTTPException(503, detail, {"retry-after": "5"})
            if not exists:
                raise NotFound("There is no such order.")
            yield listener
        finally:
            others = self._listeners[topic]
            others.discard(listener)
            if not others:
                del self._listeners[topic]

    def end(self) -> None:
        """End every stream, open no more, and stop serving."""
        self._ended = True
        self._wake.set()
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.end()

    async def run(self) -> None:
        """Serve until the end. A lost connection is replaced, and all is read again: nothing is lost."""
        connect = AsyncRetrying(
            retry=retry_if_exception_type(Exception),
            wait=wait_random_exponential(multiplier=2 * _SHORTEST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
            before_sleep=_say_why,
        )
        while not self._ended:
            await connect(self._serve_once)
            await asyncio.sleep(_SHORTEST_PAUSE_SECONDS)

    async def _serve_once(self) -> None:
        """Serve until the connection is lost; raises only when it never served."""
        async with Feeds.opened(self._database) as feeds:
            self._due.update(dict.fromkeys(self._listeners))
            while self._due:
                await self._read_due(feeds)
            try:
                await self._serve(feeds)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("streams lost their connection to the database: %s", type(error).__name__)
            except Exception:
                log.exception("streams")

    async def _serve(self, feeds: Feeds) -> None:
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + self._poll_seconds
        while not self._ended:
            self._wake.clear()
            for topic in feeds.heard():
                self._ask(topic)
            if loop.time() >= poll_at:
                self._due.update(dict.fromkeys(self._listeners))
                poll_at = loop.time() + self._poll_seconds
            if self._due:
                await self._read_due(feeds)
            else:
                await feeds.wait(self._wake, poll_at - loop.time())

    async def _read_due(self, feeds: Feeds) -> None:
        """Read once, for those who have room. A listener that comes meanwhile asks again."""
        asked: dict[Topic, list[Listener]] = {}
        for topic in list(self._due)[:_TOPICS_AT_ONCE]:
            del self._due[topic]
            waiting = [listener for listener in self._listeners.get(topic, ()) if listener.has_room()]
            if waiting:
                asked[topic] = waiting
        async with asyncio.timeout(_READ_SECONDS):  # a host that is gone without a word answers never
            found = await feeds.read({topic: _least(waiting) for topic, waiting in asked.items()})
            city = await read_city(feeds.connection) if _CITY in asked else None
        messages = {topic: [(item.number, message(item)) for item in news.items] for topic, news in found.items()}
        if city is not None:
            found[_CITY] = News(city.number)
            messages[_CITY] = [(city.number, city_message(city, self._start))]
        for topic, waiting in asked.items():
            for listener in waiting:
                listener.tell(found.get(topic), messages.get(topic, []))

    def _ask(self, topic: Topic) -> None:
        if topic in self._listeners:
            self._due[topic] = None
            self._wake.set()


def _least(listeners: list[Listener]) -> int | None:
    return min((listener.after for listener in listeners if listener.after is not None), default=None)


def _say_why(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("streams cannot reach the database yet: %s", type(error).__name__)
