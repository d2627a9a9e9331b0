"""A stateful double of Stripe, in TEST MODE for ever, for Stripe's own SDK 16, unchanged.

    with StripeDouble.start(webhook_url="http://127.0.0.1:8000/webhook") as double:
        client = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})
        session = client.v1.checkout.sessions.create({...})       # session.url: a page that a browser can pay on
        double.control.pay_session(session.id)                    # or pay without a browser
        double.control.open_dispute(session_payment_intent)
        double.chaos.duplicate_webhooks = 1.0

It is a real HTTP server on 127.0.0.1 that speaks forms, keys, ids, pages of lists, `expand`, errors, idempotency and
signed webhooks as Stripe does. It imports neither Stripe's SDK nor anything of the system under test. On its own:
`python -m sandbox.stripe --port 12111 --directory .stripe --webhook-url http://127.0.0.1:8000/webhook`.

What it knows
-------------

Amounts are in cents, times in seconds since 1970, the currency is `usd`, events are in version 2026-10-28.endive.

- Payment intents (create, update, confirm, cancel), payment methods, charges, balance, balance transactions, payouts.
- Checkout Sessions in mode `payment` with `price_data`; the hosted page; expiry after 30 minutes to 24 hours. The
  payment intent is made at the first attempt to pay, as since API version 2022-08-01; until then
  `session.payment_intent` is null.
- Refunds (full, partial, several, pending, failed, requiring action, canceled), disputes (and inquiries, second ones,
  ones that give back a part or are converted at another rate), early fraud warnings.
- Events (kept for 30 days; `type`, `types`, `created`, `delivery_success`), webhook endpoints.
- A parameter or path that it does not know is refused, never ignored. So is `payment_method_types`, which this version
  of the API no longer takes: it is `allowed_payment_method_types` now (`card`, `us_bank_account`).
- The publishable key may do what a payer's browser may: look at and confirm an intent whose client secret it has.

Test cards, as Stripe publishes them: 4242 4242 4242 4242 pays, 4000 0000 0000 0002 and 4000 0000 0000 9995 are
declined, 4000 0025 0000 3155 asks for 3-D Secure, …: see `cards`. Of a card only brand, last four digits and expiry are
kept.

What is told of it
------------------

Webhooks may arrive in any order; the events are made in this one:

- payment: `payment_intent.created`, `charge.succeeded`, `payment_intent.succeeded`, [`checkout.session.completed`],
  `charge.updated` (it has its balance transaction now: capture is asynchronous)
- decline: `charge.failed`, `payment_intent.payment_failed`; 3-D Secure: `payment_intent.requires_action` first
- bank account: `charge.pending`, `payment_intent.processing`, `checkout.session.completed` (unpaid); later
  `charge.succeeded`, `payment_intent.succeeded`, `checkout.session.async_payment_succeeded`, `charge.updated`, or
  `charge.failed`, `payment_intent.payment_failed`, `checkout.session.async_payment_failed`
- refund: `refund.created`, `charge.refunded`, then `refund.updated`, `charge.refund.updated` when the bank's reference
  or its answer is there; failed: `refund.updated`, `charge.refund.updated`, `refund.failed`
- dispute: `charge.dispute.created`, `charge.dispute.funds_withdrawn`, [`charge.dispute.updated`],
  `charge.dispute.closed`, and if won `charge.dispute.funds_reinstated`; an inquiry without the two that move money

Webhooks are sent until they are answered with 2xx, with growing pauses for three days, which `webhook_time_factor`
shortens to four minutes. What was not delivered is found with `GET /v1/events?delivery_success=false`.

The hand of the test
--------------------

`double.control` lets payers, banks and time act, and shows payments in another currency or captured in part.
`double.chaos` lets things go wrong: also answers of any status, Adaptive Pricing, wrong clocks, and old API versions.
Both are also under `POST /_double/<verb>` with a JSON body, without a key, for this machine only.

With a directory everything is committed to SQLite before it is answered, and outlives `kill -9`. Keys and webhook
secrets are derived from the seed and stored nowhere; ids are never drawn with it, so that two runs cannot name two
payments alike.

What it does not know: customers, subscriptions, manual capture, Stripe.js, Connect, API v2; the order
and timing of events are Stripe's own affair and only likely here.
"""

from sandbox.stripe.chaos import Chaos
from sandbox.stripe.control import Control
from sandbox.stripe.double import StripeDouble
from sandbox.stripe.receiver import WebhookReceiver

__all__ = ["Chaos", "Control", "StripeDouble", "WebhookReceiver"]
