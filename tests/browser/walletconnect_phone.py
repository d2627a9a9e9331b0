"""A phone with a wallet that speaks WalletConnect: its key and its moods are a PayerWallet's, in this process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

from tests.browser.payer_wallet import PayerWallet

PROGRAM = Path(__file__).parent / "walletconnect_wallet"
METHODS = ["eth_sendTransaction", "eth_signTypedData_v4"]
_USER_REJECTED = {"code": 5000, "message": "User rejected."}


@dataclass
class Phone:
    """A wallet in a process of its own.

    Attributes:
        mind: what answers the requests.
        said: what it says, a line each; its libraries write their logs to stdout.
        chains: where it has an account.
        declines: it refuses to connect.
        mute: it lets requests lie, as people do.
        seen: what the page calls itself, of each proposal.
        sessions: the topics of its sessions, as they come.
        requests: what it was asked in its sessions, as it comes.
        deleted: the topics of sessions that the page has ended.
        faults: what it could not do.
    """

    mind: PayerWallet
    process: subprocess.Popen[str]
    said: TextIO
    chains: list[str] = field(default_factory=lambda: ["eip155:137"])
    declines: bool = False
    mute: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    sessions: queue.Queue[str] = field(default_factory=queue.Queue)
    requests: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    deleted: queue.Queue[str] = field(default_factory=queue.Queue)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def start(cls, relay_url: str, mind: PayerWallet) -> Self:
        """Switch it on.

        Raises:
            AssertionError: its packages are not installed, or it does not come up.
        """
        assert (PROGRAM / "node_modules").is_dir(), f"No packages are in {PROGRAM.name}: `make browser` installs them."
        heard, said = os.pipe()
        process = subprocess.Popen(
            ["node", "wallet.js", relay_url, str(said)],
            cwd=PROGRAM,
            env={**os.environ, "IS_VITEST": "true"},  # else it asks Reown about every page
            stdin=subprocess.PIPE,
            pass_fds=[said],
            text=True,
        )
        os.close(said)  # it ends with the process, which has a copy
        phone = cls(mind, process, os.fdopen(heard))
        assert json.loads(phone.said.readline() or "{}") == {"event": "ready"}, "The wallet did not come up."
        threading.Thread(target=phone._listen, name="phone", daemon=True).start()
        return phone

    def scan(self, uri: str) -> None:
        """Follow an invitation."""
        self._do("pair", uri=uri)

    def disconnect(self, topic: str) -> None:
        """End a session."""
        self._do("disconnect", topic=topic)

    def stop(self) -> None:
        """Switch it off."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def _do(self, verb: str, **how: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": verb, **how}) + "\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        with self.said:
            for line in self.said:
                self._hear(json.loads(line))

    def _hear(self, said: dict[str, Any]) -> None:
        match said["event"]:
            case "proposal":
                self._consider(said)
            case "session":
                self.sessions.put(said["topic"])
            case "request":
                self._answer(said)
            case "deleted":
                self.deleted.put(said["topic"])
            case "fault":
                self.faults.append(f"{said['during']}: {said['message']}")

    def _consider(self, proposal: dict[str, Any]) -> None:
        self.seen.append(proposal)
        if self.declines:
            self._do("reject", id=proposal["id"], reason=_USER_REJECTED)
            return
        accounts = [f"{chain}:{self.mind.account.address}" for chain in self.chains]
        events = proposal["namespaces"]["eip155"]["events"]
        namespace = {"chains": self.chains, "accounts": accounts, "methods": METHODS, "events": events}
        self._do("approve", id=proposal["id"], namespaces={"eip155": namespace})

    def _answer(self, request: dict[str, Any]) -> None:
        self.requests.put(request)
        if self.mute:
            return
        call = json.dumps({"method": request["method"], "params": request["params"]})
        self._do("respond", id=request["id"], topic=request["topic"], answer=json.loads(self.mind._answer(call)))
