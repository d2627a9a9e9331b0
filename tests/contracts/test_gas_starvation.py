"""A caller who gives too little gas gets no payment at all, never a payment with a share held back."""

from collections.abc import Iterable
from typing import Any

from tests.contracts.conftest import AMOUNT, FUNDS
from tests.contracts.orders import Role


def pay_with_every_limit(router: Any, token: Any, payer: Any, new_order: Any, limits: Iterable[int]) -> set[str]:
    """Pays an order with each gas limit; returns the outcomes seen: `refused`, `delivered`, `held`."""
    outcomes = set()
    for limit in limits:
        receipt = router.pay(new_order(token), sender=payer, gas_limit=limit, raise_on_revert=False)
        if receipt.failed:
            outcomes.add("refused")
        else:
            outcomes.add("held" if receipt.events.filter(router.Held) else "delivered")
    return outcomes


def test_no_gas_limit_forces_a_share_to_be_held(router, usdc, payer, treasury, partner, new_order):
    outcomes = pay_with_every_limit(router, usdc, payer, new_order, range(60_000, 140_000, 750))

    assert outcomes == {"refused", "delivered"}
    assert usdc.balanceOf(router) == 0
    assert usdc.balanceOf(treasury) + usdc.balanceOf(partner) == FUNDS - usdc.balanceOf(payer)


def test_the_sweep_would_see_a_forced_share(project, owner, payer, partner, deploy_router, fund, new_order):
    """The counter-test: with a token that is far dearer for one recipient, the same sweep finds the hole."""
    token = owner.deploy(project.CostlyRecipientToken)
    router = deploy_router(token)
    fund(token, payer, router)
    token.setCostly(partner, sender=owner)

    outcomes = pay_with_every_limit(router, token, payer, new_order, [100_000, 5_000_000, 9_000_000])

    assert outcomes == {"refused", "held", "delivered"}
    assert router.held(token, Role.PARTNER) == AMOUNT // 2
