"""Requests and answers about the payment plan of an account."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from api.schemas.authorizations import AuthorizationIn, ObstacleOut
from api.schemas.purchases import Address, Body, CallOut, OrderId, Units
from cascade.adapters.chain.account_state import Account
from cascade.adapters.chain.router_logs import Call
from cascade.domain.relay_items import RejectReason
from cascade.services.signed_payments import MAX_WRAPPED_BYTES
from cascade.services.wallet_plan import Holding, Method, Plan

_SENT_TO = {Method.AUTHORIZATION: "authorization", Method.PERMIT2: "authorization", Method.PERMIT: "permit"}
"""Where what was signed is posted, below the order's path."""


class HoldingOut(Body):
    """An account's balance in a stablecoin, and what it lacks of the price in it."""

    token: str
    held: Units
    held_display: Annotated[str, Field(description="For people", examples=["12.50"])]
    missing: Units
    missing_display: str

    @classmethod
    def of(cls, holding: Holding) -> HoldingOut:
        """Return both parts."""
        return cls(
            token=holding.held.asset.code,
            held=str(holding.held.units),
            held_display=holding.held.display(None),
            missing=str(holding.missing.units),
            missing_display=holding.missing.display(None),
        )


class WalletObstacleOut(ObstacleOut):
    """The reason why a payment would be in vain now."""

    holdings: Annotated[
        list[HoldingOut], Field(description="Each stablecoin of the order; of insufficient_balance, else empty")
    ]


class WalletPlanOut(Body):
    """The payment plan of an account."""

    order_id: OrderId
    payer: Address
    token: str
    amount: Units
    amount_display: Annotated[str, Field(description="For people", examples=["250"])]
    account: Annotated[Account, Field(description="delegated: EIP-7702")]
    method: Annotated[
        Method,
        Field(
            description="authorization, permit2: one signature, and we pay the fee; permit: one signature and one"
            " transaction; pay: one transaction; approve: two"
        ),
    ]
    typed_data: Annotated[dict[str, Any] | None, Field(description="For eth_signTypedData_v4; null: nothing is signed")]
    send_to: Annotated[str | None, Field(description="Where payer, signature and token are posted")]
    calls: Annotated[list[CallOut], Field(description="What pays without any signature: all of them, in this order")]
    obstacle: WalletObstacleOut | None

    @classmethod
    def of(cls, order_id: str, plan: Plan) -> WalletPlanOut:
        """Return it as a page needs it."""
        suffix = _SENT_TO.get(plan.method)
        return cls(
            order_id=order_id,
            payer=plan.payer,
            token=plan.terms.token.code,
            amount=str(plan.terms.units),
            amount_display=plan.terms.amount.display(),
            account=plan.account,
            method=plan.method,
            typed_data=plan.typed_data,
            send_to=None if suffix is None else f"/api/payments/orders/{order_id}/{suffix}",
            calls=[call_of(call) for call in plan.calls],
            obstacle=_obstacle(plan),
        )


class PermitIn(AuthorizationIn):
    """A permit that a payer signed."""

    signature: Annotated[
        str,
        Field(
            pattern=r"^0x([0-9a-fA-F]{2}){65,}$",
            max_length=2 + 2 * MAX_WRAPPED_BYTES,
            description="65 bytes; a longer one is a contract's, and is refused with what to do instead",
        ),
    ]


def call_of(call: Call) -> CallOut:
    """Return a transaction for the payer's wallet."""
    return CallOut(label=call.label, to=call.to, data=call.data)


def _obstacle(plan: Plan) -> WalletObstacleOut | None:
    if plan.obstacle is None:
        return None
    told = plan.holdings if plan.obstacle is RejectReason.INSUFFICIENT_BALANCE else ()
    return WalletObstacleOut(
        reason=plan.obstacle,
        next_step=plan.obstacle.next_step,
        holdings=[HoldingOut.of(holding) for holding in told],
    )
