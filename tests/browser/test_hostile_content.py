"""What others write is text, and the policy holds even if it were not."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Shop, Watch
from tests.browser.payer_wallet import PayerWallet

MARKUP = "<img src=x onerror=document.title='taken'>"


def test_names_are_shown_as_text(shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page) -> None:
    wallet.name, wallet.icon = MARKUP, "https://stranger.example/icon.png"
    wallet.install(context)
    order = shop.order()
    shop.rename_citizen(order, MARKUP)
    page.goto(order["payment_link"])
    expect(page.get_by_role("main")).to_contain_text(f"for {MARKUP}")
    expect(page.get_by_role("button")).to_have_text(f"Pay with {MARKUP[:40]}")
    assert page.locator("#wallets img, #order img, img[src=x]").count() == 0
    expect(page).to_have_title("2,750 ducats for $250")


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
    watch.tolerate("Content Security Policy")
