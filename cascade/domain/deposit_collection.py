"""Plain transfers to an order's deposit address: when what lies there is worth a transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cascade.domain.money import Money
from cascade.domain.payments import ConfirmedPayment

LAST_CALL_SECONDS = 120
"""What is short is collected so long before the deadline, so that its ducats are there when the order ends."""
LATE_SUFFIX = ":late"
"""Ends the reference of what came late, where one collect settled transfers in time and late ones."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of a stablecoin, as its log tells it. Amounts are the token's smallest units.

    ``block_time``: of its block, in Unix seconds; known only of transfers to a deposit address.
    """

    block_number: int
    log_index: int
    block_hash: bytes
    transaction_hash: bytes
    token_address: str
    sender: str
    recipient: str
    units: int
    block_time: int | None = None


@dataclass(frozen=True, slots=True)
class DepositBalance:
    """The transfers to an order's deposit address in one token, in its smallest units.

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


def is_due(balance: DepositBalance, minimum: int) -> bool:
    """Return whether to collect now.

    When the price is there, at once. What is short waits for the rest, since one transaction costs less than two, but
    not beyond the last minutes of its order. Whatever comes after that is collected too, so that an operator sees it.
    What is worth less than ``minimum`` stays where it is until more comes, unless the price needs it.
    """
    waiting = balance.arrived - balance.collected
    is_needed = balance.arrived_in_all - waiting < balance.price <= balance.arrived_in_all
    if balance.busy or waiting < (1 if is_needed else max(minimum, 1)):
        return False
    return balance.arrived_in_all >= balance.price or balance.seconds_left < LAST_CALL_SECONDS


LOOK_AGAIN_SECONDS = 5
"""What is being collected is looked at so often."""


def next_look(balance: DepositBalance, *, collecting: bool) -> float | None:
    """Return in how many seconds something can have changed without a message; None: never.

    New transfers, and collects that the router tells of, are looked at in any case. So dust costs one look.
    """
    if collecting or balance.busy:
        return LOOK_AGAIN_SECONDS
    last_call = balance.seconds_left - LAST_CALL_SECONDS
    return last_call + 1 if last_call > 0 else None


@dataclass(frozen=True, slots=True)
class InTime:
    """Transfers to a deposit address in one token before its order's deadline; ``last``: time of the last block."""

    units: int
    last: int


def divide_by_deadline(payment: ConfirmedPayment, arrived: InTime, collected_before: int) -> list[ConfirmedPayment]:
    """Divide what was collected after the deadline by when its transfers came (docs/decisions/0016).

    A collect takes all that lies there, so earlier ones took the earliest transfers. The split is exact: the late part
    gets its share of the partner's units, rounded down, and what is in time gets the rest.

    Args:
        payment: a late collect as a whole.
        arrived: all that ever came in time.
        collected_before: units that earlier collects took.

    Returns:
        What is in time, then what is late; one of them when all of it is.
    """
    units = payment.received.units
    in_time = min(max(arrived.units - collected_before, 0), units)
    if not in_time:
        return [payment]
    paid_at = datetime.fromtimestamp(arrived.last, UTC)
    if in_time == units:
        return [replace(payment, paid_at=paid_at)]
    late = units - in_time
    (first, all_first), *others = payment.landed.items()
    landed = {name: each * late // units for name, each in others}
    landed = {first: late - sum(landed.values()), **landed}
    rest = {first: all_first - landed[first], **{name: each - landed[name] for name, each in others}}
    asset = payment.received.asset
    return [
        replace(payment, received=Money(asset, in_time), landed=rest, paid_at=paid_at),
        replace(payment, reference=payment.reference + LATE_SUFFIX, received=Money(asset, late), landed=landed),
    ]
