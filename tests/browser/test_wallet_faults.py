"""What a wallet can do wrong, and the sentence that the payer gets."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from sandbox.polygon import LocalPolygon
from tests.browser.conftest import Opener, Shop, Watch
from tests.browser.payer_wallet import POLYGON, PayerWallet, Refusal

SIGN, SEND = "eth_signTypedData_v4", "eth_sendTransaction"
REJECTED = Refusal(4001, "User rejected the request.")


def test_each_refusal_gets_a_sentence(shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page) -> None:
    wallet.signs = False
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    sentences = [
        ("eth_requestAccounts", REJECTED, "You declined in your wallet, so nothing was paid."),
        ("eth_requestAccounts", Refusal(-32002, "Already processing."), "Your wallet already has a request open."),
        ("eth_sendTransaction", REJECTED, "You declined in your wallet, so nothing was paid."),
        ("eth_sendTransaction", Refusal(-32603, "", {"originalError": {"code": 4001}}), "You declined in your wallet"),
        ("eth_sendTransaction", Refusal(4100, "Unauthorized."), "Your wallet no longer shares this account."),
        ("eth_sendTransaction", Refusal(-32000, "insufficient funds for gas * price"), "too little POL"),
        ("eth_sendTransaction", Refusal(-32603, "execution reverted: odd"), "Your wallet could not do this."),
        ("eth_sendTransaction", Refusal(0, "User denied transaction signature."), "You declined in your wallet"),
    ]
    for method, refusal, sentence in sentences:
        wallet.refusals = {method: refusal}
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
        expect(page.get_by_role("alert")).not_to_contain_text(re.compile(r"odd|-32603|User"))
        expect(page.get_by_role("status")).to_have_text("Waiting for your payment.")
    wallet.refusals, wallet.locked = {}, True
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Your wallet shares no account with this page. Unlock it and try again."
    )


@pytest.mark.parametrize("failing", ["eth_signTypedData_v4", "wallet_sendCalls"])
def test_a_wallet_that_fails_in_a_way_of_its_own_is_asked_for_the_next_way(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page, failing: str
) -> None:
    if failing == "wallet_sendCalls":
        wallet.batches = True
        wallet.use_account_code()
    wallet.refusals = {failing: Refusal(-32603, "Internal JSON-RPC error.")}
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Your wallet could not do it this way. Press the button again: it is then asked to approve and pay, for a"
        " small network fee."
    )
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")


@pytest.mark.parametrize("token", ["USDC", "USDT"])
@pytest.mark.parametrize("account", ["undeployed", "delegated"])
def test_an_account_whose_signature_does_not_count_approves_and_pays(
    shop: Shop, polygon: LocalPolygon, context: BrowserContext, page: Page, watch: Watch, account: str, token: str
) -> None:
    """Its code is not on the chain yet (ERC-6492), or comes while it signs (EIP-7702)."""
    wallet = PayerWallet.funded(polygon, tokens=[token])
    wallet.undeployed = account == "undeployed"

    def delegate(method: str, params: list[Any]) -> None:
        if method == SIGN:
            wallet.use_account_code()

    wallet.on_request = delegate if account == "delegated" else None
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert [method for method in wallet.asked if method in (SIGN, SEND)] == [SIGN, SEND, SEND]
    expect(page.get_by_role("alert")).to_be_hidden()
    watch.forget("the server responded with a status of 409")


@pytest.mark.parametrize("known", [True, False])
def test_a_wallet_on_another_network_is_switched(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page, known: bool
) -> None:
    wallet.chain_id, wallet.networks = "0x1", {"0x1", POLYGON} if known else {"0x1"}
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert ("wallet_addEthereumChain" in wallet.asked) is not known


def test_a_wallet_that_changes_its_network_between_the_steps_is_switched_back(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    """A payment sent on another network reaches an address without code there, and succeeds without paying."""
    wallet.networks = {"0x1", POLYGON}

    def wander_after_approval(method: str, params: list[Any]) -> None:
        if method == "eth_chainId" and wallet.transactions_asked_for == 1:
            wallet.chain_id, wallet.on_request = "0x1", None

    wallet.on_request, wallet.signs = wander_after_approval, False
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")
    assert wallet.asked.count("wallet_switchEthereumChain") == 1


def test_a_wallet_that_stays_on_another_network_is_asked_for_nothing(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.chain_id, wallet.networks = "0x1", {"0x1"}
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    unknown_as_metamask_mobile_says_it = Refusal(-32603, "Internal error", {"originalError": {"code": 4902}})
    for refusals in (
        {"wallet_switchEthereumChain": REJECTED},
        {"wallet_switchEthereumChain": unknown_as_metamask_mobile_says_it, "wallet_addEthereumChain": REJECTED},
    ):
        wallet.asked, wallet.refusals = [], refusals
        page.get_by_role("button").click()
        expect(page.get_by_role("alert")).to_have_text(
            "Your wallet is on another network. Choose Polygon in it, then try again. Nothing was paid."
        )
        assert set(refusals) <= set(wallet.asked)
        assert wallet.transactions_asked_for == 0


def test_another_chain_with_the_same_number_is_asked_for_nothing(
    shop: Shop, wallet: PayerWallet, context: BrowserContext, page: Page
) -> None:
    wallet.signs, wallet.astray = False, True
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("The payment contract is not on the Polygon that your wallet")
    assert wallet.transactions_asked_for == 0
    wallet.astray = False
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Payment seen.")


def test_too_little_money_is_said_before_anything_is_approved(
    shop: Shop, polygon: LocalPolygon, context: BrowserContext, page: Page
) -> None:
    wallet = PayerWallet.funded(polygon, 12_345_678, ["USDC"])
    wallet.install(context)
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "237.654322 USDC or 250 USDT is missing: your account holds 12.345678 USDC and 0 USDT on Polygon."
    )
    expect(page.get_by_role("alert")).to_contain_text("USDC.e is another token")
    expect(page.get_by_text("the payment contract, 0x")).to_be_visible()
    assert wallet.transactions_asked_for == 0


def test_a_browser_without_a_wallet_says_what_to_do(shop: Shop, page: Page) -> None:
    page.goto(shop.order()["payment_link"])
    expect(page.get_by_text("No wallet was found in this browser.")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    expect(page.get_by_text("Send from an exchange or any wallet")).to_be_visible()
    expect(page.get_by_text("the payment contract, 0x")).to_be_hidden()  # it would frighten those who pay by card


def test_an_italian_reads_italian_figures_of_too_little_money(
    shop: Shop, polygon: LocalPolygon, new_context: Opener
) -> None:
    context = new_context(locale="it-IT")
    PayerWallet.funded(polygon, 12_345_678, ["USDC"]).install(context)
    page = context.new_page()
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button", name="Paga con Test Wallet").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "Mancano 237,654322 USDC o 250 USDT: il tuo conto ha 12,345678 USDC e 0 USDT su Polygon."
    )


def test_an_italian_reads_italian_while_paying(
    shop: Shop, polygon: LocalPolygon, wallet: PayerWallet, new_context: Opener
) -> None:
    context = new_context(locale="it-IT")
    wallet.refusals = {"eth_signTypedData_v4": REJECTED}
    wallet.install(context)
    page = context.new_page()
    page.goto(shop.order()["payment_link"])
    page.get_by_role("button", name="Paga con Test Wallet").click()
    expect(page.get_by_role("alert")).to_contain_text("Hai rifiutato nel tuo wallet, quindi non è stato pagato nulla.")
    wallet.refusals = {}
    page.get_by_role("button", name="Paga con Test Wallet").click()
    expect(page.get_by_role("status")).to_contain_text("Pagamento visto.")
    polygon.mine(3)
    expect(page.get_by_role("status")).to_have_text("Fatto: sono stati accreditati 2.750 ducati.")
    expect(page).to_have_title("Pagato: 2.750 ducati per 250 $")
