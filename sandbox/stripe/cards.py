"""The test cards: what happens to a payment is decided by the card's last four digits, which is all that is kept.

The numbers are those that Stripe publishes for test mode. Any other number is declined, as in test mode.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Decline:
    """Why a card says no, in Stripe's words."""

    code: str
    decline_code: str | None
    message: str


_DECLINED = "Your card was declined."
GENERIC: Final = Decline("card_declined", "generic_decline", _DECLINED)
_NOT_A_TEST_CARD: Final = Decline(
    "card_declined",
    "test_mode_live_card",
    "Your card was declined. Your request was in test mode, but used a non test card.",
)
_CVC: Final = "Your card's security code is incorrect."


@dataclass(frozen=True)
class Card:
    """A way to pay and how it behaves."""

    last4: str
    tokens: tuple[str, ...] = field(default=())
    """Stripe's names for it: `pm_card_…`."""
    brand: str = "visa"
    decline: Decline | None = None
    authenticates: bool = False
    """The holder is asked for a 3-D Secure step before the payment goes on."""
    refunds_pend: bool = False
    """Refunds start as `pending` and wait for `Control.settle_refund` or `Control.fail_refund`."""
    settles_later: bool = False
    """Not a card but a bank account: the payment is `processing` until `Control.complete_async_payment`."""
    disputed_as: str | None = None
    """The reason of a dispute that is opened as soon as it has paid."""
    inquiry: bool = False
    """That dispute is an inquiry, which moves no money."""
    fraud_warning: bool = False
    """An early fraud warning follows as soon as it has paid."""


CARDS: Final = (
    Card("4242", ("pm_card_visa", "pm_card_us")),
    Card("4444", ("pm_card_mastercard",), brand="mastercard"),
    Card("0005", ("pm_card_amex",), brand="amex"),
    Card("0077", ("pm_card_bypassPending",)),
    Card("0002", ("pm_card_chargeDeclined", "pm_card_visa_chargeDeclined"), decline=GENERIC),
    Card("9995", ("pm_card_chargeDeclinedInsufficientFunds", "pm_card_visa_chargeDeclinedInsufficientFunds"),
         decline=Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")),
    Card("9987", ("pm_card_visa_chargeDeclinedLostCard",), decline=Decline("card_declined", "lost_card", _DECLINED)),
    Card("9979", ("pm_card_visa_chargeDeclinedStolenCard",),
         decline=Decline("card_declined", "stolen_card", _DECLINED)),
    Card("0069", ("pm_card_chargeDeclinedExpiredCard",),
         decline=Decline("expired_card", None, "Your card has expired.")),
    Card("0127", ("pm_card_chargeDeclinedIncorrectCvc",), decline=Decline("incorrect_cvc", None, _CVC)),
    Card("0119", ("pm_card_chargeDeclinedProcessingError",),
         decline=Decline("processing_error", None, "An error occurred while processing your card. Try again later.")),
    Card("0019", ("pm_card_radarBlock",), decline=Decline("card_declined", "fraudulent", _DECLINED)),
    Card("3155", ("pm_card_authenticationRequiredOnSetup",), authenticates=True),
    Card("3184", ("pm_card_authenticationRequired",), authenticates=True),
    Card("3220", ("pm_card_threeDSecure2Required", "pm_card_threeDSecureRequired"), authenticates=True),
    Card("1629", ("pm_card_threeDSecureRequiredChargeDeclined",), authenticates=True, decline=GENERIC),
    Card("7726", ("pm_card_pendingRefund",), refunds_pend=True),
    Card("5126", ("pm_card_refundFail",)),
    Card("0259", ("pm_card_createDispute",), disputed_as="fraudulent"),
    Card("2685", ("pm_card_createDisputeProductNotReceived",), disputed_as="product_not_received"),
    Card("1976", ("pm_card_createDisputeInquiry",), disputed_as="fraudulent", inquiry=True),
    Card("5423", ("pm_card_createIssuerFraudRecord",), fraud_warning=True),
    Card("6789", ("pm_usBankAccount_success", "pm_usBankAccount"), brand="bank", settles_later=True),
)  # fmt: skip

_NUMBERS: Final = frozenset({
    "4242424242424242", "5555555555554444", "378282246310005", "4000000000000077", "4000000000000002",
    "4000000000009995", "4000000000009987", "4000000000009979", "4000000000000069", "4000000000000127",
    "4000000000000119", "4100000000000019", "4000002500003155", "4000002760003184", "4000000000003220",
    "4000008400001629", "4000000000007726", "4000000000005126", "4000000000000259", "4000000000002685",
    "4000000000001976", "4000000000005423",
})  # fmt: skip
BY_TOKEN: Final = {token: card for card in CARDS for token in card.tokens}
_BY_LAST4: Final = {card.last4: card for card in CARDS}


def with_last4(last4: str) -> Card:
    """The card with these last four digits; one that declines, if there is no such test card."""
    return _BY_LAST4.get(last4, Card(last4, decline=_NOT_A_TEST_CARD))


def with_number(number: str) -> Card | None:
    """The card with this number; None if it is no card number at all (wrong length or check digit)."""
    digits = number.replace(" ", "").replace("-", "")
    if not digits.isascii() or not digits.isdigit() or not 12 <= len(digits) <= 19 or not _check_digit_fits(digits):
        return None
    if digits in _NUMBERS:
        return with_last4(digits[-4:])
    # Not to be mistaken for the test card that happens to end alike, later on, when only four digits are left.
    return Card(digits[-4:] if digits[-4:] not in _BY_LAST4 else "0000", decline=_NOT_A_TEST_CARD)


def _check_digit_fits(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if index % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
