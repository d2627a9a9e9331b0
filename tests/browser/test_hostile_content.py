"""What others write is text, and the policy holds even if it were not."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from playwright.sync_api import BrowserContext, Page, expect

from api.pages import templates
from cascade.chains import POLYGON
from cascade.domain.money import USDC, Money
from tests.browser.conftest import Shop, Watch
from tests.browser.wallet import PayerWallet

MARKUP = "<img src=x onerror=document.title='taken'>"


def test_names_are_shown_as_text(shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page) -> None:
    wallet.name, wallet.icon = MARKUP, "https://stranger.example/icon.png"
    wallet.install(context)
    order = shop.order()
    shop.rename_citizen(order, MARKUP)
    page.goto(order["payment_link"])
    expect(page.get_by_role("main")).to_contain_text(f"for {MARKUP}")
    expect(page.get_by_role("button")).to_have_text(f"Pay with {MARKUP[:40]}")
    assert page.locator("img").count() == 0
    expect(page).to_have_title("2,750 ducats for 250 USDC")


def test_terms_cannot_leave_their_script_block(shop: Shop, page: Page) -> None:
    """None of them comes from a stranger today; the page holds even if one did."""
    page.goto(shop.order()["payment_link"])
    hostile = {"label": "</script><img id=taken>", "quote": "'\"&<!--<script>"}
    html = (
        templates("en")
        .get_template("pay.html")
        .render(
            order=SimpleNamespace(status="open", payments=[], order_id="ord_"),
            terms=SimpleNamespace(amount=Money(USDC, 250_000_000), token=USDC, router="0x"),
            chain=POLYGON,
            expires_at=datetime.now(UTC),
            wallet=hostile,
        )
    )
    read = """(html) => {
      const parsed = new DOMParser().parseFromString(html, "text/html");
      return [JSON.parse(parsed.getElementById("wallet").textContent), parsed.getElementById("taken")];
    }"""
    assert page.evaluate(read, html) == [hostile, None]


def test_the_policy_refuses_what_is_not_ours(shop: Shop, page: Page, watch: Watch) -> None:
    page.goto(shop.order()["payment_link"])
    page.evaluate(
        """() => {
          document.body.append(Object.assign(document.createElement("script"), { text: "document.title = 'taken'" }));
          new Image().src = "https://stranger.example/pixel.png";
          document.body.setAttribute("style", "color: red");
        }"""
    )
    page.wait_for_timeout(300)
    assert page.title() != "taken"
    for complaint in ("CSP script-src", "CSP img-src", "CSP style-src", "request to https://stranger.example"):
        watch.forget(complaint)
    watch.complaints = [c for c in watch.complaints if "Content Security Policy" not in c]
