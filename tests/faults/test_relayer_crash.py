"""The relayer is killed (SIGKILL) before each of its commits and each transaction that it sends, and started again."""

from __future__ import annotations

import signal
from pathlib import Path

from cascade.chains import Deployment
from cascade.db.database import Database
from cascade.domain.relay_items import RelayState
from sandbox.polygon import TOKENS, LocalPolygon
from tests.faults.databases import copy_of
from tests.faults.dying_relayer import spawn
from tests.faults.relaying import HOT_KEY, items, nonces, order_of, payer, queue

PAYMENTS = 3


def test_killed_before_any_step_and_started_again_it_pays_each_once(
    polygon: LocalPolygon, deployment: Path, database_url: str, database: Database
) -> None:
    router = Deployment.load(deployment)
    views = [order_of(polygon, database, router, n, token=("USDC", "USDT")[n % 2]) for n in range(PAYMENTS)]
    for n, view in enumerate(views):
        queue(database, view, payer(n))
    database.close()  # PostgreSQL copies only a database that nobody uses
    killed, finished = 0, False
    while not finished:
        chain = polygon.snapshot()
        first_nonce = int(polygon.rpc("eth_getTransactionCount", polygon.accounts[HOT_KEY], "latest"), 16)
        with copy_of(database_url) as url:
            first = spawn(url, router, polygon, killed + 1, signal.SIGKILL)
            first.join(60)
            assert first.exitcode in (0, -signal.SIGKILL)
            finished = first.exitcode == 0  # it had less to say than that
            killed += not finished
            again = spawn(url, router, polygon, None, 0)
            again.join(60)
            assert again.exitcode == 0
            copy = Database(url, connections=1)
            copy.open()
            for n, view in enumerate(views):
                assert [item.state for item in items(copy, view)] == [RelayState.SETTLED], f"killed before {killed}"
                assert balance(polygon, view.terms[0].token.code, payer(n).address) == 0
            used = int(polygon.rpc("eth_getTransactionCount", polygon.accounts[HOT_KEY], "latest"), 16)
            assert nonces(copy) == [(nonce, "final") for nonce in range(first_nonce, used)]
            copy.close()
        polygon.revert(chain)
    assert killed >= 15  # it was killed in the middle of sending, not only before it


def balance(polygon: LocalPolygon, token: str, holder: str) -> int:
    data = "0x70a08231" + holder[2:].lower().rjust(64, "0")
    return int(polygon.rpc("eth_call", {"to": TOKENS[token].address, "data": data}, "latest"), 16)
