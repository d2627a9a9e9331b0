"""Starts the parts of a soak, each as it runs in production as far as one machine can: and stops them again."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from benchmarks.soak.outages import FailingDatabase
from cascade.chains import Deployment
from sandbox.deploy import RELAYER, ROOT, deploy_router
from sandbox.polygon import TOKENS, LocalPolygon
from sandbox.polygon import addresses as at
from sandbox.polygon.faulty_node import Faults, FaultyNode
from sandbox.polygon.rpc import Rpc, calldata
from sandbox.ports import free_port
from sandbox.stripe import StripeDouble
from sandbox.venice import VeniceDouble
from sandbox.wallet import Wallet

BLOCK_SECONDS: Final = 2
LOG_RANGE_LIMIT: Final = 1_000
REQUESTS_PER_SECOND: Final = 30
_BLOCKS_BEFORE: Final = 1_500
"""Older than the first look of the indexer, and more than the provider gives at once."""
_WALLETS, _SIGNERS = 8, 8
_PURSE: Final = 10**9 * 10**6
_START_SECONDS: Final = 90.0
_LIMITED: Final = {"code": -32005, "message": "limit exceeded"}


@dataclass
class World:
    """What runs. ``wallets`` hold POL and both tokens, ``signers`` hold tokens alone."""

    folder: Path
    order_minutes: int
    database: FailingDatabase
    polygon: LocalPolygon
    provider: FaultyNode
    deployment: Deployment
    stripe: StripeDouble
    venice: VeniceDouble
    environment: dict[str, str]
    wallets: list[str]
    signers: dict[str, list[str]]
    process: subprocess.Popen[bytes] | None = None
    deaths: list[str] = field(default_factory=list)
    most_bytes: int = 0

    @property
    def api(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self.environment['CASCADE_PORT']}"

    @property
    def log(self) -> Path:
        """What the system under test said."""
        return self.folder / "cascade.log"

    @property
    def hot_key(self) -> str:
        """The account that the relayer sends from."""
        return self.polygon.accounts[RELAYER]

    def start_cascade(self) -> None:
        """Start `cascade up`, and wait until it listens."""
        written = self.folder / "home" / "endpoints.json"
        written.unlink(missing_ok=True)
        with open(self.log, "ab") as output:
            command = (sys.executable, "-m", "cascade", "up")
            environment = _without_ours() | self.environment
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        deadline = time.monotonic() + _START_SECONDS
        while not written.exists() and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)

    def stop_cascade(self) -> None:
        """End it as an operator does."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.deaths.append("did not stop within 20 s of SIGTERM")
            self.process.kill()
            self.process.wait()

    def tend(self, over: threading.Event) -> None:
        """Start it again whenever it ends by itself, as systemd would, and watch its memory."""
        while not over.wait(0.5):
            if self.process is None:
                continue
            code = self.process.poll()
            if code is not None:
                self.deaths.append(f"{time.strftime('%H:%M:%S')}: ended with code {code}")
                over.wait(1.0)
                self.start_cascade()
                continue
            with contextlib.suppress(psutil.Error):
                self.most_bytes = max(self.most_bytes, psutil.Process(self.process.pid).memory_info().rss)


@contextlib.contextmanager
def world(folder: Path, *, order_minutes: int, seed: int, limited: bool) -> Any:
    """Everything but `cascade up` itself, whose environment is prepared; stopped in the end, it as well."""
    with contextlib.ExitStack() as undo:
        database = FailingDatabase.start(folder / "postgres", free_port())
        undo.callback(database.stop)
        polygon = undo.enter_context(LocalPolygon.start())
        record = folder / "137.json"
        wallets, signers = _prepare(polygon, record)
        provider = undo.enter_context(FaultyNode(polygon.rpc_url, seed))
        provider.faults = Faults(max_log_range=LOG_RANGE_LIMIT, poa_headers=True, shuffles_batches=True)
        if limited:
            provider.faults.requests_per_second = REQUESTS_PER_SECOND
            provider.faults.rpc_error_rate, provider.faults.rpc_error = 0.005, _LIMITED
        port = free_port()
        hook = f"http://127.0.0.1:{port}/api/payments/webhook"
        stripe = undo.enter_context(StripeDouble.start(webhook_url=hook, seed=seed))
        stripe.chaos.set(duplicate_webhooks=0.3)
        venice = undo.enter_context(VeniceDouble.start(seed=seed, open_city=True))
        environment = _environment(folder, port, database.url, provider.url, record, stripe, venice, order_minutes)
        environment["CASCADE_RELAYER_KEY"] = polygon.keys[RELAYER]
        parts = World(
            folder,
            order_minutes,
            database,
            polygon,
            provider,
            Deployment.load(record),
            stripe,
            venice,
            environment,
            wallets,
            signers,
        )
        undo.callback(parts.stop_cascade)
        yield parts


def _prepare(polygon: LocalPolygon, record: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Deploy the router and fill purses in the past, so that many blocks lie before the clock's own pace begins."""
    polygon.rpc("evm_setTime", int(time.time()) - 2 * _BLOCKS_BEFORE)
    deploy_router(polygon, record)
    wallets = [_fresh_key() for _ in range(_WALLETS)]
    signers = {token: [_fresh_key() for _ in range(_SIGNERS)] for token in TOKENS}
    rpc = Rpc(polygon.rpc_url)
    for key in wallets:
        address = address_of(key)
        rpc("anvil_setBalance", address, hex(10**24))
        for token in TOKENS:
            polygon.mint(token, address, _PURSE)
    for token, keys in signers.items():
        for key in keys:
            polygon.mint(token, address_of(key), _PURSE)
            if token == "USDT":
                rpc.receipt(rpc.submit_as(address_of(key), at.USDT, allow_permit2()))
    rpc.close()
    polygon.rpc("anvil_mine", hex(_BLOCKS_BEFORE), hex(1))
    polygon.rpc("evm_setTime", int(time.time()))
    polygon.mine()
    polygon.rpc("evm_setAutomine", False)
    polygon.rpc("evm_setIntervalMining", BLOCK_SECONDS)
    return wallets, signers


def _fresh_key() -> str:
    return "0x" + secrets.token_bytes(32).hex()


def address_of(key: str) -> str:
    """The account of a private key."""
    from eth_account import Account

    return str(Account.from_key(key).address)


def allow_permit2() -> bytes:
    """The call that lets Permit2 spend a token."""
    return calldata("approve(address,uint256)", at.PERMIT2, 2**256 - 1)


def _environment(
    folder: Path,
    port: int,
    database_url: str,
    rpc_url: str,
    record: Path,
    stripe: StripeDouble,
    venice: VeniceDouble,
    order_minutes: int,
) -> dict[str, str]:
    """What an operator sets. All payers come from one address here, so the limits an address are out of the way."""
    plenty = "1000000"
    return {
        "DATABASE_URL": database_url,
        "CASCADE_HOME": str(folder / "home"),
        "CASCADE_PORT": str(port),
        "CASCADE_RPC_URL": rpc_url,
        "CASCADE_DEPLOYMENT": str(record),
        "CASCADE_PUBLIC_BALANCES": "true",
        "CASCADE_ORDER_MINUTES": str(order_minutes),
        "CASCADE_ORDERS_PER_MINUTE": plenty,
        "CASCADE_READS_PER_MINUTE": plenty,
        "CASCADE_AUTHORIZATIONS_PER_MINUTE": plenty,
        "CASCADE_RELAYER_PAYMENTS_PER_PAYER_PER_DAY": plenty,
        "CASCADE_STRIPE_CATCH_UP_SECONDS": "10",
        "CASCADE_STRIPE_API_BASE": stripe.url,
        "STRIPE_SECRET_KEY": stripe.secret_key,
        "STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
        "CASCADE_VENICE_URL": venice.url,
        "CASCADE_VENICE_SETTLE_SECONDS": "10",  # the double executes at once, or never
    }


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("CASCADE_", "STRIPE_"))}


class Purse:
    """A wallet that is used by one payer at a time."""

    def __init__(self, parts: World, key: str) -> None:
        self.wallet = Wallet(parts.polygon.rpc_url, key)
        self._rpc = Rpc(parts.polygon.rpc_url)

    def mined(self, transaction: str, seconds: float = 60.0) -> dict[str, Any]:
        """The receipt of a transaction, with the ``time`` of its block.

        Raises:
            TimeoutError: it is in no block.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            receipt: dict[str, Any] | None = self._rpc("eth_getTransactionReceipt", transaction)
            if receipt is not None:
                block = self._rpc("eth_getBlockByNumber", receipt["blockNumber"], False)
                return receipt | {"time": int(block["timestamp"], 16)}
            time.sleep(0.3)
        raise TimeoutError(f"{transaction} is in no block after {seconds} s")

    def close(self) -> None:
        """Close the connections."""
        self.wallet.close()
        self._rpc.close()


def await_healthy(parts: World, seconds: float = 90.0) -> str:
    """Wait until the API says that all is well; returns what it said last."""
    deadline, said = time.monotonic() + seconds, "nothing"
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError, json.JSONDecodeError):
            answer = httpx.get(f"{parts.api}/health", timeout=5, trust_env=False)
            said = answer.text
            if answer.status_code == httpx.codes.OK:
                return said
        time.sleep(0.5)
    return said
