"""Errors that Cascade raises on purpose, as one tree.

    CascadeError
    ├── SettingsError            a setting is missing or wrong: names the variable
    ├── InvalidInput             a request that cannot be taken as it is: names the field
    ├── NotFound                 no such order, payment link or payment
    ├── NotPayable               the order is paid, expired or being paid; its link opens nothing; or no cards are taken
    │   └── AuthorizationRefused a signed payment cannot be sent: says why, and what the payer can do instead
    ├── MigrationError           the database holds another history than this release
    ├── LedgerConflict           a reference is used again with other contents
    ├── DeploymentMismatch       the deployment record and the chain disagree
    ├── LeaseLost                another indexer leads this stream now
    ├── ClockFault               two clocks disagree, or one was wrong: nothing is priced by it
    ├── BookingTooLong           a booking would hold the ledger for too long: it is tried again in parts
    ├── StripeError              what Stripe said, or did not say
    │   ├── InvalidSignature     a webhook that Stripe did not sign, or signed too long ago
    │   ├── StripeUnavailable    no answer: the same request may be sent again
    │   │   └── StripeBusy       the first request with this idempotency key is still running
    │   ├── StripeFailed         an answer that settles nothing, and that Stripe would repeat: look, then use a new key
    │   └── StripeRefused        a person has to change something: the message says what
    │       └── StripeDenied     Stripe does not take the key: nothing is said of what was asked
    ├── DeliveryError            an outgoing delivery did not arrive
    │   ├── NotDelivered         not now: it is tried again by itself
    │   └── DeliveryRefused      an operator has to act: the problem says how
    └── NodeError                what an RPC node said cannot be used
        ├── NodeUnavailable      unknown is not an answer: ask again, or ask another node
        ├── ReorgBelowFinality   a block that was final has another hash: stop and page
        └── SequenceGap          a node hid a payment, or told one twice: stop and page

Each message names both sides of a disagreement and, where there is one, the remedy.
"""


class CascadeError(Exception):
    """The root of the tree."""


class SettingsError(CascadeError):
    """A setting is missing or wrong. The message names the environment variable."""


class InvalidInput(CascadeError):
    """A request that cannot be taken as it is.

    Args:
        field: the name of the request's field, as the sender wrote it.
        message: one plain sentence for the sender.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NotFound(CascadeError):
    """No such order, payment link or payment."""


class NotPayable(CascadeError):
    """The order cannot be paid in this way now: it is paid, expired or being paid, or cards are not taken here. Or a
    payment link opens no order any more."""


class AuthorizationRefused(NotPayable):
    """A payment that its payer signed, or is about to sign, cannot be sent, by us or by the payer.

    Args:
        reason: the word for it, of ``domain.relay.RejectReason``.
        next_step: what the payer can do instead, as a plain sentence.
    """

    def __init__(self, reason: str, next_step: str) -> None:
        super().__init__(f"This payment is not sent: {reason.replace('_', ' ')}.")
        self.reason = reason
        self.next_step = next_step


class DatabaseUnreachable(CascadeError):
    """The database does not let us in; the message says why."""


class MigrationError(CascadeError):
    """The database holds another history of migrations than this release."""


class LedgerConflict(CascadeError):
    """A reference that is already in the ledger came again with other contents."""


class DeploymentMismatch(CascadeError):
    """The deployment record and the chain disagree."""


class LeaseLost(CascadeError):
    """Another indexer leads this stream now; nothing of this step was written."""


class ClockFault(CascadeError):
    """The database's clock disagrees with another one, or was wrong. Nothing is priced by it until a person looks."""


class BookingTooLong(CascadeError):
    """A booking holds the ledger for too long; nothing of it was written. It is tried again with fewer events."""


class StripeError(CascadeError):
    """An error that Stripe answered, or no answer."""


class InvalidSignature(StripeError):
    """A webhook that Stripe did not sign, or signed too long ago."""


class StripeUnavailable(StripeError):
    """Stripe gave no answer. What was asked may have happened; the same request with the same key may be sent again."""


class StripeBusy(StripeUnavailable):
    """Stripe is still working on the first request with this idempotency key: wait, and ask again with the same key."""


class StripeFailed(StripeError):
    """Stripe gave an answer that settles nothing and that it would repeat for this idempotency key for a day."""


class StripeRefused(StripeError):
    """Stripe will not do what was asked, or says what cannot be booked. A person has to change something."""


class StripeDenied(StripeRefused):
    """Stripe does not take the secret key, or not for this. What was asked for before may have happened."""


class DeliveryError(CascadeError):
    """An outgoing delivery did not reach its receiver.

    Args:
        message: what happened, without secrets.
        problem: the word for it, where there is one; ``domain.deliveries.Problem`` knows the next step.
    """

    def __init__(self, message: str, problem: str | None = None) -> None:
        super().__init__(message)
        self.problem = problem


class NotDelivered(DeliveryError):
    """Not now. It is tried again by itself, later and later."""


class DeliveryRefused(DeliveryError):
    """An operator has to act: trying again would not help, or could do harm."""


class NodeError(CascadeError):
    """An answer of an RPC node that cannot be used."""


class NodeUnavailable(NodeError):
    """The node gave no usable answer. Unknown is not a fact: ask again, or ask another node."""


class ReorgBelowFinality(NodeError):
    """A block that was final has another hash now. Nothing is undone by software: a person decides."""


class SequenceGap(NodeError):
    """The router's payment numbers have a hole or a repetition: the node's answer is incomplete."""
