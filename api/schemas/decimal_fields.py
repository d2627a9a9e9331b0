"""Amounts of money in requests: a plain decimal in a string, or a JSON number."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import PydanticCustomError

from cascade.domain.amount_parser import MOST_DIGITS, NoAmount, read_plain
from cascade.domain.money import Asset

_EXACT_DIGITS: Final = 15
"""A double keeps so many digits: a number with more may be another than the one that was written."""


def plain_amount(value: object, asset: Asset) -> str:
    """Return an amount as a plain decimal without zeros at the end.

    A JSON number is taken when it has few enough digits to have been read exactly.

    Raises:
        PydanticCustomError: it is no plain decimal; the message says how to write one.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**_EXACT_DIGITS:
        value = int(value)
    is_number = type(value) in (int, float) and len(repr(value)) <= _EXACT_DIGITS + 1
    if not is_number and not isinstance(value, str):
        raise PydanticCustomError("amount", 'An amount is a plain decimal in quotes, such as "10000.50"')
    try:
        return read_plain(str(value), asset).plain
    except NoAmount as error:
        raise PydanticCustomError("amount", "{fault}", {"fault": str(error)}) from None


def amount_schema(asset: Asset) -> dict[str, Any]:
    """Return how the OpenAPI document describes such an amount."""
    pattern = rf"^[0-9]{{1,{MOST_DIGITS}}}(\.[0-9]{{1,{asset.scale}}})?$"
    return {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}]}
