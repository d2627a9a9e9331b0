"""Plain transfers of the stablecoins, read from their logs in the way that cannot lie quietly (``log_reader``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.adapters.chain.log_reader import Block, Node
from cascade.domain.deposit_collection import Transfer
from cascade.errors import NodeUnavailable

TRANSFER_TOPIC: Final = keccak(text="Transfer(address,address,uint256)")
_FIRST_STEP = 256
"""Blocks to go back at first: a few minutes."""


def transfers(
    node: Node, tokens: Sequence[str], after: tuple[int, bytes], to: int, recipients: Sequence[str] | None
) -> tuple[Block, Block, list[Transfer]]:
    """Return transfers in the blocks after a checkpoint, up to and with ``to``: one request, however many the
    recipients.

    With them the block before and the last one.

    Args:
        node: where the chain is read.
        tokens: their addresses.
        after: number and hash of the block before.
        to: number of the last block.
        recipients: only to these; None: to anybody.

    Raises:
        NodeUnavailable: some part of the answer is missing or contradicts another part.
        ReorgBelowFinality: the block before has another hash than it had.
    """
    topics: list[Any] = ["0x" + TRANSFER_TOPIC.hex()]
    if recipients is not None:
        topics += [None, ["0x" + "00" * 12 + address[2:].lower() for address in recipients]]
    start, end, found = node.logs(tokens, topics, after, to, _decode)
    return start, end, [transfer for transfer in found if transfer.units]


def with_times(node: Node, found: Sequence[Transfer], start: Block, end: Block) -> list[Transfer]:
    """Add to transfers the times of their blocks, which lie between two others.

    Raises:
        NodeUnavailable: a header is missing or contradicts a log or its neighbours.
    """
    times = node.block_times({transfer.block_number: transfer.block_hash for transfer in found}, start, end)
    return [replace(transfer, block_time=times[transfer.block_number]) for transfer in found]


def _decode(log: Mapping[str, Any]) -> Transfer:
    try:
        words = [bytes.fromhex(word[2:]) for word in log["topics"]]
        amount = bytes.fromhex(log["data"][2:])
        if len(words) != 3 or words[0] != TRANSFER_TOPIC or len(amount) != 32:
            raise ValueError("another event, or words missing")
        return Transfer(
            int(log["blockNumber"], 16),
            int(log["logIndex"], 16),
            bytes.fromhex(log["blockHash"][2:]),
            bytes.fromhex(log["transactionHash"][2:]),
            to_checksum_address(log["address"]),
            to_checksum_address(words[1][12:]),
            to_checksum_address(words[2][12:]),
            int.from_bytes(amount),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NodeUnavailable(f"the node returned a Transfer log that the token cannot have written: {error}") from None


def last_block_before(node: Node, time: int, low: int, high: int) -> Block:
    """Return the last block from ``low`` on whose time is before ``time``: the one that is asked for most is recent.

    Args:
        node: where the chain is read.
        time: Unix seconds.
        low: number of a block; it is returned when no later one is before the time.
        high: number of a later block whose time is not before it.

    Raises:
        NodeUnavailable: a header is missing.
    """
    step, found = _FIRST_STEP, None
    while high - low > 1:
        number = max(high - step, low + 1) if found is None else (low + high) // 2
        block = node.block(number)
        if block.timestamp < time:
            low, found = number, block
        else:
            high, step = number, step * 4
    return found or node.block(low)
