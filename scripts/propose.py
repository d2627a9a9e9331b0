"""Has the Safe command the router: propose, sign, execute. Every step can be run again.

Signatures are collected at Safe's transaction service, or, with --file, in a file that the owners hand to each other:

ape run propose pause --file pause.json --signer owner1      makes the file
ape run propose sign --file pause.json --signer owner2       adds a signature
ape run propose execute --file pause.json --sender anyone    sends it, once there are enough
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from ape.api import AccountAPI, ProviderAPI
from ape.cli import ConnectedProviderCommand

from scripts import _chain


class OrderId(click.ParamType):
    """The id that an order has on chain."""

    name = "order id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            order = value if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            order = b""
        if len(order) != 32:
            self.fail(f"{value!r} is no order id: 0x and 64 hexadecimal digits", param, ctx)
        return order


_OPTIONS = (
    click.option(
        "--record", type=click.Path(path_type=Path), help="The record. [default: deployments/<chain id>.json]"
    ),
    click.option("--file", type=click.Path(path_type=Path), help="Where the proposal lies. [default: Safe's service]"),
    click.option(
        "--signer", "signers", type=_chain.Account(), multiple=True, help="An owner's account; may be repeated."
    ),
    click.option("--sender", type=_chain.Account(), help="Sends it now, for gas of its own: any account."),
    click.option("--again", is_flag=True, help="Also if it is in force, or the order has had a refund."),
    click.option("--yes", is_flag=True, help="Do not ask."),
)
_NONCE = click.option("--nonce", type=click.IntRange(0), help="The Safe's nonce. [default: the next free one]")
_TO = click.option("--to", type=_chain.Address(), required=True, help="Who gets it.")
_TOKEN = click.option("--token", type=_chain.Address(), required=True, help="The token's address.")


def _with(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.group()
def cli() -> None:
    """Have the Safe command the router."""


def _propose(provider: ProviderAPI, record: Path | None, name: str, *args: Any, **steps: Any) -> None:
    from scripts import _proposals  # Ape runs every script to list them: what is heavy is imported when it is used

    _proposals.propose(provider, record, name, args, _proposals.Steps(**steps))


@cli.command(cls=ConnectedProviderCommand)
@_with(*_OPTIONS, _NONCE)
def pause(provider: ProviderAPI, record: Path | None, **steps: Any) -> None:
    """Stop payments."""
    _propose(provider, record, "pause", **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(*_OPTIONS, _NONCE)
def unpause(provider: ProviderAPI, record: Path | None, **steps: Any) -> None:
    """Let payments go on."""
    _propose(provider, record, "unpause", **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(click.option("--partner", type=_chain.Address(), required=True, help="The new one."), *_OPTIONS, _NONCE)
def set_partner(provider: ProviderAPI, record: Path | None, partner: str, **steps: Any) -> None:
    """Give the smaller half to somebody else, with what is held for the partner."""
    _propose(provider, record, "set-partner", partner, **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(_TOKEN, _TO, *_OPTIONS, _NONCE)
def rescue(provider: ProviderAPI, record: Path | None, token: str, to: str, **steps: Any) -> None:
    """Send on what lies in the router and belongs to neither side."""
    _propose(provider, record, "rescue", token, to, **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(
    click.option("--order", type=OrderId(), required=True, help="The order's id on chain."),
    click.option("--amount", required=True, help="In tokens, such as 25.01."),
    *(_TOKEN, _TO, *_OPTIONS, _NONCE),
)
def refund(
    provider: ProviderAPI, record: Path | None, order: bytes, amount: str, token: str, to: str, **steps: Any
) -> None:
    """Give money of an order back from the Safe; approves the router in the same transaction if need be."""
    from scripts import _actions

    _propose(provider, record, "refund", order, token, to, _actions.units_of(amount), **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(
    click.option("--to", type=_chain.Address(), required=True, help="The new Safe; it has to accept."),
    click.option("--to-is-no-safe", is_flag=True, help="Although the new owner is no Safe of several owners."),
    *(*_OPTIONS, _NONCE),
)
def transfer_ownership(provider: ProviderAPI, record: Path | None, to: str, to_is_no_safe: bool, **steps: Any) -> None:
    """Offer the router to a new Safe; the treasury stays the old one."""
    from scripts import _safe

    if not to_is_no_safe:
        _safe.require_sound(provider, to)
    _propose(provider, record, "transfer-ownership", to, **steps)


@cli.command(cls=ConnectedProviderCommand)
@_with(*_OPTIONS, _NONCE)
def accept_ownership(provider: ProviderAPI, record: Path | None, **steps: Any) -> None:
    """Take the router over: a proposal of the Safe to which it was offered."""
    _propose(provider, record, "accept-ownership", **steps)


def _resume(
    provider: ProviderAPI, record: Path | None, file: Path | None, safe_tx_hash: str | None, **steps: Any
) -> None:
    from scripts import _proposals

    if (file is None) == (safe_tx_hash is None):
        raise click.UsageError("name the proposal by --file, or by --hash at Safe's service")
    _proposals.resume(provider, record, safe_tx_hash, _proposals.Steps(file=file, **steps))


_HASH = click.option("--hash", "safe_tx_hash", help="The proposal's safeTxHash at Safe's service.")
_COPIES = click.option(
    "--copy", "copies", type=click.Path(path_type=Path), multiple=True, help="Take the signatures of this copy as well."
)


@cli.command(cls=ConnectedProviderCommand)
@_with(_HASH, _COPIES, *_OPTIONS)
def sign(provider: ProviderAPI, signers: tuple[AccountAPI, ...], **options: Any) -> None:
    """Show a proposal and sign it."""
    if not signers:
        raise click.UsageError("--signer is needed")
    _resume(provider, signers=signers, **options)


@cli.command(cls=ConnectedProviderCommand)
@_with(_HASH, _COPIES, *_OPTIONS)
def execute(provider: ProviderAPI, sender: AccountAPI | None, **options: Any) -> None:
    """Show a proposal and send it."""
    if sender is None:
        raise click.UsageError("--sender is needed")
    _resume(provider, sender=sender, **options)
