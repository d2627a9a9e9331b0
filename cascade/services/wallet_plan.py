"""Plan the payment of an account: in which stablecoin, by which signature or transactions, and what is in the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from cascade.adapters.chain import eip2612, eip3009_permit2
from cascade.adapters.chain.account_state import Account, Payer, PayerSnapshot, fetch_payer
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.revert_reasons import refusal_of
from cascade.adapters.chain.router import pay_with_permit
from cascade.adapters.chain.router_logs import Call, payment_calls
from cascade.adapters.chain.view_calls import Reverted
from cascade.chains import Deployment
from cascade.domain.gas_fees import least_wei
from cascade.domain.money import Asset, Money
from cascade.domain.orders import ChainTerms
from cascade.domain.relay_items import RejectReason, RelayKind
from cascade.services.order_view import refused
from cascade.services.signed_payments import payer_of


class Method(StrEnum):
    """The way in which an account pays."""

    AUTHORIZATION = "authorization"
    """One signature (EIP-3009), and we send it."""
    PERMIT2 = "permit2"
    """One signature (Permit2), and we send it."""
    PERMIT = "permit"
    """One signature (EIP-2612), and one transaction of its own."""
    PAY = "pay"
    """One transaction of its own: the router may spend the price already."""
    APPROVE = "approve"
    """Two transactions of its own."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort that a method asks of the payer.

    Attributes:
        prompts: how often the wallet asks.
        transactions: how many of them cost a fee.
        gas: less than any such payment uses, in units of gas; 0 when we pay for it.
    """

    prompts: int
    transactions: int
    gas: int


EFFORTS: Final = {
    Method.AUTHORIZATION: Effort(1, 0, 0),
    Method.PERMIT2: Effort(1, 0, 0),
    Method.PAY: Effort(1, 1, 80_000),
    Method.PERMIT: Effort(2, 1, 95_000),
    Method.APPROVE: Effort(2, 2, 105_000),
}


@dataclass(frozen=True, slots=True)
class Holding:
    """An account's balance in a stablecoin, and what it lacks of an order's price in it."""

    held: Money
    missing: Money


@dataclass(frozen=True, slots=True)
class Plan:
    """The payment plan of an account.

    Attributes:
        payer: checksummed address.
        terms: what is paid, in the stablecoin that was chosen.
        account: what the payer is.
        method: how it pays.
        typed_data: what it signs for that (``eth_signTypedData_v4``); None when nothing is signed.
        calls: the plain calls that pay from this account as it is now.
        obstacle: why it would be in vain now; None when it would not.
        holdings: what the payer has, in each stablecoin of the order.
    """

    payer: str
    terms: ChainTerms
    account: Account
    method: Method
    typed_data: dict[str, Any] | None
    calls: Sequence[Call]
    obstacle: RejectReason | None
    holdings: Sequence[Holding]


class Wallets:
    """Tells accounts how they pay.

    Args:
        node: where the chain is read.
        deployment: the router that takes the payments.
    """

    def __init__(self, node: Node, deployment: Deployment) -> None:
        self._node = node
        self._deployment = deployment

    def close(self) -> None:
        """Close the connection to the node."""
        self._node.close()

    def payer(self, text: str) -> str:
        """Return an account that can pay, checksummed.

        Raises:
            InvalidInput: it is none, or its checksum is wrong.
        """
        return payer_of(self._deployment, text)

    def plan(self, payer: str, asked: Sequence[ChainTerms], *, relays: bool, token: Asset | None = None) -> Plan:
        """Return how an account pays an order best.

        Args:
            payer: checksummed address.
            asked: what the order asks for, in each stablecoin.
            relays: we send what this account signs, and pay the fees.
            token: the one stablecoin to pay in; None: whichever is best.

        Raises:
            NodeUnavailable: the chain cannot be read now.
        """
        return best_plan(fetch_payer(self._node, payer, asked), relays=relays, token=token)

    def permit(self, payer: str, asked: Sequence[ChainTerms], signature: bytes, *, token: Asset) -> Call:
        """Return the call by which a payer sends its permit and the payment together.

        Args:
            payer: checksummed address.
            asked: what the order asks for, in each stablecoin.
            signature: the payer's.
            token: the stablecoin to pay in.

        Raises:
            AuthorizationRefused: it would not succeed.
            NodeUnavailable: the chain cannot be read now.
        """
        if len(signature) != eip3009_permit2.SIGNATURE_BYTES:
            longer = len(signature) > eip3009_permit2.SIGNATURE_BYTES  # no key makes it, and permits are for keys
            raise refused(RejectReason.UNDEPLOYED_WALLET if longer else RejectReason.WRONG_SIGNER)
        seen = fetch_payer(self._node, payer, asked, signature, permit=True)
        (look,) = (each for each in seen.looks if each.terms.token == token)
        refusal = _objection(seen, look, signature)
        if refusal is not None:
            raise refused(refusal)
        terms = look.terms
        label = f"Pay {terms.amount.display()} {terms.token.code}"
        return Call(label, terms.router, "0x" + pay_with_permit(terms, signature).hex())


def best_plan(payer: Payer, *, relays: bool, token: Asset | None = None) -> Plan:
    """Return the best way for an account to pay, of all that were looked at: one that nothing is in the way of, then
    the one
    with the fewest questions to the payer, then with the fewest fees, then by the chain's order of stablecoins.

    Args:
        payer: what the chain says of the account, in every stablecoin of the order.
        relays: we send what this account signs, and pay the fees.
        token: the one stablecoin to pay in; None: whichever is best.
    """
    plans = [_plan(payer, look, relays=relays) for look in payer.looks if token in (None, look.terms.token)]
    return min(plans, key=_rank)


def _plan(payer: Payer, look: PayerSnapshot, *, relays: bool) -> Plan:
    method = _method(look, relays=relays)
    obstacle = _in_the_way(payer, look)
    if obstacle is None and _lacks_fee(payer, method):
        obstacle = RejectReason.NO_POL
    calls = payment_calls(look.terms)
    return Plan(
        payer.address,
        look.terms,
        look.account,
        method,
        _typed_data(payer, look, method),
        calls[1:] if _is_allowed(look) else calls,
        obstacle,
        [_holding(each) for each in payer.looks],
    )


def _rank(plan: Plan) -> tuple[int, Fraction, int, int]:
    """Rank a plan, less is better; of plans with obstacles, the one whose obstacle says most of what the payer can
    do."""
    effort = EFFORTS[plan.method]
    holding = next(each for each in plan.holdings if each.held.asset == plan.terms.token)
    if plan.obstacle is None:
        place = 0
    elif plan.obstacle in (RejectReason.ALREADY_PAID, RejectReason.EXPIRED, RejectReason.PAUSED):
        place = 1
    elif not holding.missing.units:
        place = 2 if plan.obstacle is RejectReason.NO_POL else 3
    else:
        place = 4 if plan.obstacle is RejectReason.INSUFFICIENT_BALANCE else 5
    lack = Fraction(holding.missing.units, plan.terms.units)
    return place, lack, effort.prompts, effort.transactions


def _method(look: PayerSnapshot, *, relays: bool) -> Method:
    # A contract could vouch for a signature too, but its owners come together more easily over calls.
    is_contract = look.account is Account.CONTRACT
    if relays and not (is_contract or look.is_renamed or look.lacks_erc1271 or look.lacks_permit2):
        is_authorization = eip3009_permit2.kind_of(look.terms) is RelayKind.AUTHORIZATION
        return Method.AUTHORIZATION if is_authorization else Method.PERMIT2
    if _is_allowed(look):
        return Method.PAY
    return Method.PERMIT if look.account is Account.KEY and look.takes_permits else Method.APPROVE


def _in_the_way(payer: Payer, look: PayerSnapshot) -> RejectReason | None:
    """Return what is in the way of a payment in this stablecoin, however it is made; the most final first."""
    found = {
        # In whichever stablecoin: the router knows them as two orders, and would take the second payment as well.
        RejectReason.ALREADY_PAID: any(each.paid for each in payer.looks),
        RejectReason.EXPIRED: False,
        RejectReason.PAUSED: look.paused,
        RejectReason.BLOCKED: look.blocked,
        RejectReason.INSUFFICIENT_BALANCE: look.balance < look.terms.units,
    }
    # Without an allowance a plain payment must fail; before that the router and the token say what else there is.
    return next((refusal for refusal, there in found.items() if there or look.reject_reason is refusal), None)


def _objection(payer: Payer, look: PayerSnapshot, signature: bytes) -> RejectReason | None:
    """Return why a payment by a permit would fail."""
    refusal = _in_the_way(payer, look)
    if refusal is not None:
        return refusal
    if look.account is not Account.KEY:
        return RejectReason.DELEGATED_CODE
    if look.nonce is None or not look.takes_permits:
        return RejectReason.TOKEN_CHANGED
    if eip2612.signer(look.terms, payer.address, look.nonce, signature) != payer.address:
        return RejectReason.WRONG_SIGNER
    if not isinstance(look.simulated, Reverted):
        return None
    refusal = refusal_of(look.simulated.data)
    # The allowance is what the permit was to give: the token did not take it, for a reason that the router keeps.
    return RejectReason.REVERTED if refusal is RejectReason.INSUFFICIENT_ALLOWANCE else refusal


def _lacks_fee(payer: Payer, method: Method) -> bool:
    """Return whether a payer surely has too little for the fees; for an account with code somebody else may pay
    them."""
    return payer.account is Account.KEY and payer.balance_wei < least_wei(EFFORTS[method].gas, payer.base_fee)


def _typed_data(payer: Payer, look: PayerSnapshot, method: Method) -> dict[str, Any] | None:
    if method in (Method.AUTHORIZATION, Method.PERMIT2):
        return eip3009_permit2.typed_data(look.terms, payer.address)
    if method is Method.PERMIT:
        return eip2612.typed_data(look.terms, payer.address, look.nonce or 0)
    return None


def _is_allowed(look: PayerSnapshot) -> bool:
    return look.allowance >= look.terms.units


def _holding(look: PayerSnapshot) -> Holding:
    asset = look.terms.token
    return Holding(Money(asset, look.balance), Money(asset, max(0, look.terms.units - look.balance)))
