"""Sending transactions, and looking what became of them.

A node's word for "sent" is never believed, and neither is its silence: what counts is a receipt in a final block.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import PAID_TOPIC
from cascade.adapters.chain.rpc import error_text, hexadecimal, quantity
from cascade.errors import NodeUnavailable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a transaction.

    Attributes:
        final: its block cannot be replaced any more.
        cost_wei: what it cost.
        succeeded: it did not fail as a whole.
        paid: ids of the orders that it paid.
    """

    final: bool
    cost_wei: int
    succeeded: bool
    paid: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class SenderSnapshot:
    """An account and its transactions, as one node sees them at one moment.

    Attributes:
        base_fee: of the last block, in wei a unit of gas.
        nonce: how many transactions of the account are in blocks.
        balance_wei: what the account holds.
        receipts: by transaction hash; only those that are in a block.
    """

    base_fee: int
    nonce: int
    balance_wei: int
    receipts: Mapping[bytes, Receipt]


def look(node: Node, account: str, router: str, hashes: Sequence[bytes]) -> SenderSnapshot:
    """Look at an account and at some transactions.

    Raises:
        NodeUnavailable: some part of the answer is missing or contradicts another part.
    """
    latest, final, nonce, balance, *found = node.batch(
        [
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_getBlockByNumber", ["finalized", False]),
            ("eth_getTransactionCount", [account, "latest"]),
            ("eth_getBalance", [account, "latest"]),
            *(("eth_getTransactionReceipt", ["0x" + one.hex()]) for one in hashes),
        ]
    )
    if not isinstance(latest, Mapping) or not isinstance(final, Mapping):
        raise NodeUnavailable("the node knows no last or no finalized block")
    mined = {one: receipt for one, receipt in zip(hashes, found, strict=True) if isinstance(receipt, Mapping)}
    finals = _in_final_blocks(node, mined, quantity(final.get("number"), "finalized"))
    return SenderSnapshot(
        base_fee=quantity(latest.get("baseFeePerGas"), "baseFeePerGas"),
        nonce=quantity(nonce, "eth_getTransactionCount"),
        balance_wei=quantity(balance, "eth_getBalance"),
        receipts={one: _receipt(receipt, router, final=one in finals) for one, receipt in mined.items()},
    )


def send(node: Node, raw: bytes) -> str | None:
    """Hand a signed transaction to the node. Returns what it objected, None when nothing.

    Sending again what is known, or mined already, does no harm, so no objection is an error: the next look tells.
    """
    try:
        (answer,) = node.answers([("eth_sendRawTransaction", ["0x" + raw.hex()])])
    except NodeUnavailable as error:
        return str(error)
    return None if answer is not None and "result" in answer else error_text(answer)


def _in_final_blocks(node: Node, mined: Mapping[bytes, Mapping[str, Any]], final: int) -> set[bytes]:
    """Return those whose block is final: by number, and by the hash that the chain has there now."""
    low = {one: r for one, r in mined.items() if quantity(r.get("blockNumber"), "receipt") <= final}
    headers = node.batch([("eth_getBlockByNumber", [r["blockNumber"], False]) for r in low.values()]) if low else []
    return {
        one
        for (one, receipt), header in zip(low.items(), headers, strict=True)
        if isinstance(header, Mapping) and header.get("hash") == receipt.get("blockHash")
    }


def _receipt(receipt: Mapping[str, Any], router: str, *, final: bool) -> Receipt:
    price, used, status = (quantity(receipt.get(key), "receipt") for key in ("effectiveGasPrice", "gasUsed", "status"))
    try:
        paid = frozenset(
            hexadecimal(entry["topics"][1], "receipt")
            for entry in receipt.get("logs") or ()
            if str(entry["address"]).lower() == router.lower() and entry["topics"][:1] == ["0x" + PAID_TOPIC.hex()]
        )
    except (LookupError, TypeError) as error:
        raise NodeUnavailable(f"a receipt's logs cannot be read: {type(error).__name__}") from None
    return Receipt(final, price * used, status == 1, paid)
