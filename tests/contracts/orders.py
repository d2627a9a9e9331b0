"""Orders, permits and their signatures, as a payer's wallet would make them. Shared with the fork tests."""

from enum import IntEnum
from typing import Any, NamedTuple

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.crypto import keccak

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
ORDER_TYPE = "(address,uint256,uint64,bytes32)"


class Role(IntEnum):
    """The two sides of the split, numbered as in the contract."""

    TREASURY = 0
    PARTNER = 1


class Order(NamedTuple):
    """The terms of an order: `amount` in the token's smallest unit, `expires_at` in Unix seconds."""

    token: str
    amount: int
    expires_at: int
    salt: bytes


class Permit(NamedTuple):
    """An EIP-2612 signature; `deadline` in Unix seconds."""

    deadline: int
    v: int
    r: bytes
    s: bytes


def order_id(chain_id: int, router: str, order: Order) -> bytes:
    """The id as the server computes it, independently of the contract."""
    return keccak(encode(["uint256", "address", ORDER_TYPE], [chain_id, router, tuple(order)]))


def permit_message(
    domain: dict[str, Any], owner: str, spender: str, value: int, nonce: int, deadline: int
) -> SignableMessage:
    """The EIP-712 message of a permit; `domain` says which of the standard's fields the token uses."""
    types = {
        "name": "string",
        "version": "string",
        "chainId": "uint256",
        "verifyingContract": "address",
        "salt": "bytes32",
    }
    permit = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    return encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [{"name": name, "type": kind} for name, kind in types.items() if name in domain],
                "Permit": [{"name": name, "type": kind} for name, kind in permit.items()],
            },
            "primaryType": "Permit",
            "domain": domain,
            "message": {"owner": owner, "spender": spender, "value": value, "nonce": nonce, "deadline": deadline},
        }
    )


def sign_permit(key: str, domain: dict[str, Any], spender: str, value: int, nonce: int, deadline: int) -> Permit:
    """A permit of `value` units to `spender`, signed with a private key; `deadline` in Unix seconds."""
    owner = Account.from_key(key)
    signature = owner.sign_message(permit_message(domain, owner.address, spender, value, nonce, deadline))
    return Permit(deadline, signature.v, signature.r.to_bytes(32, "big"), signature.s.to_bytes(32, "big"))


def sign_authorization(
    key: str, domain: dict[str, Any], router: str, order: Order, id_: bytes, **changes: Any
) -> bytes:
    """A signed EIP-3009 `ReceiveWithAuthorization` of an order's amount; `changes` replaces parts of the message."""
    return bytes(
        Account.from_key(key).sign_message(authorization(key, domain, router, order, id_, **changes)).signature
    )


def authorization(
    key: str, domain: dict[str, Any], router: str, order: Order, id_: bytes, payer: str | None = None, **changes: Any
) -> SignableMessage:
    """The EIP-712 message of it; `payer` differs from the key's own address where a contract wallet pays."""
    message = {
        "from": payer or Account.from_key(key).address,
        "to": router,
        "value": order.amount,
        "validAfter": 0,
        "validBefore": order.expires_at,
        "nonce": id_,
    }
    kinds = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
    kind = str(changes.pop("kind", "ReceiveWithAuthorization"))
    types = {kind: [{"name": name, "type": of} for name, of in zip(message, kinds, strict=True)]}
    return encode_typed_data(domain_data=domain, message_types=types, message_data=message | changes)


def sign_permit2(key: str, chain_id: int, router: str, order: Order, id_: bytes, **changes: Any) -> bytes:
    """A signed Permit2 `PermitTransferFrom` of an order's amount; `changes` replaces parts of the message."""
    types = {
        "PermitTransferFrom": [
            {"name": "permitted", "type": "TokenPermissions"},
            {"name": "spender", "type": "address"},
            {"name": "nonce", "type": "uint256"},
            {"name": "deadline", "type": "uint256"},
        ],
        "TokenPermissions": [{"name": "token", "type": "address"}, {"name": "amount", "type": "uint256"}],
    }
    message = {
        "permitted": {"token": order.token, "amount": order.amount},
        "spender": router,
        "nonce": int.from_bytes(id_, "big"),
        "deadline": order.expires_at,
    }
    domain = {"name": "Permit2", "chainId": chain_id, "verifyingContract": PERMIT2}
    made = encode_typed_data(domain_data=domain, message_types=types, message_data=message | changes)
    return bytes(Account.from_key(key).sign_message(made).signature)
