"""The key that pays for gas: it signs transactions to the router, holds gas money and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import rlp
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from eth_utils.crypto import keccak

from cascade.domain.gas_fees import Fees
from cascade.errors import SettingsError


class Signer(Protocol):
    """The holder of a key: this process, or a service (KMS) that signs digests and never shows it."""

    @property
    def address(self) -> str:
        """Return checksummed."""

    def sign(self, digest: bytes) -> tuple[int, int, int]:
        """Sign 32 bytes with secp256k1: the parity of y (0 or 1), r and s."""


class LocalSigner:
    """A key in this process's memory."""

    def __init__(self, account: LocalAccount) -> None:
        self._account = account

    @classmethod
    def from_hex(cls, key: str) -> LocalSigner:
        """Return a key as 0x-prefixed hex.

        Raises:
            SettingsError: it is no private key; the message does not show it.
        """
        try:
            return cls(Account.from_key(key))
        except Exception:  # noqa: BLE001 - every library says it in another way, and some show the key
            raise SettingsError("CASCADE_RELAYER_KEY: is no private key of 32 bytes in hex") from None

    @classmethod
    def from_keystore(cls, path: Path, password: str) -> LocalSigner:
        """Return a key in a keystore file (Web3 Secret Storage), as `ape accounts generate` makes.

        Raises:
            SettingsError: the file cannot be read, or not with this password.
        """
        try:
            return cls(Account.from_key(Account.decrypt(json.loads(path.read_text(encoding="utf-8")), password)))
        except OSError as error:
            raise SettingsError(f"CASCADE_RELAYER_KEYSTORE: {path}: {error.strerror}") from None
        except Exception:  # noqa: BLE001 - a keystore can be wrong in many ways
            raise SettingsError(
                f"CASCADE_RELAYER_KEYSTORE: {path} is no keystore, or CASCADE_RELAYER_PASSWORD does not open it"
            ) from None

    @property
    def address(self) -> str:
        """Return checksummed."""
        return str(self._account.address)

    def sign(self, digest: bytes) -> tuple[int, int, int]:
        """Sign 32 bytes."""
        signed = self._account.unsafe_sign_hash(Hash32(digest))
        return signed.v - 27, signed.r, signed.s


@dataclass(frozen=True, slots=True)
class Signed:
    """A transaction as a node takes it, and the hash that it will have on chain."""

    hash: bytes
    raw: bytes


def sign_call(
    signer: Signer, *, chain_id: int, nonce: int, to: str, calldata: bytes, gas_limit: int, fees: Fees
) -> Signed:
    """Return a signed call that brings no native currency (EIP-1559, type 2)."""
    fields = [chain_id, nonce, fees.tip, fees.max_fee, gas_limit, bytes.fromhex(to[2:]), 0, calldata, []]
    raw = b"\x02" + rlp.encode([*fields, *signer.sign(keccak(b"\x02" + rlp.encode(fields)))])
    return Signed(keccak(raw), raw)
