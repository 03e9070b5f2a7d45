"""The API service. ``uvicorn src.main:app`` or ``python -m src.main`` in ``api-service``."""

import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any, TypeVar

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from src.api import actions, dashboard, events, health, openapi, overview, tasks
from src.api.access import Access
from src.api.answer_log import AnswerLog
from src.api.middleware import BodyLimit, InFlightLimit, RequestContext
from src.api.problems import handle_problems
from src.api.short_way import ShortWay
from src.config import Settings, SettingsError, load_settings
from src.db.database import SchemaMismatch
from src.logs import set_up_logging
from src.server import HttpProtocol
from src.services.runtime import Runtime

log = structlog.get_logger(__name__)
T = TypeVar("T")

#: Seconds for open requests to end after SIGTERM. Streams are told to end; a client that does
#: not read would keep uvicorn for ever.
STOP_SECONDS = 5
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make an application. It starts nothing before its first request or lifespan.

    Close it with ``app.state.close()`` where no lifespan runs.

    Raises:
        SettingsError: the environment holds an unusable setting.
    """
    checked = settings or load_settings()
    runtime = _once(lambda: Runtime(checked))
    answers = AnswerLog()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            runtime().start()
        except SchemaMismatch as error:
            # Not the end: requests get 503 until the database is the right one.
            log.error("schema refused", reason=str(error))
        with _told_to_stop(runtime().watcher.close):
            yield
        answers.tell()
        runtime().close()

    app: FastAPI = FastAPIOffline(
        title="Async task queue",
        version="0.1.0",
        description=(
            "Post a task, get `202` and its `task_id`; it is run, whatever dies. To begin: *Submit "
            "a task*, *Try it out*, *Execute*, then put the `task_id` into *Get a task*. Errors "
            "are problem details (RFC 9457, `application/problem+json`)."
        ),
        openapi_tags=[
            {"name": "tasks", "description": "Submit tasks and look them up"},
            {"name": "actions", "description": "Cancel, repeat and delete tasks"},
            {"name": "overview", "description": "See the whole, and why a task is not finished"},
            {"name": "events", "description": "Follow changes as they happen"},
            {"name": "health", "description": "For probes"},
        ],
        redoc_url=None,
        swagger_ui_parameters={"defaultModelsExpandDepth": 0, "persistAuthorization": True},
        redirect_slashes=False,
        lifespan=lifespan,
        # Nobody sets it up, and while that is so each request looks for it.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.runtime = runtime
    app.state.close = lambda: runtime().close()
    app.state.answers = answers
    is_open = not checked.api_keys
    app.openapi = lambda: openapi.describe(app, is_open=is_open)  # type: ignore[method-assign]
    # The last one added is the outermost.
    app.add_middleware(InFlightLimit)
    app.add_middleware(BodyLimit, max_bytes=checked.max_body_bytes)
    app.add_middleware(Access, keys=checked.api_keys)
    app.add_middleware(RequestContext, answers=answers)
    handle_problems(app)
    for module in (tasks, actions, overview, events, health):
        app.include_router(module.router)
    dashboard.mount(app)
    app.router.middleware_stack = ShortWay(app.router.middleware_stack, runtime)
    return app


@contextmanager
def _told_to_stop(deed: Callable[[], None]) -> Iterator[None]:
    """Do something when the process is told to stop, before the server waits for its requests.

    Streams and waiting requests would keep it waiting; the lifespan ends too late for that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        # In a thread: what the signal interrupts may hold the lock that the deed needs.
        threading.Thread(target=deed, daemon=True).start()
        before = handlers[signal.Signals(number)]
        if callable(before):
            before(number, frame)

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


def _once(make: Callable[[], T]) -> Callable[[], T]:
    """Call ``make`` at the first use, once, from whatever thread comes first."""
    lock = threading.Lock()
    made: list[T] = []

    def get() -> T:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]

    return get


def _settings_or_exit() -> Settings:
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"api-service: {error}")
    set_up_logging(settings.log_format, settings.log_level)
    if not settings.api_keys and settings.api_host not in _LOOPBACK:
        log.warning(
            "no API_KEYS: whoever reaches this port may do everything. Right for a port that is "
            "published on loopback only, as docker-compose.yml does",
            host=settings.api_host,
        )
    return settings


def __getattr__(name: str) -> Any:
    """Make ``app`` when it is asked for, so that importing this module does nothing."""
    if name != "app":
        raise AttributeError(name)
    app = create_app(_settings_or_exit())
    globals()["app"] = app
    return app


def _spare_the_collector() -> None:
    """Keep what was made at the start out of every collection, and collect less often.

    A full one over the modules' objects stops all requests: without this, p99 among 16 clients is
    twice as long (./dev bench).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def main() -> None:
    settings = _settings_or_exit()
    app = create_app(settings)
    try:
        app.state.runtime().start()
    except SchemaMismatch as error:
        sys.exit(f"api-service: {error}")
    _spare_the_collector()
    uvicorn.run(
        app,
        host=settings.api_host,
        port=settings.api_port,
        timeout_graceful_shutdown=STOP_SECONDS,
        access_log=False,
        # Neither a client's address nor the scheme is looked at.
        proxy_headers=False,
        log_config=None,
        http=HttpProtocol,
    )


if __name__ == "__main__":
    main()
