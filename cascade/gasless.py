"""Payments that the payer only signs and we send: what is to be signed, whether it can be sent, and the queue.

Everything that would make a signature useless is looked up first, so that nobody signs in vain and we pay for no
transaction that fails. What is true now can change until it is sent: the router decides, never this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.address import is_address, is_checksum_address, is_checksum_formatted_address, to_checksum_address
from eth_utils.crypto import keccak

from cascade.chains import Deployment
from cascade.domain.card import IntentStatus
from cascade.domain.orders import ChainTerms, Order, OrderStatus, check_payable, status_of
from cascade.domain.relay import Refusal, RelayItem, RelayKind, RelayState
from cascade.errors import AuthorizationRefused, InvalidInput, NodeUnavailable, NotFound
from cascade.rails import signatures
from cascade.rails.node import Node, Reverted, ViewCall
from cascade.rails.reverts import refusal_of
from cascade.rails.router_calls import ask_paid, ask_paused, pay_with_authorization, pay_with_permit2
from cascade.rails.signatures import IS_VALID, PERMIT2
from cascade.store import card, cursors, orders, payments, relay
from cascade.store.database import Conn

MAX_SIGNATURE_BYTES: Final = 2048
"""A Safe of thirty owners fits. We pay for every byte."""

_DAY_SECONDS = 86_400
_UNSIGNED: Final = bytes(signatures.SIGNATURE_BYTES)
_DELEGATION = bytes.fromhex("ef0100")
"""How code begins that an EIP-7702 authorization put at an account."""
_BALANCE_OF = keccak(text="balanceOf(address)")[:4]
_ALLOWANCE = keccak(text="allowance(address,address)")[:4]
_DOMAIN_SEPARATOR = keccak(text="DOMAIN_SEPARATOR()")[:4]
_IS_BLOCKED = {
    RelayKind.AUTHORIZATION: keccak(text="isBlacklisted(address)")[:4],
    RelayKind.PERMIT2: keccak(text="isBlocked(address)")[:4],
}
"""As USDC and as USDT name it."""
_NO_FUNCTION = keccak(text="No contract has a function of this name.")[:4]
_PAID: Final = (OrderStatus.CONFIRMED, OrderStatus.FULFILLED)


class Account(StrEnum):
    """What a payer is: a key, a contract, or a key whose account runs a contract's code (EIP-7702)."""

    KEY = "eoa"
    CONTRACT = "contract"
    DELEGATED = "delegated"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a payer is to sign.

    Attributes:
        kind: by what right the tokens will move.
        typed_data: for ``eth_signTypedData_v4``.
        account: what the payer is.
        obstacle: why a signature would be in vain now; None when it would not.
    """

    kind: RelayKind
    typed_data: dict[str, Any]
    account: Account
    obstacle: Refusal | None


@dataclass(frozen=True, slots=True)
class _Look:
    """What the chain says of a payer, an order and a signature, all at once."""

    account: Account
    balance: int
    allowance: int
    separator: bytes | Reverted
    blocked: bool
    paused: bool
    paid: bool
    vouched: bytes | Reverted
    unknown: bytes | Reverted
    simulated: bytes | Reverted

    @property
    def vouches(self) -> bool:
        """Code at the payer says that the signature is its own (ERC-1271)."""
        return isinstance(self.vouched, bytes) and self.vouched[:32] == IS_VALID.ljust(32, b"\0")

    @property
    def cannot_vouch(self) -> bool:
        """A delegated account whose code knows no ERC-1271.

        Refusing a signature proves nothing: good wallets refuse a bad one by an error, by another word, or by nothing
        at all. But code that knows the question answers it otherwise than one that no contract knows. Contracts are not
        judged so: their makers meant them to be accounts, and the signature itself will tell.
        """
        return self.account is Account.DELEGATED and not self.vouches and self.vouched == self.unknown


class Gasless:
    """Takes signed payments for the relayer.

    Args:
        node: where the chain is read.
        deployment: the router that takes the payments.
        per_payer_per_day: how many payments we pay the fees of, for one account in 24 hours.
    """

    def __init__(self, node: Node, deployment: Deployment, *, per_payer_per_day: int) -> None:
        self._node = node
        self._deployment = deployment
        self._per_payer_per_day = per_payer_per_day

    def close(self) -> None:
        """Close the connection to the node."""
        self._node.close()

    def payer(self, text: str) -> str:
        """An account that can pay, checksummed.

        Raises:
            InvalidInput: it is none, or its checksum is wrong.
        """
        if not is_address(text) or (is_checksum_formatted_address(text) and not is_checksum_address(text)):
            raise InvalidInput("payer", "That is no address, or one letter of it is wrong: its checksum does not fit.")
        payer = to_checksum_address(text)
        ours = {to_checksum_address(self._deployment.router), PERMIT2, *self._deployment.stablecoins}
        if payer in ours or int(payer, 16) == 0:
            raise InvalidInput("payer", f"{payer} is a contract of the payment itself, or nobody: it cannot pay.")
        return str(payer)

    def offer(self, terms: ChainTerms, payer: str) -> Offer:
        """What a payer is to sign for an order, and what would be in the way.

        Raises:
            NodeUnavailable: the chain cannot be read now.
        """
        look = self._look(terms, payer, _UNSIGNED)
        obstacle = _obstacle(terms, look)
        if obstacle is None and isinstance(look.simulated, Reverted):
            # Without a signature it must fail; before that the router says what the reads above do not.
            refusal = refusal_of(look.simulated.data)
            obstacle = refusal if refusal in (Refusal.EXPIRED, Refusal.ALREADY_PAID, Refusal.PAUSED) else None
        kind = signatures.kind_of(terms)
        return Offer(kind, signatures.typed_data(terms, payer), look.account, obstacle)

    def check(self, terms: ChainTerms, payer: str, signature: bytes) -> bool:
        """Whether a signed payment would succeed now. Returns whether there is code at the payer's address.

        Raises:
            AuthorizationRefused: it would not.
            NodeUnavailable: the chain cannot be read now.
        """
        has_key_signed = signatures.signer(terms, payer, signature) == payer
        look = self._look(terms, payer, signature)
        refusal = _obstacle(terms, look)
        has_code = look.account is not Account.KEY
        if refusal is None and not (look.vouches if has_code else has_key_signed):
            refusal = Refusal.WRONG_SIGNER
        if refusal is None and isinstance(look.simulated, Reverted):
            refusal = refusal_of(look.simulated.data)
        if refusal is not None:
            raise refused(refusal)
        return has_code

    def queue(
        self, connection: Conn, order_id: str, terms: ChainTerms, payer: str, signature: bytes, has_code: bool
    ) -> RelayItem:
        """Queue a payment that was checked. The same again is the one that is there.

        Raises:
            AuthorizationRefused: the order is paid or expired, or the payer has had its share of the day.
            NotPayable: another payment of the order is on its way.
        """
        order = orders.lock(connection, order_id)
        if order is None:
            raise NotFound("There is no such order.")
        there = queued(connection, order_id, payer, signature)
        if there is not None:
            return there
        check_open(_status(connection, order))
        relay.lock_payer(connection, payer)
        if relay.sent_for(connection, payer, _DAY_SECONDS) >= self._per_payer_per_day:
            raise refused(Refusal.LIMIT)
        return relay.enqueue_signed(
            connection,
            order_id=order_id,
            on_chain_order_id=terms.on_chain_order_id,
            kind=signatures.kind_of(terms),
            token_address=terms.token_address,
            payer=payer,
            signature=signature,
            has_code=has_code,
        )

    def _look(self, terms: ChainTerms, payer: str, signature: bytes) -> _Look:
        """Ask everything in one request, so that all answers are of one moment and a payer waits once."""
        kind, verifier = signatures.kind_of(terms), signatures.verifier(terms)
        pay = pay_with_authorization if kind is RelayKind.AUTHORIZATION else pay_with_permit2
        question = signatures.ask_contract(terms, payer, signature)
        token, router, account = terms.token_address, terms.router, encode(["address"], [payer])
        code, answers = self._node.look(
            payer,
            [
                ViewCall(token, _BALANCE_OF + account),
                ViewCall(token, _ALLOWANCE + encode(["address", "address"], [payer, PERMIT2])),
                ViewCall(verifier, _DOMAIN_SEPARATOR),
                ViewCall(token, _IS_BLOCKED[kind] + account),
                ViewCall(router, ask_paused()),
                ViewCall(router, ask_paid(terms.on_chain_order_id)),
                ViewCall(payer, question, sender=verifier),
                ViewCall(payer, _NO_FUNCTION + question[4:], sender=verifier),
                ViewCall(router, pay(terms, payer, signature)),
            ],
        )
        balance, allowance, separator, blocked, paused, paid, vouched, unknown, simulated = answers
        return _Look(
            _account(code),
            _number(balance, "balanceOf"),
            _number(allowance, "allowance"),
            separator,
            # A token without such a view blocks nobody, or says so when the payment is tried.
            isinstance(blocked, bytes) and len(blocked) == 32 and any(blocked),
            _number(paused, "paused") != 0,
            _number(paid, "paid") != 0,
            vouched,
            unknown,
            simulated,
        )


def refused(refusal: Refusal) -> AuthorizationRefused:
    """The error for a reason."""
    return AuthorizationRefused(refusal, refusal.next_step)


def check_open(status: OrderStatus) -> None:
    """Refuse to take a signed payment of an order that is not open.

    Raises:
        AuthorizationRefused: it is paid or expired.
        NotPayable: a payment of it is on its way, or went back.
    """
    if status is OrderStatus.EXPIRED:
        raise refused(Refusal.EXPIRED)
    if status in _PAID:
        raise refused(Refusal.ALREADY_PAID)
    check_payable(status)


def queued(connection: Conn, order_id: str, payer: str, signature: bytes) -> RelayItem | None:
    """The very payment that is asked for, if it was taken before and not refused since."""
    for item in relay.of_order(connection, order_id):
        if (item.payer, item.signature) == (payer, signature) and item.state is not RelayState.REFUSED:
            return item
    return None


def _status(connection: Conn, order: Order) -> OrderStatus:
    booked = payments.of_order(connection, order.id)
    sightings = cursors.sightings_of_order(connection, order.id)
    intents = card.intents_of_order(connection, order.id)
    return status_of(
        order,
        orders.clock(connection),
        fulfilment=next((payment.outcome for payment in booked if payment.reason is None), None),
        seen=bool(sightings) or any(intent.status is IntentStatus.PROCESSING for intent in intents),
        final=any(sighting.final for sighting in sightings),
    )


def _obstacle(terms: ChainTerms, look: _Look) -> Refusal | None:
    """What is in the way of a payment whoever signs it, the most final first."""
    needs_allowance = signatures.kind_of(terms) is RelayKind.PERMIT2
    found = {
        Refusal.ALREADY_PAID: look.paid,
        Refusal.PAUSED: look.paused,
        Refusal.TOKEN_CHANGED: look.separator != signatures.domain_separator(terms),
        Refusal.BLOCKED: look.blocked,
        Refusal.DELEGATED_CODE: look.cannot_vouch,
        Refusal.INSUFFICIENT_BALANCE: look.balance < terms.units,
        Refusal.INSUFFICIENT_ALLOWANCE: needs_allowance and look.allowance < terms.units,
    }
    return next((refusal for refusal, there in found.items() if there), None)


def _account(code: bytes) -> Account:
    if not code:
        return Account.KEY
    return Account.DELEGATED if code.startswith(_DELEGATION) and len(code) == 23 else Account.CONTRACT


def _number(answer: bytes | Reverted, asked: str) -> int:
    if isinstance(answer, Reverted) or len(answer) != 32:
        raise NodeUnavailable(f"{asked}: the contract gave no number, so this is not the chain it should be")
    return int.from_bytes(answer)
