"""Where gas is measured: a Polygon with a router of ours, people with fixed keys, and money that all had before.

Everything is fixed, keys, salts and deadlines, so that a transaction has the same bytes and costs the same each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from eth_abi.abi import encode
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from benchmarks.gas.contracts import Code, build
from sandbox.polygon import NodeError
from sandbox.polygon import addresses as at
from sandbox.polygon.rpc import Rpc
from tests.contracts.orders import ORDER_TYPE, Order, order_id
from tests.fork.tokens import AMOUNT, FUNDS, USDC_DOMAIN, USDT_DOMAIN

EXPIRES_AT = 4_000_000_000  # in 2096: no clock of a chain that is measured on is past it
ALL = 2**256 - 1
_GAS_LIMIT = 15_000_000


@dataclass(frozen=True)
class Token:
    """A stablecoin where it stands on Polygon; `domain` is its EIP-712 domain."""

    symbol: str
    address: str
    domain: dict[str, Any]


USDC = Token("USDC", at.USDC, USDC_DOMAIN)
USDT0 = Token("USDT0", at.USDT, USDT_DOMAIN)
TOKENS = {token.symbol: token for token in (USDC, USDT0)}


class Person(NamedTuple):
    """Somebody who signs with a key that follows from the name."""

    key: str
    address: str


class Step(NamedTuple):
    """A transaction that was mined."""

    sender: str
    gas: int
    receipt: dict[str, Any]


def person(name: str) -> Person:
    """The same person for the same name, always."""
    key = "0x" + keccak(text=f"cascade gas: {name}").hex()
    return Person(key, str(Account.from_key(key).address))


def call(signature: str, *arguments: Any) -> bytes:
    """Encodes a call; unlike the box's own `calldata` it takes tuples, and `ORDER` for the type of an order."""
    signature = signature.replace("ORDER", ORDER_TYPE)
    inside = signature[signature.index("(") + 1 : -1]
    types, depth = [""], 0
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            types.append("")
        else:
            types[-1] += letter
    return keccak(text=signature)[:4] + encode(types if inside else [], arguments)


class Scene:
    """A router, both its sides and a payer, all of whom have had both tokens before."""

    def __init__(self, rpc: Rpc) -> None:
        """Deploys and funds. On a true fork USDT0 may let nobody mint: then it is not among `tokens`."""
        self.rpc = rpc
        self.payer, self.relayer, self.owner = person("payer"), person("relayer"), person("owner")
        self.treasury, self.partner = person("treasury").address, person("partner").address
        self.code: Code = build("PaymentRouter")
        arguments = (at.USDC, at.USDT, self.treasury, self.partner, self.owner.address)
        self.router, self.deployment_gas = self.deploy(self.code.creation + encode(["address"] * 5, arguments))
        self.tokens = [token for token in TOKENS.values() if self._give_to_all(token)]

    @property
    def is_local_polygon(self) -> bool:
        """Whether the tokens are those of the box, so that gas is what was committed, to the unit."""
        owner: str = self.rpc.call(at.USDT, "owner()", returns="address")
        return owner.lower() == at.USDT_OWNER.lower()

    def send(self, sender: str, to: str, signature: str, *arguments: Any) -> Step:
        """Sends a transaction and returns when it is mined. Raises NodeError when it reverts."""
        return self._transact(sender, {"to": to, "data": "0x" + call(signature, *arguments).hex()})

    def deploy(self, creation: bytes) -> tuple[str, int]:
        """Returns the address of a new contract, and what its creation cost."""
        step = self._transact(person("deployer").address, {"data": "0x" + creation.hex()})
        return to_checksum_address(step.receipt["contractAddress"]), step.gas

    def balance(self, token: Token, holder: str) -> int:
        return int(self.rpc.call(token.address, "balanceOf(address)", holder, returns="uint256"))

    def order(self, token: Token, number: int) -> Order:
        """The order of this number: 25 dollars; no two numbers give one order."""
        return Order(token.address, AMOUNT, EXPIRES_AT, keccak(text=f"cascade gas: order {number}"))

    def id(self, order: Order) -> bytes:
        """Its id at our router."""
        return order_id(at.CHAIN_ID, self.router, order)

    def mint(self, token: Token, to: str) -> None:
        """Gives somebody a million dollars, as the token's own issuer."""
        role = "masterMinter()" if token is USDC else "owner()"
        issuer = to_checksum_address(self.rpc.call(token.address, role, returns="address"))
        if token is USDC:
            self.send(issuer, token.address, "configureMinter(address,uint256)", issuer, FUNDS)
        self.send(issuer, token.address, "mint(address,uint256)", to, FUNDS)

    def approve(self, token: Token, holder: str, spender: str, units: int = FUNDS) -> None:
        self.send(holder, token.address, "approve(address,uint256)", spender, units)

    def block(self, account: str) -> None:
        """Puts an account on Circle's block list."""
        self.send(self._blacklister(), at.USDC, "blacklist(address)", account)

    def unblock(self, account: str) -> None:
        self.send(self._blacklister(), at.USDC, "unBlacklist(address)", account)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Takes back what happens inside."""
        before = self.rpc("evm_snapshot")
        try:
            yield
        finally:
            self.rpc("evm_revert", before)

    def _blacklister(self) -> str:
        return to_checksum_address(self.rpc.call(at.USDC, "blacklister()", returns="address"))

    def _give_to_all(self, token: Token) -> bool:
        try:
            for holder in (self.payer.address, self.treasury, self.partner):
                self.mint(token, holder)
        except NodeError:
            return False
        return True

    def _transact(self, sender: str, transaction: dict[str, str]) -> Step:
        self.rpc("anvil_setBalance", sender, hex(10**20))
        self.rpc("anvil_impersonateAccount", sender)
        try:
            sent = self.rpc("eth_sendTransaction", {"from": sender, "gas": hex(_GAS_LIMIT), **transaction})
        finally:
            self.rpc("anvil_stopImpersonatingAccount", sender)
        receipt = self.rpc.receipt(sent)
        return Step(sender, int(receipt["gasUsed"], 16), receipt)
