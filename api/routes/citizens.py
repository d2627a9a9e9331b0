"""What citizens hold."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from api.dependencies import System, may_read_balances
from api.problems import documented
from api.schemas import BalanceOut
from cascade.domain.orders import check_citizen_id
from cascade.store import balances

router = APIRouter(prefix="/api/citizens", tags=["citizens"])


@router.get(
    "/{citizen_id}/balance",
    responses=documented(401, 403, 422, 503),
    dependencies=[Depends(may_read_balances)],
)
def balance(citizen_id: str, cascade: System) -> BalanceOut:
    """Ducats that a citizen holds; zero for somebody who never bought any."""
    check_citizen_id(citizen_id)
    with cascade.database.transaction() as connection:
        return BalanceOut.of(citizen_id, balances.citizen_ducats(connection, citizen_id))
