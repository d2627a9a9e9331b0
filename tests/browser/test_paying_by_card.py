"""A payer with a real Chromium: from our page to Stripe's, and back to a paid order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from sandbox.ports import free_port
from sandbox.stripe import StripeDouble
from tests.browser.conftest import PATIENCE_MS, Runner, Shop
from tests.conftest import RunningCascade

GOOD, DECLINED, SECURE = "4242 4242 4242 4242", "4000000000000002", "4000 0025 0000 3155"


@dataclass(frozen=True)
class CardShop:
    """A running Cascade that takes cards, and the double of Stripe beside it."""

    shop: Shop
    double: StripeDouble

    def link(self) -> str:
        """A payment link for the Merchant package, 250 dollars."""
        link: str = self.shop.order()["payment_link"]
        return link


@pytest.fixture(scope="module")
def card_system(running_cascade: Runner) -> Iterator[tuple[RunningCascade, StripeDouble]]:
    """A Cascade that takes cards, for every test here."""
    port = free_port()
    with StripeDouble.start(webhook_url=f"http://127.0.0.1:{port}/api/payments/webhook") as double:
        keys = {"STRIPE_SECRET_KEY": double.secret_key, "STRIPE_WEBHOOK_SECRET": double.webhook_secret}
        with running_cascade(stripe=keys, stripe_api_base=double.url, port=str(port)) as cascade:
            yield cascade, double


@pytest.fixture
def card_shop(card_system: tuple[RunningCascade, StripeDouble]) -> Iterator[CardShop]:
    cascade, double = card_system
    yield CardShop(Shop.of(cascade), double)
    double.chaos.reset()


@pytest.fixture(params=[True, False], ids=["with JavaScript", "without JavaScript"])
def scripts(request: pytest.FixtureRequest) -> bool:
    on: bool = request.param
    return on


@pytest.fixture
def payer(browser: Browser, scripts: bool) -> Iterator[Page]:
    """A page whose console stays silent but for what the browser itself says of a 402 or a 503."""
    context: BrowserContext = browser.new_context(java_script_enabled=scripts, viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [complaint for complaint in complaints if "402" not in complaint and "503" not in complaint] == []


def fill(page: Page, number: str) -> None:
    for label, value in (("Card number", number), ("Expiry", "12 / 34"), ("CVC", "123"), ("Name on card", "Marco")):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Pay $250.00").click()


def see_paid(page: Page, scripts: bool) -> None:
    """With JavaScript the page tells by itself; without, whoever reloads it sees."""
    for _ in range(50):
        if scripts or page.get_by_text("Done: 2,750 ducats were credited.").count():
            break
        page.wait_for_timeout(200)
        page.reload()
    expect(page.get_by_text("Done: 2,750 ducats were credited.")).to_be_visible()
    expect(page.get_by_text("Paid", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Pay")).to_be_hidden()


def test_pays_on_stripes_page_and_comes_back_to_a_paid_order(card_shop: CardShop, payer: Page, scripts: bool) -> None:
    payer.goto(card_shop.link())
    button = payer.get_by_role("button", name="Pay $250 by card (test mode)")
    expect(button).to_be_visible()
    button.click()
    expect(payer.get_by_text(f"2,750 ducats for {card_shop.shop.citizen}")).to_be_visible()
    fill(payer, GOOD)
    see_paid(payer, scripts)
    assert card_shop.shop.balance() == "2750"


def test_is_declined_gives_up_comes_back_and_pays(card_shop: CardShop, payer: Page, scripts: bool) -> None:
    payer.goto(card_shop.link())
    payer.get_by_role("button", name="by card").click()
    fill(payer, DECLINED)
    expect(payer.get_by_role("alert")).to_contain_text("declined")
    payer.get_by_role("link", name="Cancel and go back").click()
    expect(payer.get_by_text("Waiting for your payment.")).to_be_visible()
    payer.get_by_role("button", name="by card").click()  # the same page of Stripe's
    fill(payer, SECURE)
    payer.get_by_role("button", name="Complete authentication").click()
    see_paid(payer, scripts)


def test_the_way_back_alone_pays_nothing(card_shop: CardShop, payer: Page, scripts: bool) -> None:
    link = card_shop.link()
    payer.goto(f"{link}?card=paid")
    expect(payer.get_by_text("Waiting for Stripe to confirm your card payment.")).to_be_visible()
    expect(payer.get_by_role("button")).to_have_count(0)  # nobody should pay twice
    payer.wait_for_timeout(2500)
    expect(payer.get_by_text("Waiting for Stripe to confirm your card payment.")).to_be_visible()
    assert card_shop.shop.balance() == "0"


@pytest.mark.parametrize("scripts", [True], indirect=True)
def test_a_refund_shows_on_the_page(card_shop: CardShop, payer: Page) -> None:
    order = card_shop.shop.order()
    payer.goto(order["payment_link"])
    payer.get_by_role("button", name="by card").click()
    fill(payer, GOOD)
    see_paid(payer, True)
    state = httpx.get(f"{card_shop.shop.api}/api/payments/orders/{order['order_id']}", trust_env=False).json()
    (payment,) = state["payments"]
    refund = {"payment_intent": payment["transaction"], "amount": "10000"}
    key = {"authorization": f"Bearer {card_shop.double.secret_key}"}
    assert httpx.post(f"{card_shop.double.url}/v1/refunds", data=refund, headers=key).status_code == 200
    for _ in range(50):
        payer.reload()
        if payer.get_by_text("$100 was refunded").count():
            break
        payer.wait_for_timeout(100)
    expect(payer.get_by_text("$100 was refunded; 1,100 ducats were taken back.")).to_be_visible()


@pytest.mark.parametrize("scripts", [True], indirect=True)
def test_a_stripe_that_is_down_is_told_in_a_sentence(card_shop: CardShop, payer: Page) -> None:
    link = card_shop.link()
    card_shop.double.chaos.set(reset_before_effect=1.0)
    payer.goto(link)
    payer.get_by_role("button", name="by card").click()
    expect(payer.get_by_role("alert")).to_contain_text("You were not charged")
    card_shop.double.chaos.reset()
    payer.get_by_role("button", name="by card").click()
    expect(payer.get_by_label("Card number")).to_be_visible()
