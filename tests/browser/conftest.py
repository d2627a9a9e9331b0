"""A real Chromium in front of a running Cascade, and a watch on everything that a page must not do."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    expect,
    sync_playwright,
)
from psycopg.rows import dict_row

from cascade.db import api_keys
from cascade.db.api_keys import Scope
from sandbox.deploy import RELAYER
from sandbox.polygon import LocalPolygon
from sandbox.postgres import EmbeddedPostgres
from tests.browser.foreign_wallets import HeadlessWallet, MetaMaskWallet
from tests.browser.payer_wallet import PayerWallet
from tests.browser.walletconnect_phone import Phone
from tests.browser.walletconnect_relay import Relay
from tests.conftest import RunningCascade, starting_cascades

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PLENTY = str(10**6)
WITHOUT_LIMITS = {
    "orders_per_minute": PLENTY,
    "reads_per_minute": PLENTY,
    "signals_per_minute": PLENTY,
    "authorizations_per_minute": PLENTY,
    "streams_per_address": PLENTY,
}
"""All tests come from one address, within a minute or two."""

PATIENCE_MS = 20_000
"""How long a test waits for what it wants to see: it is there in a second, but not on a machine that is busy."""

expect.set_options(timeout=PATIENCE_MS)

RELAYER_LIMITS = {"relayer_wait_seconds": "0.1", "relayer_minute_pol": "1000", "relayer_day_pol": "5000"}
SECOND_RELAYER = 9

_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (e) => console.error(`CSP ${e.violatedDirective}: ${e.blockedURI}`));
"""


@pytest.fixture(scope="package")
def polygon(_chain: LocalPolygon, deployment: Path) -> Iterator[LocalPolygon]:
    """The local Polygon with the router, for all tests here.

    Only what all of them did is taken back: to a running indexer a chain that jumps back is a reorganisation.
    """
    snapshot = _chain.snapshot()
    yield _chain
    _chain.revert(snapshot)


Runner = Callable[..., AbstractContextManager[RunningCascade]]


@pytest.fixture(scope="package")
def running_cascade(
    polygon: LocalPolygon,
    deployment: Path,
    _postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runner:
    """Runs `cascade up` on a database of its own for as long as its context lasts; arguments as for `start_cascade`.

    It has no relayer unless it gets a key that no other has: two with one key would be in each other's way.
    """

    @contextmanager
    def run(**variables: Any) -> Iterator[RunningCascade]:
        database_url = _postgres.create_database(f"browser_{secrets.token_hex(6)}")
        folder = tmp_path_factory.mktemp("cascade")
        with starting_cascades(polygon, deployment, database_url, folder) as start:
            yield start(**(WITHOUT_LIMITS | variables))

    return run


@pytest.fixture
def start_cascade(running_cascade: Runner) -> Iterator[Callable[..., RunningCascade]]:
    """Starts a `cascade up` of this test's own, for settings that others do not want."""
    with ExitStack() as running:
        yield lambda **variables: running.enter_context(running_cascade(**variables))


@pytest.fixture(scope="package")
def cascade_up(running_cascade: Runner, polygon: LocalPolygon) -> Iterator[RunningCascade]:
    """The whole system with a relayer, for every test that needs no settings of its own."""
    with running_cascade(relayer_key=polygon.keys[RELAYER], **RELAYER_LIMITS) as cascade:
        yield cascade


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay of WalletConnect's."""
    relay = Relay()
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def walletconnect_up(running_cascade: Runner, polygon: LocalPolygon, relay: Relay) -> Iterator[RunningCascade]:
    """The whole system, with WalletConnect and a relayer of its own."""
    connect = {"walletconnect_project_id": "0" * 32, "walletconnect_relay_url": relay.url}
    with running_cascade(relayer_key=polygon.keys[SECOND_RELAYER], **RELAYER_LIMITS, **connect) as cascade:
        yield cascade


@pytest.fixture
def phone(relay: Relay, wallet: PayerWallet) -> Iterator[Phone]:
    """A phone with the wallet in it."""
    phone = Phone.start(relay.url, wallet)
    yield phone
    phone.stop()
    assert phone.faults == []


@pytest.fixture
def database_url(cascade_up: RunningCascade) -> str:
    """The database of the system that the test sees."""
    return cascade_up.environment["DATABASE_URL"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the whole session: Playwright's event loop would be in the way of other suites' own.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        yield browser
        browser.close()


def chromium(playwright: Playwright) -> str:
    named = os.environ.get("CHROMIUM")
    on_path = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    for candidate in (named, *on_path, playwright.chromium.executable_path):
        if candidate and Path(candidate).exists():
            return candidate
    raise AssertionError(
        "No Chromium was found. Install one with `apt-get install chromium` or `playwright install chromium`, or set"
        " CHROMIUM to its path."
    )


@dataclass
class Watch:
    """Notes what no page of ours may do: errors in the console, breaches of the policy, talking to strangers."""

    origin: str
    complaints: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)
    _tolerated: list[str] = field(default_factory=list)

    def on(self, context: BrowserContext) -> None:
        """Begin to watch."""
        self._contexts.append(context)
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._note(f"uncaught: {error.error}"))
        context.on("request", self._request)

    def forget(self, containing: str) -> None:
        """Strike out what a test has provoked; it must have happened, though we may hear of it a little later."""
        (page, *_) = [page for context in self._contexts for page in context.pages]
        for _ in range(60):
            provoked = [complaint for complaint in self.complaints if containing in complaint]
            if provoked:
                break
            page.wait_for_timeout(50)
        assert provoked, f"{containing!r} was never complained of, only {self.complaints}"
        self.tolerate(containing)

    def tolerate(self, containing: str) -> None:
        """Strike out, now and later, what a test may provoke or not."""
        self._tolerated.append(containing)
        self.complaints = [complaint for complaint in self.complaints if containing not in complaint]

    def _note(self, complaint: str) -> None:
        if not any(words in complaint for words in self._tolerated):
            self.complaints.append(complaint)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme != "data" and f"{url.scheme}://{url.netloc}" != self.origin:
            self._note(f"request to {request.url}")


@pytest.fixture
def watch(cascade_up: RunningCascade) -> Iterator[Watch]:
    watch = Watch(cascade_up.api)
    yield watch
    assert watch.complaints == []


Opener = Callable[..., BrowserContext]


@pytest.fixture
def new_context(browser: Browser, watch: Watch) -> Iterator[Opener]:
    """Opens watched browser contexts; keyword arguments are Playwright's."""
    opened: list[BrowserContext] = []

    def open_context(**options: Any) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        opened.append(context)
        watch.on(context)
        return context

    yield open_context
    for context in opened:
        context.close()


@pytest.fixture
def context(new_context: Opener) -> BrowserContext:
    return new_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@dataclass(frozen=True)
class Shop:
    """Orders of a running Cascade, all for one citizen that nobody else has."""

    api: str
    database_url: str
    citizen: str

    @classmethod
    def of(cls, cascade: RunningCascade) -> Self:
        """Opens for a new citizen."""
        return cls(cascade.api, cascade.environment["DATABASE_URL"], f"Marco_Polo_{secrets.token_hex(4)}")

    def order(self, stablecoin: str = "USDC") -> dict[str, Any]:
        """A new order for the Merchant package: 2,500 ducats and 250 bonus for 250 dollars."""
        wish = {"citizen_id": self.citizen, "package": "merchant", "token": stablecoin}
        answer = httpx.post(f"{self.api}/api/payments/crypto-payment-intent", json=wish, trust_env=False)
        assert answer.status_code == 201, answer.text
        order: dict[str, Any] = answer.json()
        return order

    def link(self, **wish: Any) -> dict[str, Any]:
        """A new payment link, by default for the Merchant package and for nobody in particular."""
        with psycopg.connect(self.database_url, row_factory=dict_row) as connection:
            key = api_keys.add(connection, secrets.token_hex(8), [Scope.LINKS])
        asked = {"package": "merchant", **wish}
        answer = httpx.post(f"{self.api}/api/payments/links", json=asked, headers=_bearer(key), trust_env=False)
        assert answer.status_code == 201, answer.text
        return {**answer.json(), "key": key}

    def deactivate(self, link: dict[str, Any]) -> None:
        """Take a payment link back."""
        url = f"{self.api}/api/payments/links/{link['id']}/deactivate"
        assert httpx.post(url, headers=_bearer(link["key"]), trust_env=False).status_code == 200

    def orders(self) -> int:
        """How many orders there are for the citizen."""
        with psycopg.connect(self.database_url) as connection:
            counted = connection.execute("SELECT count(*) FROM orders WHERE citizen_id = %s", [self.citizen]).fetchone()
        assert counted is not None
        return int(counted[0])

    def balance(self) -> str:
        """The ducats of the citizen."""
        answer = httpx.get(f"{self.api}/api/citizens/{self.citizen}/balance", trust_env=False)
        ducats: str = answer.json()["ducats"]
        return ducats

    def age(self, order: dict[str, Any], seconds: int) -> None:
        """Let an order have been opened earlier than it was."""
        self._change(order, "created_at = created_at - %(by)s, expires_at = expires_at - %(by)s", by=f"{seconds} s")

    def rename_citizen(self, order: dict[str, Any], name: str) -> None:
        """Give an order a citizen that the API would never have taken."""
        self._change(order, "citizen_id = %(name)s", name=name)

    def _change(self, order: dict[str, Any], assignment: str, **values: str) -> None:
        with psycopg.connect(self.database_url) as connection:
            typed = assignment.replace("%(by)s", "%(by)s::interval")
            connection.execute("SET LOCAL session_replication_role = replica")  # past the guards of the database
            connection.execute(
                f"UPDATE orders SET {typed} WHERE id = %(id)s".encode(), {**values, "id": order["order_id"]}
            )


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def shop(cascade_up: RunningCascade) -> Shop:
    return Shop.of(cascade_up)


@pytest.fixture
def wallet(polygon: LocalPolygon) -> PayerWallet:
    """A new wallet with 1,000 USDC, 1,000 USDT and plenty of POL, not yet in any browser."""
    return PayerWallet.funded(polygon)


@pytest.fixture(params=[MetaMaskWallet, HeadlessWallet], ids=["MetaMask", "headless-web3-provider"])
def foreign_wallet(request: pytest.FixtureRequest, polygon: LocalPolygon) -> Iterator[PayerWallet]:
    """The same for a wallet that nobody here wrote."""
    with closing(request.param.funded(polygon)) as wallet:
        yield wallet
