"""Items of the relayer: payments and collects that it sends, their states, and the reasons why one is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RelayKind(StrEnum):
    """By what right the tokens move."""

    AUTHORIZATION = "authorization"
    """EIP-3009, signed by the payer (USDC)."""
    PERMIT2 = "permit2"
    """Permit2, signed by the payer (USDT)."""
    COLLECT = "collect"
    """A plain transfer that lies at the order's deposit address."""


class RelayState(StrEnum):
    """The state of an item. Settled: its transaction is final; the ledger follows the router's event, not this."""

    QUEUED = "queued"
    SENT = "sent"
    SETTLED = "settled"
    REFUSED = "refused"


class RejectReason(StrEnum):
    """The reason why a payment is not sent, or would be in vain; ``next_step`` says what the payer can do instead."""

    WRONG_SIGNER = "wrong_signer"
    UNDEPLOYED_WALLET = "undeployed_wallet"
    DELEGATED_CODE = "delegated_code"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    INSUFFICIENT_ALLOWANCE = "insufficient_allowance"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    ALREADY_PAID = "already_paid"
    PART_PAID = "part_paid"
    PAUSED = "paused"
    TOKEN_CHANGED = "token_changed"
    LIMIT = "limit"
    REVERTED = "reverted"
    NOTHING_THERE = "nothing_there"
    NO_POL = "no_pol"

    @property
    def next_step(self) -> str:
        """Return a plain sentence for the payer."""
        return _NEXT_STEPS[self]


_NEXT_STEPS = {
    RejectReason.WRONG_SIGNER: (
        "The signature is not the one this account makes for this order. Sign again, with the account that pays; or"
        " approve and pay from the wallet."
    ),
    RejectReason.UNDEPLOYED_WALLET: (
        "This wallet is a contract that is not on Polygon yet, so no signature of it can be checked there. Approve and"
        " pay from the wallet, whose first transaction puts it there, or transfer to the order's deposit address."
    ),
    RejectReason.DELEGATED_CODE: (
        "Code at this account cannot vouch for signatures, so the token refuses them. Approve and pay from the wallet,"
        " or transfer to the order's deposit address."
    ),
    RejectReason.INSUFFICIENT_BALANCE: "The account holds less than the price. Add to it, or pay from another account.",
    RejectReason.INSUFFICIENT_ALLOWANCE: (
        "Permit2 may not spend this token for the account yet. Allow it once, or approve and pay from the wallet, or"
        " transfer to the order's deposit address."
    ),
    RejectReason.BLOCKED: "The token's issuer has blocked this account. Pay from another account, or by card.",
    RejectReason.EXPIRED: "The order's time is over. Open a new order.",
    RejectReason.ALREADY_PAID: "The order is paid. Nothing more is to be done.",
    RejectReason.PART_PAID: "A part of the price has come by transfer. Send the rest to the order's deposit address.",
    RejectReason.PAUSED: "Payments in stablecoins are paused. Pay by card, or try again later.",
    RejectReason.TOKEN_CHANGED: (
        "The token signs under another name than this release knows, so a signature would be void. Approve and pay from"
        " the wallet."
    ),
    RejectReason.LIMIT: "We have paid the fees of many payments of this account. Approve and pay from the wallet.",
    RejectReason.REVERTED: "The payment failed on chain, and nothing was taken. Approve and pay from the wallet.",
    RejectReason.NOTHING_THERE: "Nothing lies at the order's deposit address any more.",
    RejectReason.NO_POL: (
        "The account has too little POL for the network's fee. Add a little POL; or pay in another way, where it is"
        " offered: USDC by signature, a transfer from an exchange, or a card."
    ),
}


@dataclass(frozen=True, slots=True)
class RelayItem:
    """One payment to send.

    Attributes:
        id: ours.
        order_id: ours.
        on_chain_order_id: 32 bytes.
        kind: by what right.
        token_address: checksummed; of a collect: what lies there.
        payer: checksummed; None of a collect.
        signature: the payer's; None of a collect.
        has_code: there is code at the payer's address.
        state: where it stands.
        reason: why it is refused.
        transaction: the hash of its transaction's latest form, as 0x-prefixed hex; None before it is sent.
        tries: in how many transactions it has been.
        failures: how often it failed by itself, before or after it was sent.
        together: most payments in its next transaction, since its last one failed as a whole; None without a bound.
    """

    id: int
    order_id: str
    on_chain_order_id: bytes
    kind: RelayKind
    token_address: str
    payer: str | None
    signature: bytes | None
    has_code: bool
    state: RelayState
    reason: RejectReason | None
    transaction: str | None
    tries: int
    failures: int = 0
    together: int | None = None
