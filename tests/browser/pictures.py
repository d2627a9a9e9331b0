"""``make pictures``: every state of the payment page as a picture to look at, taken from a running system."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
import psycopg
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from rich.console import Console

from sandbox.ports import free_port
from sandbox.stack import Stack
from sandbox.wallet import Wallet
from tests.browser.conftest import FLAGS, chromium
from tests.browser.payer_wallet import PayerWallet, Refusal

ALL = Path(".build/pictures")
DOCS = Path("docs/pictures")
KEPT = ("choose-phone", "open-phone", "send-phone", "paid-phone", "open-desk-dark")
"""What README.md and docs/how-to-pay.md show."""
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Crect width='8' height='8'"
    " rx='2' fill='%23e2761b'/%3E%3C/svg%3E"
)
_PATIENCE_SECONDS = 60.0


@dataclass
class Studio:
    """A running system, and a browser in front of it."""

    box: Stack
    browser: Browser
    folder: Path
    console: Console

    def order(self, **wish: str) -> dict[str, Any]:
        """A new order."""
        asked = {"citizen_id": "Marco_Polo", **(wish or {"package": "merchant"})}
        answer = httpx.post(
            f"{self.box.endpoints['api']}/api/payments/crypto-payment-intent", json=asked, trust_env=False
        )
        begun: dict[str, Any] = answer.raise_for_status().json()
        return begun

    def age(self, order: dict[str, Any], minutes: int) -> None:
        """Let an order have been opened earlier."""
        with psycopg.connect(self.box.endpoints["database_url"]) as connection:
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(
                "UPDATE orders SET created_at = created_at - %(by)s * interval '1 minute',"
                " expires_at = expires_at - %(by)s * interval '1 minute' WHERE id = %(id)s",
                {"by": minutes, "id": order["order_id"]},
            )

    def transfer(self, order: dict[str, Any], units: int) -> None:
        """A plain transfer to the order's address."""
        payer = Wallet(self.box.endpoints["rpc_url"], self.box.endpoints["funded_key"])
        try:
            token = self.box.endpoints["tokens"][order["token"]]
            payer.receipt(payer.transfer(token, order["deposit_address"], units))
        finally:
            payer.close()

    def exhaust_reads(self, page: Page) -> None:
        """Ask so often that this address is refused for the rest of the minute, and load the page again."""
        with httpx.Client(trust_env=False) as client:
            while client.get(f"{self.box.endpoints['api']}/api/payments/pricing").status_code != 429:
                pass
        page.reload()

    def refuse_connections(self) -> None:
        """Let the database take no more connections, and end those that it has."""
        with psycopg.connect(self.box.endpoints["database_url"], dbname="postgres", autocommit=True) as connection:
            connection.execute("ALTER DATABASE cascade ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cascade'")

    def take(
        self,
        name: str,
        url: str,
        *acts: Callable[[Page], object],
        wallet: PayerWallet | None = None,
        scripts: bool = True,
    ) -> None:
        """Takes one state on a phone and on a desk, by day and by night."""
        for suffix, options in (("phone", PHONE), ("phone-dark", PHONE), ("desk", DESK), ("desk-dark", DESK)):
            scheme = "dark" if suffix.endswith("dark") else "light"
            language = "it-IT" if name.endswith("-it") else "en-GB"
            context = self.browser.new_context(
                **options | {"color_scheme": scheme, "locale": language}, java_script_enabled=scripts
            )
            self._take(context, f"{name}-{suffix}", url, acts, wallet)
            context.close()

    def _take(
        self,
        context: BrowserContext,
        name: str,
        url: str,
        acts: tuple[Callable[[Page], object], ...],
        wallet: PayerWallet | None,
    ) -> None:
        if wallet is not None:
            wallet.install(context)
        page = context.new_page()
        page.goto(url)
        page.wait_for_timeout(600)
        for act in acts:
            act(page)
        page.wait_for_timeout(400)
        height = int(page.evaluate("document.body.scrollHeight"))
        page.set_viewport_size({"width": page.viewport_size["width"], "height": height})  # type: ignore[index]
        page.wait_for_timeout(100)
        page.screenshot(path=self.folder / f"{name}.png")  # `full_page` would be no phone any more
        self.console.print(name)

    def until(self, order: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> None:
        """Waits until an order stands as it should."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        path = f"{self.box.endpoints['api']}/api/payments/orders/{order['order_id']}"
        while not holds(httpx.get(path, trust_env=False).json()):
            assert time.monotonic() < deadline, f"{order['order_id']} did not come that far"
            time.sleep(0.2)

    def wallet(self, **settings: Any) -> PayerWallet:
        """A wallet with the box's money in it."""
        return PayerWallet(self.box.polygon, self.box.endpoints["funded_key"], name="MetaMask", icon=_ICON, **settings)


def take_all(studio: Studio) -> None:
    """Every state there is to see; the last two end the service."""
    shop, order = studio.box.endpoints["api"], studio.order()
    link = order["payment_link"]
    declining = studio.wallet(refusals={"eth_requestAccounts": Refusal(4001, "User rejected the request.")})
    pays = [lambda page: page.locator("#wallets button").click()]
    studio.take("choose", f"{shop}/pay", lambda page: page.get_by_text("Merchant").click())
    studio.take(
        "custom", f"{shop}/pay", lambda page: page.get_by_text("own").click(), lambda page: page.fill("#usd", "25")
    )
    for name, typed in (("amount-shown", "10,000"), ("amount-refused", "1.234")):
        studio.take(name, f"{shop}/pay", _type_amount(typed), scripts=False)
    studio.take("open", link, wallet=declining)
    studio.take("open-it", link, wallet=declining)
    studio.take("no-wallet", link)
    studio.take("send", link, lambda page: page.locator("#send > summary").click())
    studio.take("declined", link, *pays, wallet=declining)
    studio.take("returned", f"{link}?card=paid")
    studio.take("unknown", f"{shop}/pay/nothing-has-this-link")
    part = studio.order(usd_amount="250")
    studio.transfer(part, 100_000_000)
    studio.until(part, lambda state: state["missing"] is not None)
    studio.take("part", part["payment_link"])
    studio.age(order, 20)
    studio.take("expired", link)
    paid = studio.order()
    studio.transfer(paid, int(paid["amount"]))
    studio.until(paid, lambda state: state["status"] == "fulfilled")
    studio.take("paid", paid["payment_link"])
    studio.take("paid-it", paid["payment_link"])
    studio.take("rate", f"{shop}/rate")
    studio.take("busy", f"{shop}/pay", studio.exhaust_reads)
    time.sleep(60)  # until the minute is over
    studio.refuse_connections()
    studio.take("away", f"{shop}/pay")


def _type_amount(usd: str) -> Callable[[Page], object]:
    """Wish for an amount of one's own, as in a browser without scripts."""

    def act(page: Page) -> None:
        page.locator("[name=package][value=own]").check()
        page.fill("#usd", usd)
        page.fill("[name=citizen_id]", "Marco_Polo")
        page.locator("main form button").first.click()

    return act


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=ALL, show_default=True)
def main(folder: Path) -> None:
    """Take the pictures of the payment page anew, and give those to the documents that they show."""
    folder.mkdir(parents=True, exist_ok=True)
    DOCS.mkdir(exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="cascade-pictures-") as home:
        with console.status("Starting the whole system ..."):
            box = Stack.start(Path(home), free_port())
        with box, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
            take_all(Studio(box, browser, folder, console))
            browser.close()
    for name in KEPT:
        shutil.copy(folder / f"{name}.png", DOCS)


if __name__ == "__main__":
    main()
