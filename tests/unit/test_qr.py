"""QR codes are drawn once each, and a bounded number of them is kept."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import segno

from api.pages import qr


def test_a_code_that_is_asked_for_often_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Mock(wraps=segno.make)
    monkeypatch.setattr(segno, "make", make)
    qr.drawn.cache_clear()
    bodies = {bytes(qr.qr(text).body) for text in ["ethereum:0x1", "ethereum:0x2"] * 50}
    assert [call.args for call in make.call_args_list] == [("ethereum:0x1",), ("ethereum:0x2",)]
    assert len(bodies) == 2


def test_the_codes_that_are_kept_are_bounded() -> None:
    assert qr.drawn.cache_info().maxsize == qr.MOST_KEPT <= 10_000
