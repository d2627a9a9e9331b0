"""Deploys the PaymentRouter and writes its deployment record.

ape run deploy --network polygon:mainnet:node --account TEST::0 --treasury 0x… --partner 0x…
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from ape import project
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand, account_option
from eth_utils.address import is_address, to_checksum_address

from scripts import _deployment

POLYGON = 137
TOKENS = {  # chain id → the real USDC and USDT there
    POLYGON: {
        "usdc": "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        "usdt": "0xc2132D05D31c914a87C6611C10748AEb04B58e8F",
    }
}
MINIMUM_TIP_WEI = {POLYGON: 25 * 10**9}  # Polygon's validators drop what pays less


class Address(click.ParamType):
    """An address on the command line, checksummed; a wrong checksum is refused."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_address(value):
            self.fail(f"{value!r} is no address (or its checksum is wrong)", param, ctx)
        return str(to_checksum_address(value))


@click.command(cls=ConnectedProviderCommand)
@account_option()  # type: ignore[untyped-decorator]  # Ape's decorators carry no types
@click.option("--treasury", type=Address(), required=True, help="The Safe. Immutable; gets the larger half.")
@click.option("--partner", type=Address(), required=True, help="Gets the smaller half; the owner can change it.")
@click.option("--owner", type=Address(), help="Owns the router. [default: the treasury]")
@click.option("--usdc", type=Address(), help="The accepted USDC. [default: the real one on Polygon]")
@click.option("--usdt", type=Address(), help="The accepted USDT. [default: the real one on Polygon]")
@click.option("--out", type=click.Path(path_type=Path), help="The record. [default: deployments/<chain id>.json]")
def cli(
    provider: ProviderAPI,
    account: AccountAPI,
    treasury: str,
    partner: str,
    owner: str | None,
    usdc: str | None,
    usdt: str | None,
    out: Path | None,
) -> None:
    """Deploy the PaymentRouter to the connected network."""
    usual = TOKENS.get(provider.chain_id, {})
    arguments = {
        "usdc": usdc or usual.get("usdc"),
        "usdt": usdt or usual.get("usdt"),
        "treasury": treasury,
        "partner": partner,
        "owner": owner or treasury,
    }
    for name, value in arguments.items():
        if value is None:
            raise click.UsageError(f"--{name} is needed: no {name.upper()} is known on chain {provider.chain_id}")
    path = out or _deployment.default_path(provider.chain_id)
    _refuse_to_overwrite(path, provider)

    router = account.deploy(
        getattr(project, _deployment.CONTRACT),
        *(arguments[name] for name in _deployment.ARGUMENTS),
        required_confirmations=0,  # the record names the block; whoever reads it waits for finality
        **_fees(provider),
    )
    _deployment.write(path, _record(provider, router, arguments))
    click.echo(f"PaymentRouter {router.address} on chain {provider.chain_id}; record: {path}")


def _refuse_to_overwrite(path: Path, provider: ProviderAPI) -> None:
    if not path.exists():
        return
    known = _deployment.read(path)
    if known["chain_id"] != provider.chain_id:
        raise click.ClickException(
            f"{path} is a record of chain {known['chain_id']}, this is {provider.chain_id}: use --out"
        )
    if provider.get_code(known["router"]):
        raise click.ClickException(
            f"{path} records the router {known['router']}, which is alive on chain {provider.chain_id}. "
            "To replace it, move that file away first, or write the new record elsewhere with --out."
        )


def _fees(provider: ProviderAPI) -> dict[str, int]:
    tip = max(provider.priority_fee, MINIMUM_TIP_WEI.get(provider.chain_id, 0))
    return {"max_priority_fee": tip, "max_fee": 2 * provider.base_fee + tip}


def _record(provider: ProviderAPI, router: Any, arguments: dict[str, str | None]) -> dict[str, Any]:
    receipt = router.creation_metadata.receipt
    return {
        "chain_id": provider.chain_id,
        "router": router.address,
        "block_number": receipt.block_number,
        "block_hash": "0x" + bytes(receipt.block.hash).hex(),
        "transaction_hash": receipt.txn_hash,
        "arguments": arguments,
        "code_hash": _deployment.code_hash(bytes(provider.get_code(router.address))),
        "compiler": _deployment.compiler(),
    }
