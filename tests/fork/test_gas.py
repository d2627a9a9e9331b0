"""What a payment costs, in gas: the real tokens, sides that have held them before, an allowance that is not used up.

Shown with `-s`. An allowance that the payment uses up exactly costs 4,800 less.
"""

from typing import Any

import click
import pytest

from tests.contracts.orders import PERMIT2, sign_authorization, sign_permit, sign_permit2
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, USDC_DOMAIN, USDT_DOMAIN

CEILINGS = {
    ("pay", "usdc"): 99_700,
    ("pay", "usdt"): 99_700,
    ("payWithPermit", "usdc"): 120_000,
    ("payWithPermit", "usdt"): 115_000,
    ("payWithAuthorization", "usdc"): 140_000,
    ("payWithPermit2", "usdc"): 144_000,
    ("payWithPermit2", "usdt"): 144_000,
}
DOMAINS = {"usdc": USDC_DOMAIN, "usdt": USDT_DOMAIN}


@pytest.mark.parametrize(("verb", "token_name"), CEILINGS)
def test_stays_below_its_ceiling(request, chain, router, new_order, verb, token_name):
    token, key = request.getfixturevalue(token_name), key_of("payer")
    payer = request.getfixturevalue(f"{token_name}_payer")
    if verb == "payWithPermit":
        token.approve(router, 0, sender=payer)
    if verb == "payWithPermit2":
        token.approve(PERMIT2, 2**256 - 1, sender=payer)

    def arguments(order: Any) -> tuple[Any, ...]:
        if verb == "pay":
            return (order,)
        if verb == "payWithPermit":
            nonce, deadline = token.nonces(payer), chain.pending_timestamp + 3600
            return order, sign_permit(key, DOMAINS[token_name], router.address, AMOUNT, nonce, deadline)
        terms = (router.address, order, router.orderId(order))
        if verb == "payWithAuthorization":
            return order, payer, sign_authorization(key, USDC_DOMAIN, *terms)
        return order, payer, sign_permit2(key, 137, *terms)

    def pay() -> Any:
        return getattr(router, verb)(*arguments(new_order(token)), sender=payer)

    pay()  # the first one of all opens storage that every later one finds open
    used = pay().gas_used

    click.echo(f"\n{verb:20} {token_name}: {used:7,} of {CEILINGS[verb, token_name]:,}")
    assert used <= CEILINGS[verb, token_name]
