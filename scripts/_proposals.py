"""The way of a proposal: proposed, signed by enough owners, executed. Every step can be run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from ape.api import AccountAPI, ProviderAPI
from ape_safe.client.types import UnexecutedTxData
from eth_utils.crypto import keccak
from rich.console import Console
from rich.table import Table

from scripts import _actions, _chain, _deployment, _proposal_store, _safe

_EXECUTED = "0x" + keccak(text="ExecutionSuccess(bytes32,uint256)").hex()
_EXECUTE = "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"


@dataclass(frozen=True)
class Steps:
    """The steps that an operator wants to take, and with whom."""

    file: Path | None
    signers: tuple[AccountAPI, ...] = ()
    sender: AccountAPI | None = None
    nonce: int | None = None
    copies: tuple[Path, ...] = ()
    again: bool = False
    yes: bool = False


@dataclass(frozen=True)
class Case:
    """A Safe and the router that it commands or may take over."""

    provider: ProviderAPI
    router: _actions.Router
    safe: _safe.Safe
    desk: _proposal_store.ProposalStore


def propose(provider: ProviderAPI, record: Path | None, name: str, args: tuple[Any, ...], steps: Steps) -> None:
    """Proposes an action unless it is proposed, executed or in force already; then goes on as far as it is asked to."""
    router = _recorded(provider, record)
    safe = _safe.look_at(provider, _actor(router, name))
    case = Case(provider, router, safe, _proposal_store.open_store(provider, safe, steps.file))
    wanted = _actions.action(router, name, *args)
    said = None if steps.again else _actions.in_force(router, safe, wanted)
    try:
        found = _found(case, wanted)
    except _proposal_store.OtherSafe:
        if said is None:
            raise
        found = None
    if found is not None:
        click.echo(f"It is proposed already: {found.safe_tx_hash}")
        _go_on(case, found, steps)
    elif said is not None:
        click.echo(f"{said} Nothing is proposed.")
    else:
        _go_on(case, _new(case, wanted, steps.nonce), steps, is_new=True)


def resume(provider: ProviderAPI, record: Path | None, safe_tx_hash: str | None, steps: Steps) -> None:
    """Goes on with a proposal that lies in a file, or at the service."""
    router = _recorded(provider, record)
    owner, offered = router.read("owner()"), router.read("pendingOwner()")
    actors = [actor for actor in (owner, offered) if actor != _chain.NO_ONE]
    if steps.file is not None:
        named = _proposal_store.safe_in(steps.file)
        if named not in actors:
            raise click.ClickException(
                f"{steps.file} is for the Safe {named}, expected one that owns the router or may: {' or '.join(actors)}"
            )
        actors = [named]
    for actor in actors:
        safe = _safe.look_at(provider, actor)
        desk = _proposal_store.open_store(provider, safe, steps.file)
        for copy in steps.copies:
            if isinstance(desk, _proposal_store.File):
                desk.merge(copy)
        found = desk.find(safe_tx_hash)
        if found is not None:
            return _go_on(Case(provider, router, safe, desk), found, steps)
    raise click.ClickException(
        f"there is no proposal {safe_tx_hash or steps.file} of {' or '.join(actors)}: propose it first"
    )


def _recorded(provider: ProviderAPI, record: Path | None) -> _actions.Router:
    path = record or _deployment.default_path(provider.chain_id)
    if not path.exists():
        raise click.ClickException(f"{path} does not exist: deploy first, or name the record with --record")
    known = _deployment.read(path)
    if known["chain_id"] != provider.chain_id:
        raise click.ClickException(f"{path} is of chain {known['chain_id']}, but --network of {provider.chain_id}")
    if _chain.code_hash(_chain.code(provider, known["router"])) != known["code_hash"]:
        raise click.ClickException(f"the code at {known['router']} is not the recorded one: see `ape run verify`")
    return _actions.Router(provider, known["router"], known["block_number"])


def _actor(router: _actions.Router, name: str) -> str:
    """Whose Safe acts: the owner, or who may become it."""
    offered: str = router.read("pendingOwner()")
    owner: str = router.read("owner()")
    return offered if name == "accept-ownership" and offered != _chain.NO_ONE else owner


def _found(case: Case, wanted: _actions.Call) -> UnexecutedTxData | None:
    """What lies on the desk for the same action; in a file also when it can no longer be executed."""
    if isinstance(case.desk, _proposal_store.File):
        found = case.desk.find(None)
        if found is not None and calls_of(found)[-1] != wanted:
            changes = _actions.explain(case.router, case.safe, calls_of(found))
            raise click.ClickException(
                f"{case.desk.path} holds another proposal, {changes[-1].what}: {changes[-1].after}; name another --file"
            )
        return found
    for pending in case.desk.pending(case.safe.nonce):
        try:
            if calls_of(pending)[-1] == wanted:
                return pending
        except click.ClickException:
            continue  # another matter of the Safe's
    return None


def calls_of(proposal: UnexecutedTxData) -> list[_actions.Call]:
    """What a proposal has the Safe do. Raises ClickException when it would also move native currency."""
    payment = (proposal.value, proposal.safe_tx_gas, proposal.base_gas, proposal.gas_price)
    receivers = (proposal.gas_token, proposal.refund_receiver)
    if any(payment) or any(int(receiver, 16) for receiver in receivers):
        raise click.ClickException(
            f"the proposal {proposal.safe_tx_hash} also pays out of the Safe, by value or for gas: do not sign it here"
        )
    return _actions.unpack(proposal.to, bytes(proposal.data or b""), int(proposal.operation))


def _new(case: Case, wanted: _actions.Call, nonce: int | None) -> UnexecutedTxData:
    name, _ = _actions.parse(case.router, wanted)
    calls = _actions.with_allowance(case.router, case.safe, wanted) if name == "refund" else [wanted]
    if len(calls) == 1:
        request = {"from": case.safe.address, "to": wanted.to, "data": "0x" + wanted.data.hex()}
        try:
            _chain.simulate(case.provider, request)
        except _chain.Refused as error:
            raise click.ClickException(f"the router would refuse it: {_deployment.reason(error)}") from error
    to, data, operation = _actions.pack(case.provider, calls)
    if nonce is None:
        nonce = max((pending.nonce + 1 for pending in case.desk.pending(case.safe.nonce)), default=case.safe.nonce)
    elif nonce < case.safe.nonce:
        raise click.ClickException(f"--nonce {nonce} is used already: the Safe's next one is {case.safe.nonce}")
    transaction = _proposal_store.safe_tx(
        case.safe, case.provider.chain_id, to=to, data=data, operation=operation, nonce=nonce
    )
    return UnexecutedTxData.from_safe_tx(transaction, case.safe.threshold)


def _go_on(case: Case, proposal: UnexecutedTxData, steps: Steps, is_new: bool = False) -> None:
    """Shows, signs, keeps, executes: as far as it is asked to, and as far as it can be done."""
    calls = calls_of(proposal)
    if proposal.nonce < case.safe.nonce:
        click.echo(_outcome(case, proposal))
        return
    said = None if steps.again else _actions.in_force(case.router, case.safe, calls[-1])
    if said is not None:
        click.echo(f"{said} Nothing is signed or sent.")
        return
    _show(case, proposal, calls)
    signed = _proposal_store.signatures_of(proposal, case.safe)
    missing = [signer for signer in steps.signers if _owner(case.safe, signer) not in signed]
    if (missing or steps.sender) and not steps.yes:
        click.confirm("Is this what you want?", abort=True)

    transaction = _proposal_store.safe_tx(case.safe, case.provider.chain_id, **proposal.base_tx_dict)
    fresh = {signer.address: signer.sign_message(transaction) for signer in missing}
    if None in fresh.values():
        raise click.ClickException("a signer did not sign: nothing is kept; run this again")
    if is_new:
        case.desk.post(transaction, fresh)
    elif fresh:
        case.desk.sign(proposal, fresh)
    signatures = signed | {owner: signature.encode_rsv() for owner, signature in fresh.items()}
    click.echo(f"{len(signatures)} of {case.safe.threshold} signatures for {proposal.safe_tx_hash}")
    if steps.sender is not None:
        _execute(case, proposal, signatures, steps.sender)


def _owner(safe: _safe.Safe, signer: AccountAPI) -> str:
    if signer.address not in safe.owners:
        raise click.ClickException(f"{signer.address} is no owner of the Safe; they are {', '.join(safe.owners)}")
    return str(signer.address)


def _execute(case: Case, proposal: UnexecutedTxData, signatures: dict[str, bytes], sender: AccountAPI) -> None:
    missing = case.safe.threshold - len(signatures)
    if missing > 0:
        raise click.ClickException(
            f"{missing} more signature(s) are needed of: {', '.join(set(case.safe.owners) - set(signatures))}"
        )
    _chain.await_nothing_under_way(case.provider, sender)
    now = _safe.look_at(case.provider, case.safe.address)
    if now.nonce > proposal.nonce:
        click.echo(_outcome(case, proposal))
        return
    if now.nonce < proposal.nonce:
        raise click.ClickException(
            f"it has nonce {proposal.nonce}, and the Safe's next one is {now.nonce}: execute or reject those before it"
        )
    ordered = b"".join(signatures[owner] for owner in sorted(signatures, key=lambda address: int(address, 16)))
    inner = (proposal.to, 0, bytes(proposal.data or b""), int(proposal.operation))
    call = _chain.calldata(_EXECUTE, *inner, 0, 0, 0, _chain.NO_ONE, _chain.NO_ONE, ordered)
    try:
        _chain.simulate(case.provider, {"from": sender.address, "to": now.address, "data": "0x" + call.hex()})
    except _chain.Refused as error:
        raise click.ClickException(f"the Safe refuses it: {error}; its codes are in Safe's error_codes.md") from error
    _chain.send(case.provider, sender, now.address, call)
    click.echo(_outcome(case, proposal))


def _outcome(case: Case, proposal: UnexecutedTxData) -> str:
    """What became of a proposal whose nonce is used. Safe 1.3.0 tells the hash in the data, 1.4.1 in a topic."""
    wanted = _chain.plain(proposal.safe_tx_hash)

    def tells_of_it(log: dict[str, Any]) -> bool:
        return wanted in [*map(_chain.plain, log["topics"]), _chain.plain(log["data"])[:32]]

    log = _chain.newest_log(case.provider, case.safe.address, [_EXECUTED], case.router.since, tells_of_it)
    if log is not None:
        return f"It is executed, in transaction 0x{_chain.plain(log['transactionHash']).hex()}."
    raise click.ClickException(
        f"it can no longer be executed: the Safe used nonce {proposal.nonce} for something else; propose it anew, in"
        " another --file"
    )


def _show(case: Case, proposal: UnexecutedTxData, calls: list[_actions.Call]) -> None:
    """Everything an owner has to know before signing, told from the calls themselves."""
    table = Table(title=f"Chain {case.provider.chain_id}, router {case.router.address}")
    for name in ("", "now", "then"):
        table.add_column(name, overflow="fold")  # never cut off: people copy from here
    for change in _actions.explain(case.router, case.safe, calls):
        table.add_row(change.what, change.before, change.after)
    table.add_section()
    signed = _proposal_store.signatures_of(proposal, case.safe)
    table.add_row("Safe", str(case.safe), f"nonce {proposal.nonce}, its next is {case.safe.nonce}")
    table.add_row("safeTxHash", "", proposal.safe_tx_hash)
    table.add_row("signed by", ", ".join(signed) or "nobody", f"{case.safe.threshold} are needed")
    Console(width=180, highlight=False).print(table)
    if unknown := len(proposal.confirmations) - len(signed):
        click.echo(f"{unknown} signature(s) do not count: not of an owner's key, or not over this proposal.")
