"""What payers sign: against the well-known values of the contracts, and against the keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from cascade.adapters.chain import eip3009_permit2, router, router_logs
from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.domain.money import USDC, USDT, Asset
from cascade.domain.orders import ChainTerms
from cascade.domain.relay_items import RejectReason, RelayKind
from sandbox.polygon import addresses

KEY = "0x" + "11" * 32
PAYER = str(Account.from_key(KEY).address)
ROUTER = "0x" + "12" * 20
CURVE = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def terms_in(token: Asset, **changes: int | str) -> ChainTerms:
    address = addresses.USDC if token == USDC else addresses.USDT
    of = {"chain_id": 137, "router": ROUTER, "token_address": address, "units": 2**40, "expires_at": 2_000_000_000}
    of |= {"salt": b"\5" * 32, **changes}
    return ChainTerms(on_chain_order_id=router_logs.on_chain_order_id(**of), token=token, **of)  # type: ignore[arg-type]


def signed(terms: ChainTerms, key: str = KEY) -> bytes:
    data = json.loads(json.dumps(eip3009_permit2.typed_data(terms, PAYER)))  # as a wallet gets it
    return bytes(Account.sign_message(encode_typed_data(full_message=data), key).signature)


def malleated(signature: bytes) -> bytes:
    """The other signature that belongs to the same key and digest."""
    s = CURVE - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])


both = pytest.mark.parametrize("token", [USDC, USDT], ids=str)


def test_usdcs_domain_is_the_one_on_polygon() -> None:
    assert "0x" + eip3009_permit2.domain_separator(terms_in(USDC)).hex() == addresses.USDC_DOMAIN_SEPARATOR
    other = replace(terms_in(USDC), chain_id=1)
    assert "0x" + eip3009_permit2.domain_separator(other).hex() != addresses.USDC_DOMAIN_SEPARATOR


def test_usdcs_digest_is_that_of_eip_3009() -> None:
    terms = terms_in(USDC)
    kind = keccak(
        text="ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
        "uint256 validBefore,bytes32 nonce)"
    )
    words = ["bytes32", "address", "address", "uint256", "uint256", "uint256", "bytes32"]
    body = encode(words, [kind, PAYER, ROUTER, terms.units, 0, terms.expires_at, terms.on_chain_order_id])
    domain = bytes.fromhex(addresses.USDC_DOMAIN_SEPARATOR[2:])
    assert eip3009_permit2.digest(terms, PAYER) == keccak(b"\x19\x01" + domain + keccak(body))


def test_permit2s_digest_is_that_of_a_signature_transfer() -> None:
    terms = terms_in(USDT)
    tokens = "TokenPermissions(address token,uint256 amount)"
    kind = f"PermitTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline){tokens}"
    permitted = keccak(encode(["bytes32", "address", "uint256"], [keccak(text=tokens), addresses.USDT, terms.units]))
    nonce = int.from_bytes(terms.on_chain_order_id)
    body = encode(
        ["bytes32", "bytes32", "address", "uint256", "uint256"],
        [keccak(text=kind), permitted, ROUTER, nonce, terms.expires_at],
    )
    domain = encode(
        ["bytes32", "bytes32", "uint256", "address"],
        [
            keccak(text="EIP712Domain(string name,uint256 chainId,address verifyingContract)"),
            *(keccak(text="Permit2"), 137, addresses.PERMIT2),
        ],
    )
    assert eip3009_permit2.digest(terms, PAYER) == keccak(b"\x19\x01" + keccak(domain) + keccak(body))


@both
def test_the_payers_key_is_recovered(token: Asset) -> None:
    terms = terms_in(token)
    assert eip3009_permit2.signer(terms, PAYER, signed(terms)) == PAYER
    assert eip3009_permit2.signer(terms, PAYER, signed(terms, "0x" + "22" * 32)) not in (PAYER, None)


@both
@pytest.mark.parametrize(
    "change",
    [{"units": 2**40 - 1}, {"expires_at": 2_000_000_001}, {"chain_id": 1}, {"router": "0x" + "13" * 20}],
    ids=str,
)
def test_a_signature_is_for_these_terms_alone(token: Asset, change: dict[str, int | str]) -> None:
    signature = signed(terms_in(token, **change))
    assert eip3009_permit2.signer(terms_in(token), PAYER, signature) != PAYER


@both
def test_only_the_form_that_wallets_make_is_taken(token: Asset) -> None:
    terms = terms_in(token)
    good = signed(terms)
    recovery = bytes([good[64] - 27])
    for bad in (malleated(good), good[:64] + recovery, good[:64], good + b"\0", b"", bytes(65), b"\xff" * 64 + b"\x1b"):
        assert eip3009_permit2.signer(terms, PAYER, bad) is None
    message = encode_typed_data(full_message=eip3009_permit2.typed_data(terms, PAYER))
    assert Account.recover_message(message, signature=malleated(good)) == PAYER  # it would be, without the rule


def test_the_kind_follows_the_token() -> None:
    assert eip3009_permit2.kind_of(terms_in(USDC)) is RelayKind.AUTHORIZATION
    assert eip3009_permit2.kind_of(terms_in(USDT)) is RelayKind.PERMIT2
    assert eip3009_permit2.verifier(terms_in(USDT)) == addresses.PERMIT2


def test_calls_are_those_of_the_abi() -> None:
    terms = terms_in(USDC)
    order = (terms.token_address, terms.units, terms.expires_at, terms.salt)
    shape = "(address,uint256,uint64,bytes32)"
    with_signature = f"({shape},address,bytes)"
    alone = encode([shape, "address", "bytes"], [order, PAYER, b"\1\2"])
    many = encode([f"{with_signature}[]"], [[(order, PAYER, b"\1\2")]])
    ids = [b"\1" * 32, b"\2" * 32]
    for made, signature, arguments in (
        (router.pay_with_authorization(terms, PAYER, b"\1\2"), f"payWithAuthorization{with_signature}", alone),
        (router.pay_with_permit2(terms, PAYER, b"\1\2"), f"payWithPermit2{with_signature}", alone),
        (router.pay_many([(terms, PAYER, b"\1\2")]), f"payMany({with_signature}[])", many),
        (
            router.collect(ids[0], PAYER),
            "collect(bytes32,address)",
            encode(["bytes32", "address"], [ids[0], PAYER]),
        ),
        (
            router.collect_many(ids, PAYER),
            "collectMany(bytes32[],address)",
            encode(["bytes32[]", "address"], [ids, PAYER]),
        ),
    ):  # fmt: skip
        assert made == keccak(text=signature)[:4] + arguments


def text(words: str) -> bytes:
    return keccak(text="Error(string)")[:4] + encode(["string"], [words])


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (keccak(text="OrderExpired(uint256,uint64)")[:4] + bytes(64), RejectReason.EXPIRED),
        (keccak(text="OrderAlreadyPaid(bytes32)")[:4] + bytes(32), RejectReason.ALREADY_PAID),
        (keccak(text="InvalidPause(bool,bool)")[:4] + bytes(64), RejectReason.PAUSED),
        (keccak(text="InvalidToken(address,address,address)")[:4] + bytes(96), RejectReason.REVERTED),
        (keccak(text="SignatureExpired(uint256)")[:4] + bytes(32), RejectReason.EXPIRED),
        (keccak(text="InvalidSigner()")[:4], RejectReason.WRONG_SIGNER),
        (text("ERC20: transfer amount exceeds balance"), RejectReason.INSUFFICIENT_BALANCE),
        (text("ERC20: transfer amount exceeds allowance"), RejectReason.INSUFFICIENT_ALLOWANCE),
        (text("Blacklistable: account is blacklisted"), RejectReason.BLOCKED),
        (text("USDT0: sender is blocked"), RejectReason.BLOCKED),
        (text("FiatTokenV2: invalid signature"), RejectReason.WRONG_SIGNER),
        (text("FiatTokenV2: authorization is expired"), RejectReason.EXPIRED),
        (text("FiatTokenV2: authorization is used or canceled"), RejectReason.REVERTED),
        (text("Pausable: paused"), RejectReason.PAUSED),
        (text("TRANSFER_FROM_FAILED"), RejectReason.REVERTED),
        (b"", RejectReason.REVERTED),
        (b"\1", RejectReason.REVERTED),
        (text("")[:4], RejectReason.REVERTED),
        (text("ab")[:-32] + b"\xff" * 32, RejectReason.REVERTED),
    ],
)
def test_a_revert_is_a_reason(data: bytes, refusal: RejectReason) -> None:
    assert refusal_of(data) is refusal
