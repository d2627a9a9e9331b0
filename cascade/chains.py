"""The chains that Cascade knows, as a table, and the record of a router deployed on one of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.domain.money import USDC, USDT, Asset
from cascade.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Chain:
    """The constants of a chain.

    Attributes:
        chain_id: EIP-155 chain id.
        name: for people.
        stablecoins: assets the router takes, with the address of each; checked against the deployment record.
        currency: name of the coin that pays for gas.
        public_rpc_urls: for wallets that have to add the network; they, not we, connect to it.
        explorer: where people look transactions up.
        finality_alarm_seconds: a finalized block older than this is worth an alarm.
    """

    chain_id: int
    name: str
    stablecoins: Mapping[Asset, str]
    currency: str
    public_rpc_urls: tuple[str, ...]
    explorer: str
    finality_alarm_seconds: int

    def transaction_url(self, transaction_hash: str) -> str:
        """Return where people look a transaction up."""
        return f"{self.explorer}/tx/{transaction_hash}"


POLYGON = Chain(
    chain_id=137,
    name="Polygon",
    stablecoins={
        USDC: "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        USDT: "0xc2132D05D31c914a87C6611C10748AEb04B58e8F",
    },
    currency="POL",
    public_rpc_urls=("https://polygon-bor-rpc.publicnode.com", "https://polygon-rpc.com"),
    explorer="https://polygonscan.com",
    finality_alarm_seconds=120,
)

CHAINS = {chain.chain_id: chain for chain in (POLYGON,)}


def chain_by_id(chain_id: int) -> Chain:
    """Return the chain with this id.

    Raises:
        SettingsError: Cascade does not know it.
    """
    try:
        return CHAINS[chain_id]
    except KeyError:
        known = ", ".join(f"{c.chain_id} ({c.name})" for c in CHAINS.values())
        raise SettingsError(f"chain {chain_id} is not one of those Cascade knows: {known}") from None


_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_HASH = re.compile(r"0x[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployed PaymentRouter, as ``scripts/deploy.py`` recorded it. Addresses are checksummed.

    Attributes:
        chain: where it is.
        router: its address.
        block_number: the block that deployed it; no payment is older.
        code_hash: keccak256 of its code, as 0x-prefixed hex.
        treasury: the Safe that gets one half; immutable.
        partner: who got the other half when it was deployed; the owner may have changed it since.
    """

    chain: Chain
    router: str
    block_number: int
    code_hash: str
    treasury: str
    partner: str

    @property
    def stablecoins(self) -> dict[str, Asset]:
        """Return the assets that the router takes, by token address."""
        return {address: asset for asset, address in self.chain.stablecoins.items()}

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a deployment record.

        Raises:
            SettingsError: it is missing, is no such record, or names other tokens than the chain has.
        """
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            arguments = record["arguments"]
            chain = chain_by_id(record["chain_id"])
            deployment = cls(
                chain,
                _matching(_ADDRESS, record["router"], "router"),
                int(record["block_number"]),
                _matching(_HASH, record["code_hash"], "code_hash"),
                _matching(_ADDRESS, arguments["treasury"], "treasury"),
                _matching(_ADDRESS, arguments["partner"], "partner"),
            )
            tokens = {arguments["usdc"], arguments["usdt"]}
        except FileNotFoundError:
            raise SettingsError(
                f"CASCADE_DEPLOYMENT: there is no {path}: deploy a router with `ape run deploy`, or name its record"
            ) from None
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"CASCADE_DEPLOYMENT: {path} is no deployment record: {error!r}") from None
        if tokens != set(chain.stablecoins.values()):
            raise SettingsError(
                f"CASCADE_DEPLOYMENT: the router in {path} takes {sorted(tokens)}, but {chain.name} has"
                f" {sorted(chain.stablecoins.values())}: Cascade would price a stranger's token in dollars"
            )
        return deployment


def _matching(pattern: re.Pattern[str], value: object, name: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{name} is {value!r}")
    return value
