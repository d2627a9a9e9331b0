"""Receipts by e-mail, through the operator's own mail server."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime, parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from cascade.adapters.texts import Text
from cascade.domain.delivery_states import Problem
from cascade.errors import DeliveryRefused, InvalidInput, NotDelivered, SettingsError

MAX_EMAIL: Final = 254
_PORTS: Final = {"smtp": 587, "smtps": 465}
_PERMANENT: Final = 500
_GOODBYE_SECONDS: Final = 2.0
_WORD: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"(?=.{{1,64}}@){_WORD}(?:\.{_WORD})*@{_LABEL}(?:\.{_LABEL})+", re.ASCII)


def check_email(address: str) -> str:
    """Return one bare e-mail address, as it came.

    Raises:
        InvalidInput: several addresses, a display name, or something that is no address.
    """
    if len(address) > MAX_EMAIL:
        raise InvalidInput("email", f"An e-mail address has at most {MAX_EMAIL} characters.")
    if not _ADDRESS.fullmatch(address):
        raise InvalidInput("email", "This is not one plain e-mail address such as marco@example.org.")
    return address


class Mailer:
    """Hands messages to a mail server.

    Args:
        url: ``smtp://user:password@host:587`` or ``smtps://host:465``; special characters are percent-encoded. It is
            in no log and no message.
        sender: whom messages are from: ``payments@example.org``, or with a name: ``Cascade <payments@example.org>``.
        timeout_seconds: for a whole try.

    Raises:
        SettingsError: the address of the server or of the sender is none.
    """

    def __init__(self, url: str, sender: str, timeout_seconds: float = 20.0) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
            host = parts.hostname or ""
        except (KeyError, ValueError):  # their texts could quote the password
            host = ""
        if not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise SettingsError(
                "the mail server must be smtp://user:password@host:587 or smtps://user:password@host:465; write"
                " special characters of the password as %40"
            ) from None
        self._sender = _sender(sender)
        self._timeout_seconds = timeout_seconds
        self._host, self._port, self._is_smtps = host, port, parts.scheme == "smtps"
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, to: str, message_id: str, text: Text) -> None:
        """Hand a message to the mail server.

        Args:
            to: one bare address.
            message_id: the same at every try, so that mailboxes can tell a repetition.
            text: what to write.

        Raises:
            NotDelivered: not now.
            DeliveryRefused: the server will never take it for this recipient, or it is no e-mail.
        """
        message = self._message(to, message_id, text)
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await client.connect()
                await client.send_message(message, sender=self._sender.addr_spec, recipients=[to])
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:  # a TimeoutError is an OSError
            raise _explained(error, self._timeout_seconds) from None
        else:  # it is there: whatever happens while we take leave must not send it a second time
            with suppress(aiosmtplib.SMTPException, OSError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await client.quit()
        finally:
            client.close()

    async def try_login(self) -> None:
        """Connect and log in, and send nothing.

        Raises:
            NotDelivered: the server does not let us in.
        """
        client = self._client()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await client.connect()
                await client.quit()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _explained(error, self._timeout_seconds) from None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        is_loopback = _is_loopback(self._host)
        # None: TLS when the server offers it. A password never leaves this machine without it.
        start_tls = True if self._user and not is_loopback else None
        return aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._user,
            password=self._password,
            local_hostname=self._sender.domain,
            timeout=self._timeout_seconds,
            use_tls=self._is_smtps,
            start_tls=False if self._is_smtps else start_tls,
            # A mail server on this machine rarely has a certificate for "localhost", and nobody sits in between.
            validate_certs=not is_loopback,
        )

    def _message(self, to: str, message_id: str, text: Text) -> EmailMessage:
        message = EmailMessage()
        try:
            message["From"] = self._sender
            message["To"] = Address(addr_spec=check_email(to))
            message["Subject"] = text.title
            message["Date"] = format_datetime(localtime())
            message["Message-ID"] = f"<{_checked_id(message_id)}@{self._sender.domain}>"
            message["Auto-Submitted"] = "auto-generated"
            message.set_content(text.body, charset="utf-8", cte="quoted-printable")
        except (InvalidInput, ValueError):  # the policy lets no header hold a line end
            raise DeliveryRefused(
                "this is no e-mail: its recipient, subject or number would break a header", Problem.REFUSED
            ) from None
        return message


def _sender(sender: str) -> Address:
    name, address = parseaddr(sender if sender.isprintable() else "")  # it would drop what follows a line end
    try:
        return Address(name, addr_spec=check_email(address))
    except (InvalidInput, ValueError):
        raise SettingsError(
            f"{sender!r} is no sender: it must be payments@example.org or Cascade <payments@example.org>"
        ) from None


def _checked_id(message_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", message_id, re.ASCII):
        raise ValueError("a Message-ID is made of letters, digits, dots, dashes and underscores")
    return message_id


def _explained(error: Exception, timeout_seconds: float) -> NotDelivered | DeliveryRefused:
    """Return an error of ours. What the server said stays out: it quotes the recipient."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return _by_code(error.recipients[0].code, "the mail server does not take mail for the recipient")
    if isinstance(error, aiosmtplib.SMTPDataError):
        return _by_code(error.code, "the mail server does not take the message")
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return NotDelivered(f"the mail server does not take the user name and password ({error.code}): check them")
    if isinstance(error, aiosmtplib.SMTPSenderRefused):
        return NotDelivered(f"the mail server does not take mail from our sender ({error.code}): check the address")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return NotDelivered(f"the mail server answered {error.code}")
    if isinstance(error, TimeoutError):
        return NotDelivered(f"no answer from the mail server within {timeout_seconds:g} s")
    if isinstance(error, OSError):
        return NotDelivered("could not connect to the mail server, or the connection broke: check its address and TLS")
    if isinstance(error, ValueError):
        return NotDelivered("the mail server was not understood: check its host, user name and password")
    return NotDelivered("the mail server offers no STARTTLS, or no way to log in: check its address and port")


def _by_code(code: int, what: str) -> NotDelivered | DeliveryRefused:
    if code >= _PERMANENT:
        return DeliveryRefused(f"{what} ({code})", Problem.REFUSED)
    return NotDelivered(f"{what} now ({code})")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
