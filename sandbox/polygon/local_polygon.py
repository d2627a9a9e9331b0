"""A Polygon on this machine, with the real contracts at their real addresses."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.polygon import safe
from sandbox.polygon.accounts import COUNT, development_accounts, development_keys
from sandbox.polygon.anvil import Anvil
from sandbox.polygon.durable_miner import DurableMiner, SavedChain
from sandbox.polygon.genesis import CHAIN_FLAGS, DEPLOYER, world_state
from sandbox.polygon.rpc import calldata
from sandbox.polygon.tokens import TOKENS

# How many blocks back contracts can be read. Each state that anvil keeps grows with the whole chain (512 of them took
# 1.2 GB after 10,000 blocks); without a limit it writes them into the home directory, where a kill leaves them.
_STATES_IN_MEMORY = 32
_FLAGS = (*CHAIN_FLAGS, "--accounts", str(COUNT), "--prune-history", str(_STATES_IN_MEMORY))


class LocalPolygon:
    """A running local Polygon: chain 137, Prague, `finalized` two blocks behind the head.

    Three ways to start it:

    - `LocalPolygon.start()`: every transaction is mined at once; gone when stopped. For tests.
    - `LocalPolygon.start(block_seconds=2)`: a block every two seconds; gone when stopped.
    - `LocalPolygon.start(directory, block_seconds=2)`: the same, but the chain lives on in `directory`. No block that
      was ever reported as final is lost, even when everything is killed; see `DurableMiner` for the argument.
    """

    def __init__(self, node: Anvil, miner: DurableMiner | None, saved: SavedChain | None) -> None:
        self._node = node
        self._miner = miner
        self._saved = saved
        self._sending = threading.Lock()

    @classmethod
    def start(cls, directory: Path | None = None, port: int = 0, block_seconds: float | None = None) -> Self:
        """Starts the chain on 127.0.0.1 and returns once it answers. Port 0 takes a free one.

        The first start on a machine builds the world, which takes some seconds. Raises ChainInUse when another
        process runs the chain in `directory`, ChainUnreadable when what is saved there is damaged, AnvilFailed when
        the node cannot start (a port that is taken), PackagesMissing before `npm ci`.
        """
        if directory is None:
            pace = () if block_seconds is None else ("--block-time", str(block_seconds))
            return cls(Anvil(*_FLAGS, "--load-state", str(world_state()), *pace, port=port), None, None)
        if block_seconds is None:
            raise ValueError(
                f"the chain in {directory} needs block_seconds: only a paced chain is saved block by block"
            )
        return cls._start_durable(directory, port, block_seconds)

    @classmethod
    def _start_durable(cls, directory: Path, port: int, block_seconds: float) -> Self:
        with contextlib.ExitStack() as undo:
            saved = SavedChain(directory)
            undo.callback(saved.close)
            with saved.loadable(beginning=world_state()) as state:
                node = Anvil(*_FLAGS, "--load-state", str(state), "--no-mining", port=port)
            undo.callback(node.stop)
            miner = DurableMiner(node, saved, block_seconds)
            miner.start()
            undo.pop_all()
        return cls(node, miner, saved)

    @property
    def rpc_url(self) -> str:
        return self._node.rpc.url

    @property
    def running(self) -> bool:
        """False once the node or the miner died."""
        return self._node.running and (self._miner is None or self._miner.running)

    @property
    def keys(self) -> tuple[str, ...]:
        """Private keys (hex) of the ten well-known development accounts, each with 10,000 POL."""
        return development_keys()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Addresses of `keys`, in the same order."""
        return development_accounts()

    def rpc(self, method: str, *params: Any) -> Any:
        """Sends one JSON-RPC request and returns its result. Raises NodeError when the node refuses it."""
        return self._node.rpc(method, *params)

    def mine(self, n: int = 1) -> None:
        """Mines `n` blocks now."""
        if self._miner is not None:
            self._miner.mine(n)
        else:
            self.rpc("anvil_mine", hex(n))

    def snapshot(self) -> str:
        """Returns a name for the chain as it is now, for one `revert`."""
        return str(self.rpc("evm_snapshot"))

    def revert(self, snapshot: str) -> None:
        """Takes back everything since `snapshot`, but not the time: anvil would go on at the clock of that moment.

        After a long suite that clock is half an hour late, and a watcher takes the chain for stalled.
        """
        self.rpc("evm_revert", snapshot)
        latest = int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self.rpc("evm_setTime", max(int(time.time()), latest))

    def mint(self, symbol: str, to: str, units: int) -> None:
        """Mints `units` (millionths) of "USDC" or "USDT" through the token's own `mint`; returns when mined."""
        if symbol not in TOKENS:
            raise ValueError(f"no token {symbol!r} on the local Polygon; it has {' and '.join(TOKENS)}")
        token = TOKENS[symbol]
        with self._sending:
            sent = self._node.rpc.submit_as(token.minter, token.address, calldata("mint(address,uint256)", to, units))
        self._await(sent)

    def create_safe(self, owners: Sequence[str], threshold: int, salt: int = 0) -> str:
        """Returns the address of a real Safe 1.4.1 with these owners; creates it only if it is not there yet."""
        return safe.create(self._node.rpc, owners, threshold, salt, self._transact)

    def stop(self) -> None:
        """Stops the chain. May be called twice."""
        if self._miner is not None:
            self._miner.stop()
        self._node.stop()
        if self._saved is not None:
            self._saved.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _transact(self, to: str, data: bytes) -> None:
        self._await(self._node.rpc.submit(DEPLOYER, to, data))

    def _await(self, transaction_hash: str) -> None:
        if self._miner is not None:
            self._miner.mine(1)  # whoever sets a scene should not wait for the next block
        self._node.rpc.receipt(transaction_hash)
