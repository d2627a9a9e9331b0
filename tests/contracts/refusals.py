"""Which error refused a transaction, to the letter."""

from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ape
from ape.exceptions import ContractLogicError, CustomError
from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak


@contextmanager
def refuses(error: type[CustomError], **inputs: Any) -> Iterator[None]:
    """Expects a revert with this very error and these inputs.

    `ape.reverts(error)` alone is content with a revert that carries no custom error at all, and with one of a contract
    that Ape does not know by its ABI: a guard that is gone can hide behind whatever fails after it.
    """
    with ape.reverts() as revert:
        yield
    name, actual = _read(revert.value, error)
    assert name == error.abi.name
    assert {key: actual[key] for key in inputs} == inputs


def _read(refusal: ContractLogicError, expected: type[CustomError]) -> tuple[str, dict[str, Any]]:
    if isinstance(refusal, CustomError):
        return refusal.abi.name, refusal.inputs

    data = _raw(refusal.revert_message)
    assert data[:4] == keccak(text=expected.abi.selector)[:4], f"not {expected.abi.selector}: {refusal.revert_message}"
    values = decode([item.canonical_type for item in expected.abi.inputs], data[4:])
    named = zip(expected.abi.inputs, values, strict=True)
    return expected.abi.name, {
        item.name: to_checksum_address(value) if item.type == "address" else value for item, value in named
    }


def _raw(message: str) -> bytes:
    """The bytes of a revert that Ape did not decode: the error of a contract behind the one that was called, or, on
    py-evm, any error with an apostrophe among its bytes, which Python then prints in the other quotes."""
    return bytes(literal_eval(message)) if message.startswith('b"') else bytes.fromhex(message.removeprefix("0x"))
