"""EIP-2612 permits: against the domains of the tokens on Polygon, and against the keys."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from cascade.adapters.chain import eip2612, router, router_logs
from cascade.domain.money import USDC, USDT, Asset
from sandbox.polygon import addresses
from tests.unit.test_eip3009_permit2 import KEY, PAYER, ROUTER, malleated, terms_in

both = pytest.mark.parametrize("token", [USDC, USDT], ids=str)
SEPARATORS = {USDC: addresses.USDC_DOMAIN_SEPARATOR, USDT: addresses.USDT_DOMAIN_SEPARATOR}


def signed(token: Asset, nonce: int, key: str = KEY) -> bytes:
    data = json.loads(json.dumps(eip2612.typed_data(terms_in(token), PAYER, nonce)))  # as a wallet gets it
    return bytes(Account.sign_message(encode_typed_data(full_message=data), key).signature)


@both
def test_the_domain_is_the_one_on_polygon(token: Asset) -> None:
    terms = terms_in(token)
    assert "0x" + eip2612.domain_separator(terms).hex() == SEPARATORS[token]
    assert "0x" + eip2612.domain_separator(replace(terms, chain_id=1)).hex() != SEPARATORS[token]


@both
def test_the_digest_is_that_of_eip_2612(token: Asset) -> None:
    terms = terms_in(token)
    kind = keccak(text="Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
    words = ["bytes32", "address", "address", "uint256", "uint256", "uint256"]
    body = keccak(encode(words, [kind, PAYER, ROUTER, terms.units, 3, terms.expires_at]))
    digest = keccak(b"\x19\x01" + bytes.fromhex(SEPARATORS[token][2:]) + body)
    assert Account._recover_hash(digest, signature=signed(token, 3)) == PAYER


@both
def test_the_payers_key_is_recovered_for_one_nonce(token: Asset) -> None:
    terms = terms_in(token)
    assert eip2612.signer(terms, PAYER, 3, signed(token, 3)) == PAYER
    assert eip2612.signer(terms, PAYER, 4, signed(token, 3)) != PAYER
    assert eip2612.signer(terms, PAYER, 3, signed(token, 3, "0x" + "22" * 32)) not in (PAYER, None)
    assert eip2612.signer(replace(terms, units=1), PAYER, 3, signed(token, 3)) != PAYER


@both
def test_only_the_form_that_wallets_make_is_taken(token: Asset) -> None:
    good = signed(token, 0)
    for bad in (malleated(good), good[:64] + bytes([good[64] - 27]), good[:64], bytes(65)):
        assert eip2612.signer(terms_in(token), PAYER, 0, bad) is None


def test_calls_are_those_of_the_abi() -> None:
    terms, signature = terms_in(USDC), signed(USDC, 0)
    order = (terms.token_address, terms.units, terms.expires_at, terms.salt)
    shape, permit = "(address,uint256,uint64,bytes32)", "(uint256,uint8,bytes32,bytes32)"
    made = router.pay_with_permit(terms, signature)
    said = (terms.expires_at, signature[64], signature[:32], signature[32:64])
    assert made == keccak(text=f"payWithPermit({shape},{permit})")[:4] + encode([shape, permit], [order, said])
    assert "0x" + router.pay(terms).hex() == router_logs.payment_calls(terms)[-1].data
