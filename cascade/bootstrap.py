"""Puts the parts together: the only place that chooses which objects the system runs on."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from eth_utils.crypto import keccak

from cascade.card_checkout import CardCheckout
from cascade.chains import Deployment
from cascade.checkout import Checkout
from cascade.domain.catalogue import Catalogue
from cascade.errors import DeploymentMismatch, SettingsError
from cascade.rails.node import Node
from cascade.rails.stripe import Stripe
from cascade.settings import Settings
from cascade.store.database import Database
from cascade.workers.card import CardWorker
from cascade.workers.indexer import Indexer, Router


@dataclass(frozen=True, slots=True)
class Cascade:
    """A running system's parts. Nothing is connected until ``database.open()``."""

    settings: Settings
    database: Database
    deployment: Deployment
    checkout: Checkout
    card: CardCheckout | None
    """None: no cards are taken here."""


def assemble(settings: Settings) -> Cascade:
    """Build the parts that every process needs.

    Raises:
        SettingsError: the deployment record or the catalogue cannot be used.
    """
    deployment = Deployment.load(settings.deployment)
    checkout = Checkout(_catalogue(settings), deployment, settings.order_minutes)
    database = Database(settings.database_url.get_secret_value())
    return Cascade(settings, database, deployment, checkout, _card(settings, database))


def node(settings: Settings) -> Node:
    """The endpoint at which the chain is read."""
    return Node(settings.rpc_url.get_secret_value())


def indexer(cascade: Cascade, chain: Node) -> Indexer:
    """The worker that books the router's payments."""
    deployment, settings = cascade.deployment, cascade.settings
    router = Router(deployment.chain.chain_id, deployment.router, deployment.block_number, deployment.stablecoins)
    return Indexer(
        cascade.database,
        chain,
        router,
        check=lambda: check_deployment(deployment, chain),
        poll_seconds=settings.poll_seconds,
        lease_seconds=settings.lease_seconds,
        log_range_blocks=settings.log_range_blocks,
    )


def card_worker(cascade: Cascade) -> CardWorker | None:
    """The worker that books what Stripe tells; None when no cards are taken."""
    if cascade.card is None:
        return None
    return CardWorker(
        cascade.database,
        cascade.card,
        poll_seconds=cascade.settings.poll_seconds,
        catch_up_seconds=cascade.settings.stripe_catch_up_seconds,
    )


def check_deployment(deployment: Deployment, chain: Node) -> None:
    """Hold the deployment record against the chain before anything is read from it.

    Raises:
        DeploymentMismatch: another chain answers, or other code lies at the router's address.
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


def _card(settings: Settings, database: Database) -> CardCheckout | None:
    key, webhook_secret = settings.stripe_secret_key, settings.stripe_webhook_secret
    if key is None or webhook_secret is None:
        return None
    stripe = Stripe(key.get_secret_value(), webhook_secret.get_secret_value(), api_base=settings.stripe_api_base)
    return CardCheckout(database, stripe, settings.base_url)


def _catalogue(settings: Settings) -> Catalogue:
    if settings.catalogue is None:
        return Catalogue.from_toml((files("cascade") / "catalogue.toml").read_text(encoding="utf-8"))
    try:
        return Catalogue.from_toml(settings.catalogue.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SettingsError(f"CASCADE_CATALOGUE: {settings.catalogue}: {fault.strerror}") from None
