"""Safes: which ones are real, where a new one belongs, and what they are asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click
from ape.api import ProviderAPI
from eth_utils.crypto import keccak

from scripts import _chain

PROXIES = {
    "1.3.0": "0xb89c1b3bdf2cf8827818646bce9a8f6e372885f8c55e5c07acbd307cb133b000",
    "1.4.1": "0xd7d408ebcd99b2b70be43e20253d6d92a8ea8fab29bd3be7f55b10032331fb4c",
}
"""Version → keccak of the proxy's code, from Safe's own builds on npm."""

SINGLETONS = {
    "0xbba688fbdb21ad2bb58bc320638b43d94e7d100f6f3ebaab0a4e4de6304b1c2e": ("1.3.0", "GnosisSafe"),
    "0x21842597390c4c6e3c1239e434a682b054bd9548eee5e9b1d6a4482731023c0f": ("1.3.0", "GnosisSafeL2"),
    "0x1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4": ("1.4.1", "Safe"),
    "0xb1f926978a0f44a2c0ec8fe822418ae969bd8c3f18d61e5103100339894f81ff": ("1.4.1", "SafeL2"),
}
"""Keccak of a singleton's code → its version and name, from safe-deployments."""


@dataclass(frozen=True)
class Contract:
    """A contract of Safe 1.4.1 at its one address."""

    name: str
    address: str
    code_hash: str

    def require(self, provider: ProviderAPI) -> str:
        """Its address, once it is sure that it lies there; nothing else gets a delegate call or makes a Safe."""
        found = _chain.code_hash(_chain.code(provider, self.address))
        if found != self.code_hash:
            raise click.ClickException(
                f"{self.name} is not at {self.address} on chain {provider.chain_id}: its code has hash {found},"
                f" expected {self.code_hash}; Safe's contracts are not on this chain, or the node is not to be trusted"
            )
        return self.address


FACTORY = Contract(
    "SafeProxyFactory",
    "0x4e1DCf7AD4e460CfD30791CCC4F9c8a4f820ec67",
    "0x50c3cdc4074750a7a974204a716c999edd37482f907608d960b2b025ee0b3317",
)
SAFE = Contract(
    "Safe",
    "0x41675C099F32341bf84BFc5382aF534df5C7461a",
    "0x1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4",
)
SAFE_L2 = Contract(
    "SafeL2",
    "0x29fcB43b46531BcA003ddC8FCB67FFE91900C762",
    "0xb1f926978a0f44a2c0ec8fe822418ae969bd8c3f18d61e5103100339894f81ff",
)
HANDLER = Contract(
    "CompatibilityFallbackHandler",
    "0xfd0732Dc9E303f09fCEf3a7388Ad10A83459Ec99",
    "0x7c6007a5d711cea8dfd5d91f5940ec29c7f200fe511eb1fc1397b367af3c42f9",
)
MULTI_SEND = Contract(
    "MultiSendCallOnly",
    "0x9641d764fc13c8B624c04430C7356C1C7C8102e2",
    "0xecd5bd14a08c5d2122379900b2f272bdf107a7e92423c10dd5fe3254386c9939",
)

_FIRST_MODULE = "0x" + "00" * 19 + "01"
_MANY_MODULES = 10
_SINGLETON_SLOT = 0


@dataclass(frozen=True)
class Safe:
    """A Safe as it is at the head of the chain."""

    address: str
    version: str
    kind: str
    owners: tuple[str, ...]
    threshold: int
    nonce: int
    modules: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.address} ({self.kind} {self.version}, {self.threshold} of {len(self.owners)})"


class NoSafe(click.ClickException):
    """There is no Safe that these scripts know at an address."""


def look_at(provider: ProviderAPI, address: str) -> Safe:
    """Reads a Safe. Its code and that of its singleton must be known: a contract can claim any version and any owners.

    Raises NoSafe with what was found instead.
    """
    found = _chain.code(provider, address)
    if not found:
        raise NoSafe(
            f"{address} is no Safe: there is no contract on chain {provider.chain_id}; see `ape run create_safe`"
        )
    if _chain.code_hash(found) not in PROXIES.values():
        raise NoSafe(
            f"{address} is no Safe: its code has hash {_chain.code_hash(found)}, expected that of a proxy of Safe"
            f" {' or '.join(PROXIES)}"
        )
    singleton = "0x" + _chain.storage(provider, address, _SINGLETON_SLOT)[-20:].hex()
    singleton_hash = _chain.code_hash(_chain.code(provider, singleton))
    if singleton_hash not in SINGLETONS:
        known = ", ".join(f"{name} {version}" for version, name in SINGLETONS.values())
        raise NoSafe(
            f"{address} is no Safe: its proxy runs {singleton}, whose code has hash {singleton_hash}, expected one of"
            f" {known}"
        )
    version, kind = SINGLETONS[singleton_hash]
    modules, _ = _chain.read(
        *(provider, address, "getModulesPaginated(address,uint256)", _FIRST_MODULE, _MANY_MODULES),
        returns="address[],address",
    )
    return Safe(
        address=address,
        version=version,
        kind=kind,
        owners=_chain.read(provider, address, "getOwners()", returns="address[]"),
        threshold=_chain.read(provider, address, "getThreshold()", returns="uint256"),
        nonce=_chain.read(provider, address, "nonce()", returns="uint256"),
        modules=modules,
    )


def require_sound(provider: ProviderAPI, address: str) -> Safe:
    """A Safe that nobody commands alone. Raises NoSafe when it is not one."""
    safe = look_at(provider, address)
    if safe.threshold < 2 or len(safe.owners) < 2:
        raise NoSafe(
            f"{safe} can be commanded by one key, expected 2 of 2 owners at least: raise its threshold first,"
            " in Safe's web application"
        )
    if safe.modules:
        raise NoSafe(
            f"{safe} has modules, which act without signatures: {', '.join(safe.modules)}; expected none: disable them"
            " first, in Safe's web application"
        )
    return safe


def set_up(owners: Sequence[str], threshold: int) -> bytes:
    """The first call that a new Safe gets: owners, threshold, the usual fallback handler, no module, no payment."""
    return _chain.calldata(
        "setup(address[],uint256,address,bytes,address,address,uint256,address)",
        *(list(owners), threshold, _chain.NO_ONE, b"", HANDLER.address, _chain.NO_ONE, 0, _chain.NO_ONE),
    )


def address_of_new(provider: ProviderAPI, singleton: Contract, setup: bytes, salt_nonce: int) -> str:
    """Where Safe's factory puts a Safe with this set-up and salt, on every chain."""
    proxy: bytes = _chain.read(provider, FACTORY.address, "proxyCreationCode()", returns="bytes")
    salt = keccak(keccak(setup) + salt_nonce.to_bytes(32, "big"))
    return _chain.create2_address(FACTORY.address, salt, proxy + bytes(12) + _chain.plain(singleton.address))
