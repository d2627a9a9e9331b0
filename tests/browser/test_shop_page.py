"""The page that asks what to buy and for whom, before there is an order."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener, Shop, Watch

PAYS = re.compile(r"/pay/[\w-]{22}$")


def test_a_package_is_chosen_by_keyboard(shop: Shop, page: Page) -> None:
    page.goto(f"{shop.api}/pay")
    expect(page.get_by_role("heading")).to_have_text("Buy ducats")
    page.get_by_role("radio", name="Merchant").focus()
    page.keyboard.press("Space")
    page.get_by_label("For which citizen of Venice?").focus()
    page.keyboard.type(shop.citizen)
    page.keyboard.press("Enter")
    expect(page).to_have_url(PAYS)
    expect(page.get_by_role("heading")).to_have_text("2,750 ducats")
    expect(page.get_by_role("main")).to_contain_text(f"including 250 bonus, for {shop.citizen}")
    assert shop.orders() == 1


@pytest.mark.parametrize(
    ("locale", "typed", "brings", "heading"),
    [
        ("en-US", "25.5", "You pay $25.50 and get 255 ducats", "255 ducats"),
        ("en-US", "1,200", "You pay $1,200 and get 13,800 ducats, including 1,800 bonus", "13,800 ducats"),
        (
            "it-IT",
            "1.234,50",
            "Paghi 1.234,50 $ e ricevi 14.196,75 ducati, di cui 1.851,75 in omaggio",
            "14.196,75 ducati",
        ),
    ],
)
def test_an_amount_of_ones_own_shows_what_it_brings(
    shop: Shop, new_context: Opener, locale: str, typed: str, brings: str, heading: str
) -> None:
    page = new_context(locale=locale).new_page()
    page.goto(f"{shop.api}/pay")
    page.locator("[name=package][value=own]").check()
    page.locator("#usd").press_sequentially(typed)
    expect(page.locator("#custom")).to_have_text(brings)
    page.locator("[name=citizen_id]").fill(shop.citizen)
    page.get_by_role("button").click()
    expect(page).to_have_url(PAYS)
    expect(page.get_by_role("heading")).to_have_text(heading)


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_what_cannot_be_taken_is_said_beside_its_field_and_nothing_is_lost(
    shop: Shop, new_context: Opener, watch: Watch, scripts: bool
) -> None:
    page = new_context(java_script_enabled=scripts).new_page()
    page.goto(f"{shop.api}/pay")
    page.get_by_role("radio", name="An amount of your own").check()
    amount, citizen = page.get_by_label("US dollars"), page.get_by_label("For which citizen of Venice?")
    bounds = "From $10 to $10,000, with at most two decimals."
    unreadable = "{} cannot be read as an amount. Write it like 10,000 or 10,000.50."
    for wrong in ("9.99", "10,000.01", "1.234", "ten", "10.000,50"):
        amount.fill(wrong)
        citizen.fill(shop.citizen)
        page.get_by_role("button").click()
        is_number = wrong in ("9.99", "10,000.01")
        expect(page.get_by_role("alert")).to_have_text(bounds if is_number else unreadable.format(wrong))
        expect(amount).to_have_attribute("aria-invalid", "true")
        expect(amount).to_have_value(wrong)
        expect(citizen).to_have_value(shop.citizen)
    amount.fill("10")
    citizen.fill("no citizen")
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no citizen of this name.")
    expect(citizen).to_have_attribute("aria-describedby", "citizen_id-fault")
    assert shop.orders() == 0
    citizen.fill(f" {shop.citizen} ")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text("100 ducats")
    assert shop.orders() == 1
    watch.forget("422")


def test_an_amount_is_shown_back_without_javascript(shop: Shop, new_context: Opener) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{shop.api}/pay")
    page.get_by_role("radio", name="An amount of your own").check()
    page.get_by_label("US dollars").fill("1,000")
    page.get_by_label("For which citizen of Venice?").fill(shop.citizen)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading")).to_have_text("You pay $1,000 and get 11,500 ducats")
    assert shop.orders() == 0
    page.get_by_role("button", name="Change the amount").click()
    expect(page.get_by_label("US dollars")).to_have_value("1,000")
    page.get_by_label("US dollars").fill("10,000")
    page.get_by_role("button").click()
    page.get_by_role("button", name="Go on to pay").click()
    expect(page.get_by_role("heading")).to_have_text("115,000 ducats")
    assert shop.orders() == 1


def test_the_language_is_chosen_once(shop: Shop, page: Page) -> None:
    page.goto(f"{shop.api}/pay")
    page.get_by_role("link", name="Italiano").click()
    expect(page.get_by_role("heading")).to_have_text("Compra ducati")
    expect(page.locator("html")).to_have_attribute("lang", "it")
    page.goto(shop.order()["payment_link"])
    expect(page.get_by_role("heading")).to_have_text("2.750 ducati")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading")).to_have_text("2,750 ducats")
