"""The pages' languages: which one a reader gets."""

from __future__ import annotations

import pytest
from fastapi import Request

from api.pages.rendering import language_of


def asking(accept: str = "", query: str = "", cookie: str = "") -> Request:
    headers = [(b"accept-language", accept.encode()), (b"cookie", cookie.encode())]
    return Request({"type": "http", "headers": headers, "query_string": query.encode(), "path": "/", "method": "GET"})


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "en"),
        ("it", "it"),
        ("it-CH,en;q=0.9", "it"),
        ("xx;q=0.9, en;q=0.2, it;q=0.5", "it"),
        ("it;q=0, en", "en"),
        ("it;q=0", "en"),
        ("xx,yy;q=0.8", "en"),
        ("it;q=nonsense,en;q=0.1", "en"),
        (";q=,,", "en"),
    ],
)
def test_a_reader_gets_the_language_that_is_liked_best(accept: str, language: str) -> None:
    assert language_of(asking(accept)) == language


def test_a_chosen_language_wins_and_is_remembered() -> None:
    assert language_of(asking("it", cookie="lang=en")) == "en"
    assert language_of(asking("it", "lang=it", "lang=en")) == "it"
    assert language_of(asking("it", "lang=xx", "lang=../en")) == "it"
