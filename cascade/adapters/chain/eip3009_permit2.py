"""Signatures with which anybody can send the payment for the payer: EIP-3009 in USDC, Permit2 in USDT.

Each commits to the order's on-chain id as its nonce, so it is good for one order, once, and until its time is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak

from cascade.domain.money import USDC
from cascade.domain.orders import ChainTerms
from cascade.domain.relay_items import RelayKind

PERMIT2: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
"""The same on every chain."""
IS_VALID: Final = keccak(text="isValidSignature(bytes32,bytes)")[:4]
"""Asks a contract for its word (ERC-1271); also that word, when the signature is its own."""
SIGNATURE_BYTES: Final = 65
_WRAPPED: Final = bytes.fromhex("6492" * 16)

_ORDER_OF_THE_CURVE = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN_FIELDS = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
_AUTHORIZATION_FIELDS = {
    "from": "address",
    "to": "address",
    "value": "uint256",
    "validAfter": "uint256",
    "validBefore": "uint256",
    "nonce": "bytes32",
}
_PERMIT2_FIELDS = {"permitted": "TokenPermissions", "spender": "address", "nonce": "uint256", "deadline": "uint256"}


def kind_of(terms: ChainTerms) -> RelayKind:
    """Return by what right the tokens move: USDC has authorizations of its own, for anything else there is Permit2."""
    return RelayKind.AUTHORIZATION if terms.token == USDC else RelayKind.PERMIT2


def verifier(terms: ChainTerms) -> str:
    """Return the contract that checks the signature, whose domain it is made in."""
    return terms.token_address if kind_of(terms) is RelayKind.AUTHORIZATION else PERMIT2


def typed_data(terms: ChainTerms, payer: str) -> dict[str, Any]:
    """Return what the payer's wallet is asked to sign (``eth_signTypedData_v4``).

    Numbers that can outgrow JSON's are decimal strings, as wallets take them.
    """
    order_id = terms.on_chain_order_id
    if kind_of(terms) is RelayKind.AUTHORIZATION:
        message: dict[str, Any] = {
            "from": payer,
            "to": terms.router,
            "value": str(terms.units),
            "validAfter": "0",
            "validBefore": str(terms.expires_at),
            "nonce": "0x" + order_id.hex(),
        }
        types = {"ReceiveWithAuthorization": fields(_AUTHORIZATION_FIELDS)}
        domain = {"name": "USD Coin", "version": "2"}
    else:
        message = {
            "permitted": {"token": terms.token_address, "amount": str(terms.units)},
            "spender": terms.router,
            "nonce": str(int.from_bytes(order_id)),
            "deadline": str(terms.expires_at),
        }
        types = {
            "PermitTransferFrom": fields(_PERMIT2_FIELDS),
            "TokenPermissions": fields({"token": "address", "amount": "uint256"}),
        }
        domain = {"name": "Permit2"}
    domain |= {"chainId": terms.chain_id, "verifyingContract": verifier(terms)}  # type: ignore[dict-item]
    return {
        "types": {"EIP712Domain": fields({name: _DOMAIN_FIELDS[name] for name in domain}), **types},
        "primaryType": next(iter(types)),
        "domain": domain,
        "message": message,
    }


def domain_separator(terms: ChainTerms) -> bytes:
    """Return what ``DOMAIN_SEPARATOR()`` of the verifying contract has to be, else every signature would be void."""
    return bytes(_signable(terms, terms.router).header)


def digest(terms: ChainTerms, payer: str) -> bytes:
    """Return the 32 bytes that the payer's key signs."""
    made = _signable(terms, payer)
    return keccak(b"\x19\x01" + made.header + made.body)


def signer(terms: ChainTerms, payer: str, signature: bytes) -> str | None:
    """Return whose key signed it, checksummed; None when the tokens would not take the signature from any key.

    Of the two signatures that follow from each other, the tokens and Permit2 take different ones: only the one that
    wallets make is taken here, with the lower ``s`` and a ``v`` of 27 or 28.
    """
    return recovered(_signable(terms, payer), signature)


def recovered(message: SignableMessage, signature: bytes) -> str | None:
    """Return whose key signed a message, checksummed; None when the signature is not in the one form that is taken."""
    if len(signature) != SIGNATURE_BYTES:
        return None
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64]
    if v not in (27, 28) or not 0 < r < _ORDER_OF_THE_CURVE or not 0 < s <= _ORDER_OF_THE_CURVE // 2:
        return None
    try:
        return str(Account.recover_message(message, signature=signature))
    except Exception:  # noqa: BLE001 - whatever the library finds wrong with it: no key made it
        return None


def is_wrapped(signature: bytes) -> bool:
    """Return whether a wallet that is not deployed made a signature (ERC-6492): it carries how to deploy the wallet
    first."""
    return signature.endswith(_WRAPPED)


def ask_contract(terms: ChainTerms, payer: str, signature: bytes) -> bytes:
    """Return the call that asks a payer with code whether it signed (ERC-1271)."""
    return IS_VALID + encode(["bytes32", "bytes"], [digest(terms, payer), signature])


def _signable(terms: ChainTerms, payer: str) -> SignableMessage:
    return encode_typed_data(full_message=typed_data(terms, payer))


def fields(kinds: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a struct's fields as EIP-712 lists them, from their types by name."""
    return [{"name": name, "type": kind} for name, kind in kinds.items()]
