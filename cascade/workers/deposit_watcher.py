"""Watches the deposit addresses of orders: stores what comes, and has it collected when it is worth a transaction.

It reads the tokens' logs with a checkpoint of its own, only final blocks: one request a range, however many orders are
open. With few addresses the node picks their transfers; with many it gives all, and the database picks.
"""

from __future__ import annotations

import logging
from typing import Unpack

from cascade.adapters.chain.erc20_transfers import transfers, with_times
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import deposit_address
from cascade.db import checkpoints, deposits, relay_queue
from cascade.db.checkpoints import Cursor
from cascade.db.database import Database
from cascade.domain.deposit_collection import is_due, next_look
from cascade.workers.log_follower import FollowerOptions, LogFollower, Router

log = logging.getLogger(__name__)

MOST_RECIPIENTS = 500
"""That a node is asked to pick; more make the question longer than many take."""
_RANGE_OF_ALL = 64
"""Blocks in one question for everybody's transfers; USDC alone has some hundred in a block."""
_ADDRESSES_AT_ONCE = 1000


class DepositWatcher(LogFollower):
    """Any number may run side by side; one of them leads.

    Args:
        database: holds checkpoint, transfers and what the relayer is to send.
        node: where the chain is read.
        router: whose orders are watched.
        days: how long an order's address is watched after its time.
        minimum: less than this is not collected, in a stablecoin's smallest units.
        options: what every follower is told.
    """

    name = "watcher"

    def __init__(
        self,
        database: Database,
        node: Node,
        router: Router,
        *,
        days: int,
        minimum: int,
        **options: Unpack[FollowerOptions],
    ) -> None:
        super().__init__(database, node, router, router.deposits_stream, **options)
        self._days = days
        self._minimum = minimum
        self._looked = False

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
            cursor = self._take_lease(connection, final)
        if cursor is None:
            return False
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
        with self._reading():
            start, end, found = transfers(
                self._node, list(self._router.stablecoins), (cursor.height, cursor.hash), to, watched if few else None
            )
            told = len(found)
            with self._database.transaction() as connection:
                ours = deposits.ours(connection, found)
            found = with_times(self._node, [each for each in found if each.recipient in ours], start, end)
        self._choose_range(blocks=to - cursor.height, events=told)
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
            for one in deposits.uncollected(connection, self._router.chain_id):
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
