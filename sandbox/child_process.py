"""Starts the programs of the box so that they live no longer than the process that started them."""

from __future__ import annotations

import ctypes
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """What to run. `orphan_signal` is what it gets when its parent is gone; `user` is whom to run it as, if not us;
    `environment` replaces ours."""

    command: Sequence[str]
    output: IO[bytes]
    orphan_signal: signal.Signals
    cwd: Path | None = None
    user: str | None = None
    environment: Mapping[str, str] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the program in a session of its own: the terminal's Ctrl-C goes to us alone, and we decide the order
        in which things stop."""
        return _from_lasting_thread(self._popen)

    def _popen(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
            cwd=self.cwd,
            env=self.environment,
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            start_new_session=True,
            preexec_fn=_wish_to_follow_parent(self.orphan_signal),  # runs after the change of user, which clears it
        )


def _wish_to_follow_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """What the child does before it becomes the program.

    None where the system has no such wish (macOS): there a program whose parent was killed stays until it is ended.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing should be loaded

    def wish() -> None:
        prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)

    return wish


_Start = Callable[[], "subprocess.Popen[bytes]"]
_starts: queue.SimpleQueue[tuple[_Start, Future[subprocess.Popen[bytes]]]] = queue.SimpleQueue()
_thread: threading.Thread | None = None
_thread_lock = threading.Lock()


def _from_lasting_thread(start: _Start) -> subprocess.Popen[bytes]:
    """Linux sends the signal when the parent *thread* ends, not the process: what a worker of a thread pool starts
    would die with that worker. So one thread, which ends only with the process, starts everything."""
    global _thread
    with _thread_lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_serve, name="program starter", daemon=True)
            _thread.start()
    answer: Future[subprocess.Popen[bytes]] = Future()
    _starts.put((start, answer))
    return answer.result()


def _serve() -> None:
    while True:
        start, answer = _starts.get()
        try:
            answer.set_result(start())
        except Exception as error:  # noqa: BLE001  the caller's thread raises it
            answer.set_exception(error)
