"""Where things stand on Polygon PoS, and the hashes by which a copy is recognised as the real thing.

Everything here is public fact about chain 137, except the roles at the end, which exist in the box only.
"""

from __future__ import annotations

from typing import Final

CHAIN_ID: Final = 137

USDC: Final = "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"
USDC_IMPLEMENTATION: Final = "0x235AE97b28466Db30469B89A9fE4cFf0659f82Cb"
USDC_SIGNATURE_CHECKER: Final = "0x03Da5A1AE03B5F60B162A098c617c13b4dC2dA69"
USDC_DOMAIN_SEPARATOR: Final = "0xcaa2ce1a5703ccbe253a34eb3166df60a705c561b44b192061e28f2a985be2ca"

USDT: Final = "0xc2132D05D31c914a87C6611C10748AEb04B58e8F"
"""Tether on Polygon. Since its move to LayerZero the token at this address calls itself USDT0."""
USDT_IMPLEMENTATION: Final = "0x7FFB3d637014488b63fb9858E279385685AFc1e2"
USDT_DOMAIN_SEPARATOR: Final = "0x7b43b7deae87806d0ace67d6c8e9e347fc85db8ad198e756e5c17d126fef9a05"

PERMIT2: Final = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
MULTICALL3: Final = "0xcA11bde05977b3631167028862bE2a173976CA11"
CREATE2_DEPLOYER: Final = "0x4e59b44847b379578588920cA78FbF26c0B4956C"

UNPATCHED_PERMIT2_KECCAK: Final = "0x463331fa7a0d5f07488e42c37b461bb56a822145c161a821fbafe7d4e916b546"
"""Permit2 as the node's own genesis carries it: with that genesis' chain id among its immutables."""
MULTICALL3_KECCAK: Final = "0xd5c15df687b16f2ff992fc8d767b4216323184a2bbc6ee2f9c398c318e770891"

# Roles of the tokens in the box. Nobody holds their keys: who needs one reads its address from the token
# (`masterMinter()`, `pauser()`, `blacklister()`, `owner()`) and impersonates it, as on a fork of the real chain.
USDC_PROXY_ADMIN: Final = "0x00000000000000000000000000000000000Ad314"
USDC_OWNER: Final = "0x000000000000000000000000000000000000D0e5"
USDC_MASTER_MINTER: Final = "0x0000000000000000000000000000000000003a57"
USDC_MINTER: Final = "0x0000000000000000000000000000000000003147"
USDC_PAUSER: Final = "0x0000000000000000000000000000000000009A05"
USDC_BLACKLISTER: Final = "0x000000000000000000000000000000000000b1aC"
USDC_LOST_AND_FOUND: Final = "0x00000000000000000000000000000000000010Fd"
USDT_PROXY_OWNER: Final = "0x00000000000000000000000000000000007E7A01"
USDT_OWNER: Final = "0x00000000000000000000000000000000007e7A02"
USDT_DEPOSITOR: Final = "0xA6FA4fB5f76172d178d61B04b0ecd319C5d1C0aa"
"""The real bridge's depositor, so that its role stands where it does on Polygon."""
