"""Keep workers running: a step that fails is tried again, a worker that ended is started again."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_when_event_set,
)

from cascade.errors import DeploymentMismatch, SettingsError
from cascade.workers.heartbeat import Heartbeat

LONGEST_PAUSE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.5


def poll(step: Callable[[], bool], stop: Event, *, poll_seconds: float, heartbeat: Heartbeat) -> None:
    """Do a step again and again until told to stop; wait after one that returns False. Whatever fails is told to the
    heartbeat, waited out and tried again.

    Raises:
        DeploymentMismatch: at the first start, when waiting does not help: an operator has to give another record or
            node.
        SettingsError: the same of a setting.
    """
    patient = _patient(stop, heartbeat, poll_seconds)
    try:
        while not stop.is_set():
            more = patient(step)
            heartbeat.succeed()
            if not more:
                stop.wait(poll_seconds)
    except RetryError:  # told to stop while waiting for better times
        pass


def supervise(run: Callable[[Event, Heartbeat], None], stop: Event, heartbeat: Heartbeat) -> None:
    """Run a worker until told to stop, and start it again, after a pause that grows, whatever ended it.

    Args:
        run: makes the worker and runs it until told to stop.
        stop: tells it to stop.
        heartbeat: of this worker.

    Raises:
        DeploymentMismatch, SettingsError: as `poll`.
    """
    try:
        _patient(stop, heartbeat, FIRST_PAUSE_SECONDS)(run, stop, heartbeat)
    except RetryError:
        pass
    finally:
        heartbeat.end()


def pause_after(failures: int, first_seconds: float) -> float:
    """Return how long to wait after so many failures in a row."""
    return float(min(LONGEST_PAUSE_SECONDS, first_seconds * 2 ** min(failures - 1, 10)))


def _patient(stop: Event, heartbeat: Heartbeat, first_pause_seconds: float) -> Retrying:
    def is_outlived(error: BaseException) -> bool:
        if isinstance(error, (DeploymentMismatch, SettingsError)):
            return heartbeat.has_worked  # else the start has failed: an operator looks on
        return not isinstance(error, (KeyboardInterrupt, SystemExit))

    def tell(attempt: RetryCallState) -> None:
        error = attempt.outcome.exception() if attempt.outcome else None
        if error is not None:
            heartbeat.fail(error)

    return Retrying(
        retry=retry_if_exception(is_outlived),
        wait=lambda _: pause_after(heartbeat.failures, first_pause_seconds),
        after=tell,
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
    )
