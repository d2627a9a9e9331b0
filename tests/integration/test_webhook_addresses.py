"""Webhooks go to public addresses over TLS, to the very address that was checked, and nowhere else."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpcore
import pytest

from cascade.adapters import webhooks
from cascade.adapters.webhooks import check_url, is_public
from cascade.errors import DeliveryRefused, InvalidInput, NotDelivered
from tests.integration.test_webhook_delivery import OK, post, receiving

NOT_PUBLIC = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.8", "192.0.2.1",  # noqa: S104
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001:db8::1", "2001::7f00:1", "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2002:7f00:1::", "2002:a00:1::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_these_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_these_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def dns(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> list[str]:
    """Lets names lead to these addresses, one answer after the other; returns the names that were asked for."""
    asked: list[str] = []

    def answer(host: str, port: int) -> list[str]:
        asked.append(host)
        return list(answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(webhooks, "resolve", answer)
    return asked


def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that are connected to; none of them is there."""
    addresses: list[str] = []

    async def connect(_: object, host: str, *__: object, **___: object) -> None:
        addresses.append(host)
        raise httpcore.ConnectError("nobody there")

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    return addresses


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["2606:4700::1111", "::1"]])
def test_a_name_with_one_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    dns(monkeypatch, addresses)
    tried = connected(monkeypatch)
    with pytest.raises(NotDelivered, match=r"^hooks\.example\.org leads to an address that is not public"):
        asyncio.run(post("https://hooks.example.org/", allow_private=False))
    assert tried == []


def test_the_second_answer_of_a_name_server_is_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = dns(monkeypatch, ["1.1.1.1", "2606:4700::1111"], ["127.0.0.1"])
    tried = connected(monkeypatch)
    with pytest.raises(NotDelivered, match="could not connect"):
        asyncio.run(post("https://hooks.example.org/", allow_private=False))
    assert asked == ["hooks.example.org"]
    assert tried == ["1.1.1.1", "2606:4700::1111"]
    with pytest.raises(NotDelivered, match="not public"):  # the next try asks again, and is told something else
        asyncio.run(post("https://hooks.example.org/", allow_private=False))
    assert tried == ["1.1.1.1", "2606:4700::1111"]


def test_a_name_that_leads_nowhere_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    monkeypatch.setattr(webhooks, "resolve", nothing)
    with pytest.raises(NotDelivered, match="leads to no address"):
        asyncio.run(post("https://hooks.example.org/"))


def test_the_next_address_is_tried_when_the_first_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt() -> int:
        async with receiving() as receiver:
            dns(monkeypatch, ["127.0.0.2", "127.0.0.1"])  # nobody listens on the first
            await post(f"http://hooks.example.org:{receiver.port}/")
            assert receiver.got[0].headers["host"] == f"hooks.example.org:{receiver.port}"
            return receiver.connections

    assert asyncio.run(attempt()) == 1


def test_what_was_allowed_in_the_box_is_not_posted_to_outside_of_it() -> None:
    async def attempt() -> int:
        async with receiving() as receiver:
            with pytest.raises(DeliveryRefused, match="may not be posted to"):
                await post(receiver.url, allow_private=False)
            return receiver.connections

    assert asyncio.run(attempt()) == 0


def test_a_name_that_really_leads_to_this_machine_is_not_connected_to() -> None:
    async def attempt() -> int:
        async with receiving() as receiver:
            with pytest.raises(NotDelivered, match="not public"):
                await webhooks._CheckedBackend(False, 2).connect_tcp("localhost", receiver.port)
            return receiver.connections

    assert asyncio.run(attempt()) == 0


def test_no_socket_of_this_machine_is_opened() -> None:
    with pytest.raises(NotDelivered, match="socket"):
        asyncio.run(webhooks._CheckedBackend(True, 1).connect_unix_socket("/run/anything.sock"))


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("https://hooks.example.org", "https://hooks.example.org/"),
        ("HTTPS://Hooks.Example.ORG:443/In?a=1&b=2", "https://hooks.example.org/In?a=1&b=2"),
        ("https://hooks.example.org.:8443/in", "https://hooks.example.org:8443/in"),
        ("https://[2606:4700:0::1111]/", "https://[2606:4700::1111]/"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://16843009/", "https://1.1.1.1/"),
    ],
)
def test_an_address_has_one_form(written: str, normal: str) -> None:
    assert check_url(written, allow_private=False) == normal
    assert check_url(normal, allow_private=False) == normal


NEVER = [
    "", "hooks.example.org", "ftp://hooks.example.org/", "https://", "https:///path", "file:///etc/passwd",
    "https://user@hooks.example.org/", "https://user:password@hooks.example.org/", "https://hooks.example.org/#there",
    "https://hooks.example.org/#", "https://hooks.example.org:0/", "https://hooks.example.org:65536/",
    "https://hooks.example.org:x/", "https://hooks.example.org/" + "a" * 2000, "https://hooks.example.org\n/",
    "https://hooks.example.org/a b", "https://hooks.example.org\\@10.0.0.1/", "https://[::1", "https://bücher.example/",
    "https://-.example.org/", "https://a..example.org/", "https://[fe80::1%25eth0]/", f"https://{'a' * 64}.org/",
]  # fmt: skip
PRIVATE = [
    "http://hooks.example.org/", "https://localhost/", "https://LOCALHOST./", "https://a.localhost/",
    "https://printer.local/", "https://metadata.google.internal/", "https://database/", "https://127.0.0.1/",
    "https://127.1/", "https://2130706433/", "https://0x7f.1/", "https://10.0.0.1:8443/", "https://169.254.169.254/",
    "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
]  # fmt: skip


@pytest.mark.parametrize("url", NEVER)
def test_these_are_no_addresses_of_endpoints(url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(InvalidInput) as refused:
            check_url(url, allow_private)
        assert refused.value.field == "url"


@pytest.mark.parametrize("url", PRIVATE)
def test_these_are_addresses_in_a_box_only(url: str) -> None:
    check_url(url, allow_private=True)
    with pytest.raises(InvalidInput):
        check_url(url, allow_private=False)


# TLS


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a name, signed by itself, and a server's side with it."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def over_tls(context: ssl.SSLContext, host: str) -> int:
    """How many requests arrive at a server when they are sent to a name of its."""

    async def attempt() -> int:
        async with receiving(OK, context) as receiver:
            await post(f"https://{host}:{receiver.port}/")
            return len(receiver.got)

    return asyncio.run(attempt())


def test_the_certificate_has_to_fit_the_name_and_to_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, context = certificate(tmp_path, "hooks.example.org")
    dns(monkeypatch, ["127.0.0.1"])
    with pytest.raises(NotDelivered, match=r"^TLS failed: self.signed certificate"):
        over_tls(context, "hooks.example.org")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    assert over_tls(context, "hooks.example.org") == 1
    with pytest.raises(NotDelivered, match=r"^TLS failed: Hostname mismatch"):
        over_tls(context, "other.example.org")


def test_a_server_without_tls_is_tried_again() -> None:
    async def attempt() -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        with pytest.raises(NotDelivered, match=r"^TLS failed: "):
            await post(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        server.close()

    asyncio.run(attempt())
