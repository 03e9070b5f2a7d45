"""What a running API holds: the database, the relay and the services on top of them."""

from datetime import datetime

import structlog

from src.config import Settings
from src.contract import task_queue
from src.db.database import Database, DatabaseUnavailable
from src.services.bulk import BulkService
from src.services.catalogue import Catalogue
from src.services.overview import Overview
from src.services.relay import Relay
from src.services.tasks import TaskService
from src.services.watcher import Watcher

log = structlog.get_logger(__name__)


class Runtime:
    """Made once a process, on first use. Connects to nothing by itself."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.database_url)
        self.relay = (
            Relay(self.database, settings.broker_url, task_queue(settings.queue_type))
            if settings.broker_url
            else None
        )
        self.tasks = TaskService(
            self.database,
            Catalogue(self.database),
            self.relay,
            webhooks=bool(settings.webhook_secret),
        )
        self.bulk = BulkService(self.database, self.tasks, promise_delivery=self.relay is not None)
        self.overview = Overview(self.database)
        self.watcher = Watcher(self.database)

    def start(self) -> None:
        """Get ready before the first request, as far as the servers are there.

        Raises:
            SchemaMismatch: the database is not ours.
        """
        if self.relay:
            self.relay.start()
        try:
            self.database.ping()
        except DatabaseUnavailable as error:
            log.warning("database away, requests get 503 until it is there", reason=str(error))

    def broker_state(self) -> str:
        """``connected``, ``connecting``, ``away``, or ``none`` where no broker is configured."""
        if self.relay is None:
            return "none"
        self.relay.start()
        return self.relay.state()

    def broker_since(self) -> datetime | None:
        """Since when the broker is as it is, by this process; None where there is none."""
        return self.relay.since() if self.relay else None

    def close(self) -> None:
        self.watcher.close()
        self.tasks.close()
        if self.relay:
            self.relay.stop()
        self.database.close()
