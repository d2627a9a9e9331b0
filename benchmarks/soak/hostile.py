"""Hostile wallets, five kinds of them, each with a fresh account and the price in it, all the while."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from eth_account import Account

from benchmarks.soak.shop import Book, GaveUp, Shop
from benchmarks.soak.world import World
from sandbox.polygon import NodeError
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.wallet import Wallet
from tests.support.hostile_wallets import SIGNATURE, Attack, Manner, deploy, error_string, fund

_AT_ONCE: Final = 20
_PATIENCE_SECONDS: Final = 60.0
_PURSE: Final = 100 * 10**6
_CONFIGURES, _DELEGATES_FOR_OTHERS = 6, 7
"""Development accounts that send what makes a wallet evil."""
MALFORMED, BURNER, CHANGER, MEGABYTES, FICKLE = "malformed", "gas burner", "EIP-7702", "megabytes", "fickle"
KINDS: Final = (MALFORMED, BURNER, CHANGER, MEGABYTES, FICKLE)
_MANNERS: Final = {
    BURNER: (
        Attack(Manner.BURNS_ALL),
        Attack(Manner.BURNS_AMOUNT, 299_000),
        Attack(Manner.BURNS_MEMORY),
        Attack(Manner.INVALID_OPCODE),
        Attack(Manner.BURNS_WHEN_SHORT, 300_000),
    ),
    MEGABYTES: (
        Attack(Manner.RETURNS_MANY, 3_800_000),
        Attack(Manner.REVERTS_WITH_MANY, 3_800_000),
        Attack(Manner.RETURNS_MANY, 250_000),
        Attack(Manner.REVERTS_WITH_MANY, 120_000),
    ),
    FICKLE: (Attack(Manner.EVERY_OTHER_BLOCK), Attack(Manner.TRUE_TO_SIMULATION)),
}
_DELEGATES: Final = {
    "burns all gas": "5b5f56",
    "an invalid opcode": "fe",
    "returns megabytes": "6239f7c05ff3",
    "reverts with nothing": "5f5ffd",
    "returns nothing": "00",
}
"""Code without storage, since a delegated account brings its own."""


def _payload(draw: random.Random) -> bytes:
    """Revert data that no decoder likes."""
    panic, length = bytes.fromhex("4e487b71"), draw.choice([2**63 - 1, 2**64, 2**256 - 1, 0x7FFFFFFF, 5])
    return draw.choice(
        [
            error_string(length),
            error_string(length, offset=draw.choice([0, 2**63, 2**256 - 1]), words=draw.randbytes(40)),
            error_string(0)[:4] + draw.randbytes(draw.randint(0, 31)),
            error_string(4, words=b"\xff\xfe\xfd\xfc" + bytes(28)),
            panic + draw.randbytes(draw.randint(0, 40)),
            draw.randbytes(draw.randint(0, 300)),
        ]
    )


@dataclass
class Hostility:
    """What the hostile wallets did and were told."""

    begun: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    orders: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Wallets:
    """Begin an attack every few seconds, each kind in its turn."""

    def __init__(self, parts: World, book: Book, seed: int) -> None:
        self._parts = parts
        self._draw = random.Random(seed + 2)
        self._shop = Shop(parts.api, book, random.Random(seed + 3), lossy=False)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hostile")
        self._room = threading.BoundedSemaphore(2 * _AT_ONCE)
        self._book = book
        self._staging, self._delegating = threading.Lock(), threading.Lock()
        self.told = Hostility()

    def run(self, every_seconds: float, until: float, over: threading.Event) -> None:
        """Attack until a monotonic time."""
        number = 0
        while not over.wait(every_seconds) and time.monotonic() < until:
            if self._room.acquire(blocking=False):
                self._pool.submit(self._attack, KINDS[number % len(KINDS)], number)
                number += 1

    def close(self) -> None:
        """Wait for all that were begun."""
        self._pool.shutdown()
        self._shop.close()

    def _attack(self, kind: str, number: int) -> None:
        with self.told.lock:
            self.told.begun[kind] += 1
        rpc = Rpc(self._parts.polygon.rpc_url)
        try:
            if kind == CHANGER:
                self._change(rpc)
            else:
                self._vouch(rpc, kind, number)
            with self.told.lock:
                self.told.accepted[kind] += 1
        except GaveUp:
            pass  # refused, which is right
        except NodeError as error:
            self._book.error(f"the chain refused a hostile wallet ({kind}): {error}"[:200])
        except Exception as error:  # noqa: BLE001 - one wallet's surprise ends no other
            self._book.error(f"a hostile wallet ({kind}) met {type(error).__name__}: {error}"[:200])
        finally:
            self._room.release()
            rpc.close()

    def _order(self, token: str) -> str:
        wish = {"citizen_id": "Soak_hostile", "package": "starter", "token": token}
        until = time.time() + _PATIENCE_SECONDS
        order_id = str(self._shop.post("/api/payments/crypto-payment-intent", wish, until)["order_id"])
        with self.told.lock:
            self.told.orders.add(order_id)
        return order_id

    def _send(self, order_id: str, payer: str, token: str, signature: str) -> None:
        path = f"/api/payments/orders/{order_id}/authorization"
        body = {"payer": payer, "token": token, "signature": signature}
        self._shop.post(path, body, time.time() + _PATIENCE_SECONDS)

    def _vouch(self, rpc: Rpc, kind: str, number: int) -> None:
        """A contract that vouches for the signature, and is evil to the hot key; or to everybody, but later."""
        token = self._draw.choice(["USDC", "USDT"])
        attack = Attack(Manner.REVERTS_WITH_PAYLOAD, payload=_payload(self._draw))
        if kind != MALFORMED:
            attack = self._draw.choice(_MANNERS[kind])
        later = self._draw.random() < 0.5
        polygon, victim = self._parts.polygon, self._parts.hot_key
        name = f"soak {number} {self._draw.randrange(2**64)}"
        with self._staging:  # all of them are set up by one account
            account = deploy(polygon, name, Attack(Manner.HONEST) if later else attack, victim)
        fund(polygon, account, token, _PURSE)
        order_id = self._order(token)
        if later:
            self._configure(rpc, account, replace(attack, on_everybody=True))
        self._send(order_id, account, token, "0x" + SIGNATURE.hex())

    def _configure(self, rpc: Rpc, account: str, attack: Attack) -> None:
        """Change a wallet with the next block, and do not wait for it."""
        nobody = "0x" + "00" * 20
        fields = (attack.manner.value, nobody, attack.amount, attack.payload)
        data = calldata("configure(uint8,address,uint256,bytes)", *fields)
        rpc.submit(self._parts.polygon.accounts[_CONFIGURES], account, data)

    def _change(self, rpc: Rpc) -> None:
        """A key that signs honestly, and delegates to evil code before its payment is sent."""
        key = "0x" + self._draw.randbytes(32).hex()
        wallet = Wallet(self._parts.polygon.rpc_url, key)
        token = self._draw.choice(["USDC", "USDT"])
        try:
            fund(self._parts.polygon, wallet.address, token, _PURSE)
            order_id = self._order(token)
            path = f"/api/payments/orders/{order_id}/authorization"
            until = time.time() + _PATIENCE_SECONDS
            offer = self._shop.get(path, until, payer=wallet.address, token=token)
            self._send(order_id, wallet.address, token, wallet.sign(offer["typed_data"]))
            self._delegate(rpc, key)
        finally:
            wallet.close()

    def _delegate(self, rpc: Rpc, key: str) -> None:
        """An EIP-7702 transaction of a stranger's, at a price that puts it before ours."""
        evil = "0x" + self._draw.randbytes(20).hex()
        rpc("anvil_setCode", evil, "0x" + self._draw.choice(list(_DELEGATES.values())))
        sender, account = Account.from_key(self._parts.polygon.keys[_DELEGATES_FOR_OTHERS]), Account.from_key(key)
        nonce = int(rpc("eth_getTransactionCount", account.address, "latest"), 16)
        wish = account.sign_authorization({"chainId": 137, "address": evil, "nonce": nonce})
        with self._delegating:
            transaction = {
                "type": 4,
                "chainId": 137,
                "nonce": int(rpc("eth_getTransactionCount", sender.address, "pending"), 16),
                "to": sender.address,
                "value": 0,
                "gas": 200_000,
                "maxFeePerGas": 10**13,
                "maxPriorityFeePerGas": 10**12,
                "authorizationList": [wish],
            }
            rpc("eth_sendRawTransaction", "0x" + bytes(sender.sign_transaction(transaction).raw_transaction).hex())
