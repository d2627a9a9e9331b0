"""Which payments share a transaction of the relayer: lanes with budgets of their own, and groups that fit their bounds.

A payer's code may fail whatever it is in. Each lane keeps a share of the limits for itself, so that code which makes us
pay for nothing, or waits for a limit, delays neither payers without code nor plain transfers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cascade.domain.gas_fees import FeePolicy
from cascade.domain.relay_items import RelayItem, RelayKind

GAS_OF_SIGNATURE: Final = 460_000
"""The router gives code at a payer's address 300,000, and code can come after the signature (EIP-7702): so everybody
has as much. Unused gas costs nothing; missing gas makes a whole batch fail."""
FAILED_SENDS_PER_PAYER: Final = 4
"""How many failed payments of one account are paid for in a day."""
_GAS_OF_TRANSACTION: Final = 250_000
_GAS_OF_COLLECT: Final = 140_000
_MAX_GAS: Final = 16_777_216
"""No transaction may have more (EIP-7825)."""
_KEPT_FOR_EACH: Final = 4
"""Of each limit a fourth is kept for each lane; what is left is for whichever comes first."""


class Lane(StrEnum):
    """A queue of its own."""

    COLLECTS = "collects"
    """Plain transfers."""
    KEYS = "keys"
    """Signatures of payers without code."""
    CODE = "code"
    """Signatures of payers with code."""


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """The limits of the relayer.

    Attributes:
        fees: bounds on the price of gas.
        batch: most payments in one transaction.
        wait_seconds: longest that a payment waits for others to share its transaction.
        per_minute_wei: most that may be spent in a minute, counted by the most that a transaction can cost.
        per_day_wei: the same in a day.
        low_balance_wei: less than this on the hot key is an alarm.
        resend_seconds: how often a transaction that is in no block is handed to the node again.
        stuck_seconds: after so long it is replaced by one that pays more.
        usurped_seconds: when its nonce has been used for so long by none of its forms, it never will be.
        tries: how often a payment may fail by itself, before or after it is sent.
        failed_sends_per_payer: how many failed payments of one account are paid for in a day.
    """

    per_minute_wei: int
    per_day_wei: int
    low_balance_wei: int
    fees: FeePolicy = field(default_factory=FeePolicy)
    batch: int = 20
    wait_seconds: float = 1.0
    resend_seconds: float = 4.0
    stuck_seconds: float = 20.0
    usurped_seconds: float = 60.0
    tries: int = 2
    failed_sends_per_payer: int = FAILED_SENDS_PER_PAYER


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of each lane's transactions of the last minute, or day, in wei; a lane without any is not named."""

    by_lane: Mapping[Lane, int]

    def left(self, limit: int, lane: Lane) -> int:
        """Return what a lane may still spend: what is left of the limit without what is kept for the other lanes."""
        kept = sum(max(0, limit // _KEPT_FOR_EACH - self.by_lane.get(other, 0)) for other in Lane if other is not lane)
        return limit - sum(self.by_lane.values()) - kept


def gas_limit(lane: Lane, size: int) -> int:
    """Return the gas limit of a transaction that carries so many payments."""
    return _GAS_OF_TRANSACTION + size * _gas_of_one(lane)


def room(lane: Lane, max_fee: int, left_wei: int, *, batch: int) -> int:
    """Return how many payments one transaction can carry, by gas and by what may be spent; 0 when not even one."""
    gas = min(_MAX_GAS, left_wei // max_fee)
    return max(0, min(batch, (gas - _GAS_OF_TRANSACTION) // _gas_of_one(lane)))


def together(waiting: Sequence[RelayItem], largest: int) -> list[RelayItem]:
    """Choose what shares a transaction with the one that waits longest.

    Plain transfers share it in one token, and signed payments in both. One payer has one payment in it: what it spends
    for the first is missing for the second. An item that was in a batch that failed as a whole has a bound of its own.

    Args:
        waiting: of one lane, the oldest first.
        largest: most that fit.
    """
    group: list[RelayItem] = []
    for item in waiting:
        is_collect = item.kind is RelayKind.COLLECT
        bound = largest if item.together is None else min(largest, item.together)
        if len(group) >= bound or (is_collect and group and item.token_address != group[0].token_address):
            continue
        if is_collect or item.payer not in {each.payer for each in group}:
            group.append(item)
            largest = bound
    return group


def _gas_of_one(lane: Lane) -> int:
    return _GAS_OF_COLLECT if lane is Lane.COLLECTS else GAS_OF_SIGNATURE
