"""The double's objects against the SDK's own typed classes: every field exists there, with a type that fits."""

from __future__ import annotations

import decimal
import re
import typing
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
import requests
import stripe
from stripe._stripe_object import UntypedStripeObject

from sandbox.stripe import StripeDouble, WebhookReceiver
from sandbox.stripe.account import API_VERSION

Json = dict[str, Any]
CLASSES: dict[str, type] = {
    "payment_intent": stripe.PaymentIntent,
    "payment_method": stripe.PaymentMethod,
    "charge": stripe.Charge,
    "checkout.session": stripe.checkout.Session,
    "item": stripe.LineItem,
    "price": stripe.Price,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "balance": stripe.Balance,
    "balance_transaction": stripe.BalanceTransaction,
    "payout": stripe.Payout,
    "radar.early_fraud_warning": stripe.radar.EarlyFraudWarning,
    "webhook_endpoint": stripe.WebhookEndpoint,
    "event": stripe.Event,
}
NOT_SHOWN: dict[str, str] = {}
"""Fields that the SDK's class says are always there and that the double leaves out, with the reason: none."""


class Misshapen(AssertionError):
    """An object that the SDK's classes do not describe."""


def check(body: Json, cls: type, path: str) -> None:
    """Every field of an object is one of the class's, of its type; every field that is never null is there."""
    annotations = {name: hint for name, hint in annotations_of(cls).items() if get_origin(hint) is not typing.ClassVar}
    for name, value in body.items():
        if name not in annotations:
            raise Misshapen(f"{path}.{name} is no field of {cls.__qualname__}")
        check_value(value, annotations[name], f"{path}.{name}")
    for name, hint in annotations.items():
        where = f"{path}.{name}"
        if type(None) not in members(hint) and name not in body and where not in NOT_SHOWN:
            raise Misshapen(f"{where} is missing")


def check_value(value: Any, hint: Any, path: str) -> None:
    """A value fits one of a type's members."""
    complaints = []
    for member in members(hint):
        try:
            check_member(value, member, path)
        except Misshapen as misshapen:
            complaints.append(str(misshapen))
        else:
            return
    raise Misshapen(" / ".join(complaints))


def check_member(value: Any, hint: Any, path: str) -> None:
    """A value fits a type that is no union."""
    kind = get_origin(hint) or hint
    if hint is Any or (hint is type(None) and value is None):
        return
    if kind is Literal:
        fits = value in get_args(hint)
    elif kind in (list, stripe.ListObject, UntypedStripeObject):
        fits = fits_collection(value, kind, get_args(hint)[0], path)
    elif isinstance(hint, type) and issubclass(hint, stripe.StripeObject):
        fits = isinstance(value, dict)
        if fits:
            check(value, hint, path)
    elif hint is decimal.Decimal:
        fits = isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    else:
        fits = type(value) is hint or (hint is float and type(value) is int)
    if not fits:
        raise Misshapen(f"{path} is {value!r}, not {hint}")


def fits_collection(value: Any, kind: Any, inner: Any, path: str) -> bool:
    """A list, a page of a list, or a mapping; raises `Misshapen` for a member that does not fit."""
    shape: Any = list if kind is list else dict
    if not isinstance(value, shape):
        return False
    if kind is stripe.ListObject and (set(value) != LIST_FIELDS or value["object"] != "list"):
        return False
    content: Any = value["data"] if kind is stripe.ListObject else value
    for name, member in content.items() if kind is UntypedStripeObject else enumerate(content):
        check_value(member, inner, f"{path}.{name}" if kind is UntypedStripeObject else f"{path}[{name}]")
    return True


LIST_FIELDS = {"object", "data", "has_more", "url"}


def annotations_of(cls: type) -> dict[str, Any]:
    """A class's own fields; the ones of the base are the SDK's machinery."""
    found: dict[str, Any] = dict(cls.__annotations__)
    return found


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, other types alone; classes that are named are looked up."""
    hint = resolved(hint)
    if get_origin(hint) is typing.Union:
        return tuple(member for part in get_args(hint) for member in members(part))
    return (hint,)


def resolved(hint: Any) -> Any:
    """What a forward reference means."""
    if isinstance(hint, typing.ForwardRef):
        hint = hint.__forward_arg__
    if isinstance(hint, str):
        # The SDK imports some classes under names of their own; of those that it keeps in a package of theirs it is
        # enough here to know that they are objects.
        return getattr(stripe, hint.removesuffix("Resource"), stripe.StripeObject)
    return hint


@pytest.fixture
def world() -> Iterator[tuple[StripeDouble, stripe.StripeClient, WebhookReceiver]]:
    """A double in which everything has happened once."""
    with WebhookReceiver() as receiver, StripeDouble.start(webhook_url=receiver.url) as double:
        client = stripe.StripeClient(double.secret_key, base_addresses={"api": double.url})
        let_everything_happen(double, client)
        yield double, client, receiver


def let_everything_happen(double: StripeDouble, client: stripe.StripeClient) -> None:
    """Every kind of object in every state that has fields of its own."""
    control = double.control
    line: Any = {"price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Explorer"}}}
    wish: Any = {
        "mode": "payment",
        "success_url": "https://shop.example/thanks",
        "cancel_url": "https://shop.example/",
        "line_items": [line],
        "metadata": {"order": "1"},
        "allowed_payment_method_types": ["card", "us_bank_account"],
    }
    for card in ("4242424242424242", "4000002500003155", "bank_account", "4000000000005423"):
        session = control.pay_session(client.v1.checkout.sessions.create(wish).id, card)
        if card == "4000002500003155":
            control.authenticate(session["payment_intent"])
    control.complete_async_payment(session_of_bank(client))
    client.v1.checkout.sessions.expire(client.v1.checkout.sessions.create(wish).id)
    intents = []
    never: Any = {"enabled": True, "allow_redirects": "never"}
    for method in ("pm_card_visa", "pm_card_chargeDeclined", "pm_card_authenticationRequired", "pm_card_visa"):
        intent = client.v1.payment_intents.create(
            {"amount": 100_000, "currency": "usd", "automatic_payment_methods": never}
        )
        intents.append(intent.id)
        try:
            client.v1.payment_intents.confirm(intent.id, {"payment_method": method})
        except stripe.CardError:
            assert method == "pm_card_chargeDeclined"
    client.v1.payment_intents.cancel(intents[2])
    refunds = [client.v1.refunds.create({"payment_intent": intents[0], "amount": 1000}).id for _ in range(2)]
    control.fail_refund(refunds[0])
    double.chaos.pending_refunds = True
    client.v1.refunds.create({"payment_intent": intents[0], "amount": 1000, "reason": "duplicate"})
    control.close_dispute(control.open_dispute(intents[0])["id"], won=True)
    client.v1.disputes.update(
        control.open_dispute(intents[3], inquiry=True)["id"], {"evidence": {"uncategorized_text": "It was them."}}
    )
    control.advance_clock(3 * 24 * 3600)
    control.pay_out()


def session_of_bank(client: stripe.StripeClient) -> str:
    """The session whose payment is on its way."""
    return next(s.id for s in client.v1.checkout.sessions.list().data if s.payment_status == "unpaid" and s.url is None)


def get(double: StripeDouble, path: str, **query: str) -> Json:
    """What the double says, before the SDK has touched it."""
    answer = requests.get(double.url + path, query, auth=(double.secret_key, ""), timeout=10)
    assert answer.status_code == 200, answer.text
    body: Json = answer.json()
    return body


LISTS = (
    "/v1/payment_intents", "/v1/charges", "/v1/checkout/sessions", "/v1/refunds", "/v1/disputes",
    "/v1/balance_transactions", "/v1/payouts", "/v1/radar/early_fraud_warnings", "/v1/webhook_endpoints", "/v1/events",
)  # fmt: skip


def test_every_object_has_the_fields_and_types_of_the_sdk(
    world: tuple[StripeDouble, stripe.StripeClient, WebhookReceiver],
) -> None:
    double, client, _ = world
    seen: set[str] = set()

    def inspect(body: Json) -> None:
        seen.add(body["object"])
        check(body, CLASSES[body["object"]], body["object"])

    for path in LISTS:
        listing = get(double, path, limit="100")
        assert set(listing) == LIST_FIELDS
        assert listing["data"], path
        for body in listing["data"]:
            inspect(body)
            if body["object"] == "event" and "." in body["type"]:
                inspect(body["data"]["object"])
            if body["object"] == "checkout.session":
                for item in get(double, f"/v1/checkout/sessions/{body['id']}/line_items")["data"]:
                    inspect(item)
                    inspect(item["price"])
            if body["object"] == "charge":
                inspect(get(double, f"/v1/payment_methods/{body['payment_method']}"))
    inspect(get(double, "/v1/balance"))
    made = client.v1.webhook_endpoints.create({"url": "https://shop.example/hook", "enabled_events": ["*"]})
    inspect(made.to_dict())
    assert seen == set(CLASSES)


def test_expanded_objects_fit_too(world: tuple[StripeDouble, stripe.StripeClient, WebhookReceiver]) -> None:
    double, _, _ = world
    expand = {"expand[0]": "data.latest_charge.balance_transaction", "expand[1]": "data.payment_method"}
    for intent in get(double, "/v1/payment_intents", **expand)["data"]:
        check(intent, stripe.PaymentIntent, "payment_intent")
    wide = {"expand[]": "data.line_items"}
    for session in get(double, "/v1/checkout/sessions", **wide)["data"]:
        assert session["line_items"]["data"]
        check(session, stripe.checkout.Session, "session")
    for charge in get(double, "/v1/charges", **{"expand[]": "data.refunds"})["data"]:
        check(charge, stripe.Charge, "charge")


def test_webhooks_carry_the_same_shapes(world: tuple[StripeDouble, stripe.StripeClient, WebhookReceiver]) -> None:
    double, _, receiver = world
    double.control.deliver_now()
    stored = {event["id"] for event in get(double, "/v1/events", limit="100")["data"]}
    assert stored == {received.event["id"] for received in receiver.received}
    for received in receiver.received:
        check(received.event, stripe.Event, "event")


def test_events_are_in_the_version_that_the_sdk_asks_for() -> None:
    assert stripe.api_version == API_VERSION


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"amount": "500"}, "amount is '500'"),
        ({"surplus": 1}, "surplus is no field"),
        ({"metadata": {"order": 7}}, "metadata.order is 7"),
        ({"next_action": {"redirect_to_url": {"link": "x"}, "type": "x"}}, "link is no field"),
        ({"payment_method_types": [1]}, r"payment_method_types\[0\] is 1"),
    ],
)
def test_the_inspection_notices(
    change: Json, complaint: str, world: tuple[StripeDouble, stripe.StripeClient, WebhookReceiver]
) -> None:
    intent = get(world[0], "/v1/payment_intents", limit="1")["data"][0]
    with pytest.raises(Misshapen, match=complaint):
        check(intent | change, stripe.PaymentIntent, "intent")
    del intent["amount"]
    with pytest.raises(Misshapen, match="amount is missing"):
        check(intent, stripe.PaymentIntent, "intent")
