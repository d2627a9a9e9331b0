"""A payer with a real Chromium on the double's pages: pays, is declined and pays, passes and fails 3-D Secure."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import stripe
from playwright.sync_api import Browser, Page, expect

from sandbox.stripe import StripeDouble
from tests.browser.conftest import PATIENCE_MS

GOOD, DECLINED, SECURE = "4242 4242 4242 4242", "4000000000000002", "4000 0025 0000 3155"


class _Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name is http.server's
        body = b"<!doctype html><title>Shop</title><link rel=icon href='data:,'><h1>The shop</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def shop_url() -> Iterator[str]:
    """Where payers come from and go back to: another origin."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Shop)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble.start() as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})


@pytest.fixture
def payer(browser: Browser) -> Iterator[Page]:
    """A page whose console stays silent but for what the browser itself says of a 402 or 410."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert [complaint for complaint in complaints if "402" not in complaint and "410" not in complaint] == []


def session_of(client: stripe.StripeClient, shop_url: str, **more: Any) -> stripe.checkout.Session:
    """A new session over 25 dollars, with a name that would be a script where it is not escaped."""
    price = {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Explorer <script>alert(1)</script>"}}
    wish = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "success_url": f"{shop_url}/thanks?session={{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{shop_url}/cart",
        **more,
    }
    return client.v1.checkout.sessions.create(wish)  # type: ignore[arg-type]


def pay(page: Page, card: str) -> None:
    """Fills in the form as its labels ask, and sends it."""
    expect(page.get_by_text("TEST MODE")).to_be_visible()
    page.get_by_label("Card number").fill(card)
    page.get_by_label("Expiry").fill("12 / 34")
    page.get_by_label("Security code").fill("123")
    page.get_by_label("Name on card").fill("Marco Polo")
    page.get_by_role("button", name="Pay $25.00").click()


def paid(client: stripe.StripeClient, session: stripe.checkout.Session) -> bool:
    """Whether Stripe has the money."""
    return client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_pays(payer: Page, client: stripe.StripeClient, shop_url: str) -> None:
    session = session_of(client, shop_url)
    payer.goto(str(session.url))
    expect(payer.get_by_role("row", name="Explorer")).to_contain_text("Explorer <script>alert(1)</script>")
    pay(payer, GOOD)
    payer.wait_for_url(f"{shop_url}/thanks?session={session.id}")
    assert paid(client, session)
    details = client.v1.checkout.sessions.retrieve(session.id).customer_details
    assert details is not None
    assert details.name == "Marco Polo"
    payer.goto(str(session.url))
    expect(payer.get_by_role("heading", name="You're all done here")).to_be_visible()


def test_is_declined_and_pays_with_another_card(payer: Page, client: stripe.StripeClient, shop_url: str) -> None:
    session = session_of(client, shop_url)
    payer.goto(str(session.url))
    pay(payer, DECLINED)
    expect(payer.get_by_role("alert")).to_have_text("Your card was declined.")
    pay(payer, "1234")
    expect(payer.get_by_role("alert")).to_have_text("Your card number is incorrect.")
    assert not paid(client, session)
    pay(payer, GOOD)
    payer.wait_for_url(f"{shop_url}/thanks**")
    assert paid(client, session)


def test_fails_the_3ds_step_and_then_passes_it(payer: Page, client: stripe.StripeClient, shop_url: str) -> None:
    session = session_of(client, shop_url)
    payer.goto(str(session.url))
    pay(payer, SECURE)
    expect(payer.get_by_text("TEST MODE")).to_be_visible()
    payer.get_by_role("button", name="Fail authentication").click()
    expect(payer.get_by_role("alert")).to_contain_text("failed authentication")
    assert not paid(client, session)
    pay(payer, SECURE)
    payer.get_by_role("button", name="Complete authentication").click()
    payer.wait_for_url(f"{shop_url}/thanks?session={session.id}")
    assert paid(client, session)


def test_goes_back_or_comes_too_late(payer: Page, client: stripe.StripeClient, shop_url: str) -> None:
    session = session_of(client, shop_url)
    payer.goto(str(session.url))
    payer.get_by_role("link", name="Cancel and go back").click()
    payer.wait_for_url(f"{shop_url}/cart")
    payer.go_back()
    client.v1.checkout.sessions.expire(session.id)
    with payer.expect_response(lambda answer: answer.request.method == "POST") as late:
        pay(payer, GOOD)
    assert late.value.status == 410
    expect(payer.get_by_role("heading", name="This page has expired")).to_be_visible()


def test_pays_from_a_bank_account(
    payer: Page, double: StripeDouble, client: stripe.StripeClient, shop_url: str
) -> None:
    session = session_of(client, shop_url, allowed_payment_method_types=["card", "us_bank_account"])
    payer.goto(str(session.url))
    payer.get_by_role("button", name="from a test bank account").click()
    payer.wait_for_url(f"{shop_url}/thanks**")
    assert not paid(client, session)
    double.control.complete_async_payment(session.id)
    assert paid(client, session)
