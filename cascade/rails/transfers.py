"""Plain transfers of the stablecoins, read from their logs in the way that cannot lie quietly (``rails.node``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.domain.deposits import Transfer
from cascade.errors import NodeUnavailable
from cascade.rails.node import Block, Node

TRANSFER_TOPIC: Final = keccak(text="Transfer(address,address,uint256)")


def transfers(
    node: Node, tokens: Sequence[str], after: tuple[int, bytes], to: int, recipients: Sequence[str] | None
) -> tuple[Block, list[Transfer]]:
    """Transfers in the blocks after a checkpoint, up to and with ``to``: one request, however many the recipients.

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
    _, end, found = node.logs(tokens, topics, after, to, _decode)
    return end, [transfer for transfer in found if transfer.units]


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
    except (KeyError, TypeError, ValueError) as fault:
        raise NodeUnavailable(f"the node returned a Transfer log that the token cannot have written: {fault}") from None
