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
    """

    id: str
    socket: ServerConnection
    topics: set[str] = field(default_factory=set)

    def subscription(self, topic: str) -> str:
        """The id of its subscription to a topic."""
        return hashlib.sha256((topic + self.id).encode()).hexdigest()


class Relay:
    """Stores and forwards; it can read nothing of what it forwards.

    Attributes:
        url: where it listens; the same again after it was down.
        tags: the kinds of the messages that were published, which is all that a relay sees of them.
    """

    def __init__(self) -> None:
        self.tags: list[int] = []
        self._lock = threading.RLock()
        self._clients: set[Client] = set()
        self._mailbox: dict[str, list[tuple[str, Params]]] = defaultdict(list)
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
                if "method" in call:  # else it acknowledges a message
                    self._answer(client, call)
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
                for data in self._take(client, topic):
                    self._deliver(client, data)

    def _publish(self, client: Client, topic: str, message: str, params: Params) -> bool:
        self.tags.append(params.get("tag", 0))
        data = {"topic": topic, "message": message, "publishedAt": int(time.time() * 1000), "tag": params.get("tag", 0)}
        hearing = [each for each in self._clients if topic in each.topics and each.id != client.id]
        for each in hearing:
            self._deliver(each, data)
        if not hearing:
            self._mailbox[topic].append((client.id, data))
        return True

    def _subscribe(self, client: Client, topic: str) -> str:
        client.topics.add(topic)
        return client.subscription(topic)

    def _unsubscribe(self, client: Client, params: Params) -> bool:
        client.topics.discard(params["topic"])
        return True

    def _fetch(self, client: Client, topics: list[str]) -> Params:
        return {"messages": [data for topic in topics for data in self._take(client, topic)], "hasMore": False}

    def _propose(self, client: Client, params: Params) -> bool:
        self._subscribe(client, params["pairingTopic"])
        return self._publish(client, params["pairingTopic"], params["sessionProposal"], {"tag": 1100})

    def _approve(self, client: Client, params: Params) -> bool:
        self._subscribe(client, params["sessionTopic"])
        self._publish(client, params["pairingTopic"], params["sessionProposalResponse"], {"tag": 1101})
        return self._publish(client, params["sessionTopic"], params["sessionSettlementRequest"], {"tag": 1102})

    def _take(self, client: Client, topic: str) -> list[Params]:
        """What waits for a client in a topic: everything but its own."""
        waiting = self._mailbox[topic]
        self._mailbox[topic] = [(sender, data) for sender, data in waiting if sender == client.id]
        return [data for sender, data in waiting if sender != client.id]

    def _deliver(self, client: Client, data: Params) -> None:
        params = {"id": client.subscription(data["topic"]), "data": data}
        call = {"id": next(self._ids), "jsonrpc": "2.0", "method": "irn_subscription", "params": params}
        try:
            client.socket.send(json.dumps(call))
        except ConnectionClosed:
            self._mailbox[data["topic"]].append(("", data))
