"""Makes a local chain survive a power cut: no block is reported as final before it is on disk."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandbox.polygon.anvil import Anvil

FINALITY_BLOCKS: Final = 2
"""anvil with one slot an epoch reports the head minus this many blocks as `finalized`."""

_STATE = "chain.json.gz"
_UNFINISHED = ".unfinished"
_log = logging.getLogger(__name__)


class ChainInUse(Exception):
    """Another process runs the chain in this directory."""


class ChainUnreadable(Exception):
    """The saved chain cannot be read."""


class SavedChain:
    """A chain's place on disk. Holding one keeps every other process out of the directory, until `close()`.

    Raises ChainInUse when another process has it.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._state = directory / _STATE
        self._lock = open(directory / "chain.lock", "w")  # noqa: SIM115  held for as long as we run
        try:
            # The kernel lets go of it when we die, however we die; a pid file would not.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ChainInUse(f"another process runs the local Polygon in {directory}: stop it first") from None
        for leftover in directory.glob(f"*{_UNFINISHED}"):
            leftover.unlink()

    @contextlib.contextmanager
    def loadable(self, beginning: Path) -> Iterator[Path]:
        """Lends a file that anvil can load: the saved chain, or `beginning` if nothing was saved yet.

        Raises ChainUnreadable when there is a saved chain but it is damaged. It is never replaced silently.
        """
        if not self._state.exists():
            yield beginning
            return
        try:
            content = gzip.decompress(self._state.read_bytes())
        except (OSError, EOFError, ValueError) as error:
            raise ChainUnreadable(
                f"the saved chain {self._state} cannot be read ({error}); remove {self.directory} to begin a new chain"
            ) from error
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=_UNFINISHED) as file:
            file.write(content)
            file.flush()
            yield Path(file.name)

    def save(self, state: bytes) -> None:
        """Replaces the saved chain in one step: after a crash it is the old one or the new one, never a part of one."""
        unfinished = self._state.with_name(_STATE + _UNFINISHED)
        with open(unfinished, "wb") as file:
            file.write(gzip.compress(state, compresslevel=1))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._state)
        folder = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, must survive a power cut
        finally:
            os.close(folder)

    def close(self) -> None:
        self._lock.close()


class DurableMiner:
    """Mines a block every `block_seconds`, and saves the chain after each.

    The promise: **a block that a client saw as final is never lost**, whatever is killed when. The argument: anvil
    mines nothing by itself (--no-mining), so blocks come from `_mine_one` alone, which mines block H only when H - 1
    is on disk. While H is the head, the final block is H - 2, so it is on disk already, and one block more than
    needed. After a crash the chain goes on from H or from H - 1: block H may be mined again with another hash, as the
    head of any chain may, but never a final one.

    What it does not promise: transactions that wait for a block are lost with the node, as from any node's mempool; and
    `finalized` may step back by one block for the moment between a restart and its first block. Whoever tells the
    node directly to mine or to reset (evm_mine, anvil_reset) goes round the promise.

    When saving fails (a full disk) the chain stands still until it succeeds: it says so and tries again.
    """

    def __init__(self, node: Anvil, saved: SavedChain, block_seconds: float) -> None:
        self._node = node
        self._saved = saved
        self._block_seconds = block_seconds
        self._mining = threading.Lock()
        self._head_is_saved = False  # nothing is, in a new chain; and saving an old one again harms nobody
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._mine_for_ever, name="miner", daemon=True)

    def start(self) -> None:
        # anvil keeps no state older than the block it loaded, so until two more are mined nobody could read a
        # contract as of `finalized`.
        self.mine(FINALITY_BLOCKS)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def mine(self, blocks: int) -> None:
        """Mines blocks at once, without waiting for their time. Each is saved before the next, as always."""
        for _ in range(blocks):
            with self._mining:
                self._mine_one()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _mine_one(self) -> None:
        self._save_head()
        self._head_is_saved = False
        self._node.rpc("evm_mine")
        self._save_head()

    def _save_head(self) -> None:
        if not self._head_is_saved:
            self._saved.save(self._node.dump_state())
            self._head_is_saved = True

    def _mine_for_ever(self) -> None:
        mark, said = time.monotonic() + self._block_seconds, ""
        while not self._stopping.wait(max(0.0, mark - time.monotonic())):
            # A machine that slept, or a slow disk, makes the next block late; it does not make a burst of them.
            mark = max(mark + self._block_seconds, time.monotonic())
            try:
                self.mine(1)
                if said:
                    said = ""
                    _log.warning("the local Polygon goes on")
            except Exception as exc:  # noqa: BLE001  whatever it was, the next block may only follow when it is gone
                if not self._node.running:
                    _log.error("the local Polygon's node is gone; its chain is safe in %s", self._saved.directory)
                    return
                if str(exc) != said:  # once, not once a block
                    said = str(exc)
                    folder = self._saved.directory
                    _log.error("the local Polygon stands still: it cannot be saved in %s: %s", folder, exc)
