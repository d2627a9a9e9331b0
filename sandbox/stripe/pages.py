"""The pages that a payer sees: the hosted checkout and the bank's 3-D Secure step. Every one says TEST MODE."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final

from sandbox.stripe.errors import Json
from sandbox.stripe.refunds import dollars

_STYLE: Final = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { margin: 0; font: 1rem/1.5 system-ui, sans-serif; color: #1a1f36; background: #f4f5f8 }
.test { margin: 0; padding: .5rem 1rem; text-align: center; font-weight: 700; background: #ffd9a8; color: #5c2d00 }
main { max-width: 30rem; margin: 2rem auto; padding: 1.5rem; background: #fff; border: 1px solid #d5dbe5;
  border-radius: .5rem }
h1 { margin: 0 0 1rem; font-size: 1.4rem }
h2 { margin: 1.5rem 0 .5rem; font-size: 1.1rem }
table { width: 100%; border-collapse: collapse; margin-bottom: 1rem }
th, td { padding: .3rem 0; text-align: left; vertical-align: top }
td:last-child, th:last-child { text-align: right; white-space: nowrap }
tfoot { font-weight: 700; border-top: 1px solid #d5dbe5 }
label { display: block; margin-top: .8rem; font-weight: 600 }
input { width: 100%; padding: .6rem; font: inherit; border: 1px solid #6b7a99; border-radius: .3rem }
button { width: 100%; margin-top: 1rem; padding: .75rem; font: inherit; font-weight: 700; color: #fff;
  background: #3f3ad0; border: 0; border-radius: .3rem; cursor: pointer }
button.other { color: #1a1f36; background: #e3e8ee }
:focus-visible { outline: 3px solid #b8600b; outline-offset: 2px }
[role=alert] { margin: 0 0 1rem; padding: .75rem; color: #7a0b20; background: #fde8ec; border: 1px solid #c9374f }
a { color: #3f3ad0 }
.note { font-size: .875rem; color: #4a5578 }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Cache-Control": "no-store",
    # No form-action: Chromium would hold it against the redirect to the merchant, too.
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def checkout(session: Json, lines: list[Json], error: str | None, by_bank: bool, by_card: bool) -> str:
    """The hosted page of an open session: what is bought, and a form for a card, a bank account, or both."""
    rows = "".join(
        f"<tr><td>{line['quantity']} &times; {escape(line['description'])}</td>"
        f"<td>{dollars(line['amount_total'])}</td></tr>"
        for line in lines
    )
    total = dollars(session["amount_total"])
    alert = f'<p role="alert" id="refused">{escape(error)}</p>' if error else ""
    forms = (_card_form(session, total) if by_card else "") + (_bank_form(total) if by_bank else "")
    cancel = session["cancel_url"]
    back = f'<p><a href="{escape(cancel)}">Cancel and go back</a></p>' if cancel else ""
    return _page("Pay by card" if by_card else "Pay by bank account", f"""
{alert}
<table><thead><tr><th scope="col">Item</th><th scope="col">Amount</th></tr></thead>
<tbody>{rows}</tbody><tfoot><tr><th scope="row">Total</th><td>{total}</td></tr></tfoot></table>
{forms}{back}""")  # fmt: skip


def authentication(intent: Json, action: str) -> str:
    """The step at which a bank asks whether it is really the card's holder."""
    return _page("Your bank asks: is it you?", f"""
<p>3-D Secure, simulated. A payment of <strong>{dollars(intent['amount'])}</strong> waits for your answer.</p>
<form method="post" action="{escape(action)}">
<button name="outcome" value="complete">Complete authentication</button>
<button class="other" name="outcome" value="fail">Fail authentication</button>
</form>""")  # fmt: skip


def message(heading: str, text: str) -> str:
    """A page that only says something."""
    return _page(heading, f"<p>{escape(text)}</p>")


def _card_form(session: Json, total: str) -> str:
    email = escape(session["customer_email"] or "")
    return f"""<form method="post" autocomplete="off">
<input type="hidden" name="method" value="card">
<label for="email">E-mail (optional)</label><input id="email" name="email" type="email" value="{email}">
<label for="number">Card number</label>
<input id="number" name="number" inputmode="numeric" required aria-describedby="cards">
<p class="note" id="cards">No real card: 4242 4242 4242 4242 pays, 4000 0000 0000 0002 is declined,
4000 0025 0000 3155 asks for 3-D Secure.</p>
<label for="expiry">Expiry (MM / YY)</label>
<input id="expiry" name="expiry" inputmode="numeric" required>
<label for="cvc">Security code (CVC)</label><input id="cvc" name="cvc" inputmode="numeric" required>
<label for="name">Name on card</label><input id="name" name="name" required>
<button>Pay {total}</button></form>"""


def _bank_form(total: str) -> str:
    return f"""<h2>From a bank account</h2><p class="note">It takes the bank days to answer.</p>
<form method="post"><input type="hidden" name="method" value="bank_account">
<button class="other">Pay {total} from a test bank account</button></form>"""


def _page(heading: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(heading)} - TEST MODE</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>
<body><p class="test">TEST MODE: a double of Stripe. No money moves; never type a real card.</p>
<main><h1>{escape(heading)}</h1>{body}</main></body></html>"""
