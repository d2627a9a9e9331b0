"""What paying costs a citizen, from the payment link opened to the ducats shown, by every way that there is.

Usage: python -m benchmarks.checkout [--rounds 5]

The whole system with a chain that mines every two seconds, and a new browser for each payment. Wallets, and whoever
fills in the card, answer at once: what is left is what we, the chain and the network's latency take. Before: `make
browser`, which installs the wallets.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sandbox.polygon import TOKENS
from sandbox.ports import free_port
from sandbox.stack import BLOCK_SECONDS, Stack
from sandbox.wallet import Wallet
from tests.browser.conftest import FLAGS, WITHOUT_LIMITS, Shop, chromium
from tests.browser.foreign_wallets import MetaMaskWallet
from tests.browser.payer_wallet import PayerWallet
from tests.browser.traffic import Traffic
from tests.browser.walletconnect_phone import Phone
from tests.browser.walletconnect_relay import Relay

PATIENCE_MS = 60_000
CARD = {"Card number": "4242 4242 4242 4242", "Expiry": "12 / 34", "CVC": "123", "Name on card": "Marco"}


@dataclass
class Payment:
    """One payment under way: where it happens, and what its payer has done so far."""

    box: Stack
    relay: Relay
    context: BrowserContext
    clicks: int = 0
    fields: int = 0
    wallet: PayerWallet | None = None
    prompts_elsewhere: int = 0
    undo: ExitStack = field(default_factory=ExitStack)
    page: Page = field(init=False)

    def __post_init__(self) -> None:
        self.page = self.context.new_page()

    def click(self, what: Locator) -> None:
        """A click of the payer's on the page."""
        what.click()
        self.clicks += 1

    @property
    def prompts(self) -> int:
        """How often a wallet asked its owner."""
        return self.prompts_elsewhere + (self.wallet.prompts if self.wallet else 0)


@dataclass(frozen=True)
class Way:
    """A way to pay: what is there before the link is opened, and what the payer does then."""

    name: str
    prepare: Callable[[Payment], None]
    pay: Callable[[Payment], None]


@dataclass(frozen=True)
class Cost:
    """What one payment took."""

    seconds: float
    bytes: int
    requests: int
    clicks: int
    fields: int
    prompts: int


def with_wallet(token: str, kind: type[PayerWallet] = PayerWallet, **traits: bool) -> Callable[[Payment], None]:
    """A wallet in the browser that has one stablecoin."""

    def prepare(payment: Payment) -> None:
        wallet = kind.funded(payment.box.polygon, tokens=[token])
        for name, value in traits.items():
            setattr(wallet, name, value)
        if wallet.batches:
            wallet.use_account_code()
        payment.undo.callback(wallet.close)
        wallet.install(payment.context)
        payment.wallet = wallet

    return prepare


def by_wallet(payment: Payment) -> None:
    """The one button."""
    payment.click(payment.page.locator("#wallets button"))


def with_phone(payment: Payment) -> None:
    """A wallet on a phone that finds the relay."""
    payment.wallet = PayerWallet.funded(payment.box.polygon, tokens=["USDC"])
    phone = Phone.start(payment.relay.url, payment.wallet)
    payment.undo.callback(phone.stop)
    payment.context.expose_function("scan", phone.scan)


def by_phone(payment: Payment) -> None:
    """The button, and a camera before the code."""
    page = payment.page
    payment.click(page.get_by_role("button", name="Another wallet, by WalletConnect"))
    link = page.get_by_role("link", name="Open a wallet on this device")
    link.evaluate("(link) => scan(new URL(link.href).searchParams.get('uri'))")
    payment.prompts_elsewhere = 1  # whether to connect; the wallet counts what comes after


def with_nothing(payment: Payment) -> None:
    """Neither a wallet nor anything else in the browser."""


def by_transfer(payment: Payment) -> None:
    """The address is copied; the transfer comes from somewhere else, such as an exchange."""
    page = payment.page
    payment.click(page.get_by_text("Send from an exchange or any wallet"))
    address = page.locator("#send-USDC [data-copy^='0x']")
    amount = page.locator("#send-USDC [data-copy]:not([data-copy^='0x'])")  # the rate moves, and the price with it
    payment.click(address)
    payer = Wallet(payment.box.endpoints["rpc_url"], payment.box.endpoints["funded_key"])
    try:
        units = int(Decimal(str(amount.get_attribute("data-copy"))) * 10**6)
        payer.transfer(TOKENS["USDC"].address, str(address.get_attribute("data-copy")), units)
    finally:
        payer.close()
    payment.prompts_elsewhere = 1


def by_card(payment: Payment) -> None:
    """Stripe's page, as our double of it is."""
    page = payment.page
    payment.click(page.get_by_role("button", name="by card"))
    for label, value in CARD.items():
        page.get_by_label(label).fill(value)
        payment.fields += 1
    payment.click(page.get_by_role("button", name="Pay $"))


WAYS = (
    Way("USDC, one signature (EIP-3009)", with_wallet("USDC"), by_wallet),
    Way("the same in MetaMask's provider", with_wallet("USDC", MetaMaskWallet), by_wallet),
    Way("the same on a phone, by WalletConnect", with_phone, by_phone),
    Way("USDT, signature and transaction (EIP-2612)", with_wallet("USDT"), by_wallet),
    Way("USDT, one batch (EIP-5792)", with_wallet("USDT", batches=True), by_wallet),
    Way("USDC, a wallet that cannot sign: approve, pay", with_wallet("USDC", signs=False), by_wallet),
    Way("USDC, plain transfer", with_nothing, by_transfer),
    Way("card, on the double of Stripe", with_nothing, by_card),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="payments by each way; the medians are printed")
    rounds = parser.parse_args().rounds
    costs: dict[str, list[Cost]] = {way.name: [] for way in WAYS}
    with _running() as (box, relay, browser), Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("payments", total=rounds * len(WAYS))
        for _ in range(rounds):  # round by round: what slows the machine down for a while slows down every way
            for way in WAYS:
                costs[way.name].append(_pay(way, box, relay, browser))
                progress.advance(task)
    table = Table(
        title=f"From the link to ducats; medians of {rounds}; a block every {BLOCK_SECONDS:.0f} s, final after 2"
    )
    for name in ("way", "seconds", "kB", "requests", "clicks", "fields", "prompts"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, measured in costs.items():
        seconds = [cost.seconds for cost in measured]
        table.add_row(
            name,
            f"{statistics.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})",
            f"{statistics.median(cost.bytes for cost in measured) / 1000:.1f}",
            *(_median(measured, what) for what in ("requests", "clicks", "fields", "prompts")),
        )
    Console(width=140).print(table)


def _median(measured: list[Cost], what: str) -> str:
    return f"{statistics.median(getattr(cost, what) for cost in measured):.0f}"


def _pay(way: Way, box: Stack, relay: Relay, browser: Browser) -> Cost:
    """One payment for the Merchant package in a new browser, by a citizen that nobody else is."""
    citizen = f"Marco_Polo_{os.urandom(4).hex()}"
    shop = Shop(box.endpoints["api"], box.endpoints["database_url"], citizen)
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    payment = Payment(box, relay, context)
    with payment.undo:
        payment.undo.callback(context.close)
        way.prepare(payment)
        link = shop.link(citizen_id=citizen)["url"]
        traffic = Traffic.of(payment.page)
        begun = time.perf_counter()
        payment.page.goto(link)
        way.pay(payment)
        expect(payment.page.get_by_role("status")).to_have_text(
            "Done: 2,750 ducats were credited.", timeout=PATIENCE_MS
        )
        seconds = time.perf_counter() - begun
    held = httpx.get(f"{shop.api}/api/citizens/{citizen}/balance", trust_env=False).json()
    if int(held["units"]) + int(held["in_venice_units"]) != 2_750 * 10**6:
        raise SystemExit(f"2,750 ducats were to be credited by {way.name!r}, and what is there is {held}")
    return Cost(seconds, traffic.bytes, traffic.requests, payment.clicks, payment.fields, payment.prompts)


@contextmanager
def _running() -> Iterator[tuple[Stack, Relay, Browser]]:
    """The whole system, a relay of WalletConnect's, and a browser."""
    with ExitStack() as undo:
        relay = Relay()
        undo.callback(relay.stop)
        connect = {"walletconnect_project_id": "0" * 32, "walletconnect_relay_url": relay.url}
        settings: dict[str, Any] = {**WITHOUT_LIMITS, **connect}
        os.environ |= {f"CASCADE_{name.upper()}": value for name, value in settings.items()}
        box = undo.enter_context(Stack.start(Path(undo.enter_context(tempfile.TemporaryDirectory())), free_port()))
        playwright = undo.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        undo.callback(browser.close)
        yield box, relay, browser


if __name__ == "__main__":
    main()
