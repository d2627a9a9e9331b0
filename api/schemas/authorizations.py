"""Requests and answers about payments that their payers only sign, and that the relayer sends."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.orders import RelayOut
from api.schemas.purchases import Address, Body, OrderId
from cascade.adapters.chain.account_state import Account
from cascade.domain.relay_items import RejectReason, RelayItem, RelayKind
from cascade.services.signed_payments import MAX_WRAPPED_BYTES, SigningRequest

Token = Annotated[str, Field(max_length=200, description="A stablecoin that the router takes", examples=["USDC"])]


class ObstacleOut(Body):
    """The reason why a signature would be in vain now."""

    reason: RejectReason
    next_step: Annotated[str, Field(description="What the payer can do instead")]


class AuthorizationOut(Body):
    """The data that a payer signs, so that the relayer can send the payment."""

    order_id: OrderId
    payer: Address
    token: str
    method: Annotated[RelayKind, Field(description="authorization: EIP-3009; permit2: Permit2")]
    account: Annotated[Account, Field(description="delegated: EIP-7702")]
    typed_data: Annotated[dict[str, Any], Field(description="For eth_signTypedData_v4")]
    obstacle: ObstacleOut | None

    @classmethod
    def of(cls, order_id: str, payer: str, token: str, offer: SigningRequest) -> AuthorizationOut:
        """Return what the wallet is to be asked."""
        obstacle = offer.obstacle
        return cls(
            order_id=order_id,
            payer=payer,
            token=token,
            method=offer.kind,
            account=offer.account,
            typed_data=offer.typed_data,
            obstacle=None if obstacle is None else ObstacleOut(reason=obstacle, next_step=obstacle.next_step),
        )


class AuthorizationIn(BaseModel):
    """The signature of a payer."""

    model_config = ConfigDict(extra="forbid")

    payer: Address
    signature: Annotated[
        str,
        Field(
            pattern=r"^0x([0-9a-fA-F]{2})+$",
            max_length=2 + 2 * MAX_WRAPPED_BYTES,
            description="65 bytes, or what the payer's contract takes (ERC-1271)",
        ),
    ]
    token: Token = "USDC"

    @property
    def signature_bytes(self) -> bytes:
        """Return the signature as the router takes it."""
        return bytes.fromhex(self.signature[2:])


class RelayedOut(RelayOut):
    """A signed payment that we took."""

    order_id: OrderId

    @classmethod
    def of_item(cls, item: RelayItem) -> RelayedOut:
        """Return an item as it stands."""
        return cls(order_id=item.order_id, **RelayOut.of(item).model_dump())
