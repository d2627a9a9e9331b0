"""Order ids, deposit addresses, the calls that a wallet sends, and the router's events, decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.domain.money import Asset, Money
from cascade.domain.orders import ChainTerms
from cascade.domain.payments import ConfirmedPayment, PaidEvent, Rail, RefundedEvent, RouterEvent
from cascade.domain.postings import PARTNER, TREASURY
from cascade.domain.reversals import Refund
from cascade.errors import NodeUnavailable, SequenceGap

_BUILD: Final[dict[str, Any]] = json.loads((files("cascade.adapters.chain") / "payment_router.json").read_text())
"""What this build of the router is; written by ``ape run export_abi``, which the tests repeat."""
ABI: Final[list[dict[str, Any]]] = _BUILD["abi"]
DEPOSIT_CODE_HASH: Final = bytes.fromhex(_BUILD["deposit_code_hash"][2:])
"""keccak256 of the code that the router creates at a deposit address, which follows from it."""

_ORDER = "(address,uint256,uint64,bytes32)"
_APPROVE_SELECTOR = keccak(text="approve(address,uint256)")[:4]
_WORD = 32


def _entry(kind: str, name: str) -> dict[str, Any]:
    (entry,) = (e for e in ABI if e["type"] == kind and e["name"] == name)
    return entry


PAID_TOPIC: Final = event_abi_to_log_topic(_entry("event", "Paid"))  # type: ignore[arg-type]
REFUNDED_TOPIC: Final = event_abi_to_log_topic(_entry("event", "Refunded"))  # type: ignore[arg-type]
ASK_DEPOSIT_CODE_HASH: Final = function_abi_to_4byte_selector(_entry("function", "depositCodeHash"))  # type: ignore[arg-type]
"""The call that asks a router for its own."""
_PAY_SELECTOR = function_abi_to_4byte_selector(_entry("function", "pay"))  # type: ignore[arg-type]
if [collapse_if_tuple(i) for i in _entry("function", "pay")["inputs"]] != [_ORDER]:  # pragma: no cover
    raise ImportError("payment_router.json does not fit cascade.adapters.chain.router_logs: the order's fields changed")


@dataclass(frozen=True, slots=True)
class Call:
    """One transaction for the payer's wallet; ``data`` is 0x-prefixed calldata."""

    label: str
    to: str
    data: str


def on_chain_order_id(
    chain_id: int, router: str, token_address: str, units: int, expires_at: int, salt: bytes
) -> bytes:
    """Return the id that the router computes from an order's terms: 32 bytes (``PaymentRouter.orderId``)."""
    order = (token_address, units, expires_at, salt)
    return keccak(encode(["uint256", "address", _ORDER], [chain_id, router, order]))


def deposit_address(router: str, on_chain_order_id: bytes) -> str:
    """Return where plain transfers for an order go (``PaymentRouter.depositAddress``)."""
    return to_checksum_address(_deposit(router, on_chain_order_id))


def transfer_uri(terms: ChainTerms, units: int | None = None) -> str:
    """Return a plain transfer that pays an order, or so many units of it, as wallets read it from a QR code
    (EIP-681)."""
    deposit = deposit_address(terms.router, terms.on_chain_order_id)
    amount = terms.units if units is None else units
    return f"ethereum:{terms.token_address}@{terms.chain_id}/transfer?address={deposit}&uint256={amount}"


def is_collected(router: str, event: RouterEvent) -> bool:
    """Return whether it is a plain transfer, collected at its order's deposit address: then the router lets it come
    late."""
    if not isinstance(event, PaidEvent):
        return False
    return bytes.fromhex(event.payer[2:]) == _deposit(router, event.on_chain_order_id)


def payment_calls(terms: ChainTerms) -> list[Call]:
    """Return the calls that pay an order from any wallet: approve the exact amount, then pay."""
    approve = _APPROVE_SELECTOR + encode(["address", "uint256"], [terms.router, terms.units])
    order = (terms.token_address, terms.units, terms.expires_at, terms.salt)
    pay = _PAY_SELECTOR + encode([_ORDER], [order])
    return [
        Call(f"Approve {terms.amount.display()} {terms.token.code}", terms.token_address, "0x" + approve.hex()),
        Call(f"Pay {terms.amount.display()} {terms.token.code}", terms.router, "0x" + pay.hex()),
    ]


def decode(log: Mapping[str, Any]) -> RouterEvent:
    """Read a log of ``eth_getLogs`` that is a payment or a refund.

    Raises:
        NodeUnavailable: the log is not one the router can have written, or another event.
    """
    topics = log.get("topics")
    if isinstance(topics, list) and topics and str(topics[0]).lower() == "0x" + REFUNDED_TOPIC.hex():
        return decode_refunded(log)
    return decode_paid(log)


def decode_paid(log: Mapping[str, Any]) -> PaidEvent:
    """Read a ``Paid`` log of ``eth_getLogs`` by slicing its words (a test holds this against eth_abi).

    Raises:
        NodeUnavailable: the log is not one the router can have written.
    """
    try:
        (order_id, payer, token), (amount, partner_share, seq) = _words(log, PAID_TOPIC, 3)
        if partner_share > amount:
            raise ValueError(f"the partner's part {partner_share} is more than the amount {amount}")
        return PaidEvent(
            **_place(log),
            on_chain_order_id=order_id,
            payer=_address(payer),
            token_address=_address(token),
            units=amount,
            partner_units=partner_share,
            seq=seq,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NodeUnavailable(f"the node returned a Paid log that the router cannot have written: {error}") from None


def decode_refunded(log: Mapping[str, Any]) -> RefundedEvent:
    """Read a ``Refunded`` log of ``eth_getLogs``.

    Raises:
        NodeUnavailable: the log is not one the router can have written.
    """
    try:
        (order_id, recipient, token), (amount,) = _words(log, REFUNDED_TOPIC, 1)
        if amount == 0:
            raise ValueError("a refund of nothing")
        return RefundedEvent(
            **_place(log),
            on_chain_order_id=order_id,
            recipient=_address(recipient),
            token_address=_address(token),
            units=amount,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NodeUnavailable(
            f"the node returned a Refunded log that the router cannot have written: {error}"
        ) from None


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
    """Return a final ``Paid`` event as a confirmed payment.

    Args:
        chain_id: EIP-155 chain id.
        stablecoins: asset by checksummed token address; the router takes no other token.
        event: the payment.

    Raises:
        NodeUnavailable: the token is none of the router's.
    """
    asset = _accepted(stablecoins, event)
    return ConfirmedPayment(
        reference=_reference(chain_id, event),
        rail=Rail.CHAIN,
        order_key=event.on_chain_order_id,
        received=Money(asset, event.units),
        landed={TREASURY: event.units - event.partner_units, PARTNER: event.partner_units},
        payer=event.payer,
        transaction="0x" + event.transaction_hash.hex(),
        paid_at=None if event.block_time is None else datetime.fromtimestamp(event.block_time, UTC),
        collected=event.block_time is not None,
    )


def refund(chain_id: int, stablecoins: Mapping[str, Asset], event: RefundedEvent) -> Refund:
    """Return a final ``Refunded`` event as a refund; the arguments are those of ``confirmed_payment``.

    Raises:
        NodeUnavailable: the token is none of the router's.
    """
    return Refund(
        reference=_reference(chain_id, event),
        order_key=event.on_chain_order_id,
        amount=Money(_accepted(stablecoins, event), event.units),
        recipient=event.recipient,
        transaction="0x" + event.transaction_hash.hex(),
    )


def _reference(chain_id: int, event: RouterEvent) -> str:
    return f"chain:{chain_id}:{event.block_number}:{event.log_index}"


def _accepted(stablecoins: Mapping[str, Asset], event: RouterEvent) -> Asset:
    asset = stablecoins.get(event.token_address)
    if asset is None:
        raise NodeUnavailable(
            f"block {event.block_number} tells of money in {event.token_address}, which the router does not take:"
            f" expected one of {', '.join(stablecoins)}"
        )
    return asset


def _deposit(router: str, on_chain_order_id: bytes) -> bytes:
    """Return the address by CREATE2: router, the order's id as the salt, the code that is created."""
    return keccak(b"\xff" + bytes.fromhex(router[2:]) + on_chain_order_id + DEPOSIT_CODE_HASH)[12:]


def _words(log: Mapping[str, Any], topic: bytes, numbers: int) -> tuple[list[bytes], list[int]]:
    """Return the three indexed words of an event, and the numbers of its data."""
    topics = [bytes.fromhex(word[2:]) for word in log["topics"]]
    data = bytes.fromhex(log["data"][2:])
    if len(topics) != 4 or topics[0] != topic or len(data) != numbers * _WORD or any(len(t) != _WORD for t in topics):
        raise ValueError("another event, or words missing")
    return topics[1:], [int.from_bytes(data[i : i + _WORD]) for i in range(0, len(data), _WORD)]


def _place(log: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "block_number": int(log["blockNumber"], 16),
        "log_index": int(log["logIndex"], 16),
        "block_hash": bytes.fromhex(log["blockHash"][2:]),
        "transaction_hash": bytes.fromhex(log["transactionHash"][2:]),
    }


def _address(word: bytes) -> str:
    if any(word[:12]):
        raise ValueError(f"0x{word.hex()} is not an address")
    return to_checksum_address(word[12:])
