"""Settings: environment variables with the prefix ``CASCADE_``, and those that other programs name the same.

``.env.example`` lists every one of them; a test keeps the two equal. Nothing is read at import.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cascade.domain.internet_addresses import listening_url, origin_of, parts_of
from cascade.domain.seller import Seller, check_contact, check_name, check_web_address
from cascade.errors import SettingsError

_PREFIX = "CASCADE_"
_NAMED_BY_OTHERS = {
    "database_url": "DATABASE_URL",
    "stripe_secret_key": "STRIPE_SECRET_KEY",
    "stripe_webhook_secret": "STRIPE_WEBHOOK_SECRET",
}
_HOSTS = re.compile(r"([^:,@]*|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?(,([^:,@]*|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?)*", re.ASCII)
_SANDBOX_PREFIX = "CASCADE_SANDBOX_"  # not ours: they are for `make run`


class Settings(BaseSettings):
    """The settings of an operator. Durations carry their unit in the name."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, hide_input_in_errors=True)

    database_url: Annotated[SecretStr, Field(validation_alias=AliasChoices("DATABASE_URL"))]
    """PostgreSQL 15 or later, as a libpq URL."""
    rpc_url: SecretStr
    """JSON-RPC endpoint of a Polygon node; may hold a key, so it is never logged."""
    deployment: Path = Path("deployments/137.json")
    """The record that scripts/deploy.py wrote."""

    stripe_secret_key: Annotated[SecretStr | None, Field(validation_alias=AliasChoices("STRIPE_SECRET_KEY"))] = None
    """Takes payments by card; without it only stablecoins are taken."""
    stripe_webhook_secret: Annotated[
        SecretStr | None, Field(validation_alias=AliasChoices("STRIPE_WEBHOOK_SECRET"))
    ] = None
    """What Stripe signs events with; required beside the key."""
    stripe_api_base: str | None = None
    """Address of a double of Stripe on this machine, instead of Stripe. Never in production."""
    stripe_checkout_domain: Annotated[str | None, Field(pattern=r"^([a-z0-9-]{1,63}\.)+[a-z]{2,63}$")] = None
    """The custom domain on which Stripe shows its pages, e.g. ``pay.example.org``: browsers are led nowhere else."""
    stripe_catch_up_seconds: Annotated[float, Field(gt=0, le=300)] = 60.0
    """How often Stripe's own list of events is read, for webhooks that were lost."""

    venice_url: str | None = None
    """Venice's API, which then keeps the citizens' purses; without it our own ledger does."""
    venice_check_citizens: bool = True
    """Ask Venice whether a citizen exists before an order is opened; while it does not answer, orders are taken."""
    venice_settle_seconds: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    """How long a credit that Venice did not answer may still take effect; it is not sent again before."""
    venice_poll_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """How often Venice is asked for the city's state, which moves the rate."""
    delivery_days: Annotated[float, Field(gt=0, le=30)] = 5.0
    """How long a delivery is tried before it waits for an operator."""
    smtp_url: SecretStr | None = None
    """Sends receipts: smtp://user:password@host:587 or smtps://host:465; never logged."""
    mail_from: str | None = None
    """The sender of receipts; required beside CASCADE_SMTP_URL."""
    operator_email: str | None = None
    """Who is told that a webhook endpoint was disabled."""
    texts: Path | None = None
    """A folder with wording or translations of your own: <language>/<event type>.txt."""
    language: str = "en"
    """Of texts, when the reader asks for none that there is."""
    webhooks_allow_private: bool = False
    """Let webhook endpoints be in the private network, and without TLS. For a sandbox, or a platform beside us."""
    webhook_disable_days: Annotated[float, Field(gt=0, le=30)] = 5.0
    """An endpoint that has accepted nothing for so long is disabled."""

    home: Path = Path(".cascade")
    """Where endpoints.json lies while the system is up."""
    host: str = "127.0.0.1"
    """Address the API listens on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port the API listens on."""
    public_url: str | None = None
    """How citizens reach the API, e.g. https://pay.example.org, without a path; default: http://host:port."""
    forwarded_allow_ips: str = "127.0.0.1"
    """Proxies whose X-Forwarded-For is believed; comma separated."""

    seller_name: str = "Venice"
    """Who sells, as shop, receipts and letters say it."""
    seller_contact: str | None = None
    """Where payers ask: an e-mail address or a web address."""
    seller_terms_url: str | None = None
    """The terms of sale."""
    seller_home_url: str | None = None
    """Where payers come from and go back to, such as the platform."""

    catalogue: Path | None = None
    """A catalogue of your own; default: the one that ships with Cascade."""
    order_minutes: Annotated[int, Field(ge=1, le=1440)] = 15
    """How long a quote is locked and an order payable."""

    relayer_key: SecretStr | None = None
    """Private key of the account that sends payments which their payers only signed; without one none are taken."""
    relayer_keystore: Path | None = None
    """The same as an encrypted keystore file (Web3 Secret Storage), instead of the key."""
    relayer_password: SecretStr | None = None
    """Opens CASCADE_RELAYER_KEYSTORE; required beside it."""
    relayer_payments_per_payer_per_day: Annotated[int, Field(ge=1)] = 20
    """How many payments the relayer pays the fees of, for one account in 24 hours."""
    relayer_minute_pol: Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=6)] = Decimal(5)
    """Most POL that the relayer may spend in a minute, counted by the most that its transactions can cost."""
    relayer_day_pol: Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=6)] = Decimal(100)
    """The same in 24 hours: what the hot key can lose."""
    relayer_low_pol: Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=6)] = Decimal(5)
    """Less than this on the hot key is an alarm."""
    relayer_max_gwei: Annotated[int, Field(ge=25)] = 1000
    """Nothing is sent while gas costs more."""
    deposit_watch_days: Annotated[int, Field(ge=1, le=365)] = 30
    """How long after its time plain transfers to an order's deposit address are still looked for."""
    deposit_minimum_cents: Annotated[int, Field(ge=0, le=10_000)] = 5
    """Less than this is not collected from a deposit address: it would cost more than it brings."""
    relayer_wait_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Longest that a payment waits for others to share its transaction."""

    rate_formula: Path | None = None
    """How the ducat's rate moves; default: the formula that ships with Cascade."""

    api_key: SecretStr | None = None
    """Lets the platform's server read balances and inboxes (Authorization: Bearer ...); at least 32 characters."""
    public_balances: bool = False
    """Let anybody read any citizen's balance and inbox. For a sandbox."""
    orders_per_minute: Annotated[int, Field(ge=1)] = 60
    """New orders from one address."""
    reads_per_minute: Annotated[int, Field(ge=1)] = 1200
    """Other requests from one address."""
    webhooks_per_minute: Annotated[int, Field(ge=1)] = 6000
    """Webhooks from one address; what is refused, Stripe sends again."""
    signals_per_minute: Annotated[int, Field(ge=1)] = 120
    """Batches of signals from one address."""
    authorizations_per_minute: Annotated[int, Field(ge=1)] = 30
    """Questions what to sign, and signed payments, from one address; each asks the node."""
    streams: Annotated[int, Field(ge=1)] = 2000
    """Live streams that a process of the API has open at once; each is an open file."""
    streams_per_address: Annotated[int, Field(ge=1)] = 20
    """Of them, from one address."""

    walletconnect_project_id: str | None = None
    """Names us to WalletConnect's relay; without it the payment page offers no wallets on other devices. No secret."""
    walletconnect_relay_url: str = "wss://relay.walletconnect.org"
    """The relay through which the page and such wallets exchange sealed messages."""

    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often the indexer asks the node for new blocks."""
    log_range_blocks: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """Most blocks in one eth_getLogs; shrinks by itself when a provider refuses."""
    lease_seconds: Annotated[float, Field(ge=1, le=60)] = 5.0
    """How long a leading indexer may be silent before another takes over."""

    test_payer_key: SecretStr | None = None
    """Private key of a funded account on a local test chain; written to endpoints.json. Never in production."""

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        parts = parts_of(value.get_secret_value(), many_hosts=True)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError("must be a PostgreSQL URL such as postgresql://user:password@host/name")
        try:
            conninfo_to_dict(value.get_secret_value())
        except psycopg.Error:
            is_readable = False
        else:
            # libpq takes what follows the first @ for the host: the rest of a password would be told as one.
            is_readable = parts.netloc.count("@") < 2 and _HOSTS.fullmatch(parts.netloc.rpartition("@")[2]) is not None
        if not is_readable:
            raise ValueError("cannot be read: write @ : / ? # and % of the password as %40 %3A %2F %3F %23 %25")
        return value

    @field_validator("rpc_url")
    @classmethod
    def _is_http(cls, value: SecretStr) -> SecretStr:
        if parts_of(value.get_secret_value()).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            url = parts_of(value.get_secret_value())
            if url.scheme not in ("smtp", "smtps") or not url.hostname:
                raise ValueError("must be an address such as smtp://user:password@mail.example.org:587")
        return value

    @field_validator("host")
    @classmethod
    def _has_no_brackets(cls, value: str) -> str:
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        return None if value is None else origin_of(value)

    @field_validator("venice_url")
    @classmethod
    def _is_plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = parts_of(value)
        if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment or "@" in url.netloc:
            raise ValueError("must be an address such as https://venice.example.org, without user and password")
        return value.rstrip("/")

    @field_validator("seller_name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return check_name(value)

    @field_validator("seller_contact")
    @classmethod
    def _is_contact(cls, value: str | None) -> str | None:
        return value and check_contact(value)

    @field_validator("seller_terms_url", "seller_home_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        return value and check_web_address(value)

    @field_validator("walletconnect_project_id")
    @classmethod
    def _is_project_id(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[0-9a-f]{32}", value, re.ASCII):
            raise ValueError("must be 32 hexadecimal digits; unset it to offer no WalletConnect")
        return value

    @field_validator("walletconnect_relay_url")
    @classmethod
    def _is_websocket(cls, value: str) -> str:
        # Its origin goes into the page's Content-Security-Policy: no character of it may have a meaning there.
        if not re.fullmatch(r"wss?://[a-z0-9.-]+(:[0-9]{1,5})?(/[\w.~/-]*)?", value, re.ASCII):
            raise ValueError("must be a ws or wss URL such as wss://relay.walletconnect.org")
        return value

    @field_validator("api_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("must have at least 32 characters; make one with: openssl rand -hex 32")
        return value

    @field_validator("relayer_key")
    @classmethod
    def _is_private_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"0x[0-9a-fA-F]{64}", value.get_secret_value(), re.ASCII):
            raise ValueError("must be a private key: 0x and 64 hexadecimal digits; unset it to send nothing")
        return value

    @field_validator("stripe_secret_key")
    @classmethod
    def _is_secret_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"(sk|rk)_(test|live)_\w{8,}", value.get_secret_value(), re.ASCII):
            raise ValueError("must be a secret key such as sk_live_...; unset it to take no cards")
        return value

    @field_validator("stripe_webhook_secret")
    @classmethod
    def _is_webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"whsec_\S{16,}", value.get_secret_value(), re.ASCII):
            raise ValueError("must be the endpoint's signing secret, whsec_...: an empty one would verify nothing")
        return value

    @model_validator(mode="after")
    def _stripe_is_whole(self) -> Self:
        if (self.stripe_secret_key is None) != (self.stripe_webhook_secret is None):
            raise ValueError(
                "STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET go together: without the secret no webhook can be believed"
            )
        if self.stripe_api_base is None:
            return self
        if not _is_loopback(self.stripe_api_base) or self.stripe_secret_key is None:
            raise ValueError(f"{_PREFIX}STRIPE_API_BASE is for a double of Stripe on this machine, with its key")
        if "_live_" in self.stripe_secret_key.get_secret_value():
            raise ValueError(f"{_PREFIX}STRIPE_API_BASE is set beside a live STRIPE_SECRET_KEY: unset one of them")
        return self

    @model_validator(mode="after")
    def _mail_has_sender(self) -> Self:
        if (self.smtp_url is None) != (self.mail_from is None):
            raise ValueError(f"{_PREFIX}SMTP_URL and {_PREFIX}MAIL_FROM go together: a letter needs a sender")
        if self.operator_email is not None and self.smtp_url is None:
            raise ValueError(f"{_PREFIX}OPERATOR_EMAIL needs {_PREFIX}SMTP_URL: nothing could be sent to it")
        return self

    @model_validator(mode="after")
    def _relayer_has_one_key(self) -> Self:
        if self.relayer_key is not None and self.relayer_keystore is not None:
            raise ValueError(f"{_PREFIX}RELAYER_KEY and {_PREFIX}RELAYER_KEYSTORE are both set: unset one of them")
        if (self.relayer_keystore is None) != (self.relayer_password is None):
            raise ValueError(f"{_PREFIX}RELAYER_KEYSTORE and {_PREFIX}RELAYER_PASSWORD go together")
        return self

    @model_validator(mode="after")
    def _test_key_stays_local(self) -> Self:
        if self.test_payer_key is not None and not _is_loopback(self.rpc_url.get_secret_value()):
            raise ValueError(
                f"{_PREFIX}TEST_PAYER_KEY is for a local test chain, but {_PREFIX}RPC_URL is elsewhere: unset the key"
            )
        return self

    @property
    def has_relayer(self) -> bool:
        """Return whether payments that their payers only signed are taken."""
        return self.relayer_key is not None or self.relayer_keystore is not None

    @property
    def seller(self) -> Seller:
        """Return who sells."""
        return Seller(self.seller_name, self.seller_contact, self.seller_terms_url, self.seller_home_url)

    @property
    def base_url(self) -> str:
        """Return how citizens reach the API, without a slash at the end."""
        return self.public_url or listening_url(self.host, self.port)


def load() -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: variables are missing, wrong or unknown; the message names each of them.
    """
    _refuse_unknown(os.environ)
    try:
        return Settings()
    except ValidationError as exc:
        raise SettingsError("; ".join(_explain(error["loc"], error["msg"]) for error in exc.errors())) from None


def variable_of(field: str) -> str:
    """Return the environment variable that sets a field."""
    return _NAMED_BY_OTHERS.get(field, f"{_PREFIX}{field.upper()}")


def _refuse_unknown(names: Iterable[str]) -> None:
    """Refuse a misspelt variable, which would leave its default in force without a word."""
    known = [variable_of(field) for field in Settings.model_fields]
    for name in names:
        if name.startswith(_PREFIX) and not name.startswith(_SANDBOX_PREFIX) and name not in known:
            close = next(iter(difflib.get_close_matches(name, known, 1, 0.8)), None)
            hint = f"did you mean {close}?" if close else "see .env.example"
            raise SettingsError(f"{name}: there is no such setting; {hint}")


def _explain(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not location:  # a rule about several variables names them itself
        return text
    field = str(location[0])
    name = field if field in _NAMED_BY_OTHERS.values() else variable_of(field)
    return f"{name}: {'is required' if text == 'Field required' else text}"


def _is_loopback(url: str) -> bool:
    host = parts_of(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
