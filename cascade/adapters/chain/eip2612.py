"""EIP-2612 permits: the payer signs, and one transaction of its own allows and pays.

Unlike what a relayer sends, a permit names no order: a token counts an account's permits, and takes only the next one.
"""

from __future__ import annotations

from typing import Any

from eth_account.messages import SignableMessage, encode_typed_data

from cascade.adapters.chain.eip3009_permit2 import fields, recovered
from cascade.domain.money import USDC
from cascade.domain.orders import ChainTerms

_USUAL_DOMAIN = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
_SALTED_DOMAIN = {"name": "string", "version": "string", "verifyingContract": "address", "salt": "bytes32"}
_PERMIT = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}


def typed_data(terms: ChainTerms, payer: str, nonce: int) -> dict[str, Any]:
    """Return what the payer's wallet is asked to sign (``eth_signTypedData_v4``), so that the router may spend the
    price.

    The permit ends with the order. Numbers that can outgrow JSON's are decimal strings, as wallets take them.

    Args:
        terms: what the order asks for.
        payer: checksummed address.
        nonce: of the payer's next permit, as the token counts.
    """
    if terms.token == USDC:
        kinds = _USUAL_DOMAIN
        domain: dict[str, Any] = {"name": "USD Coin", "version": "2", "chainId": terms.chain_id}
    else:  # Polygon's bridged tokens put the chain's id into the salt
        kinds = _SALTED_DOMAIN
        domain = {"name": "USDT0", "version": "1", "salt": "0x" + terms.chain_id.to_bytes(32).hex()}
    return {
        "types": {"EIP712Domain": fields(kinds), "Permit": fields(_PERMIT)},
        "primaryType": "Permit",
        "domain": domain | {"verifyingContract": terms.token_address},
        "message": {
            "owner": payer,
            "spender": terms.router,
            "value": str(terms.units),
            "nonce": str(nonce),
            "deadline": str(terms.expires_at),
        },
    }


def domain_separator(terms: ChainTerms) -> bytes:
    """Return what ``DOMAIN_SEPARATOR()`` of the token has to be, else every permit would be void."""
    return bytes(_signable(terms, terms.router, 0).header)


def signer(terms: ChainTerms, payer: str, nonce: int, signature: bytes) -> str | None:
    """Return whose key signed the payer's permit, checksummed; None when it is not in the one form that is taken."""
    return recovered(_signable(terms, payer, nonce), signature)


def _signable(terms: ChainTerms, payer: str, nonce: int) -> SignableMessage:
    return encode_typed_data(full_message=typed_data(terms, payer, nonce))
