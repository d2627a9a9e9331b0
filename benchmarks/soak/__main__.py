"""python -m benchmarks.soak --minutes 30 [--seed N] [--json FILE]: exit code 1 when anything may not be."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.live import Live
from rich.table import Table

from benchmarks.soak import hostile, probe, report
from benchmarks.soak.honest import KINDS, Payers, follow, undecided
from benchmarks.soak.hostile import Wallets
from benchmarks.soak.outages import by_turns
from benchmarks.soak.report import Limits, Result
from benchmarks.soak.shop import Book
from benchmarks.soak.world import World, await_healthy, world
from sandbox.deploy import ROOT

_LAST_CALM_SECONDS = 45.0
_WIDE = 150
_TOLD_EVERY_SECONDS = 60.0


class Soak:
    """One run; everything in it happens in threads that end with it."""

    def __init__(self, options: argparse.Namespace, parts: World, console: Console) -> None:
        self._options = options
        self._parts = parts
        self._console = console
        self._book = Book()
        self._over = threading.Event()
        self._done = threading.Event()
        self._words = ""

    def run(self) -> Result:
        """Pay and disturb, drain, and judge."""
        options, parts = self._options, self._parts
        parts.start_cascade()
        self._say(f"at first the health page says: {await_healthy(parts)[:200]}")
        samples = parts.folder / "samples.jsonl"
        payers, wallets = Payers(parts, self._book, options.seed), Wallets(parts, self._book, options.seed)
        until = time.monotonic() + options.minutes * 60
        with (
            self._in_background(follow, parts, self._book, self._done),
            self._in_background(parts.tend, self._done),
            self._in_background(self._tell),
        ):
            with _probing(parts, samples):
                with self._disturbing(until), self._in_background(payers.run, options.rate, until, self._over):
                    if options.hostile_every > 0:
                        wallets.run(options.hostile_every, until, self._over)
                    self._over.wait(max(0.0, until - time.monotonic()))
                self._say("draining")
                payers.close()
                wallets.close()
                self._drain()
            self._done.set()
        return self._judge(wallets, samples)

    def stop(self) -> None:
        """Let everything come to its end early."""
        self._over.set()

    @contextmanager
    def _disturbing(self, until: float) -> Iterator[None]:
        options = self._options
        with self._in_background(
            lambda: by_turns(
                self._parts.database,
                [kind for kind in options.outages.split(",") if kind],
                calm_seconds=options.calm_seconds,
                until=until - _LAST_CALM_SECONDS,
                draw=random.Random(options.seed + 4),
                over=self._over,
                tell=self._say,
            )
        ):
            yield

    @contextmanager
    def _in_background(self, act: object, *args: object) -> Iterator[None]:
        thread = threading.Thread(target=act, args=args, name=str(act))  # type: ignore[arg-type]
        thread.start()
        try:
            yield
        except BaseException:
            self._over.set()
            self._done.set()
            raise
        finally:
            thread.join()

    def _drain(self) -> None:
        deadline = time.monotonic() + self._options.drain_seconds
        while undecided(self._book) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _judge(self, wallets: Wallets, samples: Path) -> Result:
        options, parts = self._options, self._parts
        limits = Limits(options.late_seconds, options.beyond_seconds, 2.0 + options.slack_seconds)
        windows, seen = parts.database.away(), list(probe.read(samples))
        told = wallets.told
        result = Result(
            minutes=options.minutes,
            seed=options.seed,
            limits=limits,
            database=parts.database.windows,
            judged=report.judge_all(self._book, report.gather(parts), windows, limits.late_seconds),
            outages=report.outages(seen, windows),
            samples=seen,
            hostile={kind: {"begun": told.begun[kind], "accepted": told.accepted[kind]} for kind in hostile.KINDS},
            relayer=report.relayer_costs(parts, told.orders),
            faults=dict(self._book.faults),
            deaths=parts.deaths,
            tracebacks=parts.log.read_text(errors="replace").count("Traceback (most recent call last)"),
            most_bytes=parts.most_bytes,
        )
        report.decide(result)
        return result

    def _tell(self) -> None:
        """A line now and then where nobody sees the live table."""
        while not self._done.wait(_TOLD_EVERY_SECONDS):
            if not self._console.is_terminal:
                self._say(self._standing())

    def _standing(self) -> str:
        with self._book.lock:
            payments = list(self._book.payments)
        made = sum(payment.made_at is not None for payment in payments)
        credited = sum(payment.credited_at is not None for payment in payments)
        refused = sum(bool(payment.refused) for payment in payments)
        deaths = len(self._parts.deaths)
        return f"{len(payments)} begun, {made} made, {credited} credited, {refused} refused; {deaths} deaths"

    def _say(self, words: str) -> None:
        self._words = words
        self._console.print(f"{time.strftime('%H:%M:%S')} {words}", soft_wrap=True)

    def __rich__(self) -> Table:
        """How it stands."""
        table = Table(title=f"{time.strftime('%H:%M:%S')} the database: {self._parts.database.state}")
        for name in ("kind", "begun", "made", "credited", "refused"):
            table.add_column(name, justify="left" if name == "kind" else "right")
        with self._book.lock:
            payments = list(self._book.payments)
        for kind in (*KINDS, "all"):
            mine = [payment for payment in payments if kind in (payment.kind, "all")]
            made = sum(payment.made_at is not None for payment in mine)
            credited = sum(payment.credited_at is not None for payment in mine)
            table.add_row(kind, *map(str, (len(mine), made, credited, sum(bool(one.refused) for one in mine))))
        table.caption = f"{self._words}; cascade ended {len(self._parts.deaths)} times"
        return table


@contextmanager
def _probing(parts: World, samples: Path) -> Iterator[None]:
    command = (sys.executable, "-m", "benchmarks.soak.probe", parts.api, str(samples))
    watcher = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        if watcher.stdin is not None:
            watcher.stdin.close()
        watcher.wait(60)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long payments are begun")
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn by lot")
    parser.add_argument("--rate", type=float, default=1.0, help="honest payments begun in a second")
    parser.add_argument("--hostile-every", type=float, default=3.0, help="seconds between hostile wallets; 0: none")
    parser.add_argument("--outages", default="restart,freeze,read-only", help="of the database, by turns; empty: none")
    parser.add_argument("--calm-seconds", type=float, default=40.0, help="between two outages")
    parser.add_argument("--order-minutes", type=int, default=3, help="how long an order can be paid")
    parser.add_argument("--drain-seconds", type=float, default=150.0, help="longest wait for credits at the end")
    parser.add_argument(
        "--late-seconds", type=float, default=60.0, help="longest from made to credited, beside outages"
    )
    parser.add_argument("--beyond-seconds", type=float, default=3.0, help="longest outage of the API's own")
    parser.add_argument("--slack-seconds", type=float, default=1.0, help="a 503 comes within 2 s and this")
    parser.add_argument("--unlimited", action="store_true", help="the provider sets no limit on requests")
    parser.add_argument("--json", type=Path, help="writes the figures")
    parser.add_argument("--keep", type=Path, help="a folder that keeps logs and samples; default: a temporary one")
    return parser.parse_args()


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="cascade-soak-") as folder:
        yield Path(folder)


def main() -> int:
    """Run, print, and say whether all was well."""
    options, console = _options(), Console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    with _folder(options.keep) as folder:
        console.print(f"starting in {folder} ...")
        with world(folder, order_minutes=options.order_minutes, seed=options.seed, limited=not options.unlimited) as it:
            soak = Soak(options, it, console)
            with Live(soak, console=console, refresh_per_second=1, transient=True):
                result = soak.run()
        report.show(result, console)
        if options.json is not None:
            options.json.write_bytes(orjson.dumps(report.as_json(result), option=orjson.OPT_INDENT_2))
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
