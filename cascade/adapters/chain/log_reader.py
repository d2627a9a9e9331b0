"""Reading a chain through one RPC endpoint, in a way that cannot lie quietly.

Behind an endpoint there are often several backends, and some lag. Asking for the height and then for logs gets
answers from two of them, and a log that one has not seen yet is lost without an error. Here one batch holds the
block before the stretch, its logs, and the block at its end; it is taken only when all three are there and agree.
Null and error mean "unknown", never "nothing"; only a different hash means that a block was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cascade.adapters.chain.router_logs import PAID_TOPIC, REFUNDED_TOPIC, decode, is_collected
from cascade.adapters.chain.rpc import Endpoint, hexadecimal, quantity
from cascade.domain.deposit_collection import Transfer
from cascade.domain.payments import PaidEvent, RefundedEvent, RouterEvent
from cascade.errors import NodeUnavailable, ReorgBelowFinality

LogEvent = TypeVar("LogEvent", PaidEvent | RefundedEvent, Transfer)
_HEADERS_AT_ONCE = 50
"""In one request; some providers count every call in it."""


@dataclass(frozen=True, slots=True)
class Block:
    """The header of a block, as far as it is needed; ``timestamp`` is Unix time in seconds."""

    number: int
    hash: bytes
    timestamp: int


@dataclass(frozen=True, slots=True)
class LogRange:
    """The router's payments and refunds in the blocks after a checkpoint, up to and with ``end``, in their order."""

    end: Block
    events: tuple[RouterEvent, ...]

    @property
    def payments(self) -> tuple[PaidEvent, ...]:
        """Return the payments, without the refunds."""
        return tuple(event for event in self.events if isinstance(event, PaidEvent))


class Node(Endpoint):
    """A node of a chain, behind a JSON-RPC endpoint."""

    def chain_id(self) -> int:
        """Return EIP-155 chain id."""
        return quantity(self.batch([("eth_chainId", [])])[0], "eth_chainId")

    def code(self, address: str) -> bytes:
        """Return the code at an address, now."""
        return hexadecimal(self.batch([("eth_getCode", [address, "latest"])])[0], "eth_getCode")

    def call(self, to: str, data: bytes) -> bytes:
        """Return what a view function returns, now."""
        request = {"to": to, "data": "0x" + data.hex()}
        return hexadecimal(self.batch([("eth_call", [request, "latest"])])[0], "eth_call")

    def block(self, number: int) -> Block:
        """Return one block by its number."""
        return _block(self.batch([_by_number(hex(number))])[0], hex(number))

    def tips(self) -> tuple[Block, Block]:
        """Return the last finalized block, and the last block.

        Raises:
            NodeUnavailable: also when the node knows no finalized block; ``latest`` never stands in for it.
        """
        final, latest = self.batch([_by_number("finalized"), _by_number("latest")])
        return _block(final, "finalized"), _block(latest, "latest")

    def events(self, router: str, after: tuple[int, bytes], to: int) -> LogRange:
        """Return all ``Paid`` and ``Refunded`` logs of the router in the blocks after a checkpoint.

        What was collected at a deposit address comes with the time of its block: the router lets it come late.

        Args:
            router: the router's address.
            after: number and hash of the block before the stretch.
            to: number of the last block of the stretch.

        Raises:
            NodeUnavailable: some part of the answer is missing or contradicts another part.
            ReorgBelowFinality: the block before the stretch has another hash than it had.
        """
        topics = [["0x" + PAID_TOPIC.hex(), "0x" + REFUNDED_TOPIC.hex()]]
        start, end, events = self.logs([router], topics, after, to, decode)
        return LogRange(end, self._with_times(events, router, start, end))

    def logs(
        self,
        addresses: Sequence[str],
        topics: Sequence[Any],
        after: tuple[int, bytes],
        to: int,
        decode: Callable[[Mapping[str, Any]], LogEvent],
    ) -> tuple[Block, Block, tuple[LogEvent, ...]]:
        """Return logs of some contracts in the blocks after a checkpoint, with the block before and the last one.

        Args:
            addresses: the contracts.
            topics: what is asked for, as ``eth_getLogs`` takes it.
            after: number and hash of the block before.
            to: number of the last block.
            decode: reads one log.

        Raises:
            NodeUnavailable: some part of the answer is missing or contradicts another part.
            ReorgBelowFinality: the block before has another hash than it had.
        """
        height, expected_hash = after
        first = height + 1
        query = {
            "address": addresses[0] if len(addresses) == 1 else list(addresses),
            "topics": list(topics),
            "fromBlock": hex(first),
            "toBlock": hex(to),
        }
        before, logs, end = self.batch([_by_number(hex(height)), ("eth_getLogs", [query]), _by_number(hex(to))])
        start_block, end_block = _block(before, hex(height)), _block(end, hex(to))
        if start_block.number != height or end_block.number != to:
            raise NodeUnavailable(
                f"asked for blocks {height} and {to}, the node gave {start_block.number} and {end_block.number}"
            )
        if start_block.hash != expected_hash:
            raise ReorgBelowFinality(
                f"block {height} was final with hash 0x{expected_hash.hex()}, but the node says"
                f" 0x{start_block.hash.hex()} now: compare both with a block explorer before anything is booked again"
            )
        if not isinstance(logs, list):
            raise NodeUnavailable(f"eth_getLogs gave {type(logs).__name__}, not a list")
        return start_block, end_block, _checked(logs, addresses, first, end_block, decode)

    def block_times(self, hashes: Mapping[int, bytes], start: Block, end: Block) -> dict[int, int]:
        """Return the times of some blocks between two others, in Unix seconds, by number.

        Args:
            hashes: of the blocks, by number, as their logs name them.
            start: a block before them.
            end: the last of them, or one after them.

        Raises:
            NodeUnavailable: a header is missing, is of another block, or has a time outside of those two.
        """
        numbers, headers = list(hashes), list[Any]()
        for i in range(0, len(numbers), _HEADERS_AT_ONCE):
            headers += self.batch([_by_number(hex(number)) for number in numbers[i : i + _HEADERS_AT_ONCE]])
        times = {}
        for (number, block_hash), header in zip(hashes.items(), headers, strict=True):
            block = _block(header, hex(number))
            if (block.number, block.hash) != (number, block_hash):
                raise NodeUnavailable(
                    f"a log of block {number} names the hash 0x{block_hash.hex()}, but the node gave block"
                    f" {block.number} with 0x{block.hash.hex()}"
                )
            if not start.timestamp <= block.timestamp <= end.timestamp:
                raise NodeUnavailable(
                    f"block {number} has the time {block.timestamp}, outside of {start.timestamp} to {end.timestamp},"
                    f" the times of blocks {start.number} and {end.number} around it"
                )
            times[number] = block.timestamp
        return times

    def _with_times(
        self, events: tuple[RouterEvent, ...], router: str, start: Block, end: Block
    ) -> tuple[RouterEvent, ...]:
        times = self.block_times(
            {event.block_number: event.block_hash for event in events if is_collected(router, event)}, start, end
        )
        return tuple(
            replace(event, block_time=times[event.block_number])
            if isinstance(event, PaidEvent) and is_collected(router, event)
            else event
            for event in events
        )


def _checked(
    logs: list[Any],
    addresses: Sequence[str],
    first: int,
    end: Block,
    decode: Callable[[Mapping[str, Any]], LogEvent],
) -> tuple[LogEvent, ...]:
    """Return the logs as events, when nothing in them contradicts anything else."""
    events: list[LogEvent] = []
    asked = {address.lower() for address in addresses}
    hashes, numbers = {end.number: end.hash}, {end.hash: end.number}
    previous = (first, -1)
    for log in logs:
        if not isinstance(log, dict) or log.get("removed"):
            raise NodeUnavailable("eth_getLogs gave a removed log, or none at all")
        if str(log.get("address", "")).lower() not in asked:
            raise NodeUnavailable(f"eth_getLogs gave a log of {log.get('address')}, asked for {', '.join(addresses)}")
        event = decode(log)
        place = (event.block_number, event.log_index)
        if not previous < place or event.block_number > end.number:
            raise NodeUnavailable(f"log {place} is out of order or outside blocks {first} to {end.number}")
        block_hash = hashes.setdefault(event.block_number, event.block_hash)
        number = numbers.setdefault(event.block_hash, event.block_number)
        if (block_hash, number) != (event.block_hash, event.block_number):
            raise NodeUnavailable(
                f"block {event.block_number} came with hash 0x{event.block_hash.hex()}, but that is block {number},"
                f" and block {event.block_number} has 0x{block_hash.hex()}"
            )
        previous = place
        events.append(event)
    return tuple(events)


def _by_number(tag: str) -> tuple[str, list[Any]]:
    return "eth_getBlockByNumber", [tag, False]


def _block(result: Any, asked: str) -> Block:
    if result is None:
        raise NodeUnavailable(f"the node does not know block {asked} (yet)")
    if not isinstance(result, Mapping):
        raise NodeUnavailable(f"block {asked} is {type(result).__name__}, not a header")
    number, timestamp = (quantity(result.get(key), f"block {asked}") for key in ("number", "timestamp"))
    block_hash = hexadecimal(result.get("hash"), f"block {asked}")
    if len(block_hash) != 32:
        raise NodeUnavailable(f"block {asked} has a hash of {len(block_hash)} bytes, not 32")
    return Block(number, block_hash, timestamp)
