"""Read a payer's state and that of an order from the chain, all in one request: all answers are of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import BoundedSemaphore
from typing import Final

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from cascade.adapters.chain import eip2612, eip3009_permit2
from cascade.adapters.chain.eip3009_permit2 import IS_VALID, PERMIT2
from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.adapters.chain.router import (
    ask_paid,
    ask_paused,
    pay,
    pay_with_authorization,
    pay_with_permit,
    pay_with_permit2,
)
from cascade.adapters.chain.rpc import Endpoint, Request, hexadecimal, quantity
from cascade.adapters.chain.view_calls import Failed, Reverted, ViewCall, ask
from cascade.domain.orders import ChainTerms
from cascade.domain.relay_batch_rules import GAS_OF_SIGNATURE
from cascade.domain.relay_items import RejectReason, RelayKind
from cascade.errors import NodeUnavailable

UNSIGNED: Final = bytes(eip3009_permit2.SIGNATURE_BYTES)
"""Stands for a signature before there is one; no key made it."""

_DELEGATION = bytes.fromhex("ef0100")
"""How code begins that an EIP-7702 authorization put at an account."""
_BALANCE_OF = keccak(text="balanceOf(address)")[:4]
_ALLOWANCE = keccak(text="allowance(address,address)")[:4]
_NONCES = keccak(text="nonces(address)")[:4]
_DOMAIN_SEPARATOR = keccak(text="DOMAIN_SEPARATOR()")[:4]
_IS_BLOCKED = {
    RelayKind.AUTHORIZATION: keccak(text="isBlacklisted(address)")[:4],
    RelayKind.PERMIT2: keccak(text="isBlocked(address)")[:4],
}
"""As USDC and as USDT name it."""
_NO_FUNCTION = keccak(text="No contract has a function of this name.")[:4]
_GAS_OF_VOUCHING = 400_000
"""What the router gives a payer's code, and what a call itself costs."""
_AT_ONCE = BoundedSemaphore(8)
"""Each look can take a few megabytes of what a payer's code answers, and a thread while the node hangs."""
_LONGEST_WAIT_SECONDS = 2.0


class Account(StrEnum):
    """The kind of a payer: a key, a contract, or a key whose account runs a contract's code (EIP-7702)."""

    KEY = "eoa"
    CONTRACT = "contract"
    DELEGATED = "delegated"


@dataclass(frozen=True, slots=True)
class PayerSnapshot:
    """A payer, an order in one stablecoin and a signature, as the chain sees them.

    Attributes:
        terms: what is asked for.
        account: what the payer is.
        balance: what the payer holds, in the token's smallest units.
        allowance: what the router may spend of it, in the same.
        permit2_allowance: what Permit2 may.
        nonce: of the payer's next permit; None when the token tells none.
        verifier_separator: the domain of what the relayer would send.
        token_separator: the token's own domain, in which permits are signed.
        blocked: by the token's issuer.
        paused: the router takes no payments.
        paid: the order is paid in this stablecoin.
        vouched: what code at the payer says of the signature (ERC-1271).
        unknown: what it says to a question that no contract knows.
        simulated: what comes of paying with the signature.
        paying: what comes of a plain payment by the payer.
    """

    terms: ChainTerms
    account: Account
    balance: int
    allowance: int
    permit2_allowance: int
    nonce: int | None
    verifier_separator: bytes | Reverted
    token_separator: bytes | Reverted
    blocked: bool
    paused: bool
    paid: bool
    erc1271_result: bytes | Reverted
    unknown: bytes | Reverted
    simulated: bytes | Reverted
    paying: bytes | Reverted

    @property
    def signature_valid(self) -> bool:
        """Return whether code at the payer says that the signature is its own (ERC-1271)."""
        return isinstance(self.erc1271_result, bytes) and self.erc1271_result[:32] == IS_VALID.ljust(32, b"\0")

    @property
    def lacks_erc1271(self) -> bool:
        """Return whether a delegated account whose code knows no ERC-1271.

        Refusing a signature proves nothing: good wallets refuse a bad one by an error, by another word, or by nothing
        at all. But code that knows the question answers it otherwise than one that no contract knows. Contracts are not
        judged so: their makers meant them to be accounts, and the signature itself will tell.
        """
        is_lost = isinstance(self.erc1271_result, Failed) or self.erc1271_result == self.unknown
        return self.account is Account.DELEGATED and not self.signature_valid and is_lost

    @property
    def is_renamed(self) -> bool:
        """Return whether the token signs in another domain than this release knows: a signature would be void."""
        return self.verifier_separator != eip3009_permit2.domain_separator(self.terms)

    @property
    def lacks_permit2(self) -> bool:
        """Return whether what we would send goes through Permit2, which may not spend the price."""
        return eip3009_permit2.kind_of(self.terms) is RelayKind.PERMIT2 and self.permit2_allowance < self.terms.units

    @property
    def takes_permits(self) -> bool:
        """Return whether the token takes permits, in the domain that this release knows."""
        return self.nonce is not None and self.token_separator == eip2612.domain_separator(self.terms)

    @property
    def reject_reason(self) -> RejectReason | None:
        """Return what the router or the token says to a plain payment, be it only that nothing was approved yet."""
        return refusal_of(self.paying.data) if isinstance(self.paying, Reverted) else None


@dataclass(frozen=True, slots=True)
class Payer:
    """A payer as the chain sees it.

    Attributes:
        address: checksummed.
        account: what it is.
        balance_wei: what it holds of the coin that pays for gas.
        base_fee: of the last block, in wei a unit of gas.
        looks: one for each of the terms that were asked for, in their order.
    """

    address: str
    account: Account
    balance_wei: int
    base_fee: int
    looks: tuple[PayerSnapshot, ...]


def fetch_payer(
    node: Endpoint, payer: str, asked: Sequence[ChainTerms], signature: bytes = UNSIGNED, *, permit: bool = False
) -> Payer:
    """Look at a payer, and at what some terms would take; one request, while the payer's code answers in bounds.

    Args:
        node: where the chain is read.
        payer: checksummed address.
        asked: what an order asks for, in each stablecoin that is of interest.
        signature: the payer's; of a permit 65 bytes.
        permit: it is a permit, to be sent by the payer, and not what a relayer sends.

    Raises:
        NodeUnavailable: the chain cannot be read now, or it is not the chain it should be.
    """
    questions = [_questions(terms, payer, signature, permit=permit) for terms in asked]
    calls = [call for each in questions for call in each.values()]
    beside: list[Request] = [
        ("eth_getCode", [payer, "latest"]),
        ("eth_getBalance", [payer, "latest"]),
        ("eth_getBlockByNumber", ["latest", False]),
    ]
    if not _AT_ONCE.acquire(timeout=_LONGEST_WAIT_SECONDS):
        raise NodeUnavailable("too many accounts are looked at in this moment")
    try:
        (code, balance, latest), said = ask(node, calls, control=questions[0]["paused"], beside=beside)
    finally:
        _AT_ONCE.release()
    if any(call not in said for call in calls):
        raise NodeUnavailable("the payer's code was not judged in time")
    account = _account(hexadecimal(code, "eth_getCode"))
    looks = tuple(
        _look(terms, account, {name: said[call] for name, call in each.items()})
        for terms, each in zip(asked, questions, strict=True)
    )
    base_fee = latest.get("baseFeePerGas") if isinstance(latest, Mapping) else None
    return Payer(payer, account, quantity(balance, "eth_getBalance"), quantity(base_fee, "baseFeePerGas"), looks)


def _questions(terms: ChainTerms, payer: str, signature: bytes, *, permit: bool) -> dict[str, ViewCall]:
    kind, verifier = eip3009_permit2.kind_of(terms), eip3009_permit2.verifier(terms)
    token, router, account = terms.token_address, terms.router, encode(["address"], [payer])
    vouch = eip3009_permit2.ask_contract(terms, payer, signature)
    return {
        "balance": ViewCall(token, _BALANCE_OF + account),
        "allowance": ViewCall(token, _ALLOWANCE + encode(["address", "address"], [payer, router])),
        "permit2_allowance": ViewCall(token, _ALLOWANCE + encode(["address", "address"], [payer, PERMIT2])),
        "nonce": ViewCall(token, _NONCES + account),
        "verifier_separator": ViewCall(verifier, _DOMAIN_SEPARATOR),
        "token_separator": ViewCall(token, _DOMAIN_SEPARATOR),
        "blocked": ViewCall(token, _IS_BLOCKED[kind] + account),
        "paused": ViewCall(router, ask_paused()),
        "paid": ViewCall(router, ask_paid(terms.on_chain_order_id)),
        "vouched": ViewCall(payer, vouch, verifier, _GAS_OF_VOUCHING, foreign=True),
        "unknown": ViewCall(payer, _NO_FUNCTION + vouch[4:], verifier, _GAS_OF_VOUCHING, foreign=True),
        "simulated": _payment(terms, payer, signature, permit=permit),
        "paying": ViewCall(router, pay(terms), sender=payer),
    }


def _payment(terms: ChainTerms, payer: str, signature: bytes, *, permit: bool) -> ViewCall:
    if permit:
        return ViewCall(terms.router, pay_with_permit(terms, signature), sender=payer, foreign=True)
    is_authorization = eip3009_permit2.kind_of(terms) is RelayKind.AUTHORIZATION
    relay = pay_with_authorization if is_authorization else pay_with_permit2
    return ViewCall(terms.router, relay(terms, payer, signature), gas=GAS_OF_SIGNATURE, foreign=True)


def _look(terms: ChainTerms, account: Account, said: Mapping[str, bytes | Reverted]) -> PayerSnapshot:
    nonce, blocked = said["nonce"], said["blocked"]
    return PayerSnapshot(
        terms=terms,
        account=account,
        balance=_number(said["balance"], "balanceOf"),
        allowance=_number(said["allowance"], "allowance"),
        permit2_allowance=_number(said["permit2_allowance"], "allowance"),
        nonce=int.from_bytes(nonce) if isinstance(nonce, bytes) and len(nonce) == 32 else None,
        verifier_separator=said["verifier_separator"],
        token_separator=said["token_separator"],
        # A token without such a view blocks nobody, or says so when the payment is tried.
        blocked=isinstance(blocked, bytes) and len(blocked) == 32 and any(blocked),
        paused=_number(said["paused"], "paused") != 0,
        paid=_number(said["paid"], "paid") != 0,
        erc1271_result=said["vouched"],
        unknown=said["unknown"],
        simulated=said["simulated"],
        paying=said["paying"],
    )


def _account(code: bytes) -> Account:
    if not code:
        return Account.KEY
    return Account.DELEGATED if code.startswith(_DELEGATION) and len(code) == 23 else Account.CONTRACT


def _number(answer: bytes | Reverted, asked: str) -> int:
    if isinstance(answer, Reverted) or len(answer) != 32:
        raise NodeUnavailable(f"{asked}: the contract gave no number, so this is not the chain it should be")
    return int.from_bytes(answer)
