"""The one loop of the workers that poll: a step, a pause when nothing is left to do, until told to stop."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from cascade.workers.heartbeat import Heartbeat
from cascade.workers.supervisor import poll


class PollingWorker:
    """Does a step again and again, and tells the heartbeat how each one ended.

    Args:
        name: what its heartbeat is called.
        step: one round of work; returns True when more can be done right away.
        poll_seconds: how long to wait after a step that left nothing.
        on_end: called in the end, whatever ended the loop.
    """

    def __init__(
        self, name: str, step: Callable[[], bool], *, poll_seconds: float, on_end: Callable[[], None] | None = None
    ) -> None:
        self._name = name
        self._polled = step
        self._poll_seconds = poll_seconds
        self._on_end = on_end

    def run(self, stop: Event, heartbeat: Heartbeat | None = None) -> None:
        """Step, wait, until told to stop. Whatever goes wrong is said, waited out and tried again.

        Raises:
            DeploymentMismatch: at the first step; an operator has to give another record or node.
            SettingsError: at the first step; an operator has to change a setting.
        """
        heart = heartbeat or Heartbeat(self._name)
        try:
            poll(self._polled, stop, poll_seconds=self._poll_seconds, heartbeat=heart)
        finally:
            if self._on_end is not None:
                self._on_end()
