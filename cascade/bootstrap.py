"""Puts the parts together: the only place that chooses which objects the system runs on."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from eth_utils.crypto import keccak

from cascade.adapters.chain.log_reader import Node
from cascade.adapters.chain.router_logs import ASK_DEPOSIT_CODE_HASH, DEPOSIT_CODE_HASH
from cascade.adapters.chain.signer import LocalSigner
from cascade.adapters.email import Mailer
from cascade.adapters.stripe import Stripe
from cascade.adapters.texts import Texts
from cascade.adapters.venice import CitizenDirectory, VeniceConnector
from cascade.adapters.venice_metrics import VeniceMetrics
from cascade.adapters.webhooks import Webhooks
from cascade.app import App
from cascade.chains import Deployment
from cascade.db.database import COMMANDS, Database, Deadlines
from cascade.domain.catalogue import Catalogue
from cascade.domain.delivery_states import EMAIL, MESSAGE, WEBHOOK, OutboxMessage
from cascade.domain.ducat_rate import Rate
from cascade.domain.gas_fees import GWEI, FeePolicy
from cascade.domain.relay_batch_rules import RelayPolicy
from cascade.errors import DeploymentMismatch, SettingsError
from cascade.rate.metrics_poller import MetricsPoller
from cascade.rate.parameters import Formula
from cascade.rate.tick_worker import TickWorker
from cascade.services.card_checkout import CardCheckout
from cascade.services.checkout import Checkout
from cascade.services.signed_payments import SignedPayments
from cascade.services.wallet_plan import Wallets
from cascade.settings import Settings
from cascade.workers.channel_base import AsyncDatabase, Channel
from cascade.workers.credit_sender import CreditSender
from cascade.workers.deposit_watcher import DepositWatcher
from cascade.workers.indexer import Indexer
from cascade.workers.log_follower import Router
from cascade.workers.notification_channels import EmailChannel, MessageChannel, WebhookChannel
from cascade.workers.outbox_dispatcher import OutboxDispatcher
from cascade.workers.polling import PollingWorker
from cascade.workers.relayer import Relayer
from cascade.workers.retry_policy import RetryPolicy
from cascade.workers.stripe_worker import StripeWorker


def assemble(settings: Settings, deadlines: Deadlines = COMMANDS) -> App:
    """Build the parts that every process needs.

    Args:
        settings: of this process.
        deadlines: how long its database may take.

    Raises:
        SettingsError: the deployment record, the catalogue or the formula cannot be used.
    """
    formula = Formula.from_toml(_data(settings.rate_formula, "formula.toml", "CASCADE_RATE_FORMULA"))
    deployment = Deployment.load(settings.deployment)
    checkout = Checkout(
        Catalogue.from_toml(_data(settings.catalogue, "catalogue.toml", "CASCADE_CATALOGUE")),
        deployment,
        settings.order_minutes,
        ledger_mode=settings.venice_url is None,
        register=CitizenDirectory(settings.venice_url)
        if settings.venice_url and settings.venice_check_citizens
        else None,
        sends_mail=settings.smtp_url is not None,
        start=Rate(formula.base_nano_usd),
    )
    database = Database(settings.database_url.get_secret_value(), deadlines=deadlines)
    texts = Texts(settings.language, settings.texts, settings.seller)
    return App(
        settings,
        database,
        deployment,
        checkout,
        _card(settings, database),
        texts,
        formula,
        _signed_payments(settings, deployment),
        Wallets(node(settings), deployment),
    )


def node(settings: Settings, timeout_seconds: float = 10.0) -> Node:
    """Return the endpoint at which the chain is read."""
    return Node(settings.rpc_url.get_secret_value(), timeout_seconds=timeout_seconds)


def mailer(settings: Settings, timeout_seconds: float = 20.0) -> Mailer | None:
    """Return what hands letters to the mail server; None when there is none.

    Raises:
        SettingsError: the address of the server or of the sender is none.
    """
    if settings.smtp_url is None or settings.mail_from is None:
        return None
    return Mailer(settings.smtp_url.get_secret_value(), settings.mail_from, timeout_seconds)


def indexer(app: App, chain: Node) -> Indexer:
    """Return the worker that books the router's payments."""
    deployment, settings = app.deployment, app.settings
    return Indexer(
        app.database,
        chain,
        _router(deployment),
        check=lambda: check_deployment(deployment, chain),
        poll_seconds=settings.poll_seconds,
        lease_seconds=settings.lease_seconds,
        log_range_blocks=settings.log_range_blocks,
    )


def watcher(app: App, chain: Node) -> DepositWatcher:
    """Return the worker that watches deposit addresses; what it finds, the relayer collects."""
    deployment, settings = app.deployment, app.settings
    return DepositWatcher(
        app.database,
        chain,
        _router(deployment),
        check=lambda: check_deployment(deployment, chain),
        days=settings.deposit_watch_days,
        minimum=settings.deposit_minimum_cents * 10**4,  # both stablecoins have six decimals
        poll_seconds=settings.poll_seconds,
        lease_seconds=settings.lease_seconds,
        log_range_blocks=settings.log_range_blocks,
    )


def followed_streams(app: App) -> list[str]:
    """Return the names of the checkpoints that this configuration moves; all others are of earlier ones."""
    followed = _router(app.deployment)
    return [followed.stream, *([followed.deposits_stream] if app.settings.has_relayer else [])]


def card_worker(app: App) -> StripeWorker | None:
    """Return the worker that books what Stripe tells; None when no cards are taken."""
    if app.card is None:
        return None
    return StripeWorker(
        app.database,
        app.card,
        poll_seconds=app.settings.poll_seconds,
        catch_up_seconds=app.settings.stripe_catch_up_seconds,
    )


def relayer(app: App, chain: Node) -> Relayer | None:
    """Return the worker that sends what payers signed; None without a key to pay the fees.

    Raises:
        SettingsError: the key cannot be used.
    """
    settings, deployment = app.settings, app.deployment
    signer = hot_key(settings)
    if signer is None:
        return None
    policy = RelayPolicy(
        per_minute_wei=_wei(settings.relayer_minute_pol),
        per_day_wei=_wei(settings.relayer_day_pol),
        low_balance_wei=_wei(settings.relayer_low_pol),
        fees=FeePolicy(ceiling=settings.relayer_max_gwei * GWEI),
        wait_seconds=settings.relayer_wait_seconds,
    )
    return Relayer(
        app.database,
        chain,
        signer,
        chain_id=deployment.chain.chain_id,
        router=deployment.router,
        policy=policy,
        check=lambda: check_deployment(deployment, chain),
        poll_seconds=settings.poll_seconds,
        lease_seconds=settings.lease_seconds,
    )


def hot_key(settings: Settings) -> LocalSigner | None:
    """Return the key that sends what payers signed; None when there is none.

    Raises:
        SettingsError: it cannot be used.
    """
    if settings.relayer_key is not None:
        return LocalSigner.from_hex(settings.relayer_key.get_secret_value())
    if settings.relayer_keystore is not None and settings.relayer_password is not None:
        return LocalSigner.from_keystore(settings.relayer_keystore, settings.relayer_password.get_secret_value())
    return None


def rate_keeper(app: App) -> PollingWorker:
    """Return the worker that writes the rate's ticks."""
    ticks = TickWorker(app.database, app.formula)
    return PollingWorker("rate keeper", ticks.step, poll_seconds=ticks.poll_seconds)


def observer(app: App) -> PollingWorker | None:
    """Return the worker that asks Venice for the city's state; None when there is no Venice to ask."""
    settings = app.settings
    if settings.venice_url is None:
        return None
    poll_seconds = settings.venice_poll_seconds
    poller = MetricsPoller(app.database, VeniceMetrics(settings.venice_url), poll_seconds=poll_seconds)
    return PollingWorker("observer", poller.step, poll_seconds=poll_seconds, on_end=poller.close)


def credit_sender(app: App) -> CreditSender:
    """Return the worker that sends credits to Venice, or confirms them where our ledger holds the balances."""
    settings = app.settings
    return CreditSender(
        app.database,
        settings.venice_url,
        settle_seconds=settings.venice_settle_seconds,
        poll_seconds=settings.poll_seconds,
        retries=RetryPolicy(settings.delivery_days),
    )


def dispatcher(app: App) -> OutboxDispatcher:
    """Return the worker that delivers the outbox."""
    settings = app.settings
    return OutboxDispatcher(
        app.database,
        lambda database: _channels(app, database),
        poll_seconds=settings.poll_seconds,
        retries=RetryPolicy(settings.delivery_days),
    )


def _channels(app: App, database: AsyncDatabase) -> Mapping[str, Channel[OutboxMessage]]:
    settings, texts, chain = app.settings, app.texts, app.deployment.chain
    venice = VeniceConnector(settings.venice_url) if settings.venice_url else None
    return {
        MESSAGE: MessageChannel(venice, texts, chain),
        EMAIL: EmailChannel(mailer(settings), texts, chain),
        WEBHOOK: WebhookChannel(
            Webhooks(settings.webhooks_allow_private),
            database,
            disable_after_seconds=settings.webhook_disable_days * 86_400,
            operator=settings.operator_email,
        ),
    }


def check_deployment(deployment: Deployment, chain: Node) -> None:
    """Hold the deployment record against the chain before anything is read from it.

    Raises:
        DeploymentMismatch: another chain answers, other code lies at the router's address, or the router creates other
            code at its deposit addresses than this build.
        NodeUnavailable: the node does not answer.
    """
    chain_id = chain.chain_id()
    if chain_id != deployment.chain.chain_id:
        raise DeploymentMismatch(
            f"CASCADE_RPC_URL is a node of chain {chain_id}, but CASCADE_DEPLOYMENT is of chain"
            f" {deployment.chain.chain_id} ({deployment.chain.name}): make them the same"
        )
    code_hash = "0x" + keccak(chain.code(deployment.router)).hex()
    if code_hash != deployment.code_hash:
        raise DeploymentMismatch(
            f"the code at {deployment.router} has hash {code_hash}, but CASCADE_DEPLOYMENT says"
            f" {deployment.code_hash}: it is the record of another deployment or of another chain"
        )
    deposit_code_hash = chain.call(deployment.router, ASK_DEPOSIT_CODE_HASH)
    if deposit_code_hash != DEPOSIT_CODE_HASH:
        raise DeploymentMismatch(
            f"the router at {deployment.router} has the depositCodeHash 0x{deposit_code_hash.hex()}, this release"
            f" 0x{DEPOSIT_CODE_HASH.hex()}: a plain transfer that was collected late could not be told from another"
            " payment; run the release that the router was deployed with"
        )


def _card(settings: Settings, database: Database) -> CardCheckout | None:
    key, webhook_secret = settings.stripe_secret_key, settings.stripe_webhook_secret
    if key is None or webhook_secret is None:
        return None
    stripe = Stripe(
        key.get_secret_value(),
        webhook_secret.get_secret_value(),
        api_base=settings.stripe_api_base,
        checkout_domain=settings.stripe_checkout_domain,
    )
    return CardCheckout(database, stripe, settings.base_url)


def _router(deployment: Deployment) -> Router:
    return Router(deployment.chain.chain_id, deployment.router, deployment.block_number, deployment.stablecoins)


def _wei(pol: Decimal) -> int:
    return int(pol * 10**18)


def _signed_payments(settings: Settings, deployment: Deployment) -> SignedPayments | None:
    if not settings.has_relayer:
        return None
    return SignedPayments(node(settings), deployment, per_payer_per_day=settings.relayer_payments_per_payer_per_day)


def _data(path: Path | None, shipped: str, variable: str) -> str:
    """Return a file of data: the operator's own, or the one that ships with Cascade."""
    if path is None:
        return (files("cascade") / shipped).read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no UTF-8 text"
        raise SettingsError(f"{variable}: {path}: {reason}") from None
