"""Payments that the payer only signs and we send: what is to be signed, whether it can be sent, and the queue.

Everything that would make a signature useless is looked up first, so that nobody signs in vain and we pay for no
transaction that fails. What is true now can change until it is sent: the router decides, never this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth_utils.address import is_address, is_checksum_address, is_checksum_formatted_address, to_checksum_address

from cascade.adapters.chain import eip3009_permit2
from cascade.adapters.chain.account_state import UNSIGNED, Account, PayerSnapshot, fetch_payer
from cascade.adapters.chain.eip3009_permit2 import PERMIT2
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.adapters.chain.view_calls import Failed, Reverted
from cascade.chains import Deployment
from cascade.db import orders, relay_queue
from cascade.db.database import Conn
from cascade.domain.orders import ChainTerms, OrderStatus
from cascade.domain.relay_batch_rules import FAILED_SENDS_PER_PAYER
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind, RelayState
from cascade.errors import InvalidInput
from cascade.services.order_view import lock_signable, refused

MAX_SIGNATURE_BYTES: Final = 2048
"""A Safe of thirty owners fits. We pay for every byte."""
MAX_WRAPPED_BYTES: Final = 7_000
"""What a wallet that is not deployed gives (ERC-6492) holds its deployment too. It is refused, but with the reason."""

_DAY_SECONDS = 86_400
_PAID: Final = (OrderStatus.CONFIRMED, OrderStatus.FULFILLED)


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """The data that a payer is to sign.

    Attributes:
        kind: by what right the tokens will move.
        typed_data: for ``eth_signTypedData_v4``.
        account: what the payer is.
        obstacle: why a signature would be in vain now; None when it would not.
    """

    kind: RelayKind
    typed_data: dict[str, Any]
    account: Account
    obstacle: RejectReason | None


class SignedPayments:
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
        """Return an account that can pay, checksummed.

        Raises:
            InvalidInput: it is none, or its checksum is wrong.
        """
        return payer_of(self._deployment, text)

    def within_quota(self, connection: Conn, payer: str) -> bool:
        """Return whether we would still pay the fees of one more payment of an account today."""
        if relay_queue.costly_payers(connection, [payer], _DAY_SECONDS, FAILED_SENDS_PER_PAYER):
            return False
        return relay_queue.sent_for(connection, payer, _DAY_SECONDS) < self._per_payer_per_day

    def offer(self, terms: ChainTerms, payer: str) -> SigningRequest:
        """Return what a payer is to sign for an order, and what would be in the way.

        Raises:
            NodeUnavailable: the chain cannot be read now.
        """
        look = self._look(terms, payer)
        obstacle = _obstacle(look)
        if obstacle is None and isinstance(look.simulated, Reverted):
            # Without a signature it must fail; before that the router says what the reads above do not.
            refusal = refusal_of(look.simulated.data)
            obstacle = (
                refusal if refusal in (RejectReason.EXPIRED, RejectReason.ALREADY_PAID, RejectReason.PAUSED) else None
            )
        kind = eip3009_permit2.kind_of(terms)
        return SigningRequest(kind, eip3009_permit2.typed_data(terms, payer), look.account, obstacle)

    def check(self, terms: ChainTerms, payer: str, signature: bytes) -> bool:
        """Return whether a signed payment would succeed now. Returns whether there is code at the payer's address.

        Raises:
            AuthorizationRefused: it would not.
            InvalidInput: the signature is too long to be paid for.
            NodeUnavailable: the chain cannot be read now.
        """
        if len(signature) > MAX_SIGNATURE_BYTES and not eip3009_permit2.is_wrapped(signature):
            raise InvalidInput("signature", f"A signature has at most {MAX_SIGNATURE_BYTES} bytes.")
        has_key_signed = eip3009_permit2.signer(terms, payer, signature) == payer
        look = self._look(terms, payer, signature)
        refusal = _obstacle(look)
        has_code = look.account is not Account.KEY
        if refusal is None and not (look.signature_valid if has_code else has_key_signed):
            refusal = _distrust(look, signature)
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
            NotFound: there is no such order.
            AuthorizationRefused: the order is paid, also in part, or expired, or the payer has had its share today.
            NotPayable: another payment of the order is on its way.
        """
        orders.lock(connection, order_id)
        there = queued(connection, order_id, payer, signature)
        if there is not None:
            return there
        lock_signable(connection, order_id)
        relay_queue.lock_payer(connection, payer)
        if not self.within_quota(connection, payer):
            raise refused(RejectReason.LIMIT)
        return relay_queue.enqueue_signed(
            connection,
            order_id=order_id,
            on_chain_order_id=terms.on_chain_order_id,
            kind=eip3009_permit2.kind_of(terms),
            token_address=terms.token_address,
            payer=payer,
            signature=signature,
            has_code=has_code,
        )

    def _look(self, terms: ChainTerms, payer: str, signature: bytes = UNSIGNED) -> PayerSnapshot:
        return fetch_payer(self._node, payer, [terms], signature).looks[0]


def payer_of(deployment: Deployment, text: str) -> str:
    """Return an account that can pay at a router, checksummed.

    Raises:
        InvalidInput: it is none, or its checksum is wrong.
    """
    if not is_address(text) or (is_checksum_formatted_address(text) and not is_checksum_address(text)):
        raise InvalidInput("payer", "That is no address, or one letter of it is wrong: its checksum does not fit.")
    payer = to_checksum_address(text)
    ours = {to_checksum_address(deployment.router), PERMIT2, *deployment.stablecoins}
    if payer in ours or int(payer, 16) == 0:
        raise InvalidInput("payer", f"{payer} is a contract of the payment itself, or nobody: it cannot pay.")
    return str(payer)


def queued(connection: Conn, order_id: str, payer: str, signature: bytes) -> RelayItem | None:
    """Return the very payment that is asked for, if it was taken before and not refused since."""
    for item in relay_queue.of_order(connection, order_id):
        if (item.payer, item.signature) == (payer, signature) and item.state is not RelayState.REFUSED:
            return item
    return None


def _distrust(look: PayerSnapshot, signature: bytes) -> RejectReason:
    """Return why a signature does not count that neither a key nor code at the payer's address stands for."""
    if eip3009_permit2.is_wrapped(signature):
        return RejectReason.UNDEPLOYED_WALLET
    if look.account is Account.KEY:
        # No key signs more than this: it is a contract's signature, and there is no contract.
        return (
            RejectReason.UNDEPLOYED_WALLET
            if len(signature) > eip3009_permit2.SIGNATURE_BYTES
            else RejectReason.WRONG_SIGNER
        )
    return RejectReason.DELEGATED_CODE if isinstance(look.erc1271_result, Failed) else RejectReason.WRONG_SIGNER


def _obstacle(look: PayerSnapshot) -> RejectReason | None:
    """Return what is in the way of a payment by any signer, the most final first."""
    found = {
        RejectReason.ALREADY_PAID: look.paid,
        RejectReason.PAUSED: look.paused,
        RejectReason.TOKEN_CHANGED: look.is_renamed,
        RejectReason.BLOCKED: look.blocked,
        RejectReason.DELEGATED_CODE: look.lacks_erc1271,
        RejectReason.INSUFFICIENT_BALANCE: look.balance < look.terms.units,
        RejectReason.INSUFFICIENT_ALLOWANCE: look.lacks_permit2,
    }
    return next((refusal for refusal, there in found.items() if there), None)
