from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from api.schemas.links import LinkIn, LinkQuery
from cascade.domain.money import USD, Money
from cascade.domain.payment_links import LinkState, PaymentLink, address, check_opens, in_metamask, mailto, state_of
from cascade.errors import NotPayable

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
URL = "https://pay.example.org/pay/A-b_c"


def link(
    *, single_use: bool = True, expires_at: datetime | None = None, deactivated_at: datetime | None = None
) -> PaymentLink:
    usd = Money(USD, 2501)
    return PaymentLink("lnk_x", "A-b_c", None, usd, None, single_use, NOW - HOUR, expires_at, deactivated_at)


@pytest.mark.parametrize(
    ("made", "paid", "state"),
    [
        (link(), 0, LinkState.ACTIVE),
        (link(), 1, LinkState.USED),
        (link(single_use=False), 7, LinkState.ACTIVE),
        (link(expires_at=NOW + HOUR), 0, LinkState.ACTIVE),
        (link(expires_at=NOW), 0, LinkState.EXPIRED),
        (link(expires_at=NOW, deactivated_at=NOW - HOUR), 0, LinkState.DEACTIVATED),
        (link(single_use=False, deactivated_at=NOW), 7, LinkState.DEACTIVATED),
        (link(expires_at=NOW, deactivated_at=NOW), 1, LinkState.USED),  # what became of it says more than its end
    ],
)
def test_a_state_follows_from_what_happened(made: PaymentLink, paid: int, state: LinkState) -> None:
    assert state_of(made, NOW, paid=paid) is state


def test_a_link_opens_orders_until_its_time_is_over() -> None:
    check_opens(link(), NOW)
    check_opens(link(expires_at=NOW + timedelta(microseconds=1)), NOW)
    with pytest.raises(NotPayable, match=r"was valid until 2026-01-01 12:00 UTC\. Ask whoever gave it to you"):
        check_opens(link(expires_at=NOW), NOW)
    with pytest.raises(NotPayable, match=r"was deactivated on 2026-01-01 12:00 UTC\. Ask whoever gave it to you"):
        check_opens(link(deactivated_at=NOW, expires_at=NOW), NOW)


def test_dollars_are_shown_exactly() -> None:
    assert link().usd_amount == "25.01"


def test_metamask_gets_host_and_path_as_they_are() -> None:
    assert address("https://pay.example.org", "A-b_c") == URL
    assert in_metamask(URL) == "https://link.metamask.io/dapp/pay.example.org/pay/A-b_c"
    assert in_metamask("http://127.0.0.1:8000/pay/x") == "https://link.metamask.io/dapp/127.0.0.1:8000/pay/x"


def test_a_letter_survives_its_encoding() -> None:
    letter = mailto(URL, NOW)
    assert " " not in letter
    assert "+" not in letter  # a mail program would show it
    parts = urlsplit(letter)
    fields = parse_qs(parts.query, strict_parsing=True)
    assert (parts.scheme, parts.path, fields["subject"]) == ("mailto", "", ["Your payment link for ducats"])
    lines = fields["body"][0].split("\r\n")
    assert URL in lines
    assert in_metamask(URL) in lines
    assert lines[-1] == "It is valid until 2026-01-01 12:00 UTC."
    assert "valid" not in mailto(URL, None)


@pytest.mark.parametrize(
    "wish",
    [
        {"package": "merchant", "single_use": "yes"},
        {"package": "merchant", "valid_minutes": 0},
        {"package": "merchant", "valid_minutes": "5"},
        {"package": "merchant", "valid_minutes": 10**9},
        {"package": "merchant", "expires_at": "2026-01-01T00:00:00Z"},
        {"usd_amount": "25.011"},
        {"usd_amount": "-1"},
    ],
)
def test_what_is_misspelt_or_out_of_bounds_is_refused(wish: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LinkIn.model_validate(wish)


def test_a_link_is_for_a_single_use_and_without_end_unless_said() -> None:
    wish = LinkIn.model_validate({"usd_amount": "25.10"})
    assert (wish.usd_amount, wish.single_use, wish.valid_minutes, wish.citizen_id) == ("25.1", True, None, None)
    assert LinkIn.model_validate({"package": "merchant"}).usd_amount is None


@pytest.mark.parametrize("query", [{"limit": 101}, {"limit": 0}, {"before": "lnk_1"}, {"befor": "x"}])
def test_a_list_is_bounded(query: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        LinkQuery.model_validate(query)
