"""The type ``http``: calls a URL, for work that is done by a service elsewhere."""

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.errors import Permanent
from src.handlers.outgoing import BUSY, Answer, come_again, send
from src.handlers.targets import Resolve, Target, find_target, look_up
from src.hosts import AllowedHost

TYPE = "http"
#: Seconds for a call in all, where the task does not say.
TIMEOUT_SECONDS = 60.0
#: Characters of an answer that an error quotes.
QUOTED = 300
#: Headers that the connection or the queue sets.
OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "idempotency-key"}
    | {"keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"}
    | {"x-task-attempt", "traceparent"}
)
#: With whatever as its name: what is sent as it stands is a secret that is missing without a word.
_REFERENCE = re.compile(r"\$\{secret:([^}]*)\}")


def _not_ours(name: str) -> str:
    if name.lower() in OURS or name.lower().startswith("proxy-"):
        raise ValueError("is set by the queue or the connection")
    return name


HeaderName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"),
    AfterValidator(_not_ours),
]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\t -~]{0,4096}$")]


class Call(BaseModel):
    """What to call."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f]+$",
        max_length=2048,
        description="http:// or https://, without user and password",
    )
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[HeaderName, HeaderValue] = Field(
        default={},
        max_length=50,
        description="Values may refer to settings of the worker: ${secret:NAME}",
    )
    body: JsonValue = Field(default=None, description="Sent as JSON; null or absent: none")


def make_http(
    allowed: Sequence[AllowedHost], secrets_: Mapping[str, str], resolve: Resolve = look_up
) -> Handler:
    """Make the handler. ``secrets_``: by name, as references in headers mean them."""

    async def http(call: Call, context: Context) -> dict[str, Any]:
        target = await find_target(call.url, allowed, resolve)
        headers, used = _headers(call, target, secrets_)
        body = None if call.body is None else json.dumps(call.body).encode()
        answer = await send(target, call.method, {**headers, **_about(context)}, body)
        text = _text(answer, used)
        _judge(answer, text)
        return {"status": answer.status, "body": text, "truncated": answer.truncated}

    return Handler(
        TYPE,
        http,
        payload=Call,
        description="Calls a URL; 2xx completes the task, its result is status and body.",
        timeout_seconds=TIMEOUT_SECONDS,
    )


def _headers(
    call: Call, target: Target, known: Mapping[str, str]
) -> tuple[dict[str, str], set[str]]:
    """Put secrets in the place of references; return the headers and the secrets in them.

    Raises:
        Permanent: a secret is unknown, or must not go there.
    """
    used: set[str] = set()

    def value_of(reference: re.Match[str]) -> str:
        value = known.get(reference[1].upper())
        if value is None:
            raise Permanent(f"the worker has no HTTP_SECRET_{reference[1].upper()}")
        used.add(value)
        return value

    headers = {name: _REFERENCE.sub(value_of, value) for name, value in call.headers.items()}
    if used and not target.named:
        raise Permanent("secrets go to hosts only that HTTP_ALLOWED_HOSTS names in full")
    if used and target.url.scheme != "https" and not target.trusted:
        raise Permanent("secrets go by https only, or to a host that is named with its port")
    if call.body is not None and "content-type" not in map(str.lower, headers):
        headers["Content-Type"] = "application/json"
    return headers, used


def _about(context: Context) -> dict[str, str]:
    """Return what tells the receiver which task calls. All attempts are of one trace."""
    trace = context.task_id.replace("-", "")
    return {
        "Idempotency-Key": context.task_id,
        "X-Task-Attempt": str(context.attempt),
        "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
    }


def _text(answer: Answer, used: set[str]) -> str:
    """Return the beginning of the answer, without the secrets that the receiver may echo."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    text = answer.body.decode(errors="replace")
    written = {form for secret in used for form in _spellings(secret)}
    for secret in sorted(written, key=len, reverse=True):
        text = text.replace(secret, "***")
    if answer.truncated and written:
        # The last one may have been cut in two.
        text = text[: 1 - max(map(len, written))]
    return text


def _spellings(secret: str) -> set[str]:
    """Return how receivers repeat a secret: as it is, in a URL, in JSON."""
    in_json = json.dumps(secret)[1:-1]
    # PHP writes a slash like this.
    return {secret, in_json, in_json.replace("/", r"\/"), quote(secret, safe="")}


def _judge(answer: Answer, text: str) -> None:
    """Return if the call succeeded.

    Raises:
        RetryAfter: the receiver says when to come again.
        RequestFailed: it may succeed another time.
        Permanent: it will not.
    """
    if 200 <= answer.status < 300:
        return
    told = f"the receiver {answer.describe()}"
    if 300 <= answer.status < 400:
        raise Permanent(f"{told}: redirects are not followed; submit the URL that it leads to")
    quoted = f"{told}: {text[:QUOTED]}" if text else told
    if answer.status in BUSY or answer.status >= 500 or answer.status < 200:
        raise come_again(answer, quoted)
    raise Permanent(quoted)
