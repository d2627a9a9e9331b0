"""Leaders that follow the chain's logs, each with a checkpoint of its own, range by range."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict, Unpack

from cascade.adapters.chain.log_reader import Block, Node
from cascade.db import checkpoints
from cascade.db.checkpoints import Cursor
from cascade.db.database import Conn, Database
from cascade.domain.money import Asset
from cascade.errors import NodeUnavailable
from cascade.workers.chunk_sizing import FIRST_RANGE_BLOCKS, next_range
from cascade.workers.leader import LeaderWorker


@dataclass(frozen=True, slots=True)
class Router:
    """The router that is followed.

    Attributes:
        chain_id: EIP-155 chain id.
        address: checksummed.
        deployed_at_block: no payment can be in or before the block before this one.
        stablecoins: asset by checksummed token address.
    """

    chain_id: int
    address: str
    deployed_at_block: int
    stablecoins: Mapping[str, Asset]

    @property
    def stream(self) -> str:
        """Return the name of its checkpoint."""
        return f"chain:{self.chain_id}:{self.address}"

    @property
    def deposits_stream(self) -> str:
        """Return the name of the checkpoint up to which plain transfers to its deposit addresses are read."""
        return f"deposits:{self.chain_id}:{self.address}"


class FollowerOptions(TypedDict):
    """The options of every follower.

    Attributes:
        check: holds the router against the chain; called until it passes, before anything is read.
        poll_seconds: how often to look for new blocks.
        lease_seconds: how long this worker may be silent before another takes over.
        log_range_blocks: most blocks to ask for at once.
    """

    check: Callable[[], None]
    poll_seconds: float
    lease_seconds: float
    log_range_blocks: int


class LogFollower(LeaderWorker, ABC):
    """Leads one stream of logs of a router; any number may run side by side.

    Args:
        database: holds the checkpoint, and what was read.
        node: where the chain is read.
        router: what is followed.
        stream: name of the checkpoint.
        options: as above.
    """

    def __init__(
        self, database: Database, node: Node, router: Router, stream: str, **options: Unpack[FollowerOptions]
    ) -> None:
        super().__init__(
            database,
            check=options["check"],
            poll_seconds=options["poll_seconds"],
            lease_seconds=options["lease_seconds"],
        )
        self._node = node
        self._router = router
        self._stream = stream
        self._longest_range = options["log_range_blocks"]
        self._range = min(self._longest_range, FIRST_RANGE_BLOCKS)

    def release_lease(self, connection: Conn) -> None:
        """Give the lead up."""
        checkpoints.release(connection, self._stream, self._instance)

    def _take_lease(self, connection: Conn, final: Block) -> Cursor | None:
        """Take or keep the lead, and note up to which block the chain is final; None while another leads."""
        cursor = checkpoints.lease(connection, self._stream, self._instance, self._lease_seconds)
        if cursor is not None:
            checkpoints.note_finalized(connection, cursor, final.number, final.timestamp)
        return cursor

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Halve the next range when this one is refused, since each provider words its limit in its own way."""
        try:
            yield
        except NodeUnavailable:
            self._range = max(1, self._range // 2)
            raise

    def _choose_range(self, *, blocks: int, events: int) -> None:
        """Choose the length of the next range by how many events the last one held."""
        self._range = next_range(self._range, self._longest_range, blocks=blocks, events=events)
