"""Runs the deliveries of a queue: at least once, many at a time, each destination apart, in order for each citizen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic

import psycopg

from cascade.db.database import OUTAGES, Conn, Database
from cascade.db.delivery_queue import D, DeliveryQueue
from cascade.domain.delivery_states import Problem, kind_of
from cascade.errors import DeliveryError, DeliveryRefused, NotDelivered
from cascade.workers.channel_base import AsyncDatabase, Channel
from cascade.workers.heartbeat import Heartbeat
from cascade.workers.retry_policy import RetryPolicy
from cascade.workers.supervisor import pause_after

log = logging.getLogger(__name__)

_THREADS = 4
"""For the database; names of hosts are looked up in others, which may hang."""
_MOST_AT_ONCE = 1000
LEASE_SECONDS = 15.0
"""After this silence another worker takes the deliveries over; a try that takes longer renews its lease meanwhile."""
_CHORES_SECONDS = 5.0
_SHUTDOWN_SECONDS = 5.0


class DeliveryLoop(Generic[D]):
    """Any number of them may run side by side, on any number of machines; each can be killed at any moment.

    Args:
        database: holds the queue.
        queue: whose deliveries.
        channels: by kind of destination. Made in the thread that runs, since their connections belong to its event
            loop.
        name: of the worker, for its threads and its heartbeat.
        poll_seconds: how often to look when nothing is notified.
        retries: how long something is tried.
    """

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue[D],
        channels: Callable[[AsyncDatabase], Mapping[str, Channel[D]]],
        *,
        name: str,
        poll_seconds: float,
        retries: RetryPolicy,
    ) -> None:
        self._database = database
        self._queue = queue
        self._make_channels = channels
        self.name = name
        self._poll_seconds = poll_seconds
        self._retries = retries
        self._in_flight: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[tuple[int, int], D] = {}

    def run(self, stop: threading.Event, heartbeat: Heartbeat | None = None) -> None:
        """Deliver until told to stop. Whatever goes wrong is reported, waited out and tried again."""
        asyncio.run(self._run(stop, heartbeat or Heartbeat(self.name)))

    async def _run(self, stop: threading.Event, heartbeat: Heartbeat) -> None:
        loop = asyncio.get_running_loop()
        # Names of hosts are looked up in the default threads: one that hangs must not hold up the others.
        loop.set_default_executor(ThreadPoolExecutor(64, thread_name_prefix="lookup"))
        self._wake = asyncio.Event()
        threading.Thread(target=self._hear_end, args=(stop, loop), name=f"{self.name} end", daemon=True).start()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix=self.name) as threads:
            self._transact = AsyncDatabase(self._database, threads)
            self._channels = self._make_channels(self._transact)
            self._renewing = asyncio.Lock()
            beside = [asyncio.create_task(self._listen()), asyncio.create_task(self._renew())]
            try:
                await self._deliver_until(stop, partial(loop.run_in_executor, threads), heartbeat)
            finally:
                beside[0].cancel()
                await self._end()
                beside[1].cancel()

    async def _deliver_until(
        self, stop: threading.Event, in_thread: Callable[..., Awaitable[None]], heartbeat: Heartbeat
    ) -> None:
        chores_at = 0.0
        while not stop.is_set():
            self._wake.clear()
            pause = self._poll_seconds
            try:
                if time.monotonic() >= chores_at:
                    chores_at = time.monotonic() + _CHORES_SECONDS
                    await self._do_chores()
                await self._start_due()
            except Exception as error:  # noqa: BLE001 - told, waited out and tried again
                await in_thread(heartbeat.fail, error)
                pause = pause_after(heartbeat.failures, self._poll_seconds)
            else:
                await in_thread(heartbeat.succeed)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)

    async def _start_due(self) -> None:
        """Start as many tries as there is room for, at each destination apart.

        Raises:
            Exception: the first that went wrong at a destination; the others went on.
        """
        faults = []
        for destination in await self._transact(self._queue.due):
            try:
                await self._start(destination)
            except OUTAGES:
                raise
            except Exception as error:  # noqa: BLE001 - the others must not wait for this one
                faults.append(error)
        if faults:
            raise faults[0]

    async def _start(self, destination: str) -> None:
        channel = self._channels[kind_of(destination)]
        room = min(channel.at_once - self._in_flight[destination], _MOST_AT_ONCE - len(self._tasks))
        if room <= 0:
            return
        claim = partial(self._queue.claim, destination=destination, limit=room, seconds=LEASE_SECONDS)
        claimed = await self._transact(claim)
        for delivery in claimed:
            self._in_flight[destination] += 1
            self._running[delivery.id, delivery.attempts] = delivery
            task = asyncio.create_task(self._try(channel, delivery))
            self._tasks.add(task)
            task.add_done_callback(self._note_end)

    async def _try(self, channel: Channel[D], delivery: D) -> None:
        """Make one try, and note what became of it."""
        begun = time.monotonic()
        error: DeliveryError | None = None
        try:
            async with asyncio.timeout(channel.seconds):
                await channel.deliver(delivery)
        except DeliveryError as refusal:
            error = refusal
        except TimeoutError:
            error = NotDelivered(f"no end within {channel.seconds:g} s")
        except psycopg.Error as failure:
            error = NotDelivered(f"{type(failure).__name__}: database")
        except Exception as surprise:
            log.exception("delivery %d to %s", delivery.id, delivery.destination)
            error = NotDelivered(f"{type(surprise).__name__}: see the log")
        finally:
            self._in_flight[delivery.destination] -= 1
            async with self._renewing:  # a renewal that is under way would overwrite the pause that follows
                self._running.pop((delivery.id, delivery.attempts), None)
        try:
            await self._conclude(channel, delivery, error, time.monotonic() - begun)
        except psycopg.Error as failure:  # the lease runs out by itself
            log.warning("delivery %d: %s: database", delivery.id, type(failure).__name__)

    async def _renew(self) -> None:
        """Keep what is being tried, so that a lease can be short: what a lost claim holds is due again soon."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            async with self._renewing:
                if not self._running:
                    continue
                tries = list(self._running.values())
                try:
                    await self._transact(partial(self._queue.renew, deliveries=tries, seconds=LEASE_SECONDS))
                except psycopg.Error as error:
                    log.info("leases of %d deliveries were not renewed: %s", len(tries), type(error).__name__)

    async def _conclude(self, channel: Channel[D], delivery: D, error: DeliveryError | None, seconds: float) -> None:
        pause = None
        if isinstance(error, NotDelivered):
            pause = self._retries.pause_after(delivery.age_seconds + seconds, channel.longest_pause_seconds)
            if pause is None:
                error = DeliveryRefused(str(error), error.problem or Problem.EXHAUSTED)

        def conclude(connection: Conn) -> None:
            if error is None:
                channel.on_delivered(connection, delivery)
            else:
                channel.on_failed(connection, delivery, error, pause)
            self._queue.log_attempt(connection, delivery, seconds, str(error) if error else None)

        await self._transact(conclude)
        if error is not None:
            what = "is parked" if pause is None else f"is tried again in {pause:.0f} s"
            log.warning("delivery %d to %s %s: %s", delivery.id, delivery.destination, what, error)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()  # there is room now, and the citizen's next delivery may be due

    async def _do_chores(self) -> None:
        """Do what comes up every few seconds beside deliveries; by default nothing."""

    async def _listen(self) -> None:
        """Wake up when something is enqueued. Only a hint: without it the next poll finds it."""
        while True:
            try:
                async with await self._database.listen(self._queue.channel) as connection:
                    self._wake.set()
                    async for _ in connection.notifies():
                        self._wake.set()
            except psycopg.Error as error:
                log.info("not woken by the database for a moment: %s", type(error).__name__)
            await asyncio.sleep(self._poll_seconds)

    def _hear_end(self, stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        while not stop.wait(_CHORES_SECONDS):
            if loop.is_closed():  # this run was ended by a fault; the next one has a thread of its own
                return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(self._wake.set)

    async def _end(self) -> None:
        """Let running tries end; those that take long are due again when their lease has run out."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_SHUTDOWN_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close()
