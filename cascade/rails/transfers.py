"""Plain transfers of tokens, read as the router's events are: so that a node cannot lie quietly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from eth_utils.crypto import keccak

from cascade.domain.deposits import Transfer
from cascade.errors import NodeUnavailable
from cascade.rails.node import Found, LogQuery, Node

TRANSFER_TOPIC: Final = keccak(text="Transfer(address,address,uint256)")
MOST_RECIPIENTS: Final = 500
"""Above this many the node is asked for all transfers: a longer filter is refused by some, and slow at others."""
_TOPIC = "0x" + TRANSFER_TOPIC.hex()
_NOBODY = "0x" + "ff" * 32
"""A word that is no address. An empty list would ask for everybody."""
_WORD_CHARACTERS = 66
_NO_ADDRESS = 12


def transfers(
    node: Node, tokens: Sequence[str], after: tuple[int, bytes], to: int, recipients: Sequence[bytes] | None
) -> Found[Transfer]:
    """All transfers of tokens in the blocks after a checkpoint, in one request however many recipients there are.

    Args:
        node: where the chain is read.
        tokens: their checksummed addresses.
        after: number and hash of the block before the stretch.
        to: number of the last block of the stretch.
        recipients: only to these addresses, of 20 bytes, at most ``MOST_RECIPIENTS``; None: to all.

    Raises:
        NodeUnavailable: some part of the answer is missing or contradicts another part.
        ReorgBelowFinality: the block before the stretch has another hash than it had.
    """
    topics: list[str | Sequence[str] | None] = [_TOPIC]
    if recipients is not None:
        topics += [None, ["0x" + bytes(_NO_ADDRESS).hex() + recipient.hex() for recipient in recipients] or [_NOBODY]]
    return node.logs(LogQuery(tokens, topics, _decoder(tokens)), after, to)


def _decoder(tokens: Sequence[str]) -> Callable[[Mapping[str, Any]], Transfer]:
    checksummed = {token.lower(): token for token in tokens}
    return lambda log: decode_transfer(log, checksummed[log["address"].lower()])


def decode_transfer(log: Mapping[str, Any], token: str) -> Transfer:
    """Read a ``Transfer`` log of ``eth_getLogs`` by slicing its words (a test holds this against eth_abi).

    Raises:
        NodeUnavailable: the log is not one the token can have written.
    """
    try:
        topic, sender, recipient = log["topics"]
        data = log["data"]
        if topic.lower() != _TOPIC or len(data) != _WORD_CHARACTERS:
            raise ValueError("another event, or words missing")
        return Transfer(
            int(log["blockNumber"], 16),
            int(log["logIndex"], 16),
            bytes.fromhex(log["blockHash"][2:]),
            bytes.fromhex(log["transactionHash"][2:]),
            token,
            _address(sender),
            _address(recipient),
            int.from_bytes(bytes.fromhex(data[2:])),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise NodeUnavailable(
            f"the node returned a Transfer log that {token} cannot have written: {fault}"
        ) from None


def _address(word: str) -> bytes:
    raw = bytes.fromhex(word[2:])
    if len(raw) != 32 or any(raw[:_NO_ADDRESS]):
        raise ValueError(f"{word} is not an address")
    return raw[_NO_ADDRESS:]
