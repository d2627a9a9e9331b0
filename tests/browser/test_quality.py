"""What can be held without a network of what Lighthouse looks at: weight, accessibility, size on small screens."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from api.pages.rendering import PAGES
from sandbox.polygon import LocalPolygon
from tests.browser.conftest import Opener, Shop, Watch
from tests.browser.foreign_wallets import packages
from tests.browser.payer_wallet import PayerWallet, Refusal
from tests.browser.test_transfers import send
from tests.browser.traffic import Traffic

MODULES = ("live.js", "pay.js", "wallet.js")
"""What a payer's browser loads who pays from a wallet here; WalletConnect's comes when somebody asks for it."""
MOST_MODULE_BYTES = 5_000
MOST_FIRST_VIEW_BYTES = 12_000
"""With the headers of the answers, which are some 400 bytes each."""
MOST_FIRST_VIEW_REQUESTS = 7
SMALLEST_TARGET_PX = 24
"""What WCAG 2.2 (2.5.8) asks of whatever is tapped."""

_AXE = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])]);
}"""
_TOO_SMALL = """(least) => [...document.querySelectorAll("a, button, input, summary")]
  .filter((one) => one.checkVisibility() && !one.closest("p, dd, label"))
  .map((one) => [one.outerHTML.slice(0, 120), one.getBoundingClientRect()])
  .filter(([, { width, height }]) => Math.min(width, height) < least)"""

Scene = Callable[[Shop, LocalPolygon, Page], None]


def choose(shop: Shop, _: LocalPolygon, page: Page) -> None:
    page.goto(f"{shop.api}/pay")


def choose_wrongly(shop: Shop, _: LocalPolygon, page: Page) -> None:
    page.goto(f"{shop.api}/pay")
    page.locator("[name=package][value=own]").check()
    page.locator("#usd").fill("1")
    page.locator("[name=citizen_id]").fill(shop.citizen)
    page.get_by_role("button").click()
    page.get_by_role("alert").wait_for()


def unpaid(shop: Shop, _: LocalPolygon, page: Page) -> None:
    page.goto(shop.order()["payment_link"])


def unfolded(shop: Shop, polygon: LocalPolygon, page: Page) -> None:
    unpaid(shop, polygon, page)
    for summary in page.locator("summary:visible").all():
        summary.click()


def declined(shop: Shop, polygon: LocalPolygon, page: Page) -> None:
    unpaid(shop, polygon, page)
    page.locator("#wallets button").click()
    expect(page.get_by_role("alert")).not_to_be_empty()


def short(shop: Shop, polygon: LocalPolygon, page: Page) -> None:
    order = shop.order()
    send(polygon, "USDC", order["deposit_address"], "100")
    page.goto(order["payment_link"])
    expect(page.get_by_role("status")).to_contain_text("missing")


def expired(shop: Shop, _: LocalPolygon, page: Page) -> None:
    order = shop.order()
    shop.age(order, 3600)
    page.goto(order["payment_link"])


def paid(shop: Shop, polygon: LocalPolygon, page: Page) -> None:
    order = shop.order()
    wallet = PayerWallet.funded(polygon)
    for call in order["calls"]:
        wallet._submit(call["to"], call["data"])
    polygon.mine(3)
    page.goto(order["payment_link"])
    expect(page.locator("#order")).to_have_attribute("data-phase", "fulfilled")


def unknown(shop: Shop, _: LocalPolygon, page: Page) -> None:
    page.goto(f"{shop.api}/pay/nothing-has-this-link")


SCENES = (choose, choose_wrongly, unpaid, unfolded, declined, short, expired, paid, unknown)


@pytest.fixture
def axe() -> str:
    return (packages() / "node_modules/axe-core/axe.min.js").read_text()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_state_can_be_used_by_everybody_on_every_screen(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, new_context: Opener, watch: Watch, axe: str, scene: Scene
) -> None:
    wallet.refusals = {"eth_requestAccounts": Refusal(4001, "User rejected the request.")}
    context = new_context(viewport={"width": 320, "height": 700}, color_scheme="light")
    context.add_init_script(axe)
    wallet.install(context)
    page = context.new_page()
    scene(shop, polygon, page)
    for status in ("404", "422"):
        watch.tolerate(status)
    page.wait_for_timeout(400)  # the wallets have been found
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_TOO_SMALL, SMALLEST_TARGET_PX) == []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(_AXE) == []


def test_the_modules_weigh_little() -> None:
    weights = {
        name: len(gzip.compress((PAGES / "static" / "built" / name).read_bytes(), 9, mtime=0)) for name in MODULES
    }
    assert sum(weights.values()) < MOST_MODULE_BYTES, weights


def test_the_first_view_weighs_little(shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page) -> None:
    wallet.install(context)
    traffic = Traffic.of(page)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").wait_for()
    page.wait_for_timeout(300)
    assert 0 < traffic.bytes < MOST_FIRST_VIEW_BYTES, traffic
    assert 0 < traffic.requests <= MOST_FIRST_VIEW_REQUESTS, traffic


def test_a_payer_with_a_keyboard_alone_gets_everywhere(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").wait_for()
    focused = "document.activeElement.textContent.trim()"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        reached.append(page.evaluate(focused))
        assert page.evaluate(outline) != "none", reached
    for wanted in ("Pay with Test Wallet", "Pay with your phone", "Send from an exchange or any wallet", "Italiano"):
        assert wanted in reached, reached
    assert reached[:2] == ["Venice", "Pay with Test Wallet"]  # after the way back, the way that is meant comes first


def test_news_are_said_to_who_cannot_see_them(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    """A live region speaks only of changes within it: it must be there before, and stay."""
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    status = page.get_by_role("status").element_handle()
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert status is not None
    assert status.evaluate("(status) => status.isConnected && status.textContent.includes('Payment seen.')")
