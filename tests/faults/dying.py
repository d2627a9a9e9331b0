"""Processes that stop or kill themselves in the middle of their work."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import requests

from tests.support.soak import SOAK

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "tests.faults.dying_indexer",
        "tests.faults.dying_card_worker",
        "tests.faults.dying_dispatcher",
        "tests.faults.dying_relayer",
    ]
)


def die_before(number: int, wish: int, *, every: bool = SOAK) -> None:
    """Send this process a signal instead of the n-th message (counted from 1) that changes what others see.

    These are commits, and requests that ask Venice, Stripe or the chain's node to do something. A kill between two
    of them leaves what a kill before the second one leaves; `make soak` holds that, where every message is counted,
    statements and questions as well. Messages to the database outside of a transaction never are.
    """
    messages = itertools.count(1)

    def count() -> None:
        if next(messages) == number:
            os.kill(os.getpid(), wish)

    genuine = psycopg.Connection.wait

    def wait(self: Any, gen: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.autocommit and (every or gen.__name__ == "_commit_gen"):
            count()
        return genuine(self, gen, *args, **kwargs)

    psycopg.Connection.wait = wait  # type: ignore[method-assign]
    for client in (httpx.Client, httpx.AsyncClient, requests.Session):
        _count_requests(client, count, every=every)


def _count_requests(client: type[Any], count: Callable[[], None], *, every: bool) -> None:
    genuine = client.send

    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if every or _asks_for_action(request):
            count()
        return genuine(self, request, *args, **kwargs)

    client.send = send


def _asks_for_action(request: httpx.Request | requests.PreparedRequest) -> bool:
    body = request.content if isinstance(request, httpx.Request) else request.body or ""
    return request.method == "POST" and ("jsonrpc" not in str(body) or "eth_sendRawTransaction" in str(body))
