"""Translate the reverts of the router, a token or Permit2 into reasons for the payer."""

from __future__ import annotations

from typing import Final

from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from cascade.adapters.chain.router_logs import ABI
from cascade.adapters.chain.view_calls import KEPT_BYTES
from cascade.domain.relay_items import RejectReason


def _of_router(name: str) -> bytes:
    (entry,) = (e for e in ABI if e["type"] == "error" and e["name"] == name)
    return keccak(text=f"{name}({','.join(collapse_if_tuple(i) for i in entry['inputs'])})")[:4]


def _of_permit2(signature: str) -> bytes:
    return keccak(text=signature)[:4]


_TEXT: Final = keccak(text="Error(string)")[:4]
_ERRORS: Final = {
    _of_router("OrderExpired"): RejectReason.EXPIRED,
    _of_router("OrderAlreadyPaid"): RejectReason.ALREADY_PAID,
    _of_router("InvalidPause"): RejectReason.PAUSED,
    _of_router("NothingToCollect"): RejectReason.NOTHING_THERE,
    _of_permit2("SignatureExpired(uint256)"): RejectReason.EXPIRED,
    _of_permit2("InvalidSigner()"): RejectReason.WRONG_SIGNER,
    _of_permit2("InvalidSignature()"): RejectReason.WRONG_SIGNER,
    _of_permit2("InvalidSignatureLength()"): RejectReason.WRONG_SIGNER,
    _of_permit2("InvalidContractSignature()"): RejectReason.WRONG_SIGNER,
}
_WORDS: Final = {
    "exceeds balance": RejectReason.INSUFFICIENT_BALANCE,
    "exceeds allowance": RejectReason.INSUFFICIENT_ALLOWANCE,
    "blacklisted": RejectReason.BLOCKED,
    "blocked": RejectReason.BLOCKED,
    "invalid signature": RejectReason.WRONG_SIGNER,
    "authorization is expired": RejectReason.EXPIRED,
    "pausable: paused": RejectReason.PAUSED,
}
"""Parts of what the tokens say in words."""


def refusal_of(data: bytes) -> RejectReason:
    """Return the reason for which a payment's call reverted; ``REVERTED`` when it is none that is known.

    A payer can choose every byte. So no decoder reads them that can fail, or that believes a length: only a text that
    has its usual place and is there as a whole counts.

    Args:
        data: what the call gave back: an error's selector and its arguments; only the first 256 bytes are read.
    """
    selector, arguments = data[:4], data[4:KEPT_BYTES]
    if selector != _TEXT:
        return _ERRORS.get(selector, RejectReason.REVERTED)
    offset, length, text = int.from_bytes(arguments[:32]), int.from_bytes(arguments[32:64]), arguments[64:]
    if offset != 32 or length > len(text):
        return RejectReason.REVERTED
    # What follows the text is not looked at: USDC leaves what lies in memory there, where the ABI wants zeros.
    said = text[:length].decode(errors="replace").lower()
    return next((refusal for words, refusal in _WORDS.items() if words in said), RejectReason.REVERTED)
