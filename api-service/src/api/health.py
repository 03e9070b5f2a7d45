"""Liveness and readiness, for probes and for people."""

from fastapi import APIRouter

from src.api.deps import RuntimeDep
from src.api.openapi import problems
from src.api.schemas import Health, Liveness

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "/live",
    operation_id="getLiveness",
    summary="Is the process there?",
    response_description="It is",
)
async def live() -> Liveness:
    """Answer as long as the process runs."""
    return Liveness()


@router.get(
    "/ready",
    operation_id="getReadiness",
    summary="Can tasks be taken?",
    response_description="They can",
    responses=problems(500, 503, path="/health/ready"),
)
def ready(runtime: RuntimeDep) -> Health:
    """Need the database only: without the broker tasks are taken, and start a little later."""
    runtime.database.ping()
    runtime.tasks.check_writer()
    broker = runtime.broker_state()
    status = "ok" if broker in ("connected", "none") else "degraded"
    return Health(status=status, database="connected", broker=broker)
