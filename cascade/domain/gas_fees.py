"""Limit what a transaction may cost (EIP-1559): whole wei a unit of gas, the chain's floor and our ceiling."""

from __future__ import annotations

from dataclasses import dataclass

GWEI = 10**9
_MINIMUM_TIP = 25 * GWEI
"""Polygon's validators take no less."""
_MINIMUM_BUMP = (9, 8)
"""A node takes a transaction in another's place when both of its fees are at least an eighth (12.5 %) higher."""


@dataclass(frozen=True, slots=True)
class Fees:
    """In wei a unit of gas.

    Attributes:
        max_fee: most that is paid in all.
        tip: of it, most that goes to the validator.
    """

    max_fee: int
    tip: int


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Bounds on fees, in wei a unit of gas.

    Attributes:
        tip: what a validator gets; Polygon's take no less than 25 gwei.
        ceiling: above this nothing is sent; it waits.
    """

    tip: int = 30 * GWEI
    ceiling: int = 1_000 * GWEI

    def first(self, base_fee: int) -> Fees | None:
        """Return fees that stand a doubling of the base fee; None while the chain is dearer than the ceiling."""
        if base_fee + self.tip > self.ceiling:
            return None
        return Fees(min(2 * base_fee + self.tip, self.ceiling), self.tip)

    def replacing(self, former: Fees, base_fee: int) -> Fees | None:
        """Return fees that take a stuck transaction's place; None when the ceiling does not allow them."""
        up, down = _MINIMUM_BUMP
        bumped = Fees(-(-former.max_fee * up // down), -(-former.tip * up // down))
        wanted = max(bumped.max_fee, 2 * base_fee + bumped.tip)
        if bumped.max_fee > self.ceiling:
            return None
        return Fees(min(wanted, self.ceiling), bumped.tip)


def least_wei(gas: int, base_fee: int) -> int:
    """Return the least that somebody must hold to have so much gas used now; ``base_fee`` in wei a unit of gas."""
    return gas * (base_fee + _MINIMUM_TIP)
