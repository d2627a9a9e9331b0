"""A payer's wallet inside the browser: EIP-1193 in the page, a real key in this process, the local Polygon behind it.

It does what wallets do, good and bad: it declines, is locked, is on another network, or sends what fails on chain.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from playwright.sync_api import BrowserContext

from sandbox.polygon import LocalPolygon, NodeError
from sandbox.polygon import addresses as at

POLYGON = "0x89"
ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
_FEE_WEI = 200 * 10**9  # far above what the local Polygon asks for
_MUCH_POL = 100 * 10**18
_AGGREGATE = keccak(text="aggregate3((address,bool,bytes)[])")[:4]
_DELEGATED = "0xef0100" + at.MULTICALL3[2:].lower()
_ELSEWHERE = {
    **dict.fromkeys(("eth_call", "eth_getCode"), "0x"),
    **dict.fromkeys(("eth_blockNumber", "eth_estimateGas", "eth_getBalance"), "0x0"),
    **dict.fromkeys(("eth_getTransactionByHash", "eth_getTransactionReceipt"), None),
}
"""What is read from a node, and what a node of another network answers: nothing of ours is there."""
_IN_RECEIPT = ("logs", "status", "blockHash", "blockNumber", "gasUsed", "transactionHash")
_CONFIRMED = (
    *("eth_requestAccounts", "eth_sendTransaction", "eth_signTypedData_v4"),
    *("wallet_sendCalls", "wallet_switchEthereumChain", "wallet_addEthereumChain"),
)

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


def _with_deployment(signature: bytes) -> bytes:
    """ERC-6492: a factory, its calldata and the signature, and the number that marks them."""
    return encode(["address", "bytes", "bytes"], [at.MULTICALL3, b"", signature]) + bytes.fromhex("6492" * 16)


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
        astray: it reads another chain that has the same number, such as the true Polygon on a sandbox's payment link.
        locked: it shares no account.
        refusals: what it answers instead, by method.
        gas: what it allows a transaction; wallets that estimate would not send what is going to fail.
        signs: it signs typed data (EIP-712); some hardware and many accounts with code do not.
        undeployed: it signs as a contract that is not on the chain yet (ERC-6492).
        batches: it takes several calls at once (EIP-5792), which then happen all or none.
        connected: its owner has let the page see the account.
        prompts: how often its owner was asked to confirm something, whatever the answer was.
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
    astray: bool = False
    locked: bool = False
    refusals: dict[str, Refusal] = field(default_factory=dict)
    gas: int = 500_000
    signs: bool = True
    undeployed: bool = False
    batches: bool = False
    connected: bool = False
    prompts: int = 0
    on_request: Callable[[str, list[Any]], None] | None = None
    asked: list[str] = field(default_factory=list)
    _bundles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def funded(
        cls, polygon: LocalPolygon, units: int = 1_000_000_000, tokens: Iterable[str] = ("USDC", "USDT")
    ) -> Self:
        """A wallet with a new key, plenty of POL and so many millionths of each token."""
        wallet = cls(polygon, "0x" + secrets.token_hex(32))
        polygon.rpc("anvil_setBalance", wallet.account.address, hex(_MUCH_POL))
        for token in tokens:
            polygon.mint(token, wallet.account.address, units)
        return wallet

    @property
    def account(self) -> LocalAccount:
        """The account of its key."""
        account: LocalAccount = Account.from_key(self.key)
        return account

    @property
    def transactions_asked_for(self) -> int:
        """How often the page wanted a transaction."""
        return self.asked.count("eth_sendTransaction")

    def use_account_code(self) -> None:
        """Give the account code (EIP-7702); only one that has it batches without asking its owner for more."""
        nothing = [{"to": at.MULTICALL3, "data": "0x", "value": "0x0"}]
        wish = {"version": "2.0.0", "chainId": POLYGON, "from": self.account.address, "atomicRequired": True}
        self._send_calls({**wish, "calls": nothing})
        for _ in range(200):
            if self._is_delegated:
                return
            time.sleep(0.05)
        raise AssertionError("The account has got no code within ten seconds.")

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

    def close(self) -> None:
        """End what runs beside the browser: nothing of this wallet does."""

    def _answer(self, request: str) -> str:
        call = json.loads(request)
        try:
            return json.dumps({"result": self._handle(call["method"], call["params"])})
        except Refusal as refusal:
            error = {"code": refusal.code, "message": refusal.message, "data": refusal.data}
        except NodeError as exc:
            error = {"code": -32603, "message": str(exc), "data": None}
        return json.dumps({"error": error})

    def _handle(self, method: str, params: list[Any]) -> Any:
        self.asked.append(method)
        self.prompts += self._asks_its_owner(method, params)
        if self.on_request is not None:
            self.on_request(method, params)
        if method in self.refusals:
            raise self.refusals[method]
        result = self._perform(method, params)
        if method == "eth_requestAccounts" and result:
            self.connected = True
        return result

    def _asks_its_owner(self, method: str, params: list[Any]) -> bool:
        match method:
            case "eth_requestAccounts":
                return not self.connected
            case "wallet_switchEthereumChain":
                return params[0]["chainId"] in self.networks - {self.chain_id}
            case "wallet_sendCalls":
                return self.batches
        return method in _CONFIRMED

    def _perform(self, method: str, params: list[Any]) -> Any:
        """What the wallet does of itself, where no test stands in between."""
        match method:
            case "eth_accounts" | "eth_requestAccounts":
                shared = not self.locked and (self.connected or method == "eth_requestAccounts")
                return [self.account.address] if shared else []
            case "eth_chainId":
                return self.chain_id
            case "wallet_switchEthereumChain":
                return self._switch(params[0]["chainId"])
            case "wallet_addEthereumChain":
                return self._add(params[0])
            case "eth_sendTransaction":
                return self._send(params[0])
            case "eth_signTypedData_v4" if self.signs:
                return self._sign(*params)
        if method in _ELSEWHERE:
            is_there = self.chain_id == POLYGON and not self.astray
            return self.polygon.rpc(method, *params) if is_there else _ELSEWHERE[method]
        return self._batch(method, params)

    def _batch(self, method: str, params: list[Any]) -> Any:
        if self.batches:
            match method:
                case "wallet_getCapabilities":
                    return self._capabilities(*params)
                case "wallet_sendCalls":
                    return self._send_calls(params[0])
                case "wallet_getCallsStatus":
                    return self._calls_status(params[0])
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

    def _must_own(self, account: str) -> None:
        if account.lower() != self.account.address.lower():
            raise Refusal(4100, "The account is not authorized.")

    def _sign(self, account: str, text: str) -> str:
        self._must_own(account)
        typed_data = json.loads(text)
        meant = typed_data["domain"].get("chainId", self.chain_id)
        if int(str(meant), 0) != int(self.chain_id, 16):  # MetaMask refuses this too
            raise Refusal(-32602, f"Provided chainId {meant} must match the active chainId {self.chain_id}.")
        signature = bytes(self.account.sign_message(encode_typed_data(full_message=typed_data)).signature)
        return "0x" + (_with_deployment(signature) if self.undeployed else signature).hex()

    def _send(self, transaction: dict[str, str]) -> str:
        self._must_own(transaction["from"])
        if self.chain_id != POLYGON:
            raise Refusal(-32603, f"A transaction was asked for on {self.chain_id}.")
        return self._submit(transaction["to"], transaction["data"], int(transaction.get("value", "0x0"), 16))

    def _submit(self, to: str, data: str, value: int = 0, authorizations: tuple[Any, ...] = ()) -> str:
        unsigned: dict[str, Any] = {
            "type": 4 if authorizations else 2,
            "chainId": int(self.chain_id, 16),
            "nonce": self._nonce(),
            "to": to,
            "data": data,
            "value": value,
            "gas": self.gas,
            "maxFeePerGas": _FEE_WEI,
            "maxPriorityFeePerGas": _FEE_WEI,
            **({"authorizationList": authorizations} if authorizations else {}),
        }
        signed = self.account.sign_transaction(unsigned)
        sent: str = self.polygon.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        return sent

    def _nonce(self) -> int:
        return int(self.polygon.rpc("eth_getTransactionCount", self.account.address, "pending"), 16)

    @property
    def _is_delegated(self) -> bool:
        code: str = self.polygon.rpc("eth_getCode", self.account.address, "latest")
        return code == _DELEGATED

    def _capabilities(self, account: str, chains: list[str] | None = None) -> dict[str, Any]:
        self._must_own(account)
        able = {POLYGON: {"atomic": {"status": "supported" if self._is_delegated else "ready"}}}
        return able if chains is None else {chain: able[chain] for chain in chains if chain in able}

    def _send_calls(self, wish: dict[str, Any]) -> dict[str, str]:
        """One transaction of the account to itself, whose code is then Multicall3's (EIP-7702): all calls or none.

        Everybody could act for such an account. The wallets that people have delegate to code that asks who calls.
        """
        self._must_own(wish["from"])
        if wish["chainId"] != POLYGON:
            raise Refusal(5710, f"The chain {wish['chainId']} is not supported.")
        if wish["version"] != "2.0.0" or not isinstance(wish.get("atomicRequired"), bool):
            raise Refusal(-32602, "wallet_sendCalls wants a version, 2.0.0, and atomicRequired.")
        calls = [(call["to"], False, bytes.fromhex(call["data"][2:])) for call in wish["calls"]]
        data = "0x" + (_AGGREGATE + encode(["(address,bool,bytes)[]"], [calls])).hex()
        delegation = {"chainId": int(POLYGON, 16), "address": at.MULTICALL3, "nonce": self._nonce() + 1}
        signed = () if self._is_delegated else (self.account.sign_authorization(delegation),)
        bundle = "0x" + secrets.token_hex(32)
        self._bundles[bundle] = self._submit(self.account.address, data, authorizations=signed)
        return {"id": bundle}

    def _calls_status(self, bundle: str) -> dict[str, Any]:
        if bundle not in self._bundles:
            raise Refusal(5730, f"There is no bundle {bundle}.")
        receipt = self.polygon.rpc("eth_getTransactionReceipt", self._bundles[bundle])
        told = {"version": "2.0.0", "id": bundle, "chainId": POLYGON, "atomic": True}
        if receipt is None:
            return {**told, "status": 100}
        status = 200 if receipt["status"] == "0x1" else 500
        return {**told, "status": status, "receipts": [{name: receipt[name] for name in _IN_RECEIPT}]}
