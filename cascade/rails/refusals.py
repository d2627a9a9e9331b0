"""What the router, the tokens and Permit2 say when they refuse a payment, in the relayer's words."""

from __future__ import annotations

from typing import Any, Final, cast

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import ABIFunction
from eth_utils.abi import function_abi_to_4byte_selector
from eth_utils.crypto import keccak

from cascade.domain.relay import Refusal
from cascade.rails.chain import ABI

_OURS = {
    "OrderExpired": Refusal.EXPIRED,
    "OrderAlreadyPaid": Refusal.ALREADY_PAID,
    "InvalidPause": Refusal.PAUSED,
    "NothingToCollect": Refusal.NOTHING_THERE,
}
_PERMIT2 = {
    "InvalidSigner()": Refusal.WRONG_SIGNER,
    "InvalidContractSignature()": Refusal.WRONG_SIGNER,
    "InvalidSignature()": Refusal.WRONG_SIGNER,
    "InvalidSignatureLength()": Refusal.WRONG_SIGNER,
    "InvalidNonce()": Refusal.ALREADY_PAID,
    "SignatureExpired(uint256)": Refusal.EXPIRED,
}
_WORDS = (
    ("expired", Refusal.EXPIRED),
    ("invalid signature", Refusal.WRONG_SIGNER),
    ("used or canceled", Refusal.ALREADY_PAID),
    ("blacklisted", Refusal.BLOCKED),
    ("blocked", Refusal.BLOCKED),
    ("exceeds balance", Refusal.INSUFFICIENT_BALANCE),
    ("exceeds allowance", Refusal.INSUFFICIENT_ALLOWANCE),
    ("insufficient allowance", Refusal.INSUFFICIENT_ALLOWANCE),
    ("paused", Refusal.PAUSED),
)
"""Of the tokens' sentences; USDC and USDT say them since years, and what is not known is only "reverted"."""


def _selector(entry: dict[str, Any]) -> bytes:
    return function_abi_to_4byte_selector(cast(ABIFunction, {**entry, "type": "function"}))


_BY_SELECTOR: Final = {
    **{_selector(entry): _OURS[entry["name"]] for entry in ABI if entry["type"] == "error" and entry["name"] in _OURS},
    **{keccak(text=error)[:4]: refusal for error, refusal in _PERMIT2.items()},
}
_ERROR_WITH_WORDS = keccak(text="Error(string)")[:4]


def refusal_of(data: bytes) -> Refusal:
    """Why a call reverted, from what it returned."""
    selector, arguments = data[:4], data[4:]
    if selector != _ERROR_WITH_WORDS:
        return _BY_SELECTOR.get(selector, Refusal.REVERTED)
    try:
        (said,) = decode(["string"], arguments)
    except (DecodingError, UnicodeDecodeError):
        return Refusal.REVERTED
    return next((refusal for words, refusal in _WORDS if words in said.lower()), Refusal.REVERTED)
