"""A relay of WalletConnect's on this machine: it keeps sealed messages by topic until somebody subscribes."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

Params = dict[str, Any]


@dataclass(eq=False)
class Client:
    """One end that is connected.

    Attributes:
        id: whom its token names; it stays the same over connections.
        topics: what it hears of.
        told: the numbers of the messages that it was sent.
    """

    id: str
    socket: ServerConnection
    topics: set[str] = field(default_factory=set)
    told: set[int] = field(default_factory=set)

    def subscription(self, topic: str) -> str:
        """The id of its subscription to a topic."""
        return hashlib.sha256((topic + self.id).encode()).hexdigest()


@dataclass(frozen=True)
class Message:
    """A sealed message in a topic, and who has put it there."""

    number: int
    sender: str
    data: Params


class Relay:
    """Stores until the receiver has acknowledged, and forwards; it can read nothing of what it forwards.

    Attributes:
        url: where it listens; the same again after it was down.
        tags: the kinds of the messages that were published, which is all that a relay sees of them.
    """

    def __init__(self) -> None:
        self.tags: list[int] = []
        self._lock = threading.RLock()
        self._clients: set[Client] = set()
        self._mailbox: dict[str, list[Message]] = defaultdict(list)
        self._sent: dict[int, Message] = {}
        self._ids = itertools.count(1)
        self._server = self._listen(0)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def stop(self) -> None:
        """Hang up on everybody; what is in the mailbox stays."""
        self._server.shutdown()
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            client.socket.close()

    def start(self) -> None:
        """Listen again."""
        self._server = self._listen(urlsplit(self.url).port or 0)

    def _listen(self, port: int) -> Server:
        server = serve(self._serve, "127.0.0.1", port)  # it pings every 20 seconds; clients want it within 30
        threading.Thread(target=server.serve_forever, name="WalletConnect relay", daemon=True).start()
        return server

    def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        (token,) = parse_qs(urlsplit(socket.request.path).query)["auth"]
        claims = token.split(".")[1]
        client = Client(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"], socket)
        with self._lock:
            self._clients.add(client)
        try:
            for frame in socket:
                call = json.loads(frame)
                if "method" in call:
                    self._answer(client, call)
                else:
                    self._acknowledged(call["id"])
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self._clients.discard(client)

    def _answer(self, client: Client, call: Params) -> None:
        methods: dict[str, Callable[[Client, Params], Any]] = {
            "irn_publish": lambda client, params: self._publish(client, params["topic"], params["message"], params),
            "irn_subscribe": lambda client, params: self._subscribe(client, params["topic"]),
            "irn_batchSubscribe": lambda client, params: [self._subscribe(client, each) for each in params["topics"]],
            "irn_unsubscribe": self._unsubscribe,
            "irn_fetchMessages": lambda client, params: self._fetch(client, [params["topic"]]),
            "irn_batchFetchMessages": lambda client, params: self._fetch(client, params["topics"]),
            "wc_proposeSession": self._propose,
            "wc_approveSession": self._approve,
        }
        with self._lock:
            result = methods[call["method"]](client, call["params"])
            client.socket.send(json.dumps({"id": call["id"], "jsonrpc": "2.0", "result": result}))
            for topic in client.topics:  # after the answer: before it the client does not know the topic
                for message in self._waiting(client, topic):
                    self._deliver(client, message)

    def _publish(self, client: Client, topic: str, message: str, params: Params) -> bool:
        self.tags.append(params.get("tag", 0))
        data = {"topic": topic, "message": message, "publishedAt": int(time.time() * 1000), "tag": params.get("tag", 0)}
        posted = Message(next(self._ids), client.id, data)
        self._mailbox[topic].append(posted)
        for each in self._clients:
            if topic in each.topics and each.id != client.id:
                self._deliver(each, posted)
        return True

    def _subscribe(self, client: Client, topic: str) -> str:
        client.topics.add(topic)
        return client.subscription(topic)

    def _unsubscribe(self, client: Client, params: Params) -> bool:
        client.topics.discard(params["topic"])
        return True

    def _fetch(self, client: Client, topics: list[str]) -> Params:
        found = [message for topic in topics for message in self._waiting(client, topic)]
        for message in found:
            self._mailbox[message.data["topic"]].remove(message)
        return {"messages": [message.data for message in found], "hasMore": False}

    def _propose(self, client: Client, params: Params) -> bool:
        self._subscribe(client, params["pairingTopic"])
        return self._publish(client, params["pairingTopic"], params["sessionProposal"], {"tag": 1100})

    def _approve(self, client: Client, params: Params) -> bool:
        self._subscribe(client, params["sessionTopic"])
        self._publish(client, params["pairingTopic"], params["sessionProposalResponse"], {"tag": 1101})
        return self._publish(client, params["sessionTopic"], params["sessionSettlementRequest"], {"tag": 1102})

    def _waiting(self, client: Client, topic: str) -> list[Message]:
        """What nobody has acknowledged in a topic yet: everything but the client's own."""
        return [message for message in self._mailbox[topic] if message.sender != client.id]

    def _deliver(self, client: Client, message: Message) -> None:
        if message.number in client.told:
            return
        client.told.add(message.number)
        number = next(self._ids)
        self._sent[number] = message
        params = {"id": client.subscription(message.data["topic"]), "data": message.data}
        call = {"id": number, "jsonrpc": "2.0", "method": "irn_subscription", "params": params}
        with suppress(ConnectionClosed):  # then it waits for the next connection
            client.socket.send(json.dumps(call))

    def _acknowledged(self, number: int) -> None:
        with self._lock:
            message = self._sent.pop(number, None)
            if message is not None and message in self._mailbox[message.data["topic"]]:
                self._mailbox[message.data["topic"]].remove(message)
