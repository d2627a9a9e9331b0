"""Watches the deposit addresses of orders: stores what comes, and has it collected when it is worth a transaction.

It reads the tokens' logs with a checkpoint of its own, only final blocks: one request a range, however many orders are
open. With few addresses the node picks their transfers; with many it gives all, and the database picks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cascade.adapters.chain.erc20_transfers import transfers, with_times
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address
from cascade.db import checkpoints, deposits, relay_queue
from cascade.db.checkpoints import Cursor
from cascade.db.database import Conn, Database
from cascade.domain.deposit_schedule import is_due, next_look
from cascade.errors import NodeUnavailable
from cascade.workers.booking_chunks import FIRST_RANGE_BLOCKS, next_range
from cascade.workers.indexer import Router
from cascade.workers.leader import LeaderWorker

log = logging.getLogger(__name__)

MOST_RECIPIENTS = 500
"""That a node is asked to pick; more make the question longer than many take."""
_RANGE_OF_ALL = 64
"""Blocks in one question for everybody's transfers; USDC alone has some hundred in a block."""
_ADDRESSES_AT_ONCE = 1000


class DepositWatcher(LeaderWorker):
    """Any number may run side by side; one of them leads.

    Args:
        database: holds checkpoint, transfers and what the relayer is to send.
        node: where the chain is read.
        router: whose orders are watched.
        check: holds the router against the chain; called until it passes, before anything is read.
        days: how long an order's address is watched after its time.
        minimum: less than this is not collected, in a stablecoin's smallest units.
        poll_seconds: how often to look for new blocks.
        lease_seconds: how long this watcher may be silent before another takes over.
        log_range_blocks: most blocks to ask for at once.
    """

    name = "watcher"

    def __init__(
        self,
        database: Database,
        node: Node,
        router: Router,
        *,
        check: Callable[[], None],
        days: int,
        minimum: int,
        poll_seconds: float,
        lease_seconds: float,
        log_range_blocks: int,
    ) -> None:
        super().__init__(database, check=check, poll_seconds=poll_seconds, lease_seconds=lease_seconds)
        self._node = node
        self._router = router
        self._days = days
        self._minimum = minimum
        self._longest_range = log_range_blocks
        self._range = min(log_range_blocks, FIRST_RANGE_BLOCKS)
        self._looked = False
        self._stream = router.deposits_stream

    def step(self) -> bool:
        """Look once: at most one range of blocks, and at what lies at the addresses.

        Returns:
            True when there are final blocks left that can be read right away.
        """
        self.check_once()
        self._write_addresses()
        final, _ = self._node.tips()
        with self._database.transaction() as connection:
            # Who starts to watch needs no history: an address is shown to nobody before it is watched.
            checkpoints.start(connection, self._stream, final.number, final.hash, final.timestamp)
            cursor = checkpoints.lease(connection, self._stream, self._instance, self._lease_seconds)
            if cursor is None:
                return False
            checkpoints.note_finalized(connection, cursor, final.number, final.timestamp)
        if final.number > cursor.height:
            cursor = self._read(cursor, final.number)
        self._collect()
        return final.number > cursor.height

    def _write_addresses(self) -> None:
        """Write those of orders that were made before addresses were written down."""
        with self._database.transaction() as connection:
            ids = deposits.unaddressed(connection, self._router.chain_id, self._router.address, _ADDRESSES_AT_ONCE)
            if ids:
                deposits.write_addresses(connection, {one: deposit_address(self._router.address, one) for one in ids})

    def _read(self, cursor: Cursor, final: int) -> Cursor:
        """Store the transfers of the next range; the checkpoint moves in the same transaction."""
        with self._database.transaction() as connection:
            watched = deposits.watched(
                connection, self._router.chain_id, self._router.address, self._days, MOST_RECIPIENTS + 1
            )
        few = len(watched) <= MOST_RECIPIENTS
        to = min(final, cursor.height + min(self._range, self._longest_range if few else _RANGE_OF_ALL))
        try:
            start, end, found = transfers(
                self._node, list(self._router.stablecoins), (cursor.height, cursor.hash), to, watched if few else None
            )
            told = len(found)
            with self._database.transaction() as connection:
                ours = deposits.ours(connection, found)
            found = with_times(self._node, [each for each in found if each.recipient in ours], start, end)
        except NodeUnavailable:
            self._range = max(1, self._range // 2)
            raise
        self._range = next_range(self._range, self._longest_range, blocks=to - cursor.height, events=told)
        with self._database.transaction() as connection:
            checkpoints.advance(connection, cursor, end.number, end.hash, 0)
            new = deposits.insert(connection, self._router.chain_id, found, ours)
        for transfer in new:
            log.info("%d units of %s came to a deposit address", transfer.units, transfer.token_address)
        return Cursor(cursor.stream, end.number, end.hash, 0, cursor.epoch)

    def _collect(self) -> None:
        """Look at what it is time to look at, and have collected what is worth it."""
        with self._database.transaction() as connection:
            if not self._looked:  # this watcher may have been given another minimum
                deposits.look_at_all(connection)
            for one in deposits.lying(connection, self._router.chain_id):
                if one.collected >= one.arrived:
                    deposits.mark_collected(connection, one)
                    continue
                collecting = is_due(one, self._minimum)
                if collecting:
                    relay_queue.enqueue_collect(
                        connection,
                        order_id=one.order_id,
                        on_chain_order_id=one.on_chain_order_id,
                        token_address=one.token_address,
                    )
                deposits.look_again(connection, one, next_look(one, collecting=collecting))
        self._looked = True

    def release_lease(self, connection: Conn) -> None:
        """Give the lead up."""
        checkpoints.release(connection, self._stream, self._instance)
