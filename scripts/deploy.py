"""Deploys the PaymentRouter at its one address and writes its deployment record. Run it as often as you like.

ape run deploy --network polygon:mainnet:node --account deployer --treasury 0x… --partner 0x…
"""

from __future__ import annotations

from pathlib import Path

import click
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand, account_option
from ape.exceptions import ApeException

from scripts import _chain, _deployment, _safe

TOKENS = {  # chain id → the real USDC and USDT there
    137: {
        "usdc": "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359",
        "usdt": "0xc2132D05D31c914a87C6611C10748AEb04B58e8F",
    }
}


@click.command(cls=ConnectedProviderCommand)
@account_option()  # type: ignore[untyped-decorator]  # Ape's decorators carry no types
@click.option(
    "--treasury", type=_chain.Address(), required=True, help="The Safe: owns the router, gets the larger half."
)
@click.option("--partner", type=_chain.Address(), required=True, help="Gets the smaller half; the Safe can change it.")
@click.option("--usdc", type=_chain.Address(), help="The accepted USDC. [default: the real one on Polygon]")
@click.option("--usdt", type=_chain.Address(), help="The accepted USDT. [default: the real one on Polygon]")
@click.option(
    "--salt", type=click.IntRange(0, 2**256 - 1), help="Another salt, another address. [default: the config's]"
)
@click.option("--out", type=click.Path(path_type=Path), help="The record. [default: deployments/<chain id>.json]")
@click.option("--treasury-is-no-safe", is_flag=True, help="Deploy although the treasury is no Safe of several owners.")
@click.option("--dry-run", is_flag=True, help="Check everything, say where the router belongs, send and write nothing.")
def cli(
    provider: ProviderAPI,
    account: AccountAPI,
    treasury: str,
    partner: str,
    usdc: str | None,
    usdt: str | None,
    salt: int | None,
    out: Path | None,
    treasury_is_no_safe: bool,
    dry_run: bool,
) -> None:
    """Deploy the PaymentRouter to the connected network, or find it there."""
    usual = TOKENS.get(provider.chain_id, {})
    tokens = {"usdc": usdc or usual.get("usdc"), "usdt": usdt or usual.get("usdt")}
    arguments = {name: address for name, address in tokens.items() if address is not None}
    for name in tokens.keys() - arguments.keys():
        raise click.UsageError(f"--{name} is needed: no {name.upper()} is known on chain {provider.chain_id}")
    # The Safe is the owner from the constructor on: there is no moment at which a single key owns the router.
    arguments |= {"treasury": treasury, "partner": partner, "owner": treasury}
    plan = _deployment.Plan(arguments, _deployment.configured_salt() if salt is None else salt)
    path = out or _deployment.default_path(provider.chain_id)

    click.echo(f"These arguments and salt {plan.salt} belong at {plan.address} on every chain.")
    _refuse_to_replace(path, provider, plan.address)
    expected = _code_of(provider, plan)
    if not dry_run:
        _chain.await_nothing_under_way(provider, account)
    if _chain.code(provider, plan.address):
        click.echo("The router is there already; nothing is sent.")
    else:
        if not treasury_is_no_safe:
            click.echo(f"Treasury and owner: {_require_safe(provider, treasury)}")
        if dry_run:
            click.echo("Nothing is there yet, and nothing is sent.")
            return
        _create(provider, account, plan)
    _hold_against(provider, plan, expected)
    if not dry_run:
        _keep_record(path, provider, plan)
        click.echo(f"PaymentRouter {plan.address} on chain {provider.chain_id}; record: {path}")


def _refuse_to_replace(path: Path, provider: ProviderAPI, address: str) -> None:
    if not path.exists():
        return
    known = _deployment.read(path)
    if known["chain_id"] != provider.chain_id:
        raise click.ClickException(
            f"{path} is a record of chain {known['chain_id']}, this is {provider.chain_id}: use --out"
        )
    if known["router"] != address and _chain.code(provider, known["router"]):
        raise click.ClickException(
            f"{path} records the router {known['router']}, which is alive on chain {provider.chain_id}, and these"
            f" arguments belong to {address}. To replace it, move that file away first, or write the new record"
            " elsewhere with --out."
        )


def _code_of(provider: ProviderAPI, plan: _deployment.Plan) -> bytes:
    found = _chain.code_hash(_chain.code(provider, _deployment.DEPLOYER))
    if found != _deployment.DEPLOYER_CODE_HASH:
        raise click.ClickException(
            f"the CREATE2 deployer is not at {_deployment.DEPLOYER} on chain {provider.chain_id}: its code has hash"
            f" {found}, expected {_deployment.DEPLOYER_CODE_HASH}"
        )
    try:
        return plan.code(provider)
    except _chain.Refused as error:
        raise click.ClickException(
            f"the router's constructor refuses {plan.arguments}: {_deployment.reason(error)}"
        ) from error


def _require_safe(provider: ProviderAPI, treasury: str) -> _safe.Safe:
    try:
        return _safe.require_sound(provider, treasury)
    except _safe.NoSafe as error:
        raise click.ClickException(
            f"--treasury: {error.message}. It is immutable and would own the router; if you mean it, add"
            " --treasury-is-no-safe"
        ) from error


def _create(provider: ProviderAPI, account: AccountAPI, plan: _deployment.Plan) -> None:
    try:
        _chain.send(provider, account, _deployment.DEPLOYER, plan.salt_word + plan.init_code)
    except ApeException:
        if not _chain.code(provider, plan.address):
            raise
        click.echo("Somebody else was faster with the same router; that is as good.")


def _hold_against(provider: ProviderAPI, plan: _deployment.Plan, expected: bytes) -> None:
    found = _chain.code(provider, plan.address)
    if found != expected:
        raise click.ClickException(
            f"the code at {plan.address} has hash {_chain.code_hash(found)}, expected {_chain.code_hash(expected)}:"
            " the node does not tell the truth, or the transaction is no longer in the chain; run this again"
        )


def _keep_record(path: Path, provider: ProviderAPI, plan: _deployment.Plan) -> None:
    """Writes the record unless it is there and true: a run that was killed after its transaction left none, and a
    chain that was rolled back has the router in another block."""
    if path.exists():
        known = _deployment.read(path)
        fits = (known["router"], known["arguments"], known.get("salt")) == (
            plan.address,
            plan.arguments,
            "0x" + plan.salt_word.hex(),
        )
        if fits and _deployment.is_confirmed(provider, known):
            return
    record = _deployment.record_of(provider, plan)
    if record is None:
        raise click.ClickException(
            f"the router is at {plan.address}, but the node tells of no block that created it: no record is written;"
            " use a node that has the logs of the whole chain"
        )
    _deployment.write(path, record)
