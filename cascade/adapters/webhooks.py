"""Webhooks: an event is posted to the platform's endpoint, signed as Standard Webhooks says.

An endpoint's address is somebody's input, and its host's name may lead anywhere at any time. So each try resolves the
name itself, refuses an address that is not public, and connects to the very address that it has checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import secrets as randomness
import socket
import ssl
import time
from base64 import b32encode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpcore
from standardwebhooks import Webhook

from cascade import __version__
from cascade.domain.delivery_states import Problem
from cascade.errors import DeliveryRefused, InvalidInput, NotDelivered

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_ANSWER_BYTES: Final = 16_384
"""More than this of an answer is never read."""
MAX_URL: Final = 2000
_PORTS: Final = {"http": 80, "https": 443}
_GONE: Final = 410
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_HOME_NAMES: Final = ("localhost", "local", "internal")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Python calls these public: a purpose is reserved for them all the same, and no webhook belongs there.
_SPECIAL: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24")))


def new_secret() -> str:
    """Return a secret that signs an endpoint's messages: 192 random bits."""
    return "whsec_" + b64encode(randomness.token_bytes(24)).decode()


def new_endpoint_id() -> str:
    """Return ``ep_`` and 80 random bits."""
    return "ep_" + b32encode(randomness.token_bytes(10)).decode().lower()


def check_url(url: str, allow_private: bool) -> str:
    """Return an endpoint's address, in its one normal form.

    Args:
        url: as somebody wrote it.
        allow_private: take http and hosts that are not public as well; for a sandbox.

    Raises:
        InvalidInput: nothing may be posted there; the sentence says why.
    """
    parts = _split(url)
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise InvalidInput("url", "An endpoint's address begins with https://.")
    host = (parts.hostname or "").removesuffix(".")
    literal = _literal(host)
    if literal is None and (len(host) > 253 or not _NAME.fullmatch(host)):
        raise InvalidInput("url", "An endpoint's address needs a host, such as hooks.example.org.")
    if not allow_private and not _may_be_public(host, literal):
        raise InvalidInput("url", f"{host} is not a public host: an endpoint has to be reachable from the internet.")
    port = _port(parts)
    shown = f"[{literal}]" if isinstance(literal, ipaddress.IPv6Address) else str(literal or host)
    netloc = shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"
    normal = f"{parts.scheme}://{netloc}{parts.path or '/'}" + (f"?{parts.query}" if parts.query else "")
    if len(normal) > MAX_URL:
        raise InvalidInput("url", f"An endpoint's address has at most {MAX_URL:,} characters.")
    return normal


def _split(url: str) -> SplitResult:
    # urlsplit drops tabs and line ends without a word, and other characters mean different hosts to different readers.
    if not url.isascii() or not url.isprintable() or any(character in url for character in ' \\"<>^`{|}'):
        raise InvalidInput("url", "An endpoint's address is plain ASCII; other letters are written as xn--... or %C3.")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput("url", "An endpoint's address looks like https://hooks.example.org/cascade.") from None
    if "@" in parts.netloc:
        raise InvalidInput("url", "An endpoint's address holds no user name and no password: messages are signed.")
    if "#" in url:
        raise InvalidInput("url", "An endpoint's address has no # and nothing behind it.")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not port:
        raise InvalidInput("url", "A port is a whole number from 1 to 65535.")
    return port


def _literal(host: str) -> Address | None:
    """Return the address that a host is, also in the forms that resolvers take beside the usual one: ``127.1``,
    ``0x7f.1``."""
    if "%" in host:
        return None
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None


def _may_be_public(host: str, literal: Address | None) -> bool:
    if literal is not None:
        return is_public(literal)
    return "." in host and host.rpartition(".")[2] not in _HOME_NAMES


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet; an address inside an address has to be public as
    well."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inside(address)
        if inner:
            return all(is_public(one) for one in inner)
        if address.is_site_local:
            return False
    reserved = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not reserved and not any(address in network for network in _SPECIAL)


def _inside(address: ipaddress.IPv6Address) -> Sequence[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address leads to: mapped, 6to4, Teredo's server and client, or NAT64."""
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [*(address.teredo or ()), *(one for one in (address.ipv4_mapped, address.sixtofour) if one is not None)]


def resolve(host: str, port: int) -> list[str]:
    """Return every address that a host's name leads to now. Raises OSError or UnicodeError when it leads nowhere."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Webhooks:
    """Posts events to endpoints.

    Args:
        allow_private: post to hosts that are not public, and without TLS; for a sandbox.
        timeout_seconds: for a whole try: name, connection, TLS, request and answer.
        clock: Unix seconds; signatures carry them.
    """

    def __init__(
        self, allow_private: bool, timeout_seconds: float = 10.0, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._backend = _CheckedBackend(allow_private, timeout_seconds)
        # No connection is kept: an idle one may have ended meanwhile, and its address was checked long ago. What is
        # sent at once is for the caller to bound: a queue in here would count against the next receiver's time.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpcore.default_ssl_context(),
            network_backend=self._backend,
            max_connections=None,
            max_keepalive_connections=0,
        )

    async def send(self, url: str, secrets: Sequence[str], message_id: str, payload: Mapping[str, Any]) -> None:
        """Post a message. It has arrived when the receiver answers 2xx; what else it says is not read.

        Args:
            url: the endpoint's address.
            secrets: those that sign now; the receiver needs only one of them.
            message_id: the same at every try, so that the receiver can tell a repetition.
            payload: becomes the same bytes at every try.

        Raises:
            NotDelivered: not now.
            DeliveryRefused: the receiver says that it is gone, or the endpoint may not be posted to.
        """
        host, target = self._target(url)
        if not secrets:
            raise DeliveryRefused("the endpoint has no secret to sign with: rotate its secret", Problem.REFUSED)
        body = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        headers = [("host", host), *self._signed(secrets, message_id, body).items()]
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._post(target, headers, body.encode())
        except TimeoutError:
            raise NotDelivered(f"no answer within {self._timeout_seconds:g} s") from None
        if status == _GONE:
            raise DeliveryRefused(
                f"the endpoint is gone, says {host} (410): enable it when it is back", Problem.ENDPOINT_DISABLED
            )
        if not 200 <= status < 300:  # redirects as well: where they lead was checked by nobody
            raise NotDelivered(f"answered {status}")

    async def close(self) -> None:
        """End what is under way."""
        self._backend.close()
        await self._pool.aclose()

    def _target(self, url: str) -> tuple[str, str]:
        """Return what the Host header says, and the address as it is posted to."""
        try:
            normal = check_url(url, self._allow_private)
        except InvalidInput as error:  # it was taken under other settings
            raise DeliveryRefused(f"the endpoint may not be posted to: {error}", Problem.REFUSED) from None
        return urlsplit(normal).netloc, normal

    def _signed(self, secrets: Sequence[str], message_id: str, body: str) -> dict[str, str]:
        now = int(self._clock())
        moment = datetime.fromtimestamp(now, UTC)
        return {
            "content-type": "application/json",
            "user-agent": f"Cascade-Payments/{__version__}",
            "connection": "close",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": " ".join(Webhook(secret).sign(message_id, moment, body) for secret in secrets),
        }

    async def _post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """Return the status of the answer."""
        try:
            async with self._pool.stream("POST", url, headers=headers, content=body) as response:
                return response.status
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            cause = error.args[0] if error.args else None
            if isinstance(cause, ssl.SSLError):
                why = getattr(cause, "verify_message", None) or cause.reason or "no handshake"
                raise NotDelivered(f"TLS failed: {why}") from None
            raise NotDelivered("could not connect") from None
        except (httpcore.NetworkError, OSError):  # OSError: a TLS alert in place of an answer
            raise NotDelivered("the connection broke before an answer") from None
        except httpcore.ProtocolError:  # its text may quote the receiver
            raise NotDelivered("the answer is not HTTP, or ended before it began") from None


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only."""

    def __init__(self, allow_private: bool, timeout_seconds: float) -> None:
        self._allow_private = allow_private
        self._timeout_seconds = timeout_seconds
        self._network = httpcore.AnyIOBackend()
        # Apart from the threads that everybody shares: a name server that hangs must not hold those.
        self._resolvers = ThreadPoolExecutor(8, "webhook-names")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the caller's timeout bounds the whole try
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._addresses(host, port)
        share = self._timeout_seconds / len(addresses)  # an address that swallows everything leaves time for the next
        error: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                stream = await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as refused:
                error = refused
            else:
                return _ShortStream(stream)
        raise error

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        raise NotDelivered("webhooks are never posted to a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    def close(self) -> None:
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._resolvers, resolve, host, port)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise NotDelivered(f"{host} leads to no address: check its name")
        # One that is not public condemns them all: else a name could show a public one and be used for the other.
        if not self._allow_private and not all(is_public(ipaddress.ip_address(one)) for one in addresses):
            raise NotDelivered(f"{host} leads to an address that is not public: let its name lead to public ones only")
        return addresses


class _ShortStream(httpcore.AsyncNetworkStream):
    """A connection that reads no more than `MAX_ANSWER_BYTES`."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MAX_ANSWER_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._left:
            raise NotDelivered(f"the head of the answer has more than {MAX_ANSWER_BYTES:,} bytes")
        data = await self._stream.read(min(max_bytes, self._left), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _ShortStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
