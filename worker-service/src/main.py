"""The worker service. ``python -m src.main`` in ``worker-service``."""

import faulthandler
import gc
import os
import sys
import traceback

from src.config import Settings, SettingsError, load_http_secrets, load_settings
from src.handlers.declare import Handler
from src.handlers.load import HandlersUnusable, load_handlers
from src.handlers.simulate import make_simulate
from src.logs import set_up_logging
from src.stop import StopRequests
from src.store.dialect import make_engine
from src.store.schema import SchemaMismatch, wait_for_schema
from src.worker import Worker

#: Seconds for one statement of a claim or an outcome.
STATEMENT_SECONDS = 10.0
#: The dispatcher, the finisher, the progress writer, and a handler's thread that commits alone.
CONNECTIONS = 4


def main() -> int:
    """Run a worker; return its exit code."""
    faulthandler.enable()
    stop = StopRequests()
    try:
        settings = load_settings()
        set_up_logging(settings.log_format, settings.log_level)
        # Until they are there a signal simply ends the process: an import may hang.
        handlers = load_handlers(settings.handler_modules, _built_in(settings))
        stop.listen()
        url = settings.database_url
        engine = make_engine(url, connections=CONNECTIONS, statement_seconds=STATEMENT_SECONDS)
        ready = wait_for_schema(engine, stop.wait)
    except (SettingsError, HandlersUnusable, SchemaMismatch) as error:
        print(f"worker-service: {error}", file=sys.stderr)  # noqa: T201 - for who starts it
        return 1
    if not ready:
        return 0
    _spare_the_collector()
    return Worker(settings, handlers, engine, stop).run()


def _built_in(settings: Settings) -> dict[str, Handler]:
    """Make the handlers that need no module; the one that calls hosts only if any is named."""
    handlers = [make_simulate(settings.work_seconds, settings.work_log)]
    if settings.http_allowed_hosts:
        # Only here: an HTTP client is memory and time at the start, for those who use it.
        from src.handlers.http import make_http
        from src.handlers.webhook import make_webhook

        allowed = settings.http_allowed_hosts
        handlers.append(make_http(allowed, load_http_secrets()))
        if settings.webhook_secret:
            steps = settings.webhook_retry_seconds
            handlers.append(make_webhook(allowed, settings.webhook_secret, steps))
    return {handler.name: handler for handler in handlers}


def _spare_the_collector() -> None:
    """Keep what was made at the start out of every collection, and collect less often.

    Modules and handlers are looked through again and again otherwise: 40 % of an attempt's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except BaseException:  # noqa: BLE001 - whatever it is, nothing may keep the process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # A thread of a handler's must not keep the process: its task was given back.
        os._exit(code)
