"""One HTTP request to a target that was judged: bounded, and to nowhere else."""

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus

import httpx2

from src.handlers.errors import Permanent, RetryAfter
from src.handlers.targets import Target

#: Seconds for a connection, TLS included, and for silence after that. How long it takes in all is
#: the attempt's time limit, at which the handler is cancelled wherever it stands.
CONNECT_SECONDS, SILENT_SECONDS = 5.0, 30.0
#: Bytes of an answer that are read; then the connection is closed. What is kept is less.
READ_BYTES, KEPT_BYTES = 1024 * 1024, 8 * 1024
#: Statuses that may come with a time to come again.
BUSY = frozenset({429, 503})
USER_AGENT = "async-task-queue"

# They tell of each request: where it goes, and what comes back. Either may hold a secret.
for _library in ("httpx2", "httpcore2"):
    logging.getLogger(_library).setLevel(logging.WARNING)


class RequestFailed(Exception):
    """No answer, or one that means: try again."""


@dataclass(frozen=True)
class Answer:
    """What came back. ``body`` is its beginning, ``truncated`` whether there was more."""

    status: int
    headers: httpx2.Headers
    body: bytes
    truncated: bool

    def describe(self) -> str:
        known = {status.value: f" {status.phrase}" for status in HTTPStatus}
        return f"answered {self.status}{known.get(self.status, '')}"


async def send(
    target: Target, method: str, headers: Mapping[str, str], content: bytes | None
) -> Answer:
    """Send one request, to the addresses of the target in turn until one takes the connection.

    Neither redirects nor proxies nor cookies nor encodings of the body: what cannot happen needs
    no rules.

    Raises:
        RequestFailed: no answer came; says at what it failed.
        Permanent: the request cannot be written like this.
    """
    own = {
        "Host": target.url.netloc.decode("ascii"),
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    failure = RequestFailed("there is no address to connect to")
    async with httpx2.AsyncClient(
        verify=_trust(), trust_env=False, follow_redirects=False, timeout=timeout
    ) as client:
        for address in target.addresses:
            request = client.build_request(
                method,
                target.url.copy_with(host=str(address), fragment=None),
                headers={**headers, **own},
                content=content,
                # The certificate must be the name's, whatever the address.
                extensions={"sni_hostname": target.host},
            )
            try:
                return await _read(client, request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = RequestFailed(_no_connection(error))
            except httpx2.LocalProtocolError:
                # Its text may hold a header's value.
                raise Permanent("the request cannot be written; look at its headers") from None
            except httpx2.HTTPError as error:
                raise RequestFailed(_no_answer(error)) from None
    raise failure


async def _read(client: httpx2.AsyncClient, request: httpx2.Request) -> Answer:
    response = await client.send(request, stream=True)
    try:
        kept, size = bytearray(), 0
        async for chunk in response.aiter_raw():
            kept += chunk[: KEPT_BYTES - len(kept)]
            size += len(chunk)
            if size > READ_BYTES:
                break
        return Answer(response.status_code, response.headers, bytes(kept), size > len(kept))
    finally:
        await response.aclose()


def come_again(answer: Answer, reason: str) -> Exception:
    """Return what to raise for an answer that means "another time": when the receiver says."""
    seconds = retry_after_seconds(answer.headers, datetime.now(UTC))
    if answer.status in BUSY and seconds is not None:
        return RetryAfter(seconds, reason)
    return RequestFailed(reason)


def retry_after_seconds(headers: httpx2.Headers, now: datetime) -> float | None:
    """Return how long the receiver asks to wait: seconds or a date, as RFC 9110 has it."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


@cache
def _trust() -> ssl.SSLContext:
    """Trust whom the system trusts, and whom SSL_CERT_FILE names. Made once: it takes a while."""
    return ssl.create_default_context()


def _no_connection(error: httpx2.TransportError) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection within {CONNECT_SECONDS:g} s"
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return f"TLS failed: {tls.verify_message}"
    if isinstance(tls, ssl.SSLError):
        return f"TLS failed: {tls.reason or 'the receiver speaks something else'}"
    return "no connection: it was refused, or nobody is there"


def _no_answer(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return f"the receiver was silent for {SILENT_SECONDS:g} s"
    if isinstance(error, httpx2.RemoteProtocolError):
        return "the receiver broke off, or its answer is not HTTP"
    return f"the connection broke ({type(error).__name__})"


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """Return the first of the causes that is of a kind."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error
