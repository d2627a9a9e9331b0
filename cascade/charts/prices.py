"""Format prices: the same in a picture and in the words around it."""

from __future__ import annotations

from collections.abc import Iterable

from cascade.domain.ducat_rate import NANO_USD, Rate
from cascade.rate.parameters import Formula

_MINUS = "\N{MINUS SIGN}"


class Prices:
    """Writes rates with as many decimals as a formula's base needs for four digits.

    Args:
        formula: whose.
        decimal_mark: what stands before decimals where the reader is.
    """

    def __init__(self, formula: Formula, decimal_mark: str = ".") -> None:
        self._mark = decimal_mark
        self._places: int = next((n for n in range(2, 9) if formula.base_nano_usd * 10**n >= 1000 * NANO_USD), 9)
        self._unit: int = NANO_USD // 10**self._places

    def __call__(self, nano_usd: int) -> str:
        """Return a price in billionths of a US dollar, as a decimal."""
        return self._decimal(self._rounded(nano_usd))

    def exactly(self, nano_usd: int) -> str:
        """Return the same, with every digit that there is."""
        return str(Rate(nano_usd)).replace(".", self._mark)

    def rounds(self, nano_usd: int) -> bool:
        """Return whether a price has more digits than are shown."""
        return nano_usd % self._unit != 0

    def parts(self, base_nano_usd: int, parts: Iterable[int]) -> list[str]:
        """Return signed parts; as shown, they add up from the base to the target."""
        texts, summed = [], base_nano_usd
        for part in parts:
            units = self._rounded(summed + part) - self._rounded(summed)
            summed += part
            texts.append(f"{'+' if units > 0 else _MINUS}{self._decimal(abs(units))}" if units else "0")
        return texts

    def _rounded(self, nano_usd: int) -> int:
        return (2 * nano_usd + self._unit) // (2 * self._unit)

    def _decimal(self, units: int) -> str:
        return f"{units // 10**self._places}{self._mark}{units % 10**self._places:0{self._places}d}"
