"""Ask a node and send to it, for the operators' scripts, beyond what Ape does for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import click
from ape.api import AccountAPI, ProviderAPI, ReceiptAPI
from ape.cli import AccountAliasPromptChoice
from ape.exceptions import ProviderError
from eth_abi.abi import decode, encode
from eth_utils.address import is_address, to_checksum_address
from eth_utils.crypto import keccak

NO_ONE = "0x" + "00" * 20
MINIMUM_TIP_WEI = {137: 25 * 10**9}  # Polygon's validators drop what pays less
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.5


class Address(click.ParamType):
    """An address on the command line, checksummed; a wrong checksum is refused."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_address(value):
            self.fail(f"{value!r} is no address (or its checksum is wrong)", param, ctx)
        return str(to_checksum_address(value))


class Account(click.ParamType):
    """An account of Ape's, by its alias; TEST::0 and so on are the development accounts."""

    name = "alias"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AccountAPI:
        if isinstance(value, AccountAPI):
            return value
        return AccountAliasPromptChoice().convert(value, param, ctx)


def plain(data: bytes | str) -> bytes:
    """Bytes from what nodes and Ape call data: bytes, or hexadecimal digits behind 0x."""
    return bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)


def code(provider: ProviderAPI, address: str) -> bytes:
    """The code of an account at the head of the chain."""
    return plain(provider.make_request("eth_getCode", [address, "latest"]))


def code_hash(code: bytes) -> str:
    """Keccak-256 of a contract's code, as 0x and 64 hexadecimal digits."""
    return "0x" + keccak(code).hex()


def storage(provider: ProviderAPI, address: str, slot: int) -> bytes:
    """One word of a contract's storage."""
    return plain(provider.make_request("eth_getStorageAt", [address, hex(slot), "latest"]))


def calldata(signature: str, *args: Any) -> bytes:
    """Encodes a call: `calldata("approve(address,uint256)", router, units)`. Tuples are not understood."""
    inside = signature[signature.index("(") + 1 : -1]
    return bytes(keccak(text=signature)[:4] + encode(inside.split(",") if inside else [], args))


def read(provider: ProviderAPI, to: str, signature: str, *args: Any, returns: str) -> Any:
    """Reads from a contract: one value, or a tuple when `returns` names several types with commas. Addresses get
    their checksums."""
    call = {"to": to, "data": "0x" + calldata(signature, *args).hex()}
    types = returns.split(",")
    values = decode(types, plain(provider.make_request("eth_call", [call, "latest"])))
    cleaned = tuple(_checksummed(kind, value) for kind, value in zip(types, values, strict=True))
    return cleaned[0] if len(cleaned) == 1 else cleaned


class Refused(Exception):
    """A call would revert: what the node says of it, and the data that the contract gave for a reason."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


def simulate(provider: ProviderAPI, call: dict[str, str]) -> bytes:
    """The answer to a call that changes nothing. Raises Refused when it would revert."""
    answer = provider.web3.provider.make_request("eth_call", [call, "latest"])  # Ape's own drops the reason's data
    if "error" in answer:
        data = answer["error"].get("data")
        raise Refused(str(answer["error"].get("message")), plain(data) if isinstance(data, str) else b"")
    return plain(answer["result"])


def _checksummed(kind: str, value: Any) -> Any:
    if kind == "address":
        return str(to_checksum_address(value))
    if kind == "address[]":
        return tuple(str(to_checksum_address(item)) for item in value)
    return value


def create2_address(deployer: str, salt: bytes, init_code: bytes) -> str:
    """Where CREATE2 puts a contract, on every chain."""
    digest = keccak(b"\xff" + plain(deployer) + salt + keccak(init_code))
    return str(to_checksum_address(digest[12:]))


def send(provider: ProviderAPI, account: AccountAPI, to: str, data: bytes) -> ReceiptAPI:
    """Sends a call and returns when it is in a block."""
    tip = max(provider.priority_fee, MINIMUM_TIP_WEI.get(provider.chain_id, 0))
    transaction = provider.network.ecosystem.create_transaction(
        sender=account.address,
        receiver=to,
        data=data,
        chain_id=provider.chain_id,
        max_priority_fee=tip,
        max_fee=2 * provider.base_fee + tip,
        required_confirmations=0,  # readers of a record wait for finality
    )
    return account.call(transaction)


def await_nothing_under_way(provider: ProviderAPI, account: AccountAPI) -> None:
    """Returns when no transaction of the account waits for a block: what a killed run has sent is not sent again, once
    the caller looks at the chain after it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (waiting := _count(provider, account, "pending") - _count(provider, account, "latest")) > 0:
        if time.monotonic() > deadline:
            raise click.ClickException(
                f"{waiting} transaction(s) of {account.address} have waited for a block for more than"
                f" {_PATIENCE_SECONDS:.0f} s: speed them up or cancel them in a wallet, then run this again"
            )
        time.sleep(_POLL_SECONDS)


def _count(provider: ProviderAPI, account: AccountAPI, block: str) -> int:
    return int(provider.make_request("eth_getTransactionCount", [account.address, block]), 16)


def newest_log(
    provider: ProviderAPI,
    address: str,
    topics: Sequence[str | None],
    since: int = 0,
    fits: Callable[[dict[str, Any]], bool] | None = None,
) -> dict[str, Any] | None:
    """The newest log of a contract with these topics that fits; None if there is none since that block.

    Walks back from the head. Nodes differ in how many blocks they look through at once: it asks for all of them, and
    for half as many whenever that is refused.
    """
    end = int(provider.make_request("eth_blockNumber", []), 16)
    span = max(1, end - since + 1)
    while end >= since:
        start = max(since, end - span + 1)
        wanted = {"address": address, "topics": list(topics), "fromBlock": hex(start), "toBlock": hex(end)}
        try:
            logs = provider.make_request("eth_getLogs", [wanted])
        except (ProviderError, OSError):  # an OSError is a node that gave up
            if span == 1:
                raise
            span = (span + 1) // 2
            continue
        for log in reversed(logs):
            if fits is None or fits(dict(log)):
                return dict(log)
        end = start - 1
    return None
