"""Checks of the node, of the router, and of the key that pays for gas."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from cascade import bootstrap
from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.rpc import quantity
from cascade.app import App
from cascade.errors import DeploymentMismatch, NodeUnavailable, SettingsError
from cascade.readiness.findings import CLOCK_FAULT_SECONDS, Finding, clock, error, ok, warning

_SLOW_SECONDS: Final = 1.0
_STALE_SECONDS: Final = 120
_FEW_BLOCKS: Final = 100
_PROVIDER: Final = "set CASCADE_RPC_URL to another provider"


def node(app: App) -> list[Finding]:
    """Look whether the node is of our chain, has our router, and what it allows."""
    chain = bootstrap.node(app.settings, timeout_seconds=5.0)
    try:
        return _looked_at(app, chain)
    except NodeUnavailable as cause:
        return [
            error("node", f"it gives no usable answer: {cause}", "correct CASCADE_RPC_URL, or use another provider")
        ]
    finally:
        chain.close()


def relayer(app: App) -> list[Finding]:
    """Look whether the hot key can be used and has gas money."""
    settings = app.settings
    try:
        key = bootstrap.hot_key(settings)
    except SettingsError as cause:
        return [error("relayer", str(cause), "correct the setting that the sentence names")]
    if key is None:
        return [ok("relayer", "none: payers send by themselves, and plain transfers are not looked for")]
    chain = bootstrap.node(settings, timeout_seconds=5.0)
    try:
        wei = quantity(chain.batch([("eth_getBalance", [key.address, "latest"])])[0], "eth_getBalance")
    except NodeUnavailable as cause:
        return [error("relayer", f"the POL of {key.address} cannot be read: {cause}", _PROVIDER)]
    finally:
        chain.close()
    held = f"{key.address} holds {wei / 10**18:.4f} POL"
    remedy = f"send POL to {key.address}; CASCADE_RELAYER_LOW_POL is {settings.relayer_low_pol}"
    if not wei:
        return [error("relayer", held, remedy)]
    if wei < settings.relayer_low_pol * 10**18:
        return [warning("relayer", held, remedy)]
    return [ok("relayer", held)]


def _looked_at(app: App, chain: Node) -> list[Finding]:
    begun = time.monotonic()
    chain_id = chain.chain_id()
    took = time.monotonic() - begun
    wanted = app.deployment.chain
    if chain_id != wanted.chain_id:
        text = f"CASCADE_RPC_URL is of chain {chain_id}, CASCADE_DEPLOYMENT of {wanted.chain_id} ({wanted.name})"
        return [error("chain", text, "make them the same")]
    slow = f"answers in {took * 1000:.0f} ms"
    found = [
        ok("chain", f"{wanted.name}, {chain_id}"),
        ok("node", slow) if took < _SLOW_SECONDS else warning("node", slow, "use a provider that is nearer or faster"),
        _router(app, chain),
    ]
    return [*found, *_blocks(chain), _ranges(app, chain), _history(app, chain)]


def _router(app: App, chain: Node) -> Finding:
    try:
        bootstrap.check_deployment(app.deployment, chain)
    except DeploymentMismatch as cause:
        return error("router", str(cause), "name the record of the router that you deployed: CASCADE_DEPLOYMENT")
    return ok("router", f"{app.deployment.router} has the code of CASCADE_DEPLOYMENT")


def _blocks(chain: Node) -> list[Finding]:
    latest, finalized = chain.answers([("eth_getBlockByNumber", [tag, False]) for tag in ("latest", "finalized")])
    now = time.time()
    head = _header(latest)
    if head is None:
        return [error("blocks", "the node tells no last block", _PROVIDER)]
    found = []
    age = now - head[1]
    if age < -CLOCK_FAULT_SECONDS / 4:  # a block is never of the future: our clock is behind
        found.append(clock("the chain", -age))
    elif age > _STALE_SECONDS:
        remedy = f"{_PROVIDER}, or set our clock by NTP"
        found.append(warning("clock (the chain)", f"the last block is {age:.0f} s old", remedy))
    else:
        found.append(ok("clock (the chain)", f"the last block is {max(0, age):.0f} s old"))
    final = _header(finalized)
    if final is None:
        found.append(error("finality", "the node does not know the tag `finalized`", _PROVIDER))
    elif final[0] > head[0]:
        found.append(error("finality", f"block {final[0]} is final above the last block {head[0]}", _PROVIDER))
    else:
        found.append(ok("finality", f"{head[0] - final[0]} blocks behind the last one"))
    return found


def _ranges(app: App, chain: Node) -> Finding:
    """Ask for logs of as many blocks as we shall, then of fewer."""
    wanted = blocks = app.settings.log_range_blocks
    head = _header(chain.answers([("eth_getBlockByNumber", ["latest", False])])[0])
    end = head[0] if head else 0
    while blocks >= 1:
        if _answers_logs(app, chain, max(0, end - blocks + 1), end):
            break
        blocks //= 2
    if blocks == wanted:
        return ok("log ranges", f"{wanted:,} blocks in one answer")
    if not blocks:
        return error("log ranges", "eth_getLogs is refused", _PROVIDER)
    text = f"{blocks:,} blocks in one answer, not the {wanted:,} of CASCADE_LOG_RANGE_BLOCKS"
    make = warning if blocks < _FEW_BLOCKS else ok
    if make is ok:
        return ok("log ranges", f"{text}: it is asked for fewer by itself")
    return warning("log ranges", text, "use a provider that allows more, or catching up takes long")


def _history(app: App, chain: Node) -> Finding:
    first = app.deployment.block_number
    if _answers_logs(app, chain, first, first):
        return ok("history", f"logs from block {first:,}, where the router began")
    text = f"the node has no logs of block {first:,}, where the router began"
    return warning("history", text, "a rescan that goes so far back needs an archive node: set CASCADE_RPC_URL for it")


def _answers_logs(app: App, chain: Node, start: int, end: int) -> bool:
    query = {"address": app.deployment.router, "fromBlock": hex(start), "toBlock": hex(end)}
    asked: Sequence[tuple[str, list[Any]]] = [("eth_getLogs", [query])]
    try:
        answer = chain.answers(asked)[0]
    except NodeUnavailable:  # some refuse the whole request
        return False
    return answer is not None and isinstance(answer.get("result"), list)


def _header(answer: dict[str, Any] | None) -> tuple[int, int] | None:
    header = (answer or {}).get("result")
    if not isinstance(header, dict):
        return None
    try:
        return quantity(header.get("number"), "number"), quantity(header.get("timestamp"), "timestamp")
    except NodeUnavailable:
        return None
