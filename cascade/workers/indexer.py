"""Follows the router's ``Paid`` and ``Refunded`` events and books them, in their order.

Two streams, one code path: the final stream reads up to the last finalized block and alone books; what lies above it
is only remembered as "seen", thrown away and read again at the next look. So the ledger never has to undo a reorg.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from typing import Unpack

import psycopg

from cascade.adapters.chain import router_logs
from cascade.adapters.chain.log_reader import Block, LogRange, Node
from cascade.adapters.chain.router_logs import check_sequence
from cascade.db import checkpoints, deposits
from cascade.db.checkpoints import Cursor
from cascade.db.database import Conn, Database
from cascade.domain.money import Money
from cascade.domain.payments import ConfirmedPayment, PaidEvent, RefundedEvent, RouterEvent, below_a_cent
from cascade.domain.reversals import Refund
from cascade.errors import BookingTooLong, LeaseLost, NodeUnavailable
from cascade.services.booking import book_payment, book_refund
from cascade.services.checkout import emit_pending_events
from cascade.workers.chunk_sizing import Pieces, checkpoint_after, piece_end
from cascade.workers.heartbeat import Heartbeat, describe
from cascade.workers.log_follower import FollowerOptions, LogFollower, Router
from cascade.workers.transfer_deadlines import Deadlines

log = logging.getLogger(__name__)


class Indexer(LogFollower):
    """Books a router's payments and refunds, from its deployment on.

    Args:
        database: holds checkpoint, evidence and ledger.
        node: where the chain is read.
        router: what is followed.
        options: what every follower is told.
    """

    name = "indexer"

    def __init__(self, database: Database, node: Node, router: Router, **options: Unpack[FollowerOptions]) -> None:
        super().__init__(database, node, router, router.stream, **options)
        self._pieces = Pieces()
        self._stop = Event()
        self._deadlines = Deadlines(
            database,
            node,
            router.chain_id,
            router.stablecoins,
            first_block=router.deployed_at_block - 1,
            range_blocks=self._longest_range,
        )

    def run(self, stop: Event, heartbeat: Heartbeat | None = None) -> None:
        """Look, book, wait, until told to stop; it is noticed between two bookings of one range as well."""
        self._stop = stop
        super().run(stop, heartbeat)

    def step(self) -> bool:
        """Look once, and book at most one range of blocks.

        Returns:
            True when there are final blocks left that can be booked right away.

        Raises:
            NodeError: nothing was booked; the checkpoint stands where it stood.
            LeaseLost: another indexer leads; it goes on where this one stopped.
            BookingTooLong: the database is slow; nothing was booked, and the next try is a smaller one.
        """
        self.check_once()
        final, latest = self._node.tips()
        cursor = self._acquire_lease(final)
        if cursor is None:
            return False
        if final.number > cursor.height:
            cursor = self._book(cursor, final)
        if final.number > cursor.height:
            return True
        try:
            self._scan_pending(cursor, latest)
        except NodeUnavailable as error:  # only a look ahead: it must not hold up what is final
            log.info("%s: the head could not be read: %s", self._stream, error)
        return False

    def rescan(self, first: int) -> list[str]:
        """Read final blocks once more, best at another node, and book what was hidden then. What is booked stays so.

        It needs no lead: every movement has its place on the chain as its reference, and is booked once by any process.

        Args:
            first: number of the first block to read; one before the router's is taken for the router's.

        Returns:
            The references of what had not been booked.

        Raises:
            NodeError: some range could not be read; those before it are done, and all can be read again.
            LedgerConflict: the node tells of a booked block's log with other contents.
        """
        if self._check is not None:
            self._check()
        with self._database.transaction() as connection:
            booked = checkpoints.height(connection, self._stream)
        block, found = self._node.block(max(first, self._router.deployed_at_block) - 1), list[str]()
        while block.number < booked:
            cursor = Cursor(self._stream, block.number, block.hash, last_seq=0, epoch=0)
            try:
                log_range = self._read(cursor, min(booked, block.number + self._range))
            except NodeUnavailable:
                if self._range == 1:
                    raise
                continue  # in a shorter range
            self._deadlines.prepare(log_range.events, self._stop)
            done = 0
            while done < len(log_range.events):
                upto = piece_end(log_range.events, done, self._pieces.size)
                found += self._book_again(log_range.events[done:upto])
                done = upto
            block = log_range.end
        return found

    def _book_again(self, events: Sequence[RouterEvent]) -> list[str]:
        """Book what of some events was not booked, in one transaction. Returns the references of what was not."""
        with self._pieces.measured(len(events)), self._database.transaction() as connection:
            new = checkpoints.insert_logs(connection, self._router.chain_id, self._router.address, events)
            deposits.look_now(connection, new)
            movements = [movement for event in new for movement in self._movements(connection, event)]
            for movement in movements:
                self._settle(connection, movement)
        return [movement.reference for movement in movements]

    def _acquire_lease(self, final: Block) -> Cursor | None:
        """Take or keep the lead; None while somebody else has it, or the router's own block is not final yet."""
        before = self._router.deployed_at_block - 1
        with self._database.transaction() as connection:
            started = checkpoints.exists(connection, self._stream)
        if not started:
            if final.number < before:
                return None
            first = self._node.block(before)
            with self._database.transaction() as connection:
                checkpoints.start(connection, self._stream, first.number, first.hash, first.timestamp)
        with self._database.transaction() as connection:
            return self._take_lease(connection, final)

    def _book(self, cursor: Cursor, final: Block) -> Cursor:
        """Read the next range of final blocks and book it, in one transaction or, where it is dense, in several."""
        log_range = self._read(cursor, min(final.number, cursor.height + self._range))
        check_sequence(log_range.payments, cursor.last_seq)
        self._deadlines.prepare(log_range.events, self._stop)
        done = 0
        while True:
            cursor, done = self._book_piece(cursor, log_range, done)
            if done == len(log_range.events) or self._stop.is_set():
                return cursor
            self._keep_lead(cursor)

    def _book_piece(self, cursor: Cursor, log_range: LogRange, done: int) -> tuple[Cursor, int]:
        """Book some events of a stretch, all from the one with this place: evidence, credits and checkpoint in one
        transaction. Returns the checkpoint, and how many of the stretch's events are booked."""
        upto = piece_end(log_range.events, done, self._pieces.size)
        to = checkpoint_after(cursor, log_range, upto)
        events = log_range.events[done:upto]
        with self._pieces.measured(len(events)), self._database.transaction() as connection:
            # First, so that an indexer which was replaced stops here and not after it took locks.
            checkpoints.advance(connection, cursor, to.height, to.hash, to.last_seq)
            checkpoints.insert_logs(connection, self._router.chain_id, self._router.address, events)
            deposits.look_now(connection, events)
            movements = [movement for event in events for movement in self._movements(connection, event)]
            outcomes = [self._settle(connection, movement) for movement in movements]
        for movement, (amount, outcome) in zip(movements, outcomes, strict=True):
            log.info("%s: %s %s %s", movement.reference, amount, amount.asset.code, outcome)
        return to, upto

    def _keep_lead(self, cursor: Cursor) -> None:
        """Keep the lease between two transactions of one stretch.

        Raises:
            LeaseLost: another indexer leads.
        """
        with self._database.transaction() as connection:
            held = checkpoints.lease(connection, cursor.stream, self._instance, self._lease_seconds)
        if held != cursor:
            raise LeaseLost(f"{cursor.stream}: another indexer leads; it books from here on")

    def _settle(self, connection: Conn, movement: ConfirmedPayment | Refund) -> tuple[Money, str]:
        """Book one movement; returns its amount and what became of it."""
        self._pieces.check()
        if isinstance(movement, ConfirmedPayment):
            return movement.received, book_payment(connection, movement)
        unmatched = book_refund(connection, movement)
        fits = f"refunded; {unmatched} of it fits no payment, see `cascade suspense`" if unmatched.units else "refunded"
        return movement.amount, fits

    def _movements(self, connection: Conn, event: RouterEvent) -> Sequence[ConfirmedPayment | Refund]:
        """Return the payments of an event whose evidence is stored: two payments of a collect that is late in part."""
        if isinstance(event, RefundedEvent):
            return [router_logs.refund(self._router.chain_id, self._router.stablecoins, event)]
        return self._deadlines.payments(connection, event)

    def _read(self, cursor: Cursor, to: int) -> LogRange:
        """Read a range."""
        with self._reading():
            log_range = self._node.events(self._router.address, (cursor.height, cursor.hash), to)
        self._choose_range(blocks=to - cursor.height, events=len(log_range.events))
        return log_range

    def _scan_pending(self, cursor: Cursor, latest: Block) -> None:
        """Remember which payments lie above the checkpoint, in blocks that may still be replaced."""
        to = min(latest.number, cursor.height + self._range)
        payments = self._read(cursor, to).payments if to > cursor.height else ()
        # No order asks for less than a cent, so such a one is somebody's dust: it is not told of.
        payments = tuple(one for one in payments if not self._is_dust(one))
        with self._database.transaction() as connection:
            if payments or checkpoints.has_sightings(connection, cursor.stream):
                checkpoints.replace_sightings(connection, cursor.stream, payments)
                emit_pending_events(connection)

    def _is_dust(self, payment: PaidEvent) -> bool:
        asset = self._router.stablecoins.get(payment.token_address)
        return asset is not None and below_a_cent(Money(asset, payment.units))

    def attempt(self) -> bool:
        """Do a step; what time alone does not mend becomes the stream's alarm."""
        try:
            return self.step()
        except (LeaseLost, BookingTooLong, NodeUnavailable, psycopg.Error):
            raise  # when it lasts, the age of the last final block tells
        except Exception as error:
            self._log_error(error)
            raise

    def _log_error(self, error: Exception) -> None:
        """Store an alarm of the stream."""
        try:
            with self._database.transaction() as connection:
                checkpoints.set_alarm(connection, self._stream, describe(error))
        except psycopg.Error as unreachable:
            log.warning("the alarm could not be stored: %s", type(unreachable).__name__)
