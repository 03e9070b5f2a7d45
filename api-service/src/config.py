"""The settings, read from the environment once and checked before anything starts."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

#: Where both services meet when no database is named: beside their folders.
_LOCAL_DATABASE = Path(__file__).resolve().parents[2] / ".data" / "tasks.db"

_EXAMPLES = {
    "API_PORT": "8000",
    "DATABASE_URL": "mysql+pymysql://user:password@127.0.0.1:3306/tasks",
    "BROKER_URL": "amqp://user:password@127.0.0.1:5672/%2F",
    "QUEUE_TYPE": "classic",
    "MAX_BODY_BYTES": "1048576",
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


class Settings(BaseSettings):
    """One attribute a variable, in lower case; ``.env.example`` tells what each is for."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    database_url: Annotated[str, AfterValidator(_database_url)] = f"sqlite:///{_LOCAL_DATABASE}"
    broker_url: Annotated[str, AfterValidator(_broker_url)] = ""
    queue_type: Literal["classic", "quorum"] = "classic"
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
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
    """Read and check the environment.

    Raises:
        SettingsError: names the variable, what it holds (never of a URL: it has a password) and
            an example of what would be right.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        raise SettingsError(_one_line(invalid)) from None


def _one_line(invalid: ValidationError) -> str:
    error = invalid.errors(include_url=False)[0]
    reason = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return reason
    name = str(error["loc"][0]).upper()
    got = "" if name.endswith("_URL") else f" (got {error['input']!r})"
    example = f"; for example {name}={_EXAMPLES[name]}" if name in _EXAMPLES else ""
    return f"{name}: {reason}{got}{example}"
