"""Plain transfers to an order's deposit address: when what lies there is worth a transaction."""

from __future__ import annotations

from dataclasses import dataclass

LAST_CALL_SECONDS = 120
"""What is short is collected so long before the deadline: what is collected later comes late."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of a stablecoin, as its log tells it. Amounts are the token's smallest units."""

    block_number: int
    log_index: int
    block_hash: bytes
    transaction_hash: bytes
    token_address: str
    sender: str
    recipient: str
    units: int


@dataclass(frozen=True, slots=True)
class Lying:
    """What has come to an order's deposit address in one token, in its smallest units.

    Attributes:
        order_id: ours.
        on_chain_order_id: 32 bytes.
        token_address: checksummed.
        arrived: all that ever came.
        collected: what the router has told of.
        price: what the order asks for.
        arrived_in_all: all that ever came for the order, in whichever stablecoin.
        seconds_left: until the deadline; negative after it.
        busy: it is being collected, or was a moment ago.
    """

    order_id: str
    on_chain_order_id: bytes
    token_address: str
    arrived: int
    collected: int
    price: int
    arrived_in_all: int
    seconds_left: float
    busy: bool = False


def is_due(lying: Lying, minimum: int) -> bool:
    """Whether to collect now.

    When the price is there, at once. What is short waits for the rest, since one transaction costs less than two, but
    not beyond the last moment in which it is in time. Whatever comes after that is collected too, so that an operator
    sees it. What is worth less than ``minimum`` stays where it is until more comes, unless the price needs it.
    """
    waiting = lying.arrived - lying.collected
    is_needed = lying.arrived_in_all - waiting < lying.price <= lying.arrived_in_all
    if lying.busy or waiting < (1 if is_needed else max(minimum, 1)):
        return False
    return lying.arrived_in_all >= lying.price or lying.seconds_left < LAST_CALL_SECONDS
