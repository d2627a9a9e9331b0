"""Multicall3 and Permit2: no package carries their bytecode, but anvil does, in the genesis of another network."""

from __future__ import annotations

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from sandbox.polygon.addresses import (
    CHAIN_ID,
    CREATE2_DEPLOYER,
    MULTICALL3,
    MULTICALL3_KECCAK,
    PERMIT2,
    UNPATCHED_PERMIT2_KECCAK,
)
from sandbox.polygon.anvil import Anvil
from sandbox.polygon.proofs import prove
from sandbox.polygon.rpc import Rpc

_NETWORK_THAT_CARRIES_THEM = "tempo"
_DOMAIN_TYPE = "EIP712Domain(string name,uint256 chainId,address verifyingContract)"

# Permit2 caches two values as immutables, so they are written into its code: these are their places.
_CHAIN_ID_AT = slice(6945, 6977)
_SEPARATOR_AT = slice(6983, 7015)


def harvest() -> dict[str, bytes]:
    """Reads the runtime code of Multicall3 and Permit2 out of anvil, and proves that it is the code known on chain."""
    node = Anvil("--network", _NETWORK_THAT_CARRIES_THEM)
    try:
        code = {address: node.rpc.code(address) for address in (MULTICALL3, PERMIT2)}
    finally:
        node.stop()
    prove("keccak of Multicall3", keccak(code[MULTICALL3]), MULTICALL3_KECCAK)
    prove("keccak of the unpatched Permit2", keccak(code[PERMIT2]), UNPATCHED_PERMIT2_KECCAK)
    return code


def install(rpc: Rpc, code: dict[str, bytes]) -> None:
    """Puts Multicall3 and Permit2 where they stand on Polygon; Permit2 with Polygon's chain id inside."""
    separator = permit2_domain_separator()
    permit2 = bytearray(code[PERMIT2])
    permit2[_CHAIN_ID_AT] = CHAIN_ID.to_bytes(32, "big")
    permit2[_SEPARATOR_AT] = separator
    rpc("anvil_setCode", PERMIT2, "0x" + permit2.hex())
    rpc("anvil_setCode", MULTICALL3, "0x" + code[MULTICALL3].hex())

    prove("DOMAIN_SEPARATOR() of Permit2", rpc.call(PERMIT2, "DOMAIN_SEPARATOR()", returns="bytes32"), separator)
    prove("getChainId() of Multicall3", rpc.call(MULTICALL3, "getChainId()", returns="uint256"), CHAIN_ID)
    prove("length of the CREATE2 deployer", len(rpc.code(CREATE2_DEPLOYER)), 69)


def permit2_domain_separator() -> bytes:
    """The EIP-712 domain separator of Permit2 on Polygon, recomputed from its definition."""
    return keccak(
        encode(
            ["bytes32", "bytes32", "uint256", "address"],
            [keccak(text=_DOMAIN_TYPE), keccak(text="Permit2"), CHAIN_ID, PERMIT2],
        )
    )
