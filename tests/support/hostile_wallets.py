"""Payers whose code attacks the relayer, on the local Polygon.

Each accepts every signature, so that the API takes its payment, and does what its manner says when its victim asks: the
account that sends the transaction (``tx.origin``), which is the relayer's hot key.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from cascade.adapters.chain.eip3009_permit2 import PERMIT2
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon.compile import NODE_MODULES, Job
from sandbox.polygon.rpc import Rpc, calldata

SIGNATURE = b"\x07" * 64 + b"\x1b"
"""Any bytes will do: the code accepts every signature."""

_FOLDER = Path(__file__).parents[1] / "forge" / "doubles"
_SENDER = 9
"""The development account that sends what sets a scene."""


class Manner(IntEnum):
    """What the code does when its victim asks; the order is that of ``HostileWallet.sol``."""

    HONEST = 0
    REVERTS_WITH_PAYLOAD = 1
    BURNS_ALL = 2
    BURNS_AMOUNT = 3
    BURNS_MEMORY = 4
    INVALID_OPCODE = 5
    RETURNS_MANY = 6
    REVERTS_WITH_MANY = 7
    TRUE_TO_SIMULATION = 8
    BURNS_WHEN_SHORT = 9
    EVERY_OTHER_BLOCK = 10


@dataclass(frozen=True)
class Attack:
    """A manner with what it needs.

    Attributes:
        manner: what the code does.
        amount: gas to burn, or bytes to answer.
        payload: what it reverts with.
        on_everybody: it attacks every caller, the API's simulation too, and not the victim alone.
    """

    manner: Manner
    amount: int = 0
    payload: bytes = b""
    on_everybody: bool = False


def error_string(length: int, *, offset: int = 32, words: bytes = b"") -> bytes:
    """Return the data of an ``Error(string)`` with any offset and length in it."""
    return keccak(text="Error(string)")[:4] + offset.to_bytes(32) + length.to_bytes(32) + words


def malformed(seed: int) -> Iterator[bytes]:
    """Payloads that decoders stumble over: wrong offsets and lengths, cut short, no text, or anything."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    lengths = (0, 1, 31, 32, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**255, 2**256 - 1)
    while True:
        data = error_string(chance.choice(lengths), offset=chance.choice((32, *lengths)), words=chance.randbytes(80))
        yield chance.choice((data, data[: chance.randrange(len(data))], chance.randbytes(chance.randrange(300))))


ATTACKS: dict[str, Attack] = {
    "an endless length": Attack(Manner.REVERTS_WITH_PAYLOAD, payload=error_string(2**63 - 1)),
    "burns all gas": Attack(Manner.BURNS_ALL),
    "burns 299 000 gas": Attack(Manner.BURNS_AMOUNT, 299_000),
    "burns memory": Attack(Manner.BURNS_MEMORY),
    "an invalid opcode": Attack(Manner.INVALID_OPCODE),
    "returns megabytes": Attack(Manner.RETURNS_MANY, 3_800_000),
    "returns all it can": Attack(Manner.RETURNS_MANY, 250_000),
    "reverts with all it can": Attack(Manner.REVERTS_WITH_MANY, 120_000),
    "true to simulations alone": Attack(Manner.TRUE_TO_SIMULATION),
    "burns in a batch alone": Attack(Manner.BURNS_WHEN_SHORT, 300_000),
    "another answer each block": Attack(Manner.EVERY_OTHER_BLOCK),
}
"""One of each, by name."""


@cache
def runtime_code() -> str:
    """Compile the wallet; its code as 0x-prefixed hex."""
    job = Job(
        "0.8.30",
        200,
        ("doubles/HostileWallet.sol",),
        {"doubles/": _FOLDER, "@openzeppelin/contracts/": NODE_MODULES / "@openzeppelin" / "contracts"},
    )
    return "0x" + job.compile()["HostileWallet"]


def deploy(polygon: LocalPolygon, name: str, attack: Attack, victim: str) -> str:
    """Put a wallet contract on the chain; its address, which depends on its name alone."""
    address = to_checksum_address(keccak(text=f"hostile wallet: {name}")[12:])
    polygon.rpc("anvil_setCode", address, runtime_code())
    configure(polygon, address, attack, victim)
    return str(address)


def implementation(polygon: LocalPolygon) -> str:
    """Put the code on the chain for EIP-7702 accounts to delegate to; each is configured by itself."""
    address = to_checksum_address(keccak(text="hostile wallet: implementation")[12:])
    polygon.rpc("anvil_setCode", address, runtime_code())
    return str(address)


def configure(polygon: LocalPolygon, address: str, attack: Attack, victim: str) -> None:
    """Change what a wallet does from now on, also after its payer has signed."""
    attacked = "0x" + "00" * 20 if attack.on_everybody else victim
    data = calldata(
        "configure(uint8,address,uint256,bytes)", attack.manner.value, attacked, attack.amount, attack.payload
    )
    rpc = Rpc(polygon.rpc_url)
    rpc.receipt(rpc.submit(polygon.accounts[_SENDER], address, data))
    rpc.close()


def fund(polygon: LocalPolygon, address: str, token: str, units: int) -> None:
    """Give a wallet the price and, in USDT, its allowance for Permit2."""
    polygon.mint(token, address, units)
    if token == "USDT":
        rpc = Rpc(polygon.rpc_url)
        data = calldata("approve(address,uint256)", PERMIT2, 2**256 - 1)
        rpc.receipt(rpc.submit_as(address, TOKENS["USDT"].address, data))
        rpc.close()


def delegate(polygon: LocalPolygon, keys: Sequence[str], code_at: str) -> None:
    """Let accounts run a contract's code from now on, by one EIP-7702 transaction; the zero address takes it back."""
    rpc = Rpc(polygon.rpc_url)
    rpc.receipt(submit_delegation(polygon, keys, code_at))
    rpc.close()


def submit_delegation(polygon: LocalPolygon, keys: Sequence[str], code_at: str) -> str:
    """Send that transaction, dearer than the relayer's, and return its hash without waiting for a block."""
    sender = Account.from_key(polygon.keys[_SENDER])
    wishes = []
    for account in map(Account.from_key, keys):
        nonce = int(polygon.rpc("eth_getTransactionCount", account.address, "latest"), 16)
        wishes.append(account.sign_authorization({"chainId": 137, "address": code_at, "nonce": nonce}))
    signed = sender.sign_transaction(
        {
            "type": 4,
            "chainId": 137,
            "nonce": int(polygon.rpc("eth_getTransactionCount", sender.address, "latest"), 16),
            "to": sender.address,
            "value": 0,
            "gas": 100_000 + 50_000 * len(wishes),
            "maxFeePerGas": 10**12,
            "maxPriorityFeePerGas": 10**11,
            "authorizationList": wishes,
        }
    )
    return str(polygon.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
