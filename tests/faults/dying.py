"""Processes that stop or kill themselves in the middle of their work with the database."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import psycopg

from cascade.adapters.chain.log_reader import Node

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [
        "tests.faults.dying_indexer",
        "tests.faults.dying_card_worker",
        "tests.faults.dying_dispatcher",
        "tests.faults.dying_relayer",
    ]
)


def die_before(messages: int, wish: int, *, also_to_node: bool = False) -> None:
    """Sends itself a signal instead of the message with this number (counted from 1).

    Every message to the server, statements and commits alike, passes through Connection.wait; if
    wished, those to the chain's node are counted with them. The pool's check of a connection, which is the only message
    outside of a transaction, is not counted: to die before it is to die before the message that follows.
    """
    genuine, sent = psycopg.Connection.wait, 0

    def wait(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += not self.autocommit
        if sent == messages:
            os.kill(os.getpid(), wish)
        return genuine(self, *args, **kwargs)

    psycopg.Connection.wait = wait  # type: ignore[method-assign]
    if not also_to_node:
        return
    genuine_post = Node._post

    def post(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == messages:
            os.kill(os.getpid(), wish)
        return genuine_post(self, *args, **kwargs)

    Node._post = post  # type: ignore[method-assign]
