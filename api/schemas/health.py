"""The answer to monitors."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from api.schemas.purchases import Body


class DestinationOut(Body):
    """The state of the deliveries to one destination."""

    destination: str
    waiting: int
    parked: Annotated[int, Field(description="Wait for an operator")]
    oldest_seconds: int
    standing_still: Annotated[bool, Field(description="Nobody has tried the next one for too long")]


class InboxOut(Body):
    """The state of the inbox of Stripe's events."""

    waiting: int
    oldest_seconds: Annotated[int, Field(description="How long the oldest waiting event has waited")]
    checked_seconds: Annotated[int | None, Field(description="Since Stripe's own list of events was last read")]
    standing_still: bool


class StreamOut(Body):
    """The block up to which a router's payments are booked."""

    stream: str
    height: int
    behind_blocks: int
    finality_lag_seconds: Annotated[int, Field(description="Age of the last final block that the node told of")]
    standing_still: bool


class RelayerOut(Body):
    """The state of the relayer, which sends what payers signed and collects what lies at deposit addresses."""

    waiting: int
    oldest_seconds: Annotated[int, Field(description="How long the oldest has waited")]
    standing_still: Annotated[bool, Field(description="Nothing is sent, or soon nothing will be: `cascade status`")]


class RateOut(Body):
    """The state of the rate."""

    tick: Annotated[datetime | None, Field(description="The newest; null: there is none yet")]
    overdue_seconds: Annotated[int, Field(description="For how long the next one has been missing")]
    standing_still: Annotated[bool, Field(description="It has been missing for too long: orders keep the old rate")]


class WorkerOut(Body):
    """Tell the state of the workers of one kind that were heard of lately."""

    worker: str
    standing_still: Annotated[bool, Field(description="One of them meets the same fault again and again")]
    fault: Annotated[str | None, Field(description="Its class; `cascade status` says more")] = None


class HealthOut(Body):
    """The health of the system, and the blocks up to which it has read."""

    status: Literal["ok", "degraded", "down"]
    database: bool
    streams: list[StreamOut]
    card: InboxOut | None = None
    outbox: list[DestinationOut] = Field(default_factory=list)
    rate: RateOut | None = None
    relayer: RelayerOut | None = None
    workers: list[WorkerOut] = Field(default_factory=list)
