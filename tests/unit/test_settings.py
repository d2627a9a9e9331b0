import re
from pathlib import Path

import pytest

from cascade import settings
from cascade.errors import SettingsError
from cascade.settings import Settings, variable_of

ROOT = Path(__file__).parents[2]
GOOD = {"DATABASE_URL": "postgresql://localhost/x", "CASCADE_RPC_URL": "http://127.0.0.1:8545"}
STRIPE = {"STRIPE_SECRET_KEY": "sk_test_123456789", "STRIPE_WEBHOOK_SECRET": "whsec_1234567890123456"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(variable_of(field), raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return settings.load()


def test_two_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(monkeypatch, **GOOD)
    assert loaded.base_url == "http://127.0.0.1:8000"
    assert loaded.public_balances is False


def test_everything_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL: is required; CASCADE_RPC_URL: is required"):
        load(monkeypatch)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("CASCADE_RPC_URL", "ftp://node"),
        ("CASCADE_PORT", "70000"),
        ("CASCADE_PORT", "http"),
        ("CASCADE_ORDER_MINUTES", "0"),
        ("CASCADE_PUBLIC_URL", "pay.example.org"),
        ("CASCADE_SELLER_NAME", " "),
        ("CASCADE_SELLER_NAME", "A\nB"),
        ("CASCADE_SELLER_CONTACT", "javascript:alert(1)"),
        ("CASCADE_SELLER_CONTACT", "a@b.example?bcc=c@d.example"),
        ("CASCADE_SELLER_TERMS_URL", "venice.example/terms"),
        ("CASCADE_SELLER_HOME_URL", "https://user:secret@venice.example"),
        ("CASCADE_API_KEY", "short"),
        ("CASCADE_PUBLIC_BALANCES", "maybe"),
        ("CASCADE_POLL_SECONDS", "-1"),
        ("CASCADE_LEASE_SECONDS", "0.5"),
        ("STRIPE_SECRET_KEY", ""),
        ("STRIPE_SECRET_KEY", "pk_test_123456789"),
        ("STRIPE_WEBHOOK_SECRET", ""),
        ("STRIPE_WEBHOOK_SECRET", "whsec_"),
        ("STRIPE_WEBHOOK_SECRET", "   "),
        ("CASCADE_STRIPE_CATCH_UP_SECONDS", "0"),
        ("CASCADE_RELAYER_KEY", "11" * 32),
        ("CASCADE_RELAYER_KEY", "0x" + "11" * 31),
        ("CASCADE_RELAYER_PAYMENTS_PER_PAYER_PER_DAY", "0"),
        ("CASCADE_AUTHORIZATIONS_PER_MINUTE", "0"),
    ],
)
def test_a_bad_one_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"(^|; ){variable}: "):
        load(monkeypatch, **{**GOOD, **STRIPE, variable: value})


@pytest.mark.parametrize("missing", ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"])
def test_the_key_without_the_webhook_secret_refuses_to_start(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    given = {name: value for name, value in STRIPE.items() if name != missing}
    with pytest.raises(SettingsError, match="STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET go together"):
        load(monkeypatch, **GOOD, **given)


def test_a_double_of_stripe_is_on_this_machine_and_has_no_live_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **GOOD, **STRIPE, CASCADE_STRIPE_API_BASE="http://127.0.0.1:1").stripe_api_base
    with pytest.raises(SettingsError, match="CASCADE_STRIPE_API_BASE is set beside a live"):
        load(monkeypatch, STRIPE_SECRET_KEY="sk_live_123456789")
    with pytest.raises(SettingsError, match="CASCADE_STRIPE_API_BASE is for a double"):
        load(monkeypatch, STRIPE_SECRET_KEY="sk_test_123456789", CASCADE_STRIPE_API_BASE="https://evil.example")


@pytest.mark.parametrize(
    ("variable", "hint"), [("CASCADE_PROT", "did you mean CASCADE_PORT"), ("CASCADE_COLOUR", "see .env.example")]
)
def test_an_unknown_one_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{variable}: there is no such setting; {hint}"):
        load(monkeypatch, **GOOD, **{variable: "1"})


def test_the_sandboxs_own_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **GOOD, CASCADE_SANDBOX_RPC_PORT="8546")


def test_a_refusal_does_not_repeat_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as refused:
        load(
            monkeypatch,
            **{
                **GOOD,
                "DATABASE_URL": "mysql://me:hunter2@h/x",
                "CASCADE_API_KEY": "hunter2",
                "CASCADE_RELAYER_KEY": "hunter2",
                "STRIPE_SECRET_KEY": "hunter2",
            },
        )
    assert "hunter2" not in str(refused.value)


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "DATABASE_URL": "postgresql://me:hunter2@h/x",
        "CASCADE_RPC_URL": "http://127.0.0.1/hunter2",
        "CASCADE_API_KEY": "hunter2" * 9,
        "CASCADE_TEST_PAYER_KEY": "hunter2",
        "CASCADE_RELAYER_KEYSTORE": "relayer.json",
        "CASCADE_RELAYER_PASSWORD": "hunter2",
        "STRIPE_SECRET_KEY": "sk_test_hunter2hunter2",
        "STRIPE_WEBHOOK_SECRET": "whsec_hunter2hunter2hunter2",
    }
    assert "hunter2" not in repr(load(monkeypatch, **secrets))


def test_the_relayer_has_one_key_and_it_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not load(monkeypatch, **GOOD).has_relayer
    loaded = load(monkeypatch, CASCADE_RELAYER_KEY="0x" + "ab" * 32)
    assert loaded.has_relayer
    assert "abab" not in repr(loaded)
    with pytest.raises(SettingsError, match="CASCADE_RELAYER_KEYSTORE and CASCADE_RELAYER_PASSWORD go together"):
        load(monkeypatch, CASCADE_RELAYER_PASSWORD="hunter2")
    with pytest.raises(SettingsError, match="are both set: unset one of them"):
        load(monkeypatch, CASCADE_RELAYER_KEYSTORE="relayer.json")
    monkeypatch.delenv("CASCADE_RELAYER_KEY")
    assert load(monkeypatch).has_relayer


def test_a_test_key_is_refused_beside_a_node_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"CASCADE_TEST_PAYER_KEY": "0x01"}
    assert load(monkeypatch, **GOOD, **key).test_payer_key is not None
    with pytest.raises(SettingsError, match="CASCADE_TEST_PAYER_KEY"):
        load(monkeypatch, **{**GOOD, "CASCADE_RPC_URL": "https://polygon.example.org"}, **key)


def test_the_example_lists_every_setting_and_nothing_else() -> None:
    example = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)
    sandbox = {f"CASCADE_SANDBOX_{name}_PORT" for name in ("RPC", "STRIPE", "VENICE")}
    assert sorted(listed) == sorted({variable_of(field) for field in Settings.model_fields} | sandbox)


def test_the_example_shows_the_defaults() -> None:
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    for name, field in Settings.model_fields.items():
        if not field.is_required() and variable_of(name) in example:
            assert example[variable_of(name)].lower() == str(field.default).lower()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CASCADE_PUBLIC_URL", "https://user:hunter2@pay.example.org"),
        ("CASCADE_PUBLIC_URL", "https://pay.example.org/?key=hunter2"),
        ("CASCADE_PUBLIC_URL", "https://pay.example.org/hunter2"),
        ("CASCADE_VENICE_URL", "https://user:hunter2@venice.example.org/api"),
        ("CASCADE_VENICE_URL", "https://user:hunter2/@venice.example.org"),
        ("CASCADE_RPC_URL", "https://user:hunter2/@node.example.org"),
        ("CASCADE_SMTP_URL", "smtp://user:hunter2/@mail.example.org:587"),
        ("DATABASE_URL", "postgresql://user:1@hunter2@localhost/x"),
        ("DATABASE_URL", "postgresql://user:hunter2/@localhost/x"),
        ("DATABASE_URL", "postgresql://user:hunter2%zz@localhost/x"),
        ("DATABASE_URL", "postgresql://user:hunter2#@localhost/x"),
        ("DATABASE_URL", "postgresql://user:hunter2?@localhost/x"),
        ("DATABASE_URL", "postgresql://user@localhost/x?hunter2=1"),
        ("DATABASE_URL", "postgresql://user:hunter2\N{FULLWIDTH COMMERCIAL AT}localhost/x"),
    ],
)
def test_a_refused_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"(^|; ){variable}: ") as refused:
        load(monkeypatch, **{**GOOD, "CASCADE_MAIL_FROM": "a@b.example", variable: value})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_host_is_in_brackets_in_every_url(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    loaded = load(monkeypatch, **GOOD, CASCADE_HOST=host)
    assert (loaded.host, loaded.base_url) == ("::1", "http://[::1]:8000")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/x",
        "postgres://user:pass@localhost:5432/x?sslmode=require",
        "postgresql://user:p%40ss%2F@[::1]:5432/x",
        "postgresql://a:5432,b:5433,[::1]:5434/x?target_session_attrs=read-write",
        "postgresql://postgres@/cascade?host=%2Ftmp%2Fpg&port=5432",
        "postgresql:///x",
    ],
)
def test_what_libpq_takes_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert load(monkeypatch, **{**GOOD, "DATABASE_URL": url}).database_url.get_secret_value() == url
