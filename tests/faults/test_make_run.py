"""`make run` and `make demo` as people start them, also after everything was killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from sandbox.ports import free_port
from sandbox.wallet import Wallet
from tests.conftest import ROOT

SANDBOX = (sys.executable, "-m", "sandbox")


@contextmanager
def running(home: Path, ports: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`make run` on a folder of its own; on leaving, every process of it is dead."""
    environment = {**os.environ, "CASCADE_HOME": str(home), **ports}
    process = subprocess.Popen((*SANDBOX, "run"), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        written = home / "endpoints.json"
        deadline = time.monotonic() + 180
        while not is_up(written):  # the file of a killed run may still lie there
            assert process.poll() is None, "make run ended before it was up"
            assert time.monotonic() < deadline, "make run was not up within 180 seconds"
            time.sleep(0.1)
        yield process, json.loads(written.read_text())
    finally:
        kill_everything(process.pid)
        process.communicate()


def is_up(written: Path) -> bool:
    """Whether the system that the file tells of answers, and says that all is well."""
    try:
        return httpx.get(f"{json.loads(written.read_text())['api']}/health").status_code == 200
    except (OSError, httpx.TransportError):
        return False


def kill_everything(pid: int) -> None:
    """SIGKILL to a process and all that came from it, at once."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with suppress(psutil.NoSuchProcess):  # some follow their parent before it is their turn
            process.kill()
    psutil.wait_procs(family)


def buy(endpoints: Mapping[str, Any], **wish: str) -> dict[str, Any]:
    """Orders and pays, and returns when the payment is in a block, which need not be final."""
    api, wallet = endpoints["api"], Wallet(endpoints["rpc_url"], endpoints["funded_key"])
    answer = httpx.post(f"{api}/api/payments/crypto-payment-intent", json={"citizen_id": "Marco", **wish})
    intent: dict[str, Any] = answer.raise_for_status().json()
    for call in intent["calls"]:
        wallet.receipt(wallet.send(call["to"], call["data"]))
    wallet.close()
    return intent


def order(endpoints: Mapping[str, Any], order_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{endpoints['api']}/api/payments/orders/{order_id}").json()
    return found


def await_fulfilled(endpoints: Mapping[str, Any], order_id: str) -> None:
    deadline = time.monotonic() + 30
    while order(endpoints, order_id)["status"] != "fulfilled":
        assert time.monotonic() < deadline, order(endpoints, order_id)
        time.sleep(0.1)


def ducats(endpoints: Mapping[str, Any]) -> str:
    balance: str = httpx.get(f"{endpoints['api']}/api/citizens/Marco/balance").json()["in_venice"]
    return balance


def link_from_a_shell(home: Path) -> str:
    """What `cascade link` prints in a shell that asked the sandbox where it is."""
    script = f'eval "$({sys.executable} -m sandbox env)" && {sys.executable} -m cascade link --package merchant'
    environment = {**os.environ, "CASCADE_HOME": str(home)}
    done = subprocess.run(("sh", "-c", script), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_hears_that_nothing_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "CASCADE_HOME": str(tmp_path)}
    done = subprocess.run((*SANDBOX, "env"), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "start it with `make run`" in done.stderr


def test_after_kill_9_of_every_process_a_second_run_goes_on(tmp_path: Path) -> None:
    ports = {"CASCADE_PORT": str(free_port()), "CASCADE_SANDBOX_RPC_PORT": str(free_port())}
    # A credit that is killed between being noted as sent and sent is sent again after that time: 120 s by default.
    ports["CASCADE_VENICE_SETTLE_SECONDS"] = "1"
    with running(tmp_path, ports) as (_, first):
        credited = buy(first, package="merchant", token="USDC")
        await_fulfilled(first, credited["order_id"])
        assert first["api"] in link_from_a_shell(tmp_path)
        in_flight = buy(first, package="starter", token="USDT")
        time.sleep(4.5)  # two more blocks: it is final, and may or may not be booked
        still_open = httpx.post(
            f"{first['api']}/api/payments/crypto-payment-intent", json={"citizen_id": "Marco", "package": "noble"}
        ).json()
    with running(tmp_path, ports) as (process, second):
        assert {k: second[k] for k in ("api", "rpc_url", "router", "safe")} == {
            k: first[k] for k in ("api", "rpc_url", "router", "safe")
        }
        await_fulfilled(second, in_flight["order_id"])
        assert order(second, credited["order_id"])["status"] == "fulfilled"
        assert order(second, still_open["order_id"])["status"] == "open"
        assert ducats(second) == "2850"
        another = buy(second, package="starter", token="USDC")
        await_fulfilled(second, another["order_id"])
        assert ducats(second) == "2950"

        process.send_signal(signal.SIGINT)  # and Ctrl-C ends all of it
        family = psutil.Process(process.pid).children(recursive=True)
        output, _ = process.communicate(timeout=40)
        assert process.returncode == 0
        assert "Nothing is lost" in output
        assert not [child for child in family if child.is_running()]
        assert not (tmp_path / "endpoints.json").exists()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with _listening() as port:
        environment = {**os.environ, "CASCADE_HOME": str(tmp_path), "CASCADE_PORT": str(port)}
        done = subprocess.run((*SANDBOX, "run"), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"CASCADE_PORT: port {port} is taken" in done.stderr


def test_the_demo_buys_and_exits_0() -> None:
    done = subprocess.run((*SANDBOX, "demo"), cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "USDC",
        "25.01",
        "2500 + 250",
        "250.1",
        "treasury got USDC: 130,000,000",
        "treasury got USDT: 18,755,000",
        "All is well.",
    ):
        assert words in done.stdout


@contextmanager
def _listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])
