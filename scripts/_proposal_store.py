"""Stores of proposals while their signatures are collected: a file, or Safe's transaction service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import click
from ape.api import ProviderAPI
from ape.types import MessageSignature
from ape_safe.client import SafeClient, SafeTx
from ape_safe.client.types import ExecutedTxData, SafeTxConfirmation, SignatureType, UnexecutedTxData
from ape_safe.utils import get_safe_tx_hash
from eip712.common import create_safe_tx_def
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from scripts import _chain, _deployment, _safe

SERVICE = "SAFE_TRANSACTION_SERVICE_URL"
"""Names another service than Safe's own, for Ape's plugin as well."""

_SIGNATURE_BYTES = 65
_ETH_SIGN = (31, 32)
"""How Safe marks a signature over a message of text, which some wallets make instead of one over typed data."""


class ProposalStore(Protocol):
    """Keeps proposals in the words of Safe's transaction service."""

    def pending(self, nonce: int) -> Iterator[UnexecutedTxData]:
        """Those that may still be executed: none of them has a smaller nonce."""

    def find(self, safe_tx_hash: str | None) -> UnexecutedTxData | None:
        """The proposal with this hash; a file has one only."""

    def post(self, transaction: SafeTx, signatures: Mapping[str, MessageSignature]) -> None:
        """Lays a new proposal on the desk."""

    def sign(self, proposal: UnexecutedTxData, signatures: Mapping[str, MessageSignature]) -> None:
        """Adds signatures to one that lies there."""


class OtherSafe(click.ClickException):
    """A file holds a proposal for another Safe, or for another chain."""


class File:
    """One proposal in one file, which owners hand to each other as they like. What it says is believed as far as its
    signatures reach, no further: see `checked`."""

    def __init__(self, path: Path, safe: _safe.Safe, chain_id: int) -> None:
        self.path = path
        self._safe = safe
        self._chain_id = chain_id

    def pending(self, nonce: int) -> Iterator[UnexecutedTxData]:
        found = self.find(None)
        if found is not None and found.nonce >= nonce:
            yield found

    def find(self, safe_tx_hash: str | None) -> UnexecutedTxData | None:
        found = self._read(self.path) if self.path.exists() else None
        return found if found is None or safe_tx_hash in (None, found.safe_tx_hash) else None

    def post(self, transaction: SafeTx, signatures: Mapping[str, MessageSignature]) -> None:
        proposal = UnexecutedTxData.from_safe_tx(transaction, self._safe.threshold)
        proposal.confirmations = _confirmations(signatures)
        self._write(proposal)

    def sign(self, proposal: UnexecutedTxData, signatures: Mapping[str, MessageSignature]) -> None:
        self._write(_with(proposal, _confirmations(signatures)))

    def merge(self, copy: Path) -> None:
        """Takes the signatures out of a copy of the file that somebody else has signed."""
        ours, theirs = self._read(self.path), self._read(copy)
        if ours.safe_tx_hash != theirs.safe_tx_hash:
            raise click.ClickException(
                f"{copy} holds the proposal {theirs.safe_tx_hash}, expected {ours.safe_tx_hash} as in {self.path}"
            )
        self._write(_with(ours, theirs.confirmations))

    def _read(self, path: Path) -> UnexecutedTxData:
        chain_id, proposal = _parsed(path)
        if (chain_id, proposal.safe) != (self._chain_id, self._safe.address):
            raise OtherSafe(
                f"{path} is for the Safe {proposal.safe} on chain {chain_id}, expected {self._safe.address} on"
                f" {self._chain_id}: name another --file, --network or --record"
            )
        return checked(proposal, self._safe, self._chain_id)

    def _write(self, proposal: UnexecutedTxData) -> None:
        content = {"chainId": self._chain_id, **proposal.model_dump(mode="json", by_alias=True, exclude_none=True)}
        _deployment.write_text(self.path, json.dumps(content, indent=2) + "\n")


class Service:
    """Safe's transaction service, through Ape's plugin for Safes."""

    def __init__(self, safe: _safe.Safe, chain_id: int) -> None:
        self._safe = safe
        self._chain_id = chain_id
        try:
            self._client = SafeClient(safe.address, override_url=os.environ.get(SERVICE), chain_id=chain_id)
        except ValueError as error:
            raise click.ClickException(
                f"Safe's transaction service cannot be asked: {' '.join(str(error).split())} Or collect the signatures"
                " without any service, in a file: --file"
            ) from error

    def pending(self, nonce: int) -> Iterator[UnexecutedTxData]:
        for found in self._client.get_transactions(starting_nonce=nonce):
            if not isinstance(found, ExecutedTxData):
                yield checked(found, self._safe, self._chain_id)

    def find(self, safe_tx_hash: str | None) -> UnexecutedTxData | None:
        found = self._client.get_safe_tx(safe_tx_hash)
        if found is None or found.safe != self._safe.address:
            return None
        return checked(found, self._safe, self._chain_id)

    def post(self, transaction: SafeTx, signatures: Mapping[str, MessageSignature]) -> None:
        if not signatures:
            raise click.ClickException("Safe's transaction service takes a proposal from an owner only: add --signer")
        first = next(iter(signatures))
        self._client.post_transaction(
            transaction, dict(signatures), sender=first, contractTransactionHash=get_safe_tx_hash(transaction)
        )

    def sign(self, proposal: UnexecutedTxData, signatures: Mapping[str, MessageSignature]) -> None:
        for signer, signature in signatures.items():
            self._client.post_signatures(proposal.safe_tx_hash, {signer: signature})


def _parsed(path: Path) -> tuple[int, UnexecutedTxData]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return content.pop("chainId"), UnexecutedTxData.model_validate(content)
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise click.ClickException(f"{path} is no proposal: {error!r}") from error


def safe_in(path: Path) -> str:
    """The Safe that a file's proposal is for."""
    _, proposal = _parsed(path)
    return str(proposal.safe)


def open_store(provider: ProviderAPI, safe: _safe.Safe, file: Path | None) -> ProposalStore:
    """The file if one is named, otherwise the service."""
    return Service(safe, provider.chain_id) if file is None else File(file, safe, provider.chain_id)


def safe_tx(safe: _safe.Safe, chain_id: int, **fields: Any) -> SafeTx:
    """What owners sign. (ape-safe's own `as_safe_tx` forgets `baseGas`.)"""
    address: Any = safe.address  # its own type for addresses is a string to everybody but mypy
    return create_safe_tx_def(safe.version, contract_address=address, chain_id=chain_id)(**fields)


def checked(proposal: UnexecutedTxData, safe: _safe.Safe, chain_id: int) -> UnexecutedTxData:
    """The proposal, if its hash is that of its contents: its sender could have written anything."""
    actual = get_safe_tx_hash(safe_tx(safe, chain_id, **proposal.base_tx_dict))
    if actual != proposal.safe_tx_hash:
        raise click.ClickException(
            f"the proposal says that its hash is {proposal.safe_tx_hash}, but its contents have {actual}: somebody"
            " changed it; propose anew"
        )
    return proposal


def signatures_of(proposal: UnexecutedTxData, safe: _safe.Safe) -> dict[str, bytes]:
    """The signatures that count, by owner: those of present owners that are over this very proposal."""
    found: dict[str, bytes] = {}
    for confirmation in proposal.confirmations:
        owner, signature = to_checksum_address(confirmation.owner), bytes(confirmation.signature)
        if owner in safe.owners and _signer(proposal.safe_tx_hash, signature) == owner:
            found[owner] = signature
    return found


def _signer(safe_tx_hash: str, signature: bytes) -> str | None:
    """Who signed, in one of the two ways in which a key signs for a Safe; None when nobody did."""
    digest, mark = _chain.plain(safe_tx_hash), signature[64] if len(signature) == _SIGNATURE_BYTES else 0
    if mark in _ETH_SIGN:
        digest, mark = keccak(b"\x19Ethereum Signed Message:\n32" + digest), mark - 4
    try:
        key = Signature(signature[:64] + bytes([mark - 27])).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError, ValueError):
        return None
    return str(key.to_checksum_address())


def _confirmations(signatures: Mapping[str, MessageSignature]) -> list[SafeTxConfirmation]:
    return [
        SafeTxConfirmation(
            owner=owner,
            submissionDate=datetime.now(UTC),
            signature=signature.encode_rsv(),
            signatureType=SignatureType.EOA,
        )
        for owner, signature in signatures.items()
    ]


def _with(proposal: UnexecutedTxData, more: list[SafeTxConfirmation]) -> UnexecutedTxData:
    known = {bytes(confirmation.signature) for confirmation in proposal.confirmations}
    proposal.confirmations += [confirmation for confirmation in more if bytes(confirmation.signature) not in known]
    return proposal
