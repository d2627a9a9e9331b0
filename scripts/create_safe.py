"""Creates a Safe through Safe's own factory, at an address that is known before. Run it as often as you like.

ape run create_safe --network polygon:mainnet:node --account deployer --owner 0x… --owner 0x… --owner 0x… --threshold 2
"""

from __future__ import annotations

import click
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand, account_option
from ape.exceptions import ApeException

from scripts import _chain, _safe


@click.command(cls=ConnectedProviderCommand)
@account_option()  # type: ignore[untyped-decorator]  # Ape's decorators carry no types
@click.option("--owner", "owners", type=_chain.Address(), multiple=True, required=True, help="An owner; repeat it.")
@click.option("--threshold", type=click.IntRange(1), required=True, help="How many owners must sign.")
@click.option("--salt-nonce", type=click.IntRange(0, 2**256 - 1), default=0, show_default=True, help="Another Safe.")
@click.option("--l1", is_flag=True, help="Use Safe instead of SafeL2, whose events Safe's services on Polygon read.")
def cli(
    provider: ProviderAPI, account: AccountAPI, owners: tuple[str, ...], threshold: int, salt_nonce: int, l1: bool
) -> None:
    """Create a Safe 1.4.1, or find it there."""
    if threshold > len(owners) or len(set(owners)) < len(owners):
        raise click.UsageError(f"--threshold {threshold} of {len(set(owners))} different owners is no Safe")
    singleton = _safe.SAFE if l1 else _safe.SAFE_L2
    for contract in (_safe.FACTORY, singleton, _safe.HANDLER):
        contract.require(provider)
    setup = _safe.set_up(owners, threshold)
    address = _safe.address_of_new(provider, singleton, setup, salt_nonce)
    click.echo(f"These owners, in this order, threshold and salt belong at {address} on every chain.")

    _chain.await_nothing_under_way(provider, account)
    if _chain.code(provider, address):
        click.echo("The Safe is there already; nothing is sent.")
    else:
        _create(provider, account, singleton, setup, salt_nonce, address)
    _hold_against(_safe.look_at(provider, address), owners, threshold)
    click.echo(f"Safe {address}: {threshold} of {len(owners)}, on chain {provider.chain_id}")


def _create(
    provider: ProviderAPI, account: AccountAPI, singleton: _safe.Contract, setup: bytes, salt_nonce: int, address: str
) -> None:
    create = _chain.calldata("createProxyWithNonce(address,bytes,uint256)", singleton.address, setup, salt_nonce)
    try:
        _chain.send(provider, account, _safe.FACTORY.address, create)
    except ApeException:
        if not _chain.code(provider, address):
            raise
        click.echo("Somebody else was faster with the same Safe; that is as good.")


def _hold_against(safe: _safe.Safe, owners: tuple[str, ...], threshold: int) -> None:
    """A Safe's address tells who owned it first, not who does now."""
    if set(safe.owners) != set(owners) or safe.threshold != threshold:
        raise click.ClickException(
            f"the Safe at {safe.address} belongs to {safe.threshold} of {', '.join(sorted(safe.owners))}, expected"
            f" {threshold} of {', '.join(sorted(owners))}: it was changed after it was created; take"
            " another --salt-nonce"
        )
