"""Safe 1.4.1: deployed as it was deployed on Polygon, so that the addresses prove the code; and real Safes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from sandbox.polygon.compile import NODE_MODULES
from sandbox.polygon.proofs import prove
from sandbox.polygon.rpc import Rpc, calldata

VERSION = "1.4.1"
_CONTRACTS = {
    "Safe": "safe",
    "SafeL2": "safe_l2",
    "SafeProxyFactory": "safe_proxy_factory",
    "CompatibilityFallbackHandler": "compatibility_fallback_handler",
    "MultiSend": "multi_send",
    "MultiSendCallOnly": "multi_send_call_only",
    "SignMessageLib": "sign_message_lib",
    "SimulateTxAccessor": "simulate_tx_accessor",
    "CreateCall": "create_call",
}
"""Contract name → name of its record in safe-deployments."""

_RECORDS = NODE_MODULES / "@safe-global/safe-deployments/src/assets/v1.4.1"
_BUILDS = NODE_MODULES / "@safe-global/safe-contracts/build/artifacts/contracts"
_SINGLETON_FACTORY = NODE_MODULES / "@safe-global/safe-singleton-factory/artifacts/137/deployment.json"
_NO_ONE = "0x" + "00" * 20


def install(rpc: Rpc, sender: str) -> None:
    """Replays the presigned transaction of the singleton factory, then every contract through CREATE2.

    Raises NotTheRealThing when an address or a code hash differs from the one that Safe records for chain 137.
    """
    factory = json.loads(_SINGLETON_FACTORY.read_text())
    rpc("anvil_setBalance", factory["signerAddress"], hex(factory["gasPrice"] * factory["gasLimit"]))
    receipt = rpc.receipt(rpc("eth_sendRawTransaction", factory["transaction"]))
    prove("address of Safe's singleton factory", receipt["contractAddress"], factory["address"])

    zero_salt = bytes(32)
    for name in _CONTRACTS:
        rpc.receipt(rpc.submit(sender, factory["address"], zero_salt + _creation_code(name)))
        record = _record(name)
        prove(f"code hash of {name} at {record['address']}", keccak(rpc.code(record["address"])), record["codeHash"])


def address_of(name: str) -> str:
    """Where a contract of Safe 1.4.1 stands on Polygon."""
    return _record(name)["address"]


def create(rpc: Rpc, owners: Sequence[str], threshold: int, salt: int, transact: Callable[[str, bytes], None]) -> str:
    """Returns the address of the Safe with these owners, threshold and salt; creates it if it is not there yet.

    `transact` sends a transaction to an address and returns when it is mined.
    """
    if not 1 <= threshold <= len(owners):
        raise ValueError(f"a Safe of {len(owners)} owners cannot have the threshold {threshold}")
    setup = calldata_of_setup(owners, threshold)
    address = _predict(rpc, setup, salt)
    if not rpc.code(address):
        create_call = calldata("createProxyWithNonce(address,bytes,uint256)", address_of("SafeL2"), setup, salt)
        transact(address_of("SafeProxyFactory"), create_call)
        if not rpc.code(address):
            raise RuntimeError(f"Safe's factory created no Safe at {address}, where its salt and set-up say it belongs")
    return address


def calldata_of_setup(owners: Sequence[str], threshold: int) -> bytes:
    """The set-up call that a new Safe gets: owners and threshold, the usual fallback handler, no module, no payment."""
    return calldata(
        "setup(address[],uint256,address,bytes,address,address,uint256,address)",
        *(list(owners), threshold, _NO_ONE, b"", address_of("CompatibilityFallbackHandler"), _NO_ONE, 0, _NO_ONE),
    )


def _predict(rpc: Rpc, setup: bytes, salt: int) -> str:
    """The CREATE2 address of the proxy. Polygon's own front ends use SafeL2, which emits events for indexers."""
    factory = address_of("SafeProxyFactory")
    creation_code: bytes = rpc.call(factory, "proxyCreationCode()", returns="bytes")
    init_code = creation_code + encode(["address"], [address_of("SafeL2")])
    create2_salt = keccak(keccak(setup) + salt.to_bytes(32, "big"))
    digest = keccak(b"\xff" + bytes.fromhex(factory[2:]) + create2_salt + keccak(init_code))
    return to_checksum_address(digest[12:])


@cache
def _record(name: str) -> dict[str, str]:
    record = json.loads((_RECORDS / f"{_CONTRACTS[name]}.json").read_text())
    canonical: dict[str, str] = record["deployments"]["canonical"]
    return canonical


def _creation_code(name: str) -> bytes:
    (path,) = _BUILDS.glob(f"**/{name}.json")
    return bytes.fromhex(json.loads(path.read_text())["bytecode"][2:])
