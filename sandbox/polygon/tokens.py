"""Puts USDC and the stand-in for USDT where they stand on Polygon, and says how to mint them."""

from __future__ import annotations

from dataclasses import dataclass

from eth_utils.crypto import keccak

from sandbox.polygon import addresses as at
from sandbox.polygon.proofs import prove
from sandbox.polygon.rpc import Rpc, calldata, word

_DECIMALS = 6
_MINTER_ALLOWANCE = 10**30  # units: more than any test mints, less than would overflow a sum

# The proxies keep two addresses in slots named by a hash.
_USDC_IMPLEMENTATION_SLOT = keccak(text="org.zeppelinos.proxy.implementation")
_USDC_ADMIN_SLOT = keccak(text="org.zeppelinos.proxy.admin")
_USDT_IMPLEMENTATION_SLOT = keccak(text="matic.network.proxy.implementation")
_USDT_OWNER_SLOT = keccak(text="matic.network.proxy.owner")


@dataclass(frozen=True)
class Token:
    """A stablecoin in the box. `minter` is impersonated to call `mint(address,uint256)`."""

    symbol: str
    address: str
    minter: str


TOKENS = {
    "USDC": Token("USDC", at.USDC, at.USDC_MINTER),
    "USDT": Token("USDT", at.USDT, at.USDT_OWNER),
}


def install_usdc(rpc: Rpc, runtime: dict[str, str]) -> None:
    """Circle's FiatToken 2.2 behind Circle's proxy, taken through all four of its initialisations."""
    checker = bytearray(bytes.fromhex(runtime["SignatureChecker"]))
    checker[1:21] = bytes.fromhex(at.USDC_SIGNATURE_CHECKER[2:])  # a library knows its own address
    _set_code(rpc, at.USDC_SIGNATURE_CHECKER, checker.hex())
    _set_code(rpc, at.USDC_IMPLEMENTATION, _linked(runtime["FiatTokenV2_2"], at.USDC_SIGNATURE_CHECKER))
    _set_code(rpc, at.USDC, runtime["FiatTokenProxy"])
    _set_slot(rpc, at.USDC, _USDC_IMPLEMENTATION_SLOT, at.USDC_IMPLEMENTATION)
    _set_slot(rpc, at.USDC, _USDC_ADMIN_SLOT, at.USDC_PROXY_ADMIN)

    initialize = calldata(
        "initialize(string,string,string,uint8,address,address,address,address)",
        *("USD Coin", "USDC", "USD", _DECIMALS),
        *(at.USDC_MASTER_MINTER, at.USDC_PAUSER, at.USDC_BLACKLISTER, at.USDC_OWNER),
    )
    nobody_blacklisted: list[str] = []
    for step in (
        initialize,
        calldata("initializeV2(string)", "USD Coin"),
        calldata("initializeV2_1(address)", at.USDC_LOST_AND_FOUND),
        calldata("initializeV2_2(address[],string)", nobody_blacklisted, "USDC"),
    ):
        rpc.receipt(rpc.submit_as(at.USDC_OWNER, at.USDC, step))
    minter = calldata("configureMinter(address,uint256)", at.USDC_MINTER, _MINTER_ALLOWANCE)
    rpc.receipt(rpc.submit_as(at.USDC_MASTER_MINTER, at.USDC, minter))

    separator = rpc.call(at.USDC, "DOMAIN_SEPARATOR()", returns="bytes32")
    prove("DOMAIN_SEPARATOR() of USDC", separator, at.USDC_DOMAIN_SEPARATOR)


def install_usdt(rpc: Rpc, runtime: dict[str, str]) -> None:
    """Our stand-in for USDT0 behind the proxy that Polygon's bridge deployed."""
    _set_code(rpc, at.USDT_IMPLEMENTATION, runtime["USDT0"])
    _set_code(rpc, at.USDT, runtime["UChildERC20Proxy"])
    _set_slot(rpc, at.USDT, _USDT_IMPLEMENTATION_SLOT, at.USDT_IMPLEMENTATION)
    _set_slot(rpc, at.USDT, _USDT_OWNER_SLOT, at.USDT_PROXY_OWNER)
    initialize = calldata("initialize(string,string,uint8,address)", "USDT0", "USDT0", _DECIMALS, at.USDT_DEPOSITOR)
    rpc.receipt(rpc.submit_as(at.USDT_OWNER, at.USDT, initialize))

    separator = rpc.call(at.USDT, "DOMAIN_SEPARATOR()", returns="bytes32")
    prove("DOMAIN_SEPARATOR() of USDT", separator, at.USDT_DOMAIN_SEPARATOR)
    owner: str = rpc.call(at.USDT, "owner()", returns="address")
    prove("owner() of USDT", owner, at.USDT_OWNER)


def _linked(runtime: str, library: str) -> str:
    """Fills in the address of the one library that Circle's token calls."""
    start = runtime.find("__$")
    while start >= 0:
        runtime = runtime[:start] + library[2:].lower() + runtime[start + 40 :]
        start = runtime.find("__$")
    return runtime


def _set_code(rpc: Rpc, address: str, code: str) -> None:
    rpc("anvil_setCode", address, "0x" + code)


def _set_slot(rpc: Rpc, address: str, slot: bytes, value: str) -> None:
    rpc("anvil_setStorageAt", address, "0x" + slot.hex(), word(value))
