"""Handlers to start from; docs/handlers.md walks through them. HANDLER_MODULES=handlers.examples"""

import asyncio
import time

from pydantic import BaseModel, Field

from src.handlers import Context, Permanent, RetryAfter, handler


class Greeting(BaseModel):
    name: str = Field(min_length=1, max_length=100, examples=["Ada"])
    times: int = Field(default=1, ge=1, le=10)


@handler("greet", payload=Greeting)
def greet(greeting: Greeting, context: Context) -> dict[str, str]:
    """Greet somebody, and return the greeting."""
    context.log.info("greeting", times=greeting.times)
    return {"text": ", ".join(["Hello"] * greeting.times) + f", {greeting.name}!"}


class Export(BaseModel):
    rows: int = Field(ge=1, le=1_000_000)


@handler("export", payload=Export, timeout_seconds=60, max_attempts=5, backoff=[1, 10, 60])
def export(wanted: Export, context: Context) -> dict[str, int]:
    """Write rows somewhere; reports its progress and stops when told to."""
    for row in range(wanted.rows):
        context.raise_if_cancelled()
        time.sleep(0.01)
        context.progress(100 * (row + 1) / wanted.rows, f"row {row + 1} of {wanted.rows}")
    return {"rows": wanted.rows}


class Payment(BaseModel):
    account: str
    cents: int = Field(gt=0)


@handler("charge", payload=Payment, timeout_seconds=10)
async def charge(payment: Payment, context: Context) -> dict[str, str]:
    """Charge an account; shows the three ways to fail."""
    await asyncio.sleep(0.1)  # stands for the call of a payment provider
    if payment.account == "closed":
        raise Permanent("the account is closed")
    if payment.account == "busy" and context.attempt == 1:
        raise RetryAfter(2, "the provider asks to come again in 2 s")
    if payment.account == "flaky" and context.attempt == 1:
        raise ConnectionError("the provider did not answer")
    # The same for every attempt of this task: the provider refuses the second one.
    return {"receipt": f"receipt-{context.task_id}"}


class Primes(BaseModel):
    below: int = Field(ge=2, le=50_000_000)


@handler("primes", payload=Primes, timeout_seconds=30, process=True)
def primes(wanted: Primes, context: Context) -> dict[str, int]:
    """Count primes in a process of its own, which can be killed at any moment."""
    sieve = bytearray([1]) * wanted.below
    sieve[:2] = b"\0\0"
    for n in range(2, int(wanted.below**0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, wanted.below, n)))
    return {"primes": sum(sieve)}
