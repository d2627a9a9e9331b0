"""A dispatcher in a process of its own that kills itself in the middle of its work."""

from __future__ import annotations

import threading
import time
from multiprocessing.context import ForkServerProcess

from cascade.db.database import Database
from tests.faults.dying import FORK, die_before
from tests.support.delivery import DispatcherConfig, rows


def dispatch_until_killed(url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float) -> None:
    """Delivers what is due until nothing waits, for some seconds at most; sends itself a signal instead of the message
    to the database with this number."""
    database, watch = Database(url, connections=5), Database(url, connections=1)
    database.open()
    watch.open()
    stop = threading.Event()

    def end_when_done() -> None:
        deadline = time.monotonic() + seconds
        while rows(watch, "pending") and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()

    watcher = threading.Thread(target=end_when_done)
    if messages is None:
        watcher.start()
    else:  # the watcher's own messages would be counted
        die_before(messages, wish)
        threading.Timer(seconds, stop.set).start()
    wishes.dispatcher(database, poll_seconds=0.5).run(stop)  # seldom: looking sends messages too
    if messages is None:
        watcher.join()
    database.close()
    watch.close()


def spawn(
    url: str, wishes: DispatcherConfig, messages: int | None, wish: int, seconds: float = 10.0
) -> ForkServerProcess:
    process = FORK.Process(target=dispatch_until_killed, args=(url, wishes, messages, wish, seconds))
    process.start()
    return process
