"""The settings, read from the environment and from files once, checked before anything starts."""

import os
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as Unreadable
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from src.hosts import AllowedHost, parse_hosts
from src.webhooks import parse_secrets

#: Where both services meet when no database is named: beside their folders.
_LOCAL_DATABASE = Path(__file__).resolve().parents[2] / ".data" / "tasks.db"

#: Where Compose, Swarm and many others put secrets: a file for each, named like the setting.
SECRETS_DIR = "/run/secrets"
#: How the names of secrets for calls begin.
HTTP_SECRET = "HTTP_SECRET_"  # noqa: S105 - a name
#: Seconds between the goes at a webhook: about a day in all, with what is taken off at random.
WEBHOOK_RETRY_SECONDS = (5, 30, 300, 1800, 7200, 18_000, 36_000, 36_000, 36_000)
#: Settings whose values no complaint shows.
_SECRET = frozenset({"DATABASE_URL", "BROKER_URL", "WEBHOOK_SECRET"})

_EXAMPLES = {
    "DATABASE_URL": "mysql+pymysql://user:password@127.0.0.1:3306/tasks",
    "BROKER_URL": "amqp://user:password@127.0.0.1:5672/%2F",
    "QUEUE_TYPE": "classic",
    "WORK_SECONDS": "2",
    "WORKER_CONCURRENCY": "8",
    "WORKER_PREFETCH": "32",
    "LEASE_SECONDS": "15",
    "FALLBACK_SECONDS": "10",
    "MAX_ATTEMPTS": "3",
    "RETRY_BASE_SECONDS": "2",
    "RETRY_MAX_SECONDS": "300",
    "TASK_TIMEOUT_SECONDS": "3600",
    "SHUTDOWN_GRACE_SECONDS": "20",
    "HANDLER_MODULES": "handlers.invoices,handlers.images",
    "HTTP_ALLOWED_HOSTS": "api.example.com,*.example.org,localhost:9000",
    "WEBHOOK_SECRET": "whsec_<openssl rand -base64 32>",
    "WEBHOOK_RETRY_SECONDS": "5,30,300",
    "LOG_FORMAT": "text",
    "LOG_LEVEL": "INFO",
}


class SettingsError(ValueError):
    """A setting is unusable; the message is one line for whoever starts the service."""


def _database_url(value: str) -> str:
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError("expected a database URL") from None
    if url.drivername in ("mysql", "mariadb", "mariadb+pymysql"):
        url = url.set(drivername="mysql+pymysql")
    if url.drivername not in ("mysql+pymysql", "sqlite"):
        raise ValueError("expected mysql+pymysql://… or sqlite:///…")
    if not url.database or url.database == ":memory:":
        raise ValueError("expected a database that another process can open too")
    return url.render_as_string(hide_password=False)


def _broker_url(value: str) -> str:
    try:
        url = urlsplit(value)
        usable = not value or (url.scheme in ("amqp", "amqps") and url.hostname and url.port != 0)
    except ValueError:
        usable = False
    if not usable or "?" in value:
        raise ValueError("expected amqp://… or amqps://… without parameters, or nothing")
    return value


def _module_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError("expected names of Python modules, separated by commas")
    return names


def _hosts(value: object) -> object:
    return parse_hosts(value) if isinstance(value, str) else value


def _secrets(value: object) -> object:
    return parse_secrets(value) if isinstance(value, str) else value


def _steps(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


class Settings(BaseSettings):
    """One attribute a variable, in lower case; ``.env.example`` tells what each is for."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    database_url: Annotated[str, AfterValidator(_database_url)] = f"sqlite:///{_LOCAL_DATABASE}"
    broker_url: Annotated[str, AfterValidator(_broker_url)] = ""
    queue_type: Literal["classic", "quorum"] = "classic"
    work_seconds: float = Field(default=2, ge=0, le=86_400)
    work_log: Path | None = None
    worker_concurrency: int = Field(default=8, ge=1, le=1000)
    worker_prefetch: int | None = Field(default=None, ge=1, le=65_535)
    lease_seconds: float = Field(default=15, ge=1, le=3600)
    fallback_seconds: float = Field(default=10, ge=0.2, le=3600)
    max_attempts: int = Field(default=3, ge=1, le=1000)
    retry_base_seconds: float = Field(default=2, ge=0, le=86_400)
    retry_max_seconds: float = Field(default=300, ge=0, le=604_800)
    task_timeout_seconds: float = Field(default=3600, gt=0, le=604_800)
    handler_modules: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_module_names)] = ()
    http_allowed_hosts: Annotated[tuple[AllowedHost, ...], NoDecode, BeforeValidator(_hosts)] = ()
    webhook_secret: Annotated[tuple[bytes, ...], NoDecode, BeforeValidator(_secrets)] = Field(
        default=(), repr=False
    )
    webhook_retry_seconds: Annotated[
        tuple[Annotated[float, Field(ge=0, le=604_800)], ...], NoDecode, BeforeValidator(_steps)
    ] = Field(default=WEBHOOK_RETRY_SECONDS, min_length=1, max_length=100)
    shutdown_grace_seconds: float = Field(default=20, ge=0, le=86_400)
    heartbeat_file: Path | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _webhooks_lead_somewhere(self) -> Self:
        if self.webhook_secret and not self.http_allowed_hosts:
            raise ValueError(
                "WEBHOOK_SECRET: webhooks need HTTP_ALLOWED_HOSTS, which says whom they may reach; "
                "for example HTTP_ALLOWED_HOSTS=* for every public host"
            )
        return self

    @property
    def prefetch(self) -> int:
        """Deliveries the broker may have out to this worker at once."""
        return self.worker_prefetch or 4 * self.worker_concurrency

    @model_validator(mode="after")
    def _sqlite_has_no_broker(self) -> Self:
        if self.broker_url and self.database_url.startswith("sqlite"):
            raise ValueError(
                "BROKER_URL: a broker needs MySQL or MariaDB; leave it empty with SQLite"
            )
        return self


def load_settings() -> Settings:
    """Read and check the environment, and the files in ``SECRETS_DIR`` for what it leaves out.

    Raises:
        SettingsError: names the variable, what it holds (never of a secret) and an example of what
            would be right.
    """
    try:
        return _read()
    except ValidationError as invalid:
        raise SettingsError(_one_line(invalid)) from None


def load_http_secrets() -> dict[str, str]:
    """Read what headers of calls may refer to: ``HTTP_SECRET_<NAME>``, by its upper-case name.

    Raises:
        SettingsError: names the one that cannot be a header, or the folder that is not there.
    """
    folder = _secrets_folder()
    found: dict[str, str] = {}
    try:
        for file in sorted(folder.glob("*")) if folder else ():
            if file.name.upper().startswith(HTTP_SECRET):
                found[file.name.upper()] = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"SECRETS_DIR: {file.name}: {error}") from None
    found |= {name: value for name, value in os.environ.items() if name.startswith(HTTP_SECRET)}
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(f"{name}: must be one line of printable ASCII, to be a header")
    return {name.removeprefix(HTTP_SECRET): value for name, value in found.items() if value}


def _read() -> Settings:
    folder = _secrets_folder()
    where: dict[str, Any] = {"_secrets_dir": folder} if folder else {}
    try:
        # A folder in place of a file, which Docker makes for a missing one, is only warned of.
        with warnings.catch_warnings(action="error", category=UserWarning):
            return Settings(**where)
    except (Unreadable, OSError) as error:
        raise SettingsError(f"SECRETS_DIR: {error.__cause__ or error}") from None


def _secrets_folder() -> Path | None:
    """Return the folder with the files, None where there is none and nobody named one.

    Raises:
        SettingsError: the one that was named is not there; tasks would run without what it holds.
    """
    named = os.environ.get("SECRETS_DIR")
    folder = Path(named or SECRETS_DIR)
    if folder.is_dir():
        return folder
    if named:
        raise SettingsError(
            f"SECRETS_DIR: {named} is no folder that can be read; make it, or leave the setting out"
        )
    return None


def _one_line(invalid: ValidationError) -> str:
    error = invalid.errors(include_url=False)[0]
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return reason
    name = str(error["loc"][0]).upper()
    got = "" if name in _SECRET else f" (got {error['input']!r})"
    example = f"; for example {name}={_EXAMPLES[name]}" if name in _EXAMPLES else ""
    return f"{name}: {reason}{got}{example}"
