"""A card worker in a process of its own that kills itself in the middle of its work."""

from __future__ import annotations

from multiprocessing.context import ForkServerProcess

from cascade.adapters.stripe import Stripe
from cascade.db.database import Database
from cascade.services.card_checkout import CardCheckout
from cascade.workers.stripe_worker import StripeWorker
from sandbox.stripe import StripeDouble
from tests.faults.dying import FORK, die_before


def work_until_killed(url: str, keys: tuple[str, str, str], messages: int | None, wish: int) -> None:
    """Catches up and books everything; sends itself a signal instead of the message with this number."""
    secret_key, webhook_secret, api_base = keys
    database = Database(url, connections=2)
    database.open()
    if messages is not None:
        die_before(messages, wish)
    checkout = CardCheckout(database, Stripe(secret_key, webhook_secret, api_base=api_base), "http://127.0.0.1:1")
    worker = StripeWorker(database, checkout, poll_seconds=0.02, catch_up_seconds=1, claim_seconds=0.01)
    worker.catch_up()
    while worker.step():
        pass
    database.close()


def spawn(url: str, double: StripeDouble, messages: int | None, wish: int) -> ForkServerProcess:
    keys = (double.secret_key, double.webhook_secret, double.url)
    process = FORK.Process(target=work_until_killed, args=(url, keys, messages, wish))
    process.start()
    return process
