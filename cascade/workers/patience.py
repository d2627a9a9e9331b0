"""How a worker that follows the chain goes on, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import psycopg
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    retry_if_not_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_exponential,
)

from cascade.errors import CascadeError, DeploymentMismatch

LONGEST_PAUSE_SECONDS = 5


def keep_on(
    step: Callable[[], bool], stop: Event, *, poll_seconds: float, report: Callable[[BaseException | None], None]
) -> None:
    """Do a step again and again until told to stop; wait after one that returns False. Whatever fails is reported,
    waited out and tried again.

    Raises:
        DeploymentMismatch: waiting does not help; an operator has to give another record or node.
    """

    def say(attempt: RetryCallState) -> None:
        report(attempt.outcome.exception() if attempt.outcome else None)

    patient = Retrying(
        retry=retry_if_exception_type((CascadeError, psycopg.Error)) & retry_if_not_exception_type(DeploymentMismatch),
        wait=wait_exponential(multiplier=poll_seconds, max=LONGEST_PAUSE_SECONDS),
        before_sleep=say,
        sleep=sleep_using_event(stop),
        stop=stop_when_event_set(stop),
    )
    try:
        while not stop.is_set():
            if not patient(step):
                stop.wait(poll_seconds)
    except RetryError:  # told to stop while waiting for better times
        pass
