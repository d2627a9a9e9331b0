"""A faithful Polygon on this machine: real USDC, Permit2, Multicall3 and Safe 1.4.1 at their real addresses.

```python
with LocalPolygon.start() as chain:
    chain.mint("USDC", chain.accounts[0], 25_000_000)
    ...  # any client on chain.rpc_url
```
"""

from sandbox.polygon.anvil import AnvilFailed
from sandbox.polygon.durable_miner import ChainInUse, ChainUnreadable
from sandbox.polygon.genesis import PackagesMissing
from sandbox.polygon.local_polygon import LocalPolygon
from sandbox.polygon.rpc import NodeError
from sandbox.polygon.tokens import TOKENS

__all__ = ["TOKENS", "AnvilFailed", "ChainInUse", "ChainUnreadable", "LocalPolygon", "NodeError", "PackagesMissing"]
