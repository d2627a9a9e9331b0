"""What a page loads, as it comes over the wire: compressed, with the headers of the answers, and nothing cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from playwright.sync_api import Page

Event = dict[str, Any]


@dataclass
class Traffic:
    """The requests of one page, from now on.

    Attributes:
        loaded: the bytes of each answer, by the request's number; a stream's as far as it has come.
        addresses: what was asked for, by the same numbers.
        messages: the bytes of what came through WebSockets.
    """

    loaded: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    messages: int = 0

    @classmethod
    def of(cls, page: Page) -> Self:
        """Begin to listen."""
        traffic = cls()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        listeners: dict[str, Callable[[Event], None]] = {
            "requestWillBeSent": traffic._begun,
            "responseReceived": traffic._answered,
            "dataReceived": traffic._continued,
            "loadingFinished": traffic._ended,
            "webSocketFrameReceived": traffic._told,
        }
        for event, listener in listeners.items():
            session.on(f"Network.{event}", listener)
        return traffic

    @property
    def bytes(self) -> int:
        """All that has come."""
        return sum(self.loaded.values()) + self.messages

    @property
    def requests(self) -> int:
        """How many answers have come, or begun to come."""
        return len(self.loaded)

    def _begun(self, event: Event) -> None:
        number = event["requestId"]
        if "redirectResponse" in event:  # the same number goes on with another address
            self.loaded[f"{number} from {self.addresses[number]}"] = int(event["redirectResponse"]["encodedDataLength"])
        self.addresses[number] = event["request"]["url"]

    def _answered(self, event: Event) -> None:
        number, response = event["requestId"], event["response"]
        if not response["url"].startswith("data:") and not response.get("fromDiskCache"):
            self.loaded[number] = int(response["encodedDataLength"])

    def _continued(self, event: Event) -> None:
        if event["requestId"] in self.loaded:
            self.loaded[event["requestId"]] += int(event["encodedDataLength"])

    def _ended(self, event: Event) -> None:
        if event["requestId"] in self.loaded:
            self.loaded[event["requestId"]] = int(event["encodedDataLength"])

    def _told(self, event: Event) -> None:
        self.messages += len(event["response"]["payloadData"])
