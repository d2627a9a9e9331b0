"""Books what Stripe tells: works through the inbox, catches up on lost webhooks, and closes what must not be paid."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from functools import partial
from itertools import islice

import psycopg

from cascade.db import card_attempts, stripe_inbox
from cascade.db.balances import check_now
from cascade.db.database import Conn, Database
from cascade.domain.card_payments import Alarm, CardAttempt, CardEvidence, StripeEvent
from cascade.errors import CascadeError, LedgerConflict, StripeError, StripeFailed, StripeUnavailable
from cascade.services.booking import book_gain, book_payment, book_reversal
from cascade.services.card_checkout import CardCheckout
from cascade.services.checkout import emit_card_events
from cascade.workers.heartbeat import describe
from cascade.workers.polling import PollingWorker

log = logging.getLogger(__name__)

CLAIM_SECONDS = 15.0
"""Events are due again after this when their worker died or lost the database. A look that takes longer is harmless:
another worker's look at the same intent books nothing twice."""
OVERLAP = timedelta(minutes=10)
"""How far Stripe's list is read again: an event may appear in it a little late."""
MAKE_DUE_SECONDS = 30.0
"""How often what was postponed for want of an answer may be made due."""
_PAGE = 100
_MOST_EVENTS = 200
_MOST_TO_CLOSE = 8
AT_ONCE = 4
"""Intents that are looked at side by side: the time goes into waiting for Stripe."""


class StripeWorker(PollingWorker):
    """Any number of them may run side by side; each can be killed at any moment.

    Args:
        database: holds inbox and ledger.
        checkout: of the account that tells.
        poll_seconds: how often to look into the inbox.
        catch_up_seconds: how often to read Stripe's own list of events.
        claim_seconds: when events that this worker took are due again, should it die.
    """

    def __init__(
        self,
        database: Database,
        checkout: CardCheckout,
        *,
        poll_seconds: float,
        catch_up_seconds: float,
        claim_seconds: float = CLAIM_SECONDS,
    ) -> None:
        super().__init__("card", self._step_and_catch_up, poll_seconds=poll_seconds)
        self._database = database
        self._checkout = checkout
        self._stripe = checkout.stripe
        self._catch_up_seconds = catch_up_seconds
        self._claim_seconds = claim_seconds
        self._catch_up_at = 0.0
        self._make_due_at = 0.0

    def _step_and_catch_up(self) -> bool:
        """Work through the inbox; then read Stripe's list, when it is time: a list that fails holds nothing up."""
        busy = self.step()
        if time.monotonic() < self._catch_up_at:
            return busy
        news = self.catch_up()
        self._catch_up_at = time.monotonic() + self._catch_up_seconds
        return busy or news > 0

    def step(self) -> bool:
        """Look at every intent of which something was told, and close what nobody should pay any more.

        Returns:
            True when there may be more to do right away.

        Raises:
            psycopg.Error: the database does not answer; what was taken is due again later.
        """
        with self._database.transaction() as connection:
            claimed = stripe_inbox.claim(connection, limit=_MOST_EVENTS, seconds=self._claim_seconds)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="card") as pool:
            _finish([pool.submit(self._look, intent, events) for intent, events in claimed.items()])
            _finish([pool.submit(self._close, attempt) for attempt in self._attempts_to_close()])
        return bool(claimed)

    def catch_up(self) -> int:
        """Read Stripe's list of events, so that a webhook that was lost, or came while we were down, loses nothing.

        Returns:
            How many events were news.

        Raises:
            StripeError: the list could not be read to its end; the next time begins where this one did.
        """
        ahead = self._stripe.clock.ahead()
        with self._database.transaction() as connection:
            until = stripe_inbox.read_until(connection, ahead=ahead)
        news, newest = 0, until
        listed = self._stripe.events_since(until - OVERLAP)
        while events := list(islice(listed, _PAGE)):
            newest = max(newest, *(event.created_at for event in events))
            with self._database.transaction() as connection:
                news += stripe_inbox.insert(connection, events)
        with self._database.transaction() as connection:
            stripe_inbox.set_read_until(connection, newest)
        self._answers()
        if news:
            log.info("caught up on %d events whose webhooks had not come", news)
        return news

    def _look(self, intent_id: str, events: list[StripeEvent]) -> None:
        """Ask how an intent stands, and book in one transaction what is not booked yet."""
        try:
            with self._database.transaction() as connection:
                number = card_attempts.number_evidence(connection)
            evidence = self._stripe.evidence(intent_id)
            covered = [event for event in events if evidence.covers(event)]
            with self._database.transaction() as connection:
                if evidence.payment is not None:
                    outcome = book_payment(connection, evidence.payment)
                    news = _book_movements(connection, evidence)
                    log.info("%s: %s, %d movements new", evidence.payment.reference, outcome, news)
                card_attempts.save_evidence(connection, number, evidence)
                card_attempts.reopen_payable(connection, evidence.intent)
                if evidence.payment is None:  # else a refused card is no news any more
                    emit_card_events(connection, evidence.intent, [e.event_id for e in covered if e.tells_failure])
                card_attempts.close_named(connection, [event.object_id for event in covered if event.ends_attempt])
                stripe_inbox.settle(connection, covered)
            self._answers()
            if len(covered) < len(events):
                raise StripeUnavailable("Stripe's answer does not hold yet what its event told of")
        except Exception as exc:  # of one intent: the others must not wait for it
            if not isinstance(exc, (CascadeError, psycopg.Error)):
                log.exception("%s", intent_id)
            self._postpone(intent_id, events, exc)

    def _postpone(self, intent_id: str, events: list[StripeEvent], exc: Exception) -> None:
        error = describe(exc)
        log.warning("%s: %s", intent_id, error)
        no_answer = isinstance(exc, (StripeUnavailable, StripeFailed))
        with self._database.transaction() as connection:
            stripe_inbox.postpone(connection, events, error, no_answer=no_answer)  # but for those that are settled

    def _answers(self) -> None:
        """Make due at once what was postponed while Stripe gave no answer; now and then, lest one fault be repeated."""
        if time.monotonic() < self._make_due_at:
            return
        self._make_due_at = time.monotonic() + MAKE_DUE_SECONDS
        with self._database.transaction() as connection:
            due = stripe_inbox.make_due(connection)
        if due:
            log.info("Stripe answers: %d events that were postponed are due", due)

    def _attempts_to_close(self) -> list[CardAttempt]:
        with self._database.transaction() as connection:
            return card_attempts.attempts_to_close(connection, limit=_MOST_TO_CLOSE)

    def _close(self, attempt: CardAttempt) -> None:
        """Close what should not be paid by card: what is paid already, or whose price no longer holds."""
        try:
            self._checkout.close(attempt)
        except StripeError as exc:  # tried again later; a payment that slips through goes to suspense
            log.warning("ending %s: %s: %s", attempt.stripe_id, type(exc).__name__, exc)
            with self._database.transaction() as connection:
                card_attempts.postpone_ending(connection, attempt)


def _book_movements(connection: Conn, evidence: CardEvidence) -> int:
    """Book what moved after a payment, each movement by itself: one that the ledger refuses holds up no other.

    Returns:
        How many were news.
    """
    intent_id, news = evidence.intent.intent_id, 0
    books = [(r.reference, partial(book_reversal, connection, r)) for r in evidence.reversals]
    books += [(g.reference, partial(book_gain, connection, g.reference, g.amount)) for g in evidence.gains]
    for reference, book in books:
        try:
            with connection.transaction():  # a savepoint
                news += book()
                check_now(connection)
        except (LedgerConflict, psycopg.IntegrityError) as exc:
            told = f"the ledger refuses this movement, compare it with Stripe's Dashboard: {describe(exc)}"
            stripe_inbox.raise_alarm(connection, Alarm(reference, told), intent_id)
    for alarm in evidence.alarms:
        stripe_inbox.raise_alarm(connection, alarm, intent_id)
    return news


def _finish(looks: Sequence[Future[None]]) -> None:
    """Let all of them end, whatever one of them meets; then raise the first fault."""
    wait(looks)
    for look in looks:
        look.result()
