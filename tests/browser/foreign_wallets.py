"""Wallets that nobody here wrote, with what faults a test wants: MetaMask's provider, and headless-web3-provider."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext

from tests.browser.payer_wallet import PayerWallet, Refusal

WALLETS = Path(__file__).parent / "wallets"
BUILT = Path(__file__).parents[2] / ".build" / "browser" / "metamask.js"
_BUNDLE = (
    *("--bundle", "--format=iife", "--global-name=metaMask", "--platform=browser", "--target=chrome110"),
    *("--define:global=globalThis", "--inject:browser_globals.mjs", "--log-level=warning"),
)

# What the makers of headless-web3-provider let Playwright expose: a call passes, and its error keeps its code.
_HEADLESS_CALLS = """
(({ bridge }) => {
  window.__injectedHeadlessWeb3ProviderRequest = async (_request, call) => {
    const { error, result, events } = JSON.parse(await window[bridge](JSON.stringify(call)));
    for (const [event, ...values] of events) window.ethereum.emit(event, ...values);
    if (error) throw Object.assign(new Error(error.message), error);
    return result;
  };
})
"""


def packages() -> Path:
    """The folder of the packages, which are there.

    Raises:
        AssertionError: they are not installed.
    """
    if not (WALLETS / "node_modules" / "esbuild").exists():
        raise AssertionError(f"The wallets' packages are not in {WALLETS}: install them with `make browser`.")
    return WALLETS


@cache
def metamask_bundle() -> str:
    """A script that defines `metaMask.install`."""
    command = ["node_modules/.bin/esbuild", "metamask.mjs", *_BUNDLE, f"--outfile={BUILT}"]
    subprocess.run(command, cwd=packages(), check=True)
    return BUILT.read_text()


def recover_as_metamask(typed_data: dict[str, Any], signature: str) -> str:
    """Who signed this, in lower case, as MetaMask's library says."""
    return str(_ask_library({"typed_data": typed_data, "signature": signature}))


def sign_as_metamask(typed_data: dict[str, Any], key: str) -> str:
    """What MetaMask's library signs, in hex."""
    return str(_ask_library({"typed_data": typed_data, "key": key}))


def read_qr(dark: list[tuple[int, int]], size: int) -> str | None:
    """What a camera reads from a QR code of these dark modules (column, row), margin included; None: nothing."""
    answer: str | None = _ask_library({"dark": dark, "size": size}, "qr.mjs")
    return answer


def _ask_library(question: dict[str, Any], program: str = "typed_data.mjs") -> Any:
    command = ["node", program]
    done = subprocess.run(command, cwd=packages(), input=json.dumps(question), stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"{program} could not do it: standard error says why"
    return json.loads(done.stdout)


@dataclass
class MetaMaskWallet(PayerWallet):
    """MetaMask's own provider in the page; behind it our key, where MetaMask has its background."""

    name: str = "MetaMask"
    _told: dict[str, Any] = field(default_factory=dict)

    def install(self, context: BrowserContext) -> None:
        """Be there in every page that this browser opens from now on."""
        bridge = f"__metamask_{id(self)}"
        context.expose_function(bridge, self._converse)
        info = {"uuid": str(uuid.uuid4()), "name": self.name, "icon": self.icon, "rdns": "io.metamask"}
        settings = json.dumps({"bridge": bridge, "info": info})
        context.add_init_script(f"(() => {{ {metamask_bundle()}; metaMask.install({settings}); }})();")

    def _converse(self, message: str) -> str:
        """Takes a message of the provider; answers with all that the background says next, as JSON."""
        call = json.loads(message)
        match call["method"]:
            case "metamask_getProviderState":
                self._told = self._state()
                answer: dict[str, Any] = {"result": {**self._told, **self._network(), "isUnlocked": not self.locked}}
            case "metamask_sendDomainMetadata":
                answer = {"result": True}
            case method:
                answer = json.loads(self._answer(json.dumps({"method": method, "params": call.get("params", [])})))
        return json.dumps([*self._news(), {"id": call["id"], "jsonrpc": "2.0", **answer}])

    def _perform(self, method: str, params: list[Any]) -> Any:
        result = super()._perform(method, params)
        if method in ("eth_accounts", "eth_requestAccounts"):
            return [account.lower() for account in result]  # MetaMask shares them so
        return result

    def _state(self) -> dict[str, Any]:
        return {"accounts": self._perform("eth_accounts", []), "chainId": self.chain_id}

    def _network(self) -> dict[str, Any]:
        return {"chainId": self.chain_id, "networkVersion": str(int(self.chain_id, 16)), "isConnected": True}

    def _news(self) -> list[dict[str, Any]]:
        """What the page was told before and is no longer so."""
        before, self._told = self._told, self._state()
        news = []
        if before.get("chainId") != self.chain_id:
            news.append({"method": "metamask_chainChanged", "params": self._network()})
        if before.get("accounts") != self._told["accounts"]:
            news.append({"method": "metamask_accountsChanged", "params": self._told["accounts"]})
        return [{"jsonrpc": "2.0", **item} for item in news]


@dataclass
class HeadlessWallet(PayerWallet):
    """headless-web3-provider: its page script, its signer, its ethers; only the browser between them is ours.

    It estimates gas, so `gas` says nothing to it; and once it runs, its network changes only by the page's wish.
    """

    name: str = "Headless Web3 Provider"
    _node: subprocess.Popen[str] | None = None
    _events: list[Any] = field(default_factory=list)

    def install(self, context: BrowserContext) -> None:
        """Be there in every page that this browser opens from now on."""
        self._node = subprocess.Popen(
            ["node", "headless.mjs"], cwd=packages(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        networks = [self.chain_id, *sorted(self.networks - {self.chain_id})]
        started = self._tell({"key": self.key, "networks": networks, "node": self.polygon.rpc_url})
        bridge = f"__headless_{id(self)}"
        context.expose_function(bridge, self._converse)
        context.add_init_script(f"{_HEADLESS_CALLS}({json.dumps({'bridge': bridge})});{started['script']}")

    def close(self) -> None:
        """End its process."""
        if self._node is not None:
            self._node.communicate()  # it ends with its input

    def _converse(self, request: str) -> str:
        self._events = []
        call = json.loads(request)
        answer = json.loads(self._answer(json.dumps({"method": call["method"], "params": call.get("params", [])})))
        return json.dumps({**answer, "events": self._events})

    def _perform(self, method: str, params: list[Any]) -> Any:
        if self.locked and method in ("eth_accounts", "eth_requestAccounts"):
            return []
        if method == "wallet_addEthereumChain":
            params = [{**params[0], "rpcUrls": [self.polygon.rpc_url]}]  # the node that it names is on the Internet
        told = self._tell({"method": method, "params": params})
        self._events = told["events"]
        if "error" in told:
            raise Refusal(**told["error"])
        match method:
            case "wallet_switchEthereumChain":
                self.chain_id = params[0]["chainId"]
            case "wallet_addEthereumChain":
                self.networks.add(params[0]["chainId"])
        return told.get("result")

    def _tell(self, message: dict[str, Any]) -> dict[str, Any]:
        """Hands a line to its process; returns the line that comes back."""
        assert self._node is not None
        assert self._node.stdin is not None
        assert self._node.stdout is not None
        self._node.stdin.write(json.dumps(message) + "\n")
        self._node.stdin.flush()
        line = self._node.stdout.readline()
        assert line, "headless-web3-provider ended: standard error says why"
        answer: dict[str, Any] = json.loads(line)
        return answer
