"""A wallet with one key: signs transactions itself and hands them to a node, as a citizen's wallet does."""

from __future__ import annotations

from typing import Any

from eth_account import Account

from sandbox.polygon.rpc import Rpc, calldata

_TIP_WEI = 30 * 10**9  # Polygon's validators want at least 25 gwei
_MARGIN = 130  # percent of the estimated gas, for state that changes before the transaction is mined


class Wallet:
    """Signs with one private key (hex) and sends through one node."""

    def __init__(self, rpc_url: str, key: str) -> None:
        self._rpc = Rpc(rpc_url)
        self._account = Account.from_key(key)
        self._chain_id = int(self._rpc("eth_chainId"), 16)

    @property
    def address(self) -> str:
        """Checksummed address of the key."""
        return str(self._account.address)

    def send(self, to: str, data: str) -> str:
        """Signs and sends one transaction (`data` in hex), and returns its hash without waiting for a block.

        Raises NodeError when the transaction would revert: the node says so while it estimates the gas.
        """
        call = {"from": self.address, "to": to, "data": data}
        base_fee = int(self._rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
        transaction = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": int(self._rpc("eth_getTransactionCount", self.address, "pending"), 16),
            "to": to,
            "data": data,
            "value": 0,
            "gas": int(self._rpc("eth_estimateGas", call), 16) * _MARGIN // 100,
            "maxPriorityFeePerGas": _TIP_WEI,
            "maxFeePerGas": 2 * base_fee + _TIP_WEI,
        }
        signed = self._account.sign_transaction(transaction)
        sent: str = self._rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        return sent

    def transfer(self, token: str, to: str, units: int) -> str:
        """Sends a plain transfer, and returns its hash."""
        return self.send(to=token, data="0x" + calldata("transfer(address,uint256)", to, units).hex())

    def sign(self, typed_data: dict[str, Any]) -> str:
        """What a wallet gives back for `eth_signTypedData_v4`, in hex. It needs no POL for it."""
        return "0x" + bytes(self._account.sign_typed_data(full_message=typed_data).signature).hex()

    def pol(self) -> int:
        """What this wallet holds of the coin that pays for gas, in wei."""
        return int(self._rpc("eth_getBalance", self.address, "latest"), 16)

    def receipt(self, transaction_hash: str) -> dict[str, Any]:
        """Waits for a transaction. Raises NodeError when it reverted or is not mined in time."""
        return self._rpc.receipt(transaction_hash)

    def balance(self, token: str, holder: str | None = None) -> int:
        """What an address (by default this wallet's) holds of a token, in its smallest units."""
        units: int = self._rpc.call(token, "balanceOf(address)", holder or self.address, returns="uint256")
        return units

    def close(self) -> None:
        """Closes the connection to the node."""
        self._rpc.close()
