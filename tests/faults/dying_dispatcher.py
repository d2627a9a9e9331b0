"""A dispatcher in a process of its own that kills itself in the middle of its work."""

from __future__ import annotations

import threading
import time
from multiprocessing.context import ForkServerProcess

import psycopg

from cascade.db.database import Database
from tests.faults.dying import FORK, die_before
from tests.support.delivery import DispatcherConfig

WAITING = "SELECT 1 FROM outbox WHERE state = 'pending'"


def dispatch_until_killed(url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float) -> None:
    """Delivers what is due until nothing waits, for some seconds at most; sends itself a signal instead of the message
    with this number."""
    database, stop = Database(url, connections=5), threading.Event()
    database.open()

    def end_when_done() -> None:
        with psycopg.connect(url, autocommit=True) as watch:  # its messages are not counted
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and watch.execute(WAITING).fetchone():
                time.sleep(0.05)
        stop.set()

    watcher = threading.Thread(target=end_when_done)
    watcher.start()
    if messages is not None:
        die_before(messages, wish)
    wishes.dispatcher(database, poll_seconds=0.5).run(stop)  # seldom: looking sends messages too
    watcher.join()
    database.close()


def spawn(
    url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float = 10.0
) -> ForkServerProcess:
    process = FORK.Process(target=dispatch_until_killed, args=(url, wishes, messages, wish, seconds))
    process.start()
    return process
