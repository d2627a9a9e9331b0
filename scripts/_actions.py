"""The actions of the router's owner: as calls, and back from calls to words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import click
from ape.api import ProviderAPI
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.domain.amount_parser import NoAmount, read_plain
from cascade.domain.money import USDC
from scripts import _chain, _safe

DECIMALS = 6
"""Of both accepted tokens."""

_APPROVE = "approve(address,uint256)"
_MULTI_SEND = "multiSend(bytes)"
_REFUNDED = "0x" + keccak(text="Refunded(bytes32,address,address,uint256)").hex()
_CALL, _DELEGATE_CALL = 0, 1
_HEADER_BYTES = 85  # of a packed call: operation, to, value, length of the data
_SIGNATURES = {
    "pause": "pause()",
    "unpause": "unpause()",
    "set-partner": "setPartner(address)",
    "rescue": "rescue(address,address)",
    "refund": "refund(bytes32,address,address,uint256)",
    "transfer-ownership": "transferOwnership(address)",
    "accept-ownership": "acceptOwnership()",
}
"""Name of an action → the router's function for it."""


@dataclass(frozen=True)
class Call:
    """One call of the Safe's, without any value."""

    to: str
    data: bytes


@dataclass(frozen=True)
class Change:
    """The change that one call makes, for people."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Router:
    """The recorded router, and what it says of itself now."""

    provider: ProviderAPI
    address: str
    since: int

    def read(self, signature: str, *args: Any, returns: str = "address") -> Any:
        return _chain.read(self.provider, self.address, signature, *args, returns=returns)

    @property
    def tokens(self) -> dict[str, str]:
        """Symbol → address."""
        return {"USDC": self.read("usdc()"), "USDT": self.read("usdt()")}

    def amount(self, token: str, units: int) -> str:
        """An amount for people."""
        for symbol, address in self.tokens.items():
            if token == address:
                return f"{Decimal(units).scaleb(-DECIMALS):,f} {symbol}"
        return f"{units:,} units of {token}"

    def surplus(self, token: str) -> int:
        """What lies in the router and belongs to neither side."""
        units: int = _chain.read(self.provider, token, "balanceOf(address)", self.address, returns="uint256")
        for role in (0, 1):
            units -= self.read("held(address,uint8)", token, role, returns="uint256")
        return units


def action(router: Router, name: str, *args: Any) -> Call:
    """The call of the router's that carries out an action."""
    return Call(router.address, _chain.calldata(_SIGNATURES[name], *args))


def units_of(amount: str) -> int:
    """Return an amount in tokens as a positive whole number of the smallest units."""
    try:
        units = read_plain(amount, USDC).units
    except NoAmount as error:
        raise click.BadParameter(f"{error}.") from None
    if not units:
        raise click.BadParameter("Nothing cannot be refunded.")
    return units


def with_allowance(router: Router, safe: _safe.Safe, refund: Call) -> list[Call]:
    """The calls for a refund: an approval before it when the Safe's allowance for the router is short."""
    _, (_, token, _, units) = parse(router, refund)
    balance = _chain.read(router.provider, token, "balanceOf(address)", safe.address, returns="uint256")
    if balance < units:
        raise click.ClickException(
            f"the Safe {safe.address} has {router.amount(token, balance)}, less than this refund of"
            f" {router.amount(token, units)}: give it more, or refund less"
        )
    if _allowance(router, safe, token) >= units:
        return [refund]
    return [Call(token, _chain.calldata(_APPROVE, router.address, units)), refund]


def _allowance(router: Router, safe: _safe.Safe, token: str) -> int:
    units: int = _chain.read(
        router.provider, token, "allowance(address,address)", safe.address, router.address, returns="uint256"
    )
    return units


def pack(provider: ProviderAPI, calls: Sequence[Call]) -> tuple[str, bytes, int]:
    """What a Safe executes for these calls: receiver, data and operation. Several go through MultiSendCallOnly."""
    if len(calls) == 1:
        return calls[0].to, calls[0].data, _CALL
    packed = b"".join(
        bytes([_CALL]) + _chain.plain(call.to) + bytes(32) + len(call.data).to_bytes(32, "big") + call.data
        for call in calls
    )
    return _safe.MULTI_SEND.require(provider), _chain.calldata(_MULTI_SEND, packed), _DELEGATE_CALL


def unpack(to: str, data: bytes, operation: int) -> list[Call]:
    """The calls again. Raises ClickException for anything that `pack` does not make."""
    to = str(to_checksum_address(to))
    if operation == _CALL:
        return [Call(to, data)]
    if (to, data[:4]) != (_safe.MULTI_SEND.address, _chain.calldata(_MULTI_SEND, b"")[:4]):
        raise click.ClickException(
            f"it is a delegate call to {to}, which could do anything with the Safe: do not sign it"
        )
    (packed,) = _decoded(_MULTI_SEND, data)
    calls, at = [], 0
    while at < len(packed):
        header = packed[at : at + _HEADER_BYTES]
        size = int.from_bytes(header[53:85], "big")
        body = packed[at + _HEADER_BYTES : at + _HEADER_BYTES + size]
        if len(body) != size or header[0] != _CALL or any(header[21:53]):
            raise click.ClickException("its batch sends native currency, or is damaged: do not sign it")
        calls.append(Call(str(to_checksum_address(header[1:21])), body))
        at += _HEADER_BYTES + size
    return calls


def parse(router: Router, call: Call) -> tuple[str, tuple[Any, ...]]:
    """The name of a call and its arguments. Raises ClickException for any other call than those of an owner: what these
    scripts cannot tell in words they do not sign."""
    known = dict(_SIGNATURES) if call.to == router.address else {}
    if call.to in router.tokens.values():
        known = {"approve": _APPROVE}
    for name, signature in known.items():
        if call.data[:4] == keccak(text=signature)[:4]:
            return name, _decoded(signature, call.data)
    raise click.ClickException(
        f"it calls {call.to} with 0x{call.data.hex()}, which is none of the owner's calls to the router"
        f" {router.address}: do not sign it here"
    )


def _decoded(signature: str, data: bytes) -> tuple[Any, ...]:
    types = [kind for kind in signature[signature.index("(") + 1 : -1].split(",") if kind]
    try:
        values = decode(types, data[4:])
    except DecodingError as error:
        raise click.ClickException(f"its call of {signature} is damaged: {error}") from error
    if encode(types, values) != data[4:]:
        raise click.ClickException(f"its call of {signature} carries more than its arguments: do not sign it")
    return tuple(
        str(to_checksum_address(value)) if kind == "address" else value
        for kind, value in zip(types, values, strict=True)
    )


def explain(router: Router, safe: _safe.Safe, calls: Sequence[Call]) -> list[Change]:
    """What the calls change, from what to what. Raises ClickException when one of them is not the owner's."""
    return [_explained(router, safe, call) for call in calls]


def _explained(router: Router, safe: _safe.Safe, call: Call) -> Change:
    name, args = parse(router, call)
    match name, args:
        case (("pause" | "unpause"), _):
            states = ("running", "paused")
            now = states[router.read("paused()", returns="bool")]
            return Change("payments", now, states[name == "pause"])
        case "set-partner", (partner,):
            return Change("partner, also of what is held", router.read("partner()"), partner)
        case "transfer-ownership", (owner,):
            offered = router.read("pendingOwner()")
            before = "nobody" if offered == _chain.NO_ONE else offered
            return Change(f"who may take over from {router.read('owner()')}", before, owner)
        case "accept-ownership", _:
            return Change("owner", router.read("owner()"), safe.address)
        case "rescue", (token, to):
            return Change("surplus in the router", router.amount(token, router.surplus(token)), f"all of it to {to}")
        case "refund", (order, token, to, units):
            return Change(f"refund of order 0x{order.hex()}", "from the Safe", f"{router.amount(token, units)} to {to}")
        case "approve", (spender, units):
            if spender != router.address:
                raise click.ClickException(
                    f"it approves {spender}, expected the router {router.address}: do not sign it"
                )
            before = router.amount(call.to, _allowance(router, safe, call.to))
            return Change("the router's allowance at the token", before, router.amount(call.to, units))
    raise AssertionError(name)


def in_force(router: Router, safe: _safe.Safe, call: Call) -> str | None:
    """Says so when the chain already is as the call would make it; None while it is not."""
    name, args = parse(router, call)
    match name, args:
        case (("pause" | "unpause"), _):
            paused = router.read("paused()", returns="bool")
            return (
                ("Payments are paused." if paused else "Payments are running.") if paused == (name == "pause") else None
            )
        case "set-partner", (partner,):
            return f"The partner is {partner}." if router.read("partner()") == partner else None
        case "transfer-ownership", (owner,):
            return _offered(router, owner)
        case "accept-ownership", _:
            return f"The owner is {safe.address}." if router.read("owner()") == safe.address else None
        case "rescue", (token, _):
            return f"The router has no surplus of {token}." if router.surplus(token) == 0 else None
        case "refund", (order, *_):
            return _refunded(router, order)
    return None


def _offered(router: Router, owner: str) -> str | None:
    if router.read("owner()") == owner:
        return f"The owner is {owner}."
    if router.read("pendingOwner()") == owner:
        return f"Ownership is offered to {owner}, which has to accept it: `ape run propose accept-ownership`."
    return None


def _refunded(router: Router, order: bytes) -> str | None:
    log = _chain.newest_log(router.provider, router.address, [_REFUNDED, "0x" + order.hex()], router.since)
    if log is None:
        return None
    _, token, units = log["topics"][2], log["topics"][3], int.from_bytes(_chain.plain(log["data"]), "big")
    token = str(to_checksum_address(_chain.plain(token)[-20:]))
    return (
        f"Order 0x{order.hex()} has a refund of {router.amount(token, units)} already, in transaction"
        f" 0x{_chain.plain(log['transactionHash']).hex()}. To refund once more, add --again."
    )
