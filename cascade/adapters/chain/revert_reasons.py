"""What it means for a payer that the router, a token or Permit2 refused a payment."""

from __future__ import annotations

from typing import Final

from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from cascade.adapters.chain.router_logs import ABI
from cascade.adapters.chain.view_calls import KEPT_BYTES
from cascade.domain.relay import Refusal


def _of_router(name: str) -> bytes:
    (entry,) = (e for e in ABI if e["type"] == "error" and e["name"] == name)
    return keccak(text=f"{name}({','.join(collapse_if_tuple(i) for i in entry['inputs'])})")[:4]


def _of_permit2(signature: str) -> bytes:
    return keccak(text=signature)[:4]


_TEXT: Final = keccak(text="Error(string)")[:4]
_ERRORS: Final = {
    _of_router("OrderExpired"): Refusal.EXPIRED,
    _of_router("OrderAlreadyPaid"): Refusal.ALREADY_PAID,
    _of_router("InvalidPause"): Refusal.PAUSED,
    _of_router("NothingToCollect"): Refusal.NOTHING_THERE,
    _of_permit2("SignatureExpired(uint256)"): Refusal.EXPIRED,
    _of_permit2("InvalidSigner()"): Refusal.WRONG_SIGNER,
    _of_permit2("InvalidSignature()"): Refusal.WRONG_SIGNER,
    _of_permit2("InvalidSignatureLength()"): Refusal.WRONG_SIGNER,
    _of_permit2("InvalidContractSignature()"): Refusal.WRONG_SIGNER,
}
_WORDS: Final = {
    "exceeds balance": Refusal.INSUFFICIENT_BALANCE,
    "exceeds allowance": Refusal.INSUFFICIENT_ALLOWANCE,
    "blacklisted": Refusal.BLOCKED,
    "blocked": Refusal.BLOCKED,
    "invalid signature": Refusal.WRONG_SIGNER,
    "authorization is expired": Refusal.EXPIRED,
    "pausable: paused": Refusal.PAUSED,
}
"""Parts of what the tokens say in words."""


def refusal_of(data: bytes) -> Refusal:
    """Return the reason for which a payment's call reverted; ``REVERTED`` when it is none that is known.

    A payer can choose every byte. So no decoder reads them that can fail, or that believes a length: only a text that
    has its usual place and is there as a whole counts.

    Args:
        data: what the call gave back: an error's selector and its arguments; only the first 256 bytes are read.
    """
    selector, arguments = data[:4], data[4:KEPT_BYTES]
    if selector != _TEXT:
        return _ERRORS.get(selector, Refusal.REVERTED)
    offset, length, text = int.from_bytes(arguments[:32]), int.from_bytes(arguments[32:64]), arguments[64:]
    if offset != 32 or length > len(text):
        return Refusal.REVERTED
    # What follows the text is not looked at: USDC leaves what lies in memory there, where the ABI wants zeros.
    said = text[:length].decode(errors="replace").lower()
    return next((refusal for words, refusal in _WORDS.items() if words in said), Refusal.REVERTED)
