"""URLs that an operator sets, and the networks that requests are counted for."""

from __future__ import annotations

import pytest

from cascade.domain.internet_addresses import listening_url, networks_of, origin_of, parts_of

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://pay.example.org", "https://pay.example.org"),
        ("https://pay.example.org/", "https://pay.example.org"),
        ("HTTPS://pay.example.org:8443", "https://pay.example.org:8443"),
        ("http://[2001:db8::1]:8000/", "http://[2001:db8::1]:8000"),
        ("http://localhost:1", "http://localhost:1"),
    ],
)
def test_an_origin_is_taken(given: str, origin: str) -> None:
    assert origin_of(given) == origin


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://x.org/shop", "must not have a path"),
        ("https://x.org/shop/", "must not have a path"),
        ("https://x.org//", "must not have a path"),
        (f"https://user:{SECRET}@x.org", "must not hold a user or a password"),
        (f"https://{SECRET}@x.org/", "must not hold a user or a password"),
        (f"https://user:{SECRET}/2@x.org", "is not a URL"),
        (f"https://user:{SECRET}\N{FULLWIDTH COMMERCIAL AT}x.org", "is not a URL"),
        (f"https://x.org?key={SECRET}", "must end after the host"),
        (f"https://x.org/?key={SECRET}", "must end after the host"),
        (f"https://x.org#{SECRET}", "must end after the host"),
        ("https://", "must be an address such as"),
        ("x.org", "must be an address such as"),
        ("ftp://x.org", "must be an address such as"),
        ("javascript:alert(1)", "must be an address such as"),
        ("https://x .org", "must be an address such as"),
        ("https://x.org:", "must be an address such as"),
        ("https://x.org:0x50", "is not a URL"),
        ("https://x.org:70000", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://::1", "is not a URL"),
        ("https://x.org\\@evil.example", "must not hold a user"),
        ("https://x.org;script-src", "must be an address such as"),
        ("https://x.org,y.org", "must be an address such as"),
        ("https://x.org'", "must be an address such as"),
    ],
)
def test_more_than_an_origin_is_refused_without_being_repeated(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        origin_of(given)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_database_may_have_many_hosts() -> None:
    assert parts_of("postgresql://a:5432,b:5432/x", many_hosts=True).scheme == "postgresql"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("2001:db8::2", "http://[2001:db8::2]:8000"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
        ("", "http://127.0.0.1:8000"),
    ],
)
def test_a_listening_host_becomes_a_url_that_opens(host: str, url: str) -> None:
    assert listening_url(host, 8000) == url


@pytest.mark.parametrize(
    ("host", "networks"),
    [
        ("203.0.113.7", ("203.0.113.7",)),
        ("::ffff:203.0.113.7", ("203.0.113.7",)),
        ("::ffff:cb00:7107", ("203.0.113.7",)),
        ("64:ff9b::203.0.113.7", ("203.0.113.7",)),
        ("2001:db8:1:2:3:4:5:6", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("2001:db8:1:2::", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("2001:0db8:0001:0002:0000::1", ("2001:db8:1:2::/64", "2001:db8:1::/48")),
        ("fe80::1%eth0", ("fe80::/64", "fe80::/48")),
        ("unknown", ("unknown",)),
        ("x" * 5000, ("x" * 64,)),
    ],
)
def test_a_client_is_counted_for_its_networks(host: str, networks: tuple[str, ...]) -> None:
    assert networks_of(host) == networks
