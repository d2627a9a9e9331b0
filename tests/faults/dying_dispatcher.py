"""A dispatcher and a sender of credits in a process of their own that kills itself in the middle of its work."""

from __future__ import annotations

import threading
import time
from multiprocessing.context import ForkServerProcess

import psycopg

from cascade.db.database import Database
from tests.faults.dying import FORK, die_before
from tests.support.delivery import DispatcherConfig

WAITING = {
    "credit sender": "SELECT 1 FROM credits WHERE state = 'pending'",
    "dispatcher": "SELECT 1 FROM outbox WHERE state = 'pending'",
}


def dispatch_until_killed(
    url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float, only: str | None
) -> None:
    """Delivers what is due until nothing waits, for some seconds at most; sends itself a signal instead of the message
    with this number. ``only``: one kind of worker."""
    database, stop = Database(url, connections=5), threading.Event()
    database.open()

    def end_when_done() -> None:
        awaited = [WAITING[only]] if only else list(WAITING.values())
        with psycopg.connect(url, autocommit=True) as watch:  # its messages are not counted
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and any(watch.execute(query.encode()).fetchone() for query in awaited):
                time.sleep(0.05)
        stop.set()

    if messages is not None:
        die_before(messages, wish)
    workers = wishes.workers(database, only, poll_seconds=0.5)  # seldom: looking sends messages too
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    for thread in [*threads, threading.Thread(target=end_when_done)]:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()


def spawn(
    url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float = 10.0, only: str | None = None
) -> ForkServerProcess:
    process = FORK.Process(target=dispatch_until_killed, args=(url, wishes, messages, wish, seconds, only))
    process.start()
    return process
