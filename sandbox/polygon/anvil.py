"""The node itself: one anvil process that lives no longer than the process that started it."""

from __future__ import annotations

import atexit
import gzip
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from sandbox.child_process import Program
from sandbox.polygon.rpc import Rpc

ANVIL = Path(__file__).parent / "bin" / "anvil"
_START_SECONDS = 15.0
_STOP_SECONDS = 5.0


class AnvilFailed(Exception):
    """anvil did not start, or died."""


class Anvil:
    """A running anvil. `rpc` speaks to it; `stop()` ends it and may be called twice."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        """Starts anvil on 127.0.0.1 and returns once it answers. Port 0 takes a free one.

        Raises AnvilFailed when the port is taken, and with anvil's own words when it ends instead.
        """
        self.port = free_port(port)
        self.rpc = Rpc(f"http://127.0.0.1:{self.port}")
        # Where it says why it refused to start. A file and not a pipe: a pipe that nobody reads would stop it one day.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the node
        place = ("--host", "127.0.0.1", "--port", str(self.port))
        command = [str(ANVIL), *place, "--quiet", "--color", "never", *arguments]
        self.process = Program(command, self._complaints, signal.SIGKILL).start()
        atexit.register(self.stop)
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def _await_answer(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self._complaints.seek(0)
                reason = self._complaints.read().decode(errors="replace").strip()
                raise AnvilFailed(f"anvil ended with code {self.process.returncode} on port {self.port}: {reason}")
            try:
                self.rpc("eth_chainId")
            except httpx.TransportError:
                time.sleep(0.01)
            else:
                return
        raise AnvilFailed(f"anvil did not answer on port {self.port} within {_START_SECONDS} s")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def dump_state(self) -> bytes:
        """The whole chain as --load-state reads it: accounts, code, blocks, transactions and logs, as JSON.

        Transactions that wait for a block are no part of it.
        """
        return gzip.decompress(bytes.fromhex(self.rpc("anvil_dumpState")[2:]))

    def stop(self) -> None:
        """Ends anvil. Nothing of it needs saving: a durable chain is on disk before each block is final."""
        atexit.unregister(self.stop)
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._complaints.close()
        self.rpc.close()


def free_port(wanted: int = 0) -> int:
    """Returns `wanted`, or any free port for 0. Raises AnvilFailed when it is taken.

    Asked before anvil starts: afterwards, whoever has the port would answer in anvil's place.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last node's closed connections do not count
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise AnvilFailed(f"port {wanted} on 127.0.0.1 cannot be had for anvil ({error}): choose another") from None
        port: int = probe.getsockname()[1]
        return port
