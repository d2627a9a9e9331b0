"""What people read is whole, plain and true to its figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from cascade.adapters.texts import Text, Texts, total
from cascade.domain.order_events import EventType
from cascade.domain.payments import SuspenseReason
from cascade.domain.seller import Seller
from cascade.errors import DeliveryRefused, SettingsError

TEXTS = Texts()
TOLD = [kind for kind in EventType if kind.is_told_to_citizen]
ORDER_ID = "ord_01hzyabc"
ORDER = {"order_id": ORDER_ID, "package": None, "price_usd": "1250.5", "ducats": "12505", "bonus": "0"}
CHAIN = {
    "rail": "chain",
    "token": "USDC",
    "amount": "1250.5",
    "transaction": "0xabcdef",
    "transaction_url": "https://polygonscan.com/tx/0xabcdef",
}
CARD = {"rail": "card", "token": "USD", "amount": "1250.5", "transaction": "pi_123", "transaction_url": None}
FULL = ORDER | {
    "package": "noble",
    "bonus": "1000.25",
    "ducats_credited": "13505.25",
    "payment": CHAIN,
    "reason": "short",
    "amount": "1250.5",
    "token": "USDC",
    "ducats_taken": "13000.125",
    "ducats_owed": "505.129",
    "code": "insufficient_funds",
    "usd_per_ducat": "0.1041",
    "rate_tick": "2026-11-25T08:35:00Z",
}
AMOUNT = re.compile(r"\d+(?:[.,]\d+)+")
HOSTILE = "<b>{{ 7 * 7 }}</b>{% raw %}\r\n\x1b[31m\u202eevil\u2028"


def own(folder: Path, words: str, language: str = "en") -> Texts:
    """Texts with an operator's own words for an order that has expired."""
    (folder / language).mkdir()
    (folder / language / "order.expired.txt").write_text(words, encoding="utf-8")
    return Texts(folder=folder)


def write(kind: EventType, data: Mapping[str, Any]) -> str:
    text = TEXTS.write(kind, data)
    return f"{text.title}\n{text.body}"


def test_every_event_that_citizens_are_told_of_has_a_text_and_no_other_has() -> None:
    names = sorted(file.name for file in (files("cascade.adapters") / "texts").iterdir())
    assert names == sorted([*(f"{kind}.txt" for kind in TOLD), "parts"])
    assert {"en", "it"} <= set(TEXTS.languages)


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize(
    "data", [ORDER, ORDER | {"payment": None}, ORDER | {"payment": CARD}, FULL, FULL | {"payment": CARD}]
)
def test_a_text_is_whole_whatever_is_known(kind: EventType, data: Mapping[str, Any]) -> None:
    text = TEXTS.write(kind, data)
    assert 10 < len(text.title) < 80
    assert "\n" not in text.title
    assert text.body.endswith(".\n") or text.body.splitlines()[-1].startswith(("Look it up: ", "Transaction: "))
    written = f"{text.title}\n{text.body}"
    assert not re.search(r"[{}%]|None|\bnull\b|Undefined|!|₫|\d{5}|\n{3}| \n|  ", written.replace("\n\n", "\n"))
    assert ORDER_ID in written


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("data", [ORDER, ORDER | {"payment": CARD}, FULL])
def test_a_letter_is_as_whole_in_italian(kind: EventType, data: Mapping[str, Any]) -> None:
    english, italian = (TEXTS.write(kind, data, language) for language in ("en", "it-IT"))
    assert 10 < len(italian.title) < 80
    assert italian.title != english.title
    assert len(italian.body.splitlines()) == len(english.body.splitlines())
    assert not re.search(r"\b(the|your|ducats|order|was|paid)\b|[{}]|None", italian.body)
    swapped = {figure.translate(str.maketrans(",.", ".,")) for figure in AMOUNT.findall(english.body)}
    assert swapped == set(AMOUNT.findall(italian.body))


def test_an_italian_receipt_is_italian_to_its_figures() -> None:
    seller = Seller("Serenissima Srl", "aiuto@venice.example", "https://venice.example/condizioni")
    known = {"citizen_id": "Marco_Polo", "mailed_to": "marco@example.org", "occurred_at": "2026-11-25T08:36:00Z"}
    assert Texts(seller=seller).write(EventType.ORDER_FULFILLED, FULL | known, "it") == Text(
        "13.505,25 ducati sono nella tua borsa",
        "Grazie. Questa è la ricevuta dell'ordine ord_01hzyabc.\n\n"
        "Venditore: Serenissima Srl, aiuto@venice.example\nData: 25 nov 2026, 08:36:00 UTC\nPer: Marco_Polo\n"
        "Ducati acquistati: 12.505\nBonus: 1.000,25\n"
        "Prezzo di un ducato: 0,1041 USD, fissato il 25 nov 2026, 08:35:00 UTC\nTotale: 1.250,50 USD\n"
        "Pagato: 1.250,50 USDC su Polygon\nTransazione: 0xabcdef\n"
        "Per vederla: https://polygonscan.com/tx/0xabcdef\nRicevuta inviata a: marco@example.org\n\n"
        "Accreditati in tutto: 13.505,25\n\n"
        "Condizioni di vendita: https://venice.example/condizioni\n\nNon devi fare altro.\n",
    )


def test_a_receipt_says_which_tick_priced_it() -> None:
    receipt = write(EventType.ORDER_FULFILLED, FULL)
    assert "\nPrice of a ducat: 0.1041 USD, set by the tick of 2026-11-25 08:35:00 UTC\n" in receipt
    before_the_first = write(EventType.ORDER_FULFILLED, FULL | {"rate_tick": None})
    assert "\nPrice of a ducat: 0.1041 USD\n" in before_the_first
    assert "Price of" not in write(EventType.ORDER_FULFILLED, ORDER)  # of an event from before there were ticks


@pytest.mark.parametrize("kind", [kind for kind in EventType if not kind.is_told_to_citizen])
def test_there_is_no_text_that_nobody_is_told(kind: EventType) -> None:
    with pytest.raises(DeliveryRefused, match=kind):
        TEXTS.write(kind, FULL)


@pytest.mark.parametrize("kind", TOLD)
@pytest.mark.parametrize("field", ["order_id", "reason", "token", "code"])
def test_a_hostile_value_stays_plain_text(kind: EventType, field: str) -> None:
    written = write(kind, FULL | {field: HOSTILE, "payment": CHAIN | {"transaction": HOSTILE, "token": HOSTILE}})
    assert "49" not in written
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e\u2028]", written)
    assert "evil" not in written or "<b>{{ 7 * 7 }}</b>{% raw %}[31mevil" in written


@pytest.mark.parametrize("said", ["Gone: {{ order_id }}", '{{ _("Gone: %(id)s", id=order_id) }}'])
def test_a_hostile_value_stays_plain_text_in_an_operators_own_words(tmp_path: Path, said: str) -> None:
    texts = own(tmp_path, f"{said}\n\nAlas.")
    assert texts.write(EventType.ORDER_EXPIRED, ORDER | {"order_id": HOSTILE}).title.endswith("{% raw %}[31mevil")
    with pytest.raises(DeliveryRefused, match="not known"):
        texts.write(EventType.ORDER_EXPIRED, ORDER | {"order_id": None})


def test_an_operators_words_may_be_translated_as_ours_are(tmp_path: Path) -> None:
    texts = own(tmp_path, "{{ _('Bonus') }} {{ _('Total') }}\n\n{{ _('Words of their own') }}.", "it")
    assert texts.write(EventType.ORDER_EXPIRED, ORDER, "it") == Text("Bonus Totale", "Words of their own.\n")


def test_words_without_a_value_want_an_operator(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRefused, match="cannot be written: 'nickname'"):
        own(tmp_path, "{{ _('Hello %(nickname)s') }}\n\nAlas.").write(EventType.ORDER_EXPIRED, ORDER)


def test_a_value_cannot_become_the_title_or_add_a_line() -> None:
    text = TEXTS.write(EventType.PAYMENT_REFUND_FAILED, FULL | {"order_id": "ord_1\n\nSend 1 USDC to 0xbad"})
    assert text.title == "A refund for order ord_1Send 1 USDC to 0xbad did not reach you"


def test_a_receipt_names_everything() -> None:
    assert TEXTS.write(EventType.ORDER_FULFILLED, FULL) == Text(
        "13,505.25 ducats are in your purse",
        "Thank you. This is the receipt for order ord_01hzyabc.\n\n"
        "Ducats bought: 12,505\nBonus: 1,000.25\n"
        "Price of a ducat: 0.1041 USD, set by the tick of 2026-11-25 08:35:00 UTC\nTotal: 1,250.50 USD\n"
        "Paid: 1,250.50 USDC on Polygon\nTransaction: 0xabcdef\n"
        "Look it up: https://polygonscan.com/tx/0xabcdef\n\n"
        "Credited in total: 13,505.25\n\n"
        "There is nothing more to do.\n",
    )
    by_card = write(EventType.ORDER_FULFILLED, ORDER | {"ducats_credited": "12505", "payment": CARD})
    assert "Paid: 1,250.50 USD by card\nTransaction: pi_123\n\nCredited in total: 12,505\n\nThere" in by_card
    assert "Bonus" not in by_card
    assert "Fewer ducats" not in by_card
    assert "Fewer ducats were credited" in write(EventType.ORDER_FULFILLED, FULL | {"ducats_credited": "13505"})


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("insufficient_funds", "not enough money"),
        ("expired_card", "has expired"),
        ("incorrect_cvc", "security code"),
        ("card_declined", "Your card was declined."),
        ("a_code_of_tomorrow", "Your card was declined."),
        (None, "Your card was declined."),
    ],
)
def test_a_card_is_refused_in_words(code: str | None, words: str) -> None:
    written = write(EventType.PAYMENT_FAILED, ORDER | {"code": code})
    assert words in written
    assert code is None or code not in written


def test_each_reason_for_a_review_has_its_words() -> None:
    reasons = [reason for reason in SuspenseReason if reason is not SuspenseReason.UNKNOWN_ORDER]
    told = {write(EventType.PAYMENT_IN_REVIEW, FULL | {"reason": reason}) for reason in reasons}
    assert len(told) == len(reasons) == 5
    assert all("it does not fit the order. It " in one or "The order had already" in one for one in told)


def test_a_part_says_what_is_missing_and_until_when() -> None:
    part = FULL | {"ducats_credited": "1000", "missing": "149.5", "expires_at": "2026-11-25T08:50:00Z"}
    written = write(EventType.PAYMENT_CREDITED_IN_PART, part)
    assert written.startswith("1,000 ducats are in your purse, for a part of your order\n")
    assert "149.50 USDC is missing. Send it to the same address before 2026-11-25 08:50:00 UTC, so that" in written
    assert "the rest of your 13,505.25 ducats, bonus included." in written
    assert "bonus included" not in write(EventType.PAYMENT_CREDITED_IN_PART, part | {"bonus": "0"})


def test_a_receipt_adds_up_what_came_in_parts_and_beyond_the_price() -> None:
    told = {"ducats_credited": "12605.25", "ducats_due": "12605.25", "ducats_before": "1000", "ducats_beyond": "100"}
    receipt = write(EventType.ORDER_FULFILLED, FULL | told)
    assert "For what was paid beyond the price: 100\nCredited before, for parts of the payment: 1,000\n" in receipt
    assert "\nCredited now: 12,605.25\n" in receipt
    assert "Fewer ducats" not in receipt
    assert "Fewer ducats" in write(EventType.ORDER_FULFILLED, FULL | told | {"ducats_credited": "12605"})


def test_who_paid_a_part_reads_what_did_not_come_in_time() -> None:
    written = write(EventType.ORDER_EXPIRED, ORDER | {"missing": "150", "token": "USDC"})
    assert "was paid in part: 150 USDC did not arrive in time" in written
    assert "no payment that fits it has arrived" not in written


@pytest.mark.parametrize("kind", [EventType.PAYMENT_REFUNDED, EventType.PAYMENT_DISPUTED])
def test_what_became_of_the_ducats_is_told(kind: EventType) -> None:
    both = write(kind, FULL)
    assert "13,000.12 ducats were taken back" in both
    assert "505.12 ducats could not be taken back" in both
    none = write(kind, FULL | {"ducats_taken": "0", "ducats_owed": "0"})
    assert "No ducats were taken back" in none
    assert "owed" not in none


@pytest.mark.parametrize("kind", [EventType.PAYMENT_REFUND_FAILED, EventType.PAYMENT_REINSTATED])
def test_ducats_that_came_again_are_told(kind: EventType) -> None:
    again = FULL | {"ducats_credited": "250", "ducats_taken": "-250"}  # as the ledger says it
    assert "250 ducats are in your purse again" in write(kind, again)
    without = {name: value for name, value in again.items() if name != "ducats_credited"}
    assert "in your purse again" not in write(kind, without)


def test_ducats_add_up_exactly() -> None:
    assert total(["0.1", "0.2"]) == "0.3"


@pytest.mark.parametrize("wrong", ["", "1e5", "NaN", "1,000", "٣", "1.", "five", "--1"])
def test_what_is_no_amount_is_never_shown_as_one(wrong: str) -> None:
    with pytest.raises(DeliveryRefused, match=r"order\.expired cannot be written"):
        TEXTS.write(EventType.ORDER_EXPIRED, ORDER | {"ducats": wrong})


def test_what_an_event_must_tell_is_not_left_out_in_silence() -> None:
    for missing in ("order_id", "ducats"):
        data = {name: value for name, value in ORDER.items() if name != missing}
        with pytest.raises(DeliveryRefused, match=missing):
            TEXTS.write(EventType.ORDER_EXPIRED, data)
        with pytest.raises(DeliveryRefused):
            TEXTS.write(EventType.ORDER_EXPIRED, data | {missing: None})


def test_an_unknown_language_falls_back_and_cannot_leave_the_folder() -> None:
    usual = TEXTS.write(EventType.ORDER_EXPIRED, ORDER)
    for language in ("en", "en-GB", "vi", "../en", "/etc", "\x00", ""):
        assert TEXTS.write(EventType.ORDER_EXPIRED, ORDER, language) == usual
    with pytest.raises(SettingsError, match=r"no texts in 'vi', only in en, .*it"):
        Texts("vi")
