"""The PaymentRouter's language: order ids, the calls that a wallet sends, and the ``Paid`` event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.domain.ledger import PARTNER, TREASURY
from cascade.domain.money import Asset, Money
from cascade.domain.orders import ChainTerms
from cascade.domain.payments import ConfirmedPayment, PaidEvent, Rail
from cascade.errors import NodeUnavailable, SequenceGap

ABI: Final[list[dict[str, Any]]] = json.loads((files("cascade.rails") / "payment_router.json").read_text())
"""The router's ABI; written by ``ape run export_abi``, which the tests repeat."""

_ORDER = "(address,uint256,uint64,bytes32)"
_APPROVE_SELECTOR = keccak(text="approve(address,uint256)")[:4]
_WORD = 32


def _entry(kind: str, name: str) -> dict[str, Any]:
    (entry,) = (e for e in ABI if e["type"] == kind and e["name"] == name)
    return entry


PAID_TOPIC: Final = event_abi_to_log_topic(_entry("event", "Paid"))  # type: ignore[arg-type]
_PAY_SELECTOR = function_abi_to_4byte_selector(_entry("function", "pay"))  # type: ignore[arg-type]
if [collapse_if_tuple(i) for i in _entry("function", "pay")["inputs"]] != [_ORDER]:  # pragma: no cover
    raise ImportError("payment_router.json does not fit cascade.rails.chain: the order's fields changed")


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction for the payer's wallet; ``data`` is 0x-prefixed calldata."""

    label: str
    to: str
    data: str


def on_chain_order_id(
    chain_id: int, router: str, token_address: str, units: int, expires_at: int, salt: bytes
) -> bytes:
    """The id that the router computes from an order's terms: 32 bytes (``PaymentRouter.orderId``)."""
    order = (token_address, units, expires_at, salt)
    return keccak(encode(["uint256", "address", _ORDER], [chain_id, router, order]))


def payment_calls(terms: ChainTerms) -> list[Call]:
    """The calls that pay an order from any wallet: approve the exact amount, then pay."""
    approve = _APPROVE_SELECTOR + encode(["address", "uint256"], [terms.router, terms.units])
    order = (terms.token_address, terms.units, terms.expires_at, terms.salt)
    pay = _PAY_SELECTOR + encode([_ORDER], [order])
    return [
        Call(f"Approve {terms.amount.display()} {terms.token.code}", terms.token_address, "0x" + approve.hex()),
        Call(f"Pay {terms.amount.display()} {terms.token.code}", terms.router, "0x" + pay.hex()),
    ]


def decode_paid(log: Mapping[str, Any]) -> PaidEvent:
    """Read a ``Paid`` log of ``eth_getLogs`` by slicing its words (a test holds this against eth_abi).

    Raises:
        NodeUnavailable: the log is not one the router can have written.
    """
    try:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        data = bytes.fromhex(log["data"][2:])
        signature, order_id, payer, token = topics
        if signature != PAID_TOPIC or len(data) != 3 * _WORD or any(len(t) != _WORD for t in topics):
            raise ValueError("another event, or words missing")
        amount, partner_share, seq = (int.from_bytes(data[i : i + _WORD]) for i in range(0, 3 * _WORD, _WORD))
        if partner_share > amount:
            raise ValueError(f"the partner's part {partner_share} is more than the amount {amount}")
        return PaidEvent(
            block_number=int(log["blockNumber"], 16),
            log_index=int(log["logIndex"], 16),
            block_hash=bytes.fromhex(log["blockHash"][2:]),
            transaction_hash=bytes.fromhex(log["transactionHash"][2:]),
            on_chain_order_id=order_id,
            payer=_address(payer),
            token_address=_address(token),
            units=amount,
            partner_units=partner_share,
            seq=seq,
        )
    except (KeyError, TypeError, ValueError) as fault:
        raise NodeUnavailable(f"the node returned a Paid log that the router cannot have written: {fault}") from None


def check_sequence(events: Sequence[PaidEvent], last_seq: int) -> int:
    """Prove that no payment is missing: the router numbers them without a gap.

    Args:
        events: the payments of one stretch of blocks, in order.
        last_seq: number of the last payment before that stretch; 0 for none.

    Returns:
        The number of the last payment now.

    Raises:
        SequenceGap: a number is missing or comes twice.
    """
    for event in events:
        if event.seq != last_seq + 1:
            raise SequenceGap(
                f"payment {last_seq} was followed by payment {event.seq} in block {event.block_number}, expected"
                f" {last_seq + 1}: the node hid or repeated a payment, ask another node (CASCADE_RPC_URL)"
            )
        last_seq = event.seq
    return last_seq


def confirmed_payment(chain_id: int, stablecoins: Mapping[str, Asset], event: PaidEvent) -> ConfirmedPayment:
    """A final ``Paid`` event as the waist takes it.

    Args:
        chain_id: EIP-155 chain id.
        stablecoins: asset by checksummed token address; the router takes no other token.
        event: the payment.

    Raises:
        NodeUnavailable: the token is none of the router's.
    """
    asset = stablecoins.get(event.token_address)
    if asset is None:
        raise NodeUnavailable(
            f"block {event.block_number} tells of a payment in {event.token_address}, which the router does not take:"
            f" expected one of {', '.join(stablecoins)}"
        )
    return ConfirmedPayment(
        reference=f"chain:{chain_id}:{event.block_number}:{event.log_index}",
        rail=Rail.CHAIN,
        order_key=event.on_chain_order_id,
        received=Money(asset, event.units),
        landed={TREASURY: event.units - event.partner_units, PARTNER: event.partner_units},
        payer=event.payer,
        transaction="0x" + event.transaction_hash.hex(),
    )


def _address(word: bytes) -> str:
    if any(word[:12]):
        raise ValueError(f"0x{word.hex()} is not an address")
    return to_checksum_address(word[12:])
