"""A real Safe 1.4.1 of ours, used as its web application uses it: sign off chain, execute with the signatures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ape
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import SignableMessage
from eth_utils.crypto import keccak

_SAFE_PACKAGES = Path(__file__).parents[2] / "node_modules/@safe-global"
_NO_ONE = "0x" + "00" * 20


class TreasurySafe:
    """A Safe whose owners' keys we hold."""

    def __init__(self, contract: Any, keys: list[str]) -> None:
        self.contract = contract
        self.address: str = contract.address
        self._keys = keys

    @classmethod
    def create(cls, keys: list[str], threshold: int, sender: Any) -> TreasurySafe:
        """Lets Safe's own factory create a Safe of the keys' owners."""
        factory = _contract("SafeProxyFactory", "proxies/SafeProxyFactory", _address("safe_proxy_factory"))
        singleton = _contract("SafeL2", "SafeL2", _address("safe_l2"))
        handler = _address("compatibility_fallback_handler")
        owners = [Account.from_key(key).address for key in keys]
        setup = singleton.setup.encode_input(owners, threshold, _NO_ONE, b"", handler, _NO_ONE, 0, _NO_ONE)
        receipt = factory.createProxyWithNonce(singleton, setup, 1, sender=sender)
        (creation,) = receipt.events.filter(factory.ProxyCreation)
        return cls(_contract("SafeL2", "SafeL2", creation.proxy), keys)

    def execute(self, to: Any, data: bytes, signers: int, sender: Any) -> Any:
        """Executes a call with the signatures of the first `signers` owners, sent by anybody; returns the receipt."""
        call = (to, 0, data, 0, 0, 0, 0, _NO_ONE, _NO_ONE)
        digest = self.contract.getTransactionHash(*call, self.contract.call_view_method("nonce"))
        return self.contract.execTransaction(*call, self._signatures(digest, signers), sender=sender)

    def sign_message(self, message: SignableMessage, signers: int) -> bytes:
        """What the first `signers` owners sign so that the Safe stands by an EIP-712 message (ERC-1271)."""
        digest = keccak(b"\x19" + message.version + message.header + message.body)
        handler = _contract("CompatibilityFallbackHandler", "handler/CompatibilityFallbackHandler",
                            _address("compatibility_fallback_handler"))  # fmt: skip
        safe_digest = handler.getMessageHashForSafe(self.address, encode(["bytes32"], [digest]))
        return self._signatures(safe_digest, signers)

    def _signatures(self, digest: bytes, signers: int) -> bytes:
        """Those of the first owners, in the order that a Safe asks for: by address."""
        accounts = (Account.from_key(key) for key in self._keys[:signers])
        ordered = sorted(accounts, key=lambda account: int(account.address, 16))
        return b"".join(account.unsafe_sign_hash(digest).signature for account in ordered)


def _contract(name: str, source: str, address: str) -> Any:
    artifact = _SAFE_PACKAGES / f"safe-contracts/build/artifacts/contracts/{source}.sol/{name}.json"
    abi = json.loads(artifact.read_text())["abi"]
    return ape.Contract(address, abi=abi, detect_proxy=False, fetch_from_explorer=False)


def _address(name: str) -> str:
    record = json.loads((_SAFE_PACKAGES / f"safe-deployments/src/assets/v1.4.1/{name}.json").read_text())
    return str(record["deployments"]["canonical"]["address"])
