"""Tells what of a late collect came in time: a plain transfer counts by its own block, not by that of the collect.

The watcher has stored most transfers before anybody collects them. A collect takes all that lies at an address, so the
sums say whether something is missing; what is missing is read from the chain before the collect is booked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Event

from cascade.adapters.chain.erc20_transfers import last_block_before, transfers, with_times
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import confirmed_payment
from cascade.db import deposits
from cascade.db.database import Conn, Database
from cascade.db.deposits import Deadline
from cascade.domain.deposit_collection import divide_by_deadline
from cascade.domain.money import Asset
from cascade.domain.payments import ConfirmedPayment, PaidEvent, RouterEvent
from cascade.errors import NodeUnavailable

_CLOCK_SECONDS = 3600
"""By so much our clock may be ahead of the chain's: an address is asked for what came before its order as well."""


class Deadlines:
    """Divides late collects by when their transfers came.

    Args:
        database: holds the transfers.
        node: where missing ones are read.
        chain_id: EIP-155 chain id.
        stablecoins: asset by checksummed token address.
        first_block: no transfer can be in or before it.
        range_blocks: most blocks to ask for at once.
    """

    def __init__(
        self,
        database: Database,
        node: Node,
        chain_id: int,
        stablecoins: Mapping[str, Asset],
        *,
        first_block: int,
        range_blocks: int,
    ) -> None:
        self._database = database
        self._node = node
        self._chain_id = chain_id
        self._stablecoins = stablecoins
        self._first_block = first_block
        self._range = range_blocks

    def prepare(self, events: Sequence[RouterEvent], stop: Event) -> None:
        """Read and store the transfers that are missing for late collects, outside of any booking.

        Args:
            events: those of one stretch of blocks, in order.
            stop: once it is set, no further address is read.

        Raises:
            NodeUnavailable: the chain could not be read, or only in part; nothing of the stretch may be booked yet.
        """
        collects = _last_collects(events)
        if not collects:
            return
        with self._database.transaction() as connection:
            unread = {}
            for event, units in collects:
                deadline = deposits.deadline(connection, event.on_chain_order_id)
                if deadline is None or deadline.read or event.block_time is None:
                    continue
                first = (events[0].block_number, 0)
                known = deposits.stored_before(connection, self._chain_id, event)
                taken = deposits.collected_before(connection, self._chain_id, event, *first) + units
                if event.block_time >= deadline.expires_at and known < taken:
                    unread[event.on_chain_order_id] = (event, deadline)
        for event, deadline in unread.values():
            if stop.is_set():
                raise NodeUnavailable("told to stop before all transfers of late collects were read")
            self._read(event, deadline)

    def payments(self, connection: Conn, event: PaidEvent) -> list[ConfirmedPayment]:
        """Return a payment as it is booked; a late collect of an order is divided by its deadline.

        Args:
            connection: evidence of what was collected before the event is stored in or before its transaction.
            event: for which ``prepare`` was called.
        """
        payment = confirmed_payment(self._chain_id, self._stablecoins, event)
        deadline = None
        if event.block_time is not None:
            deadline = deposits.deadline(connection, event.on_chain_order_id)
        if deadline is None or event.block_time is None or event.block_time < deadline.expires_at:
            return [payment]
        place = (event.block_number, event.log_index)
        taken = deposits.collected_before(connection, self._chain_id, event, *place)
        arrived = deposits.in_time(connection, self._chain_id, event, deadline.expires_at)
        return divide_by_deadline(payment, arrived, taken)

    def _read(self, event: PaidEvent, deadline: Deadline) -> None:
        """Read all that came to a collect's address in time, in whichever stablecoin, and store it."""
        end = last_block_before(self._node, deadline.expires_at, self._first_block, event.block_number)
        opened = deadline.opened_at - _CLOCK_SECONDS
        block = last_block_before(self._node, opened, self._first_block, end.number + 1)
        tokens, found = list(self._stablecoins), []
        while block.number < end.number:
            to = min(end.number, block.number + self._range)
            try:
                start, block, some = transfers(self._node, tokens, (block.number, block.hash), to, [event.payer])
            except NodeUnavailable:
                self._range = max(1, self._range // 2)
                raise
            found += with_times(self._node, some, start, block)
        with self._database.transaction() as connection:
            deposits.insert(connection, self._chain_id, found, {event.payer: event.on_chain_order_id})
            deposits.mark_read(connection, event.on_chain_order_id)


def _last_collects(events: Iterable[RouterEvent]) -> list[tuple[PaidEvent, int]]:
    """Return the last collect of each address and token, with the units of all of them."""
    found: dict[tuple[bytes, str], tuple[PaidEvent, int]] = {}
    for event in events:
        if isinstance(event, PaidEvent) and event.block_time is not None:
            key = (event.on_chain_order_id, event.token_address)
            found[key] = (event, found[key][1] + event.units if key in found else event.units)
    return list(found.values())
