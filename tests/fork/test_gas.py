"""What a payment costs, in gas: the real tokens, sides that have held them before, an allowance that is not used up.

Shown with `-s`. An allowance that the payment uses up exactly costs 4,800 less.
"""

from typing import Any

import click
import pytest

from tests.contracts.orders import sign_permit
from tests.fork.conftest import key_of
from tests.fork.tokens import AMOUNT, USDC_DOMAIN, USDT_DOMAIN

CEILINGS = {
    ("pay", "usdc"): 99_700,
    ("pay", "usdt"): 99_700,
    ("payWithPermit", "usdc"): 120_000,
    ("payWithPermit", "usdt"): 115_000,
}
DOMAINS = {"usdc": USDC_DOMAIN, "usdt": USDT_DOMAIN}


@pytest.mark.parametrize(("verb", "token_name"), CEILINGS)
def test_stays_below_its_ceiling(request, chain, router, new_order, verb, token_name):
    token = request.getfixturevalue(token_name)
    payer = request.getfixturevalue(f"{token_name}_payer")

    def permit(order: Any) -> tuple[Any, ...]:
        nonce, deadline = token.nonces(payer), chain.pending_timestamp + 3600
        return order, sign_permit(key_of("payer"), DOMAINS[token_name], router.address, AMOUNT, nonce, deadline)

    def pay() -> Any:
        order = new_order(token)
        return getattr(router, verb)(*(permit(order) if verb == "payWithPermit" else (order,)), sender=payer)

    if verb == "payWithPermit":
        token.approve(router, 0, sender=payer)
    pay()  # the first one of all opens storage that every later one finds open
    used = pay().gas_used

    click.echo(f"\n{verb:14} {token_name}: {used:7,} of {CEILINGS[verb, token_name]:,}")
    assert used <= CEILINGS[verb, token_name]
