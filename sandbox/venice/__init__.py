"""A stateful double of Venice's API, with its hazards: it credits citizens for the system under test, or fails to.

    with VeniceDouble.start() as venice:
        ...                                             # the system under test speaks to venice.url
        venice.control.balance("Marco_Polo")            # ducats, as a Decimal
        venice.control.transfers("[cascade:stripe:pi_1#")   # every time that ducats moved for it
        venice.control.set_chaos(lost_answer_rate=1.0)

What it knows
-------------

- `POST /api/stratagems/try-create` for `transfer_ducats`: makes a stratagem of every request, whether or not it has
  seen the like. It is `active`, and a scheduler executes it: `executed`, or `failed` with a line in its notes. That
  the ducats move and the stratagem fails all the same is a switch (`half_done_rate`).
- `GET /api/stratagems`, filtered by `executedBy`, `status`, `type` and by fields such as `TargetCitizen`: the
  newest executed ones first, those that wait last, no more than `limit` and never more than 100. A filter on a field
  that the table lacks is answered as if its database did not answer.
- `GET /api/citizens?Username=...`, `POST /api/messages/send`, `GET /api/health`.
- `GET /api/consciousness/metrics`, `.../tessere/network`, `.../cascade/status`: a mood that drifts with time and the
  seed, or stays where `venice.control.set_mood(level=6.5)` pins it. They have no `success`.
- Each transfer leaves its receiver a notification, which `venice.control.notifications` shows.
- When its database does not answer, lists are replaced: citizens by three sample citizens with `_fallback`, stratagems
  by none with `_fallbackError`, the mood by a middling one with `_fallback`; all with status 200.
- What it answers holds amounts as JSON numbers; inside they are whole millionths.

`venice.control` lets citizens come and go and time pass, `venice.chaos` lets things go wrong. Both are also under
`POST /_double/<verb>` with a JSON body, for this machine only; `GET /_double/state` tells another process all that
there is, amounts as strings. `GET /` shows the purses to people. With a directory everything is committed to SQLite
before it is answered, and outlives `kill -9`. On its own: `python -m sandbox.venice --port 12112`.
"""

from sandbox.venice.chaos import Chaos
from sandbox.venice.double import Control, VeniceDouble
from sandbox.venice.metrics import CityMetrics
from sandbox.venice.state import Transfer

__all__ = ["Chaos", "CityMetrics", "Control", "Transfer", "VeniceDouble"]
