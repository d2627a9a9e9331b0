"""Encode the calls of the PaymentRouter: payments, signed or not, transfers to collect, and questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector

from cascade.adapters.chain.router_logs import ABI
from cascade.domain.orders import ChainTerms

_ORDER = "(address,uint256,uint64,bytes32)"
_PERMIT = "(uint256,uint8,bytes32,bytes32)"
_SHAPES = {
    "pay": [_ORDER],
    "payWithPermit": [_ORDER, _PERMIT],
    "payWithAuthorization": [_ORDER, "address", "bytes"],
    "payWithPermit2": [_ORDER, "address", "bytes"],
    "payMany": [f"({_ORDER},address,bytes)[]"],
    "collect": ["bytes32", "address"],
    "collectMany": ["bytes32[]", "address"],
    "paid": ["bytes32"],
    "paused": [],
}
"""What this module encodes; held against the ABI below."""


def _selector(name: str) -> bytes:
    (entry,) = (e for e in ABI if e["type"] == "function" and e["name"] == name)
    if [collapse_if_tuple(i) for i in entry["inputs"]] != _SHAPES[name]:  # pragma: no cover
        raise ImportError(
            f"payment_router.json does not fit cascade.adapters.chain.router: {name} takes other arguments"
        )
    return function_abi_to_4byte_selector(entry)  # type: ignore[arg-type]


_SELECTORS: Final = {name: _selector(name) for name in _SHAPES}


def pay(terms: ChainTerms) -> bytes:
    """Pay an order from the sender's allowance."""
    return _call("pay", _order(terms))


def pay_with_permit(terms: ChainTerms, signature: bytes) -> bytes:
    """Pay an order with its sender's EIP-2612 permit: a signature of 65 bytes, with the order's deadline."""
    permit = (terms.expires_at, signature[64], signature[:32], signature[32:64])
    return _call("payWithPermit", _order(terms), permit)


def pay_with_authorization(terms: ChainTerms, payer: str, signature: bytes) -> bytes:
    """Pay an order with its payer's EIP-3009 authorization."""
    return _call("payWithAuthorization", _order(terms), payer, signature)


def pay_with_permit2(terms: ChainTerms, payer: str, signature: bytes) -> bytes:
    """Pay an order with its payer's Permit2 signature."""
    return _call("payWithPermit2", _order(terms), payer, signature)


def pay_many(payments: Sequence[tuple[ChainTerms, str, bytes]]) -> bytes:
    """Pay many orders at once, each by its terms, its payer and the payer's signature; one that fails is left out."""
    return _call("payMany", [(_order(terms), payer, signature) for terms, payer, signature in payments])


def collect(on_chain_order_id: bytes, token_address: str) -> bytes:
    """Settle what lies at an order's deposit address."""
    return _call("collect", on_chain_order_id, token_address)


def collect_many(on_chain_order_ids: Sequence[bytes], token_address: str) -> bytes:
    """Settle what lies at many orders' deposit addresses, in one token; empty ones are passed over."""
    return _call("collectMany", list(on_chain_order_ids), token_address)


def ask_paid(on_chain_order_id: bytes) -> bytes:
    """Ask whether an order has been paid."""
    return _call("paid", on_chain_order_id)


def ask_paused() -> bytes:
    """Ask whether payments are stopped."""
    return _call("paused")


def _call(name: str, *arguments: Any) -> bytes:
    return _SELECTORS[name] + encode(_SHAPES[name], arguments)


def _order(terms: ChainTerms) -> tuple[str, int, int, bytes]:
    return terms.token_address, terms.units, terms.expires_at, terms.salt
