"""Receipts go through a real mail server."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cascade.adapters import email
from cascade.adapters.email import Mailer, check_email
from cascade.adapters.texts import Text, Texts
from cascade.domain.delivery_states import Problem
from cascade.domain.order_events import EventType
from cascade.errors import DeliveryError, DeliveryRefused, InvalidInput, NotDelivered, SettingsError
from cascade.locales.translations import LANGUAGES
from sandbox.ports import free_port

SENDER, TO, PASSWORD = "Cascade <payments@pay.example.org>", "marco@example.org", "p@ss:word"
TEXT = Text("1,000 ducats → for you", "Grüße, Marco.\n" + "A long line. " * 20 + "\n.\nAfter a dot.\n")


@dataclass
class MailServer:
    """A real one, that answers as a test wants and keeps what it took."""

    port: int = 0
    rcpt: str = "250 OK"
    data: str = "250 OK"
    pause_seconds: float = 0
    goodbye: str = "221 Bye"
    goodbye_pause_seconds: float = 0
    taken: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    was_tls: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _: SMTP, __: Session, envelope: Envelope, address: str, ___: list[str]
    ) -> str:
        await asyncio.sleep(self.pause_seconds)
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt.format(address=address)

    async def handle_QUIT(self, _: SMTP, __: Session, ___: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.goodbye_pause_seconds)
        return self.goodbye

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await asyncio.sleep(self.pause_seconds)
        if self.data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            self.taken.append(message)
            self.envelopes.append(envelope)
            self.was_tls.append(session.ssl is not None)
        return self.data

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


@contextmanager
def serving(*, log_in: bool = False, **options: Any) -> Iterator[MailServer]:
    server = MailServer(port=free_port())
    if log_in:
        options |= {"authenticator": server.authenticate, "auth_require_tls": False}
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


def send(url: str, *, to: str = TO, text: Text = TEXT, message_id: str = "evt_1_4", seconds: float = 5) -> None:
    asyncio.run(Mailer(url, SENDER, seconds).send(to, message_id, text))


def fault_of(url: str, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        send(url, **options)
    said = str(raised.value)
    assert TO not in said
    assert PASSWORD not in said
    assert raised.value.__suppress_context__  # what the server said quotes the recipient: it is in no traceback
    return raised.value


@pytest.fixture
def server() -> Iterator[MailServer]:
    with serving() as server:
        yield server


@pytest.fixture
def url(server: MailServer) -> str:
    return f"smtp://127.0.0.1:{server.port}"


def test_a_message_arrives_as_it_was_written(server: MailServer, url: str) -> None:
    send(url)
    (message,), (envelope,) = server.taken, server.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("payments@pay.example.org", [TO])
    assert (message["from"], message["to"], message["subject"]) == (SENDER, TO, TEXT.title)
    assert message["auto-submitted"] == "auto-generated"
    assert message["date"].datetime.tzinfo is not None
    assert message.get_content_type() == "text/plain"
    assert message.get_content_charset() == "utf-8"
    assert message.get_content().splitlines() == TEXT.body.splitlines()


def test_a_message_has_the_same_id_at_every_try_and_no_other_has_it(server: MailServer, url: str) -> None:
    send(url)
    send(url)
    send(url, message_id="evt_1_5")
    first, second, other = (message["message-id"] for message in server.taken)
    assert first == second == "<evt_1_4@pay.example.org>"
    assert other == "<evt_1_5@pay.example.org>"


@pytest.mark.parametrize("code", [421, 450, 451, 452])
@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_what_is_refused_for_now_is_tried_again(server: MailServer, url: str, stage: str, code: int) -> None:
    setattr(server, stage, f"{code} <{TO}> not now")
    error = fault_of(url)
    assert isinstance(error, NotDelivered)
    assert str(code) in str(error)
    assert server.taken == []


@pytest.mark.parametrize("code", [550, 552, 554])
@pytest.mark.parametrize("stage", ["rcpt", "data"])
def test_what_is_refused_for_good_wants_an_operator(server: MailServer, url: str, stage: str, code: int) -> None:
    setattr(server, stage, f"{code} <{TO}> never")
    error = fault_of(url)
    assert isinstance(error, DeliveryRefused)
    assert error.problem == Problem.REFUSED
    assert str(code) in str(error)


@pytest.mark.parametrize("pause_seconds", [3, 0.3])  # 0.3: each answer comes in time, but not all of them
def test_a_slow_server_holds_no_try_longer_than_its_time(server: MailServer, url: str, pause_seconds: float) -> None:
    server.pause_seconds = pause_seconds
    began = time.monotonic()
    error = fault_of(url, seconds=0.4)
    assert isinstance(error, NotDelivered)
    assert str(error) == "no answer from the mail server within 0.4 s"
    assert time.monotonic() - began < 2


def test_a_server_that_is_not_there_is_tried_again() -> None:
    error = fault_of(f"smtp://marco:p%40ss%3Aword@127.0.0.1:{free_port()}")
    assert isinstance(error, NotDelivered)


@pytest.mark.parametrize(("goodbye", "pause_seconds"), [("221 Bye", 3), ("500 No", 0)])
def test_a_message_that_was_taken_is_not_sent_again_because_the_goodbye_failed(
    server: MailServer, url: str, monkeypatch: pytest.MonkeyPatch, goodbye: str, pause_seconds: float
) -> None:
    monkeypatch.setattr(email, "_GOODBYE_SECONDS", 0.2)
    server.goodbye, server.goodbye_pause_seconds = goodbye, pause_seconds
    began = time.monotonic()
    send(url, seconds=1)
    assert len(server.taken) == 1
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("to", "title", "message_id"),
    [
        (f"{TO}\r\nBcc: spy@example.org", "Hello", "evt_1_1"),
        (f"{TO}, spy@example.org", "Hello", "evt_1_1"),
        (f"{TO}> SIZE=1", "Hello", "evt_1_1"),
        (TO, "Hello\r\nBcc: spy@example.org", "evt_1_1"),
        (TO, "Hello\nBcc: spy@example.org", "evt_1_1"),
        (TO, "Hello", "evt_1_1\r\nBcc: spy@example.org"),
        (TO, "Hello", "evt_1_1>, <evt"),
    ],
)
def test_nothing_gets_into_a_header(server: MailServer, url: str, to: str, title: str, message_id: str) -> None:
    error = fault_of(url, to=to, text=Text(title, "Text"), message_id=message_id)
    assert isinstance(error, DeliveryRefused)
    assert server.taken == []


# Logging in and TLS


def test_it_logs_in_on_this_machine() -> None:
    with serving(log_in=True) as server:
        send(f"smtp://marco:p%40ss%3Aword@127.0.0.1:{server.port}")
        assert server.logins == [(b"marco", PASSWORD.encode())]
        assert len(server.taken) == 1


def test_a_wrong_password_is_told_without_it() -> None:
    with serving(log_in=True) as server:
        error = fault_of(f"smtp://marco:not-the-one@127.0.0.1:{server.port}")
    assert isinstance(error, NotDelivered)
    assert "user name and password (535)" in str(error)
    assert "not-the-one" not in str(error)


def test_a_password_never_goes_to_another_machine_in_the_clear() -> None:
    with serving(log_in=True) as server:
        # 0.0.0.0 leads here, but is no loopback address: to the mailer it is another machine.
        error = fault_of(f"smtp://marco:p%40ss%3Aword@0.0.0.0:{server.port}")
        assert isinstance(error, NotDelivered)
        assert "STARTTLS" in str(error)
        assert server.logins == []
        assert server.taken == []


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A server's side with a certificate that nobody trusts."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def test_tls_is_used_when_the_server_offers_it(tls: ssl.SSLContext) -> None:
    with serving(tls_context=tls) as server:
        send(f"smtp://127.0.0.1:{server.port}")
        assert server.was_tls == [True]


def test_another_machine_needs_a_certificate_that_is_trusted(tls: ssl.SSLContext) -> None:
    with serving(tls_context=tls) as server:
        error = fault_of(f"smtp://0.0.0.0:{server.port}")
        assert isinstance(error, NotDelivered)
        assert "TLS" in str(error)
        assert server.taken == []


def test_smtps_is_tls_from_the_start(tls: ssl.SSLContext) -> None:
    with serving(ssl_context=tls) as server:
        send(f"smtps://127.0.0.1:{server.port}")
        assert len(server.taken) == 1


# Settings and addresses


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:25", "http://example.org", "smtp://", f"smtp://u:{PASSWORD}/x@h:1", f"smtp://u:{PASSWORD}@h:99999"],
)
def test_a_wrong_server_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="smtp://user:password@host:587") as refused:
        Mailer(url, SENDER)
    assert PASSWORD not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("sender", ["", "Cascade", "a@b@c.org", "a@example.org\r\nBcc: b@example.org"])
def test_a_wrong_sender_is_told(sender: str) -> None:
    with pytest.raises(SettingsError, match="is no sender"):
        Mailer("smtp://127.0.0.1:25", sender)


@pytest.mark.parametrize("address", [TO, "m.p+x_1@a-b.example.org", "a" * 64 + "@" + "b" * 63 + ".org", "1@2.vn"])
def test_these_are_addresses(address: str) -> None:
    assert check_email(address) == address


@pytest.mark.parametrize(
    "address",
    ["", "marco", "@example.org", "marco@", "marco@localhost", "marco@@example.org", f"Marco <{TO}>", f"{TO},{TO}",
     f"{TO}\n", f" {TO}", f"{TO}\x00", "ma rco@example.org", '"marco"@example.org', ".marco@example.org",
     "mar..co@example.org", "marco@-a.org", "marco@[127.0.0.1]", "märco@example.org", "a" * 65 + "@example.org",
     "a@" + "b." * 130 + "org"],
)  # fmt: skip
def test_these_are_not(address: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_email(address)
    assert refused.value.field == "email"


# The operator's own words, which are files


def own(folder: Path, name: str, words: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(words, encoding="utf-8")
    return folder


EXPIRED = {"order_id": "ord_1", "price_usd": "10", "ducats": "100"}


def test_the_operators_words_go_before_ours(tmp_path: Path) -> None:
    texts = Texts(folder=own(tmp_path, "en/order.expired.txt", "Gone: {{ order_id }}\n\nAlas, {{ ducats | ducats }}."))
    assert texts.write(EventType.ORDER_EXPIRED, EXPIRED) == Text("Gone: ord_1", "Alas, 100.\n")
    failed = texts.write(EventType.PAYMENT_FAILED, EXPIRED | {"code": "expired_card"})
    assert "expired" in failed.body  # ours, where the operator has none


def test_a_translation_is_a_folder(tmp_path: Path) -> None:
    texts = Texts(folder=own(tmp_path, "vi/order.expired.txt", "Hết hạn: {{ order_id }}\n\nĐơn hàng đã hết hạn."))
    assert texts.languages == tuple(sorted({*LANGUAGES, "vi"}))
    for theirs in ("vi", "vi-VN"):
        assert texts.write(EventType.ORDER_EXPIRED, EXPIRED, theirs).title == "Hết hạn: ord_1"
    for language in (None, "en", "de", "../vi", ""):
        assert texts.write(EventType.ORDER_EXPIRED, EXPIRED, language).title.startswith("Your order")
    assert texts.write(EventType.PAYMENT_FAILED, EXPIRED, "vi").title.startswith("Your card")
    in_italian = Texts("it", tmp_path).write(EventType.PAYMENT_FAILED, EXPIRED, "vi")
    assert in_italian.title.startswith("Nessun addebito")  # where theirs has no text, the default language has
    assert Texts("vi", tmp_path).write(EventType.ORDER_EXPIRED, EXPIRED, "de").title == "Hết hạn: ord_1"


@pytest.mark.parametrize("name", ["en/order.expird.txt", "en/order.expired.txt"])
def test_a_file_that_cannot_be_a_text_is_told_at_the_start(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Texts(folder=own(tmp_path, name, "{% if %}"))


def test_a_text_that_asks_for_too_much_wants_an_operator(tmp_path: Path) -> None:
    texts = Texts(folder=own(tmp_path, "en/order.expired.txt", "Hello {{ nickname }}\n\nText"))
    with pytest.raises(DeliveryRefused, match="nickname"):
        texts.write(EventType.ORDER_EXPIRED, EXPIRED)
    texts = Texts(folder=own(tmp_path, "en/order.expired.txt", "Only a title"))
    with pytest.raises(DeliveryRefused, match="a title, an empty line and a text"):
        texts.write(EventType.ORDER_EXPIRED, EXPIRED)


def test_a_text_arrives_by_mail(server: MailServer, url: str) -> None:
    text = Texts().write(EventType.ORDER_EXPIRED, EXPIRED)
    send(url, text=text)
    assert server.taken[0]["subject"] == text.title
    assert server.taken[0].get_content().splitlines() == text.body.splitlines()
