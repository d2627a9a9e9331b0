"""Sees plain transfers to orders' deposit addresses, and queues their collecting.

It books nothing: what is collected comes back as the router's own event, and the indexer books that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from cascade.domain.deposits import Terms, Transfer, Verdict, judge
from cascade.rails.chain import deposit_address
from cascade.rails.node import Block, Found, Node
from cascade.rails.transfers import MOST_RECIPIENTS, transfers
from cascade.store import cursors, deposits, orders, relay
from cascade.store.cursors import Cursor
from cascade.store.database import Conn, Database
from cascade.workers.follower import Follower
from cascade.workers.indexer import Router

log = logging.getLogger(__name__)

_FILLED_AT_ONCE = 2_000


class Watcher(Follower):
    """Watches the deposit addresses of a router's orders, from its deployment on.

    Args:
        database: holds checkpoint, evidence and the relayer's queue.
        node: where the chain is read.
        router: whose orders.
        terms: on what terms is collected.
        check: as of every ``Follower``, like the other numbers.
        poll_seconds: how often to look for new blocks.
        lease_seconds: how long this watcher may be silent before another takes over.
        log_range_blocks: most blocks to ask for at once.
    """

    def __init__(
        self,
        database: Database,
        node: Node,
        router: Router,
        terms: Terms,
        *,
        check: Callable[[], None],
        poll_seconds: float,
        lease_seconds: float,
        log_range_blocks: int,
    ) -> None:
        super().__init__(
            database,
            node,
            f"deposits:{router.chain_id}:{router.address}",
            router.deployed_at_block,
            check=check,
            poll_seconds=poll_seconds,
            lease_seconds=lease_seconds,
            log_range_blocks=log_range_blocks,
        )
        self._router = router
        self._terms = terms

    def step(self) -> bool:
        """Look once, store the transfers of at most one range of blocks, and queue what is to be collected.

        Returns:
            True when there is more that can be done right away.

        Raises:
            NodeError: nothing was stored; the checkpoint stands where it stood.
            LeaseLost: another watcher leads; nothing was stored.
        """
        self._check_once()
        # Before the addresses are read: a payer knows an address only after it is stored, so whatever is final now went
        # to an address that is stored.
        final, _ = self._node.tips()
        cursor = self._lead(final)
        if cursor is None:
            return False
        if self._fill_addresses():
            return True
        if final.number <= cursor.height:
            self._store(cursor, Block(cursor.height, cursor.hash, final.timestamp), [])
            return False
        found = self._read(cursor, min(final.number, cursor.height + self._range))
        self._store(cursor, found.end, self._matched(found))
        return final.number > found.end.number

    def _fill_addresses(self) -> bool:
        """Compute addresses of orders from before they were stored; True when there may be more."""
        with self._database.transaction() as connection:
            older = deposits.without_address(connection, _FILLED_AT_ONCE)
            if older:
                made = {key: bytes.fromhex(deposit_address(router, key)[2:]) for key, router in older}
                deposits.set_addresses(connection, made)
        return bool(older)

    def _read(self, cursor: Cursor, to: int) -> Found[Transfer]:
        """One request, however many addresses are watched."""
        router, tokens = self._router, list(self._router.stablecoins)
        with self._database.transaction() as connection:
            watched = deposits.watched(
                connection, router.chain_id, router.address, self._terms.watch_days, MOST_RECIPIENTS + 1
            )
        recipients = watched if len(watched) <= MOST_RECIPIENTS else None
        with self._fitting_range():
            return transfers(self._node, tokens, (cursor.height, cursor.hash), to, recipients)

    def _matched(self, found: Found[Transfer]) -> list[tuple[bytes, Transfer]]:
        """The transfers to orders. Of nothing, anybody can log one from anybody to anybody."""
        some = [transfer for transfer in found.logs if transfer.units]
        if not some:
            return []
        with self._database.transaction() as connection:
            return deposits.matched(
                connection, self._router.chain_id, self._router.address, self._terms.watch_days, some
            )

    def _store(self, cursor: Cursor, end: Block, found: Sequence[tuple[bytes, Transfer]]) -> None:
        """Evidence, queue and checkpoint in one transaction."""
        with self._database.transaction() as connection:
            # First, and also when it stays where it is: a watcher which was replaced stops here.
            cursors.advance(connection, cursor, end.number, end.hash, cursor.last_seq)
            deposits.insert(connection, self._router.chain_id, found)
            self._queue(connection, end.timestamp)
        for key, transfer in found:
            coin = self._router.stablecoins[transfer.token_address].code
            log.info("%d units of %s arrived for order 0x%s", transfer.units, coin, key.hex())

    def _queue(self, connection: Conn, chain_time: int) -> None:
        """Queue what is due. Whatever is not collected yet is judged anew at every look."""
        now = orders.clock(connection)
        for deposit in deposits.waiting(connection, self._router.chain_id, self._router.address):
            verdict = judge(deposit, self._terms, chain_time=chain_time, now=now)
            if verdict is Verdict.COLLECT:
                relay.enqueue_collect(
                    connection,
                    order_id=deposit.order_id,
                    on_chain_order_id=deposit.on_chain_order_id,
                    token_address=deposit.token_address,
                )
            elif verdict is Verdict.FORGET:
                deposits.forget(connection, deposit)
