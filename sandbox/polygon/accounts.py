"""The ten accounts that every development node funds, derived from their well-known mnemonic."""

from __future__ import annotations

from functools import cache

from eth_account import Account

_MNEMONIC = "test test test test test test test test test test test junk"
COUNT = 10


@cache
def development_keys() -> tuple[str, ...]:
    """The private keys (hex with 0x) of the ten accounts. Public knowledge: never of any worth outside the box."""
    Account.enable_unaudited_hdwallet_features()
    return tuple(
        "0x" + bytes(Account.from_mnemonic(_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}").key).hex()
        for index in range(COUNT)
    )


@cache
def development_accounts() -> tuple[str, ...]:
    """Their addresses, with checksum, in the same order."""
    return tuple(str(Account.from_key(key).address) for key in development_keys())
