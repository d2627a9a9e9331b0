"""The hub ends when it is told to, whatever it is told of at that moment: else the server could not be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from api.streams.hub import Hub
from cascade.db.database import Database
from cascade.db.event_streams import CITY, Topic

SECONDS = 3.0


@asynccontextmanager
async def serving(database: Database) -> AsyncIterator[tuple[Hub, asyncio.Task[None]]]:
    """A hub that has read what there is, and waits for news."""
    hub = Hub(database)
    task = asyncio.create_task(hub.run())
    async with hub.listening(Topic(CITY, ""), 0) as listener:
        assert await listener.next(SECONDS)
    await asyncio.sleep(0.05)
    yield hub, task


async def ends(task: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait([task], timeout=SECONDS)
    return bool(done)


@pytest.mark.parametrize("turns", range(6))
def test_a_word_that_comes_together_with_the_end_does_not_hide_it(database: Database, turns: int) -> None:
    """In one of the event loop's next turns the wait for the word is over, and nobody has gone on yet."""

    async def scenario() -> bool:
        async with serving(database) as (hub, task):
            hub._wake.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            return await ends(task)

    assert asyncio.run(scenario())


def test_it_ends_by_itself_when_it_is_told(database: Database) -> None:
    async def scenario() -> bool:
        async with serving(database) as (hub, task):
            hub.end()
            return await ends(task)

    assert asyncio.run(scenario())
