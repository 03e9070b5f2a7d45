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

from src.keys import ApiKey, parse_keys
from src.webhooks import parse_secrets

#: Where both services meet when no database is named: beside their folders.
_LOCAL_DATABASE = Path(__file__).resolve().parents[2] / ".data" / "tasks.db"

#: Where Compose, Swarm and many others put secrets: a file for each, named like the setting.
SECRETS_DIR = "/run/secrets"
#: Settings whose values no complaint shows.
_SECRET = frozenset({"DATABASE_URL", "BROKER_URL", "API_KEYS", "WEBHOOK_SECRET"})

_EXAMPLES = {
    "API_PORT": "8000",
    "DATABASE_URL": "mysql+pymysql://user:password@127.0.0.1:3306/tasks",
    "BROKER_URL": "amqp://user:password@127.0.0.1:5672/%2F",
    "QUEUE_TYPE": "classic",
    "MAX_BODY_BYTES": "1048576",
    "API_KEYS": "reports:submit:<sha256, as ./dev key prints it>",
    "WEBHOOK_SECRET": "whsec_<openssl rand -base64 32>",
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


def _keys(value: object) -> object:
    if not isinstance(value, str):
        return value
    keys = parse_keys(value)
    if not keys:
        # Who wrote a file of nothing but comments does not mean to let everybody in.
        raise ValueError("holds no entry; for an API without keys leave it out")
    return keys


def _secrets(value: object) -> object:
    return parse_secrets(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    """One attribute a variable, in lower case; ``.env.example`` tells what each is for."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    database_url: Annotated[str, AfterValidator(_database_url)] = f"sqlite:///{_LOCAL_DATABASE}"
    broker_url: Annotated[str, AfterValidator(_broker_url)] = ""
    queue_type: Literal["classic", "quorum"] = "classic"
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_keys)] = ()
    #: Here it only says whether webhooks are on; workers sign with it.
    webhook_secret: Annotated[tuple[bytes, ...], NoDecode, BeforeValidator(_secrets)] = Field(
        default=(), repr=False
    )
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

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


def _read() -> Settings:
    folder = _secrets_folder()
    where: dict[str, Any] = {"_secrets_dir": folder} if folder else {}
    try:
        # A folder in place of a file, which Docker makes for a missing one, is only warned of; with
        # API_KEYS that would let everybody in.
        with warnings.catch_warnings(action="error", category=UserWarning):
            return Settings(**where)
    except (Unreadable, OSError) as error:
        raise SettingsError(f"SECRETS_DIR: {error.__cause__ or error}") from None


def _secrets_folder() -> Path | None:
    """Return the folder with the files, None where there is none and nobody named one.

    Raises:
        SettingsError: the one that was named is not there, and its keys would not be asked for.
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
