"""A payer's wallet inside the browser: EIP-1193 in the page, a real key in this process, the local Polygon behind it.

It does what wallets do, good and bad: it declines, is locked, is on another network, or sends what fails on chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from playwright.sync_api import BrowserContext

from sandbox.polygon import LocalPolygon, NodeError

POLYGON = "0x89"
ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
_FEE_WEI = 200 * 10**9  # far above what the local Polygon asks for

_INJECTED = """
(({ bridge, name, icon, uuid, legacy }) => {
  const provider = {
    async request({ method, params = [] }) {
      const { error, result } = JSON.parse(await window[bridge](JSON.stringify({ method, params })));
      if (error) throw Object.assign(new Error(error.message), error);
      return result;
    },
  };
  if (legacy) { window.ethereum = provider; return; }
  const announce = () => dispatchEvent(new CustomEvent("eip6963:announceProvider", {
    detail: Object.freeze({ info: Object.freeze({ uuid, name, icon, rdns: "test.wallet" }), provider }),
  }));
  addEventListener("eip6963:requestProvider", announce);
  announce();
})
"""


@dataclass(frozen=True)
class Refusal(Exception):
    """What a wallet answers instead of a result: a code of EIP-1193 or JSON-RPC."""

    code: int
    message: str
    data: object = None


@dataclass
class PayerWallet:
    """One account in one browser.

    Attributes:
        polygon: where it sends its transactions.
        key: its private key, hex.
        name: what it calls itself.
        icon: the icon that it announces.
        legacy: it sets `window.ethereum` and announces nothing.
        chain_id: the network it is on.
        networks: the networks it knows.
        locked: it shares no account.
        refusals: what it answers instead, by method.
        gas: what it allows a transaction; wallets that estimate would not send what is going to fail.
        on_request: called with each method and its parameters before it is answered; may raise a Refusal.
        asked: the methods that the page has called.
    """

    polygon: LocalPolygon
    key: str
    name: str = "Test Wallet"
    icon: str = ICON
    legacy: bool = False
    chain_id: str = POLYGON
    networks: set[str] = field(default_factory=lambda: {POLYGON})
    locked: bool = False
    refusals: dict[str, Refusal] = field(default_factory=dict)
    gas: int = 500_000
    on_request: Callable[[str, list[Any]], None] | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def account(self) -> LocalAccount:
        """The account of its key."""
        account: LocalAccount = Account.from_key(self.key)
        return account

    @property
    def transactions_asked_for(self) -> int:
        """How often the page wanted a transaction."""
        return self.asked.count("eth_sendTransaction")

    def install(self, context: BrowserContext) -> None:
        """Be there in every page that this browser opens from now on."""
        bridge = f"__wallet_{id(self)}"
        context.expose_function(bridge, self._answer)
        settings = {
            "bridge": bridge,
            "name": self.name,
            "icon": self.icon,
            "uuid": f"350670db-19fa-4704-a166-{id(self):012x}",
            "legacy": self.legacy,
        }
        context.add_init_script(f"{_INJECTED}({json.dumps(settings)})")

    def _answer(self, request: str) -> str:
        call = json.loads(request)
        try:
            return json.dumps({"result": self._handle(call["method"], call["params"])})
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message, "data": refusal.data}
        except NodeError as fault:
            error = {"code": -32603, "message": str(fault), "data": None}
        return json.dumps({"error": error})

    def _handle(self, method: str, params: list[Any]) -> Any:
        self.asked.append(method)
        if self.on_request is not None:
            self.on_request(method, params)
        if method in self.refusals:
            raise self.refusals[method]
        match method:
            case "eth_requestAccounts":
                return [] if self.locked else [self.account.address]
            case "eth_chainId":
                return self.chain_id
            case "wallet_switchEthereumChain":
                return self._switch(params[0]["chainId"])
            case "wallet_addEthereumChain":
                return self._add(params[0])
            case "eth_sendTransaction":
                return self._send(params[0])
            case "eth_call" | "eth_getCode" | "eth_getTransactionReceipt":
                if self.chain_id != POLYGON:
                    return (
                        None if method == "eth_getTransactionReceipt" else "0x"
                    )  # what a node of another network answers
                return self.polygon.rpc(method, *params)
        raise Refusal(4200, f"The method {method} is not supported.")

    def _switch(self, chain_id: str) -> None:
        if chain_id not in self.networks:
            raise Refusal(4902, f"Unrecognized chain ID {chain_id}.")
        self.chain_id = chain_id

    def _add(self, network: dict[str, Any]) -> None:
        complete = network["chainName"] and network["nativeCurrency"]["decimals"] == 18
        if not complete or not all(url.startswith("https://") for url in network["rpcUrls"]):
            raise Refusal(-32602, f"No such network can be added: {network}")
        self.networks.add(network["chainId"])

    def _send(self, transaction: dict[str, str]) -> str:
        if transaction["from"] != self.account.address:
            raise Refusal(4100, "The account is not authorized.")
        if self.chain_id != POLYGON:
            raise Refusal(-32603, f"A transaction was asked for on {self.chain_id}.")
        unsigned: dict[str, Any] = {
            "type": 2,
            "chainId": int(self.chain_id, 16),
            "nonce": int(self.polygon.rpc("eth_getTransactionCount", self.account.address, "pending"), 16),
            "to": transaction["to"],
            "data": transaction["data"],
            "value": int(transaction["value"], 16),
            "gas": self.gas,
            "maxFeePerGas": _FEE_WEI,
            "maxPriorityFeePerGas": _FEE_WEI,
        }
        signed = self.account.sign_transaction(unsigned)
        sent: str = self.polygon.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        return sent
