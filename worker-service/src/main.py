"""The worker service. ``python -m src.main`` in ``worker-service``."""

import os
import socket
import sys
import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from src.config import Settings, SettingsError, load_settings
from src.consumers import Consumer, Delivery
from src.consumers.poller import Poller
from src.consumers.rabbitmq import RabbitConsumer
from src.contract import task_queue
from src.decision import RetryPolicy
from src.dispatcher import Dispatcher
from src.executor import Executor
from src.finisher import Finisher
from src.handlers.simulate import make_simulate
from src.heartbeat import Heartbeat
from src.lease import Lease
from src.logs import set_up_logging
from src.stop import StopRequests
from src.store.attempts import Attempt
from src.store.dialect import brief, make_engine
from src.store.leases import LeaseStore
from src.store.schema import SchemaMismatch, wait_for_schema
from src.store.tasks import TaskStore

log = structlog.get_logger(__name__)

#: Seconds between two polls where the table is the only source.
POLL_SECONDS = 0.1
#: Seconds for one statement: of claims and outcomes, and while the worker stops. The heartbeat's
#: have a third of the lease.
STATEMENT_SECONDS = 10.0
LAST_STATEMENT_SECONDS = 1.5
#: Seconds after the grace period in which the give-back must be committed.
GIVE_BACK_SECONDS = 3.0


class Worker:
    """Everything that a worker process holds, wired together."""

    def __init__(self, settings: Settings, engine: Engine, stop: StopRequests) -> None:
        self._settings = settings
        self._stop = stop
        self._policy = RetryPolicy(
            settings.max_attempts, settings.retry_base_seconds, settings.retry_max_seconds
        )
        handlers = make_simulate(settings.work_seconds, settings.work_log)
        self._types = sorted(handlers)
        with_broker = bool(settings.broker_url)
        self._store, _ = self._stores(engine)
        self._lease = Lease(settings.lease_seconds)
        self._finisher = Finisher(self._store, self._policy, self._ack)
        self._executor = Executor(
            settings.worker_concurrency, handlers, self._finisher.put, self._slot_freed
        )
        self._dispatcher = Dispatcher(self._executor, self._lease, self._ack)
        self._rabbit = self._make_consumer() if with_broker else None
        self._poller = Poller(
            self._store,
            self._lease,
            # Half and half: overdue for the one and found after the other is within the whole.
            period_seconds=settings.fallback_seconds / 2 if with_broker else POLL_SECONDS,
            overdue_seconds=settings.fallback_seconds / 2 if with_broker else 0,
            waiting=lambda: len(self._rabbit.inbox) if self._rabbit else 0,
        )
        heartbeat_engine = make_engine(
            settings.database_url,
            connections=1,
            statement_seconds=settings.lease_seconds / 3,
            lock_wait_seconds=1,
        )
        self._heartbeat = Heartbeat(
            *self._stores(heartbeat_engine),
            self._lease,
            self._executor,
            about={
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "concurrency": settings.worker_concurrency,
                "types": self._types,
            },
            renewed=self._dispatcher.wake,
            rescued=self._look_in_the_table,
            sign_file=settings.heartbeat_file,
        )

    def run(self) -> None:
        """Work until told to stop, then finish or give back what is under way."""
        self._heartbeat.start()
        self._executor.start_threads()
        self._finisher.start(self._executor.let_go)
        consumers: list[Consumer] = [self._poller]
        if self._rabbit:
            consumers.append(self._rabbit)
            self._rabbit.start()
        self._dispatcher.start(consumers)
        self._stop.wait()
        self._wind_up()

    def _wind_up(self) -> None:
        log.info("stopping", running=len(self._executor.held()))
        grace_ends = time.monotonic() + self._settings.shutdown_grace_seconds
        if self._rabbit:
            self._rabbit.close(seconds=1)
        self._dispatcher.stop(seconds=1)
        # A second signal ends the grace.
        while time.monotonic() < grace_ends and not self._executor.wait_until_idle(0.2):
            if self._stop.wait(0):
                break
        # Its own connection with short limits: the whole must fit into the stop's time.
        engine = make_engine(
            self._settings.database_url,
            connections=1,
            statement_seconds=LAST_STATEMENT_SECONDS,
            lock_wait_seconds=1,
        )
        tasks, leases = self._stores(engine)
        given_back = self._give_back(tasks, leases, time.monotonic() + GIVE_BACK_SECONDS)
        self._heartbeat.stop(seconds=0.5)
        try:
            if given_back:
                leases.sign_off(self._lease.worker_id)
        except SQLAlchemyError as error:
            log.warning("no sign-off, others will notice", reason=brief(error))
        log.info("stopped")

    def _give_back(self, tasks: TaskStore, leases: LeaseStore, deadline: float) -> bool:
        """Return what is still ours to the queue, while the heartbeat still goes on.

        The rows tell what that is: a claim may have been committed and never started. Returns
        False when the database did not answer in time; then others will rescue the tasks.
        """
        while time.monotonic() < deadline:
            try:
                ours = leases.claimed(self._lease.worker_id)
                for fence in tasks.give_back(ours, "the worker stopped"):
                    log.info("gave back", task_id=fence.task_id, attempt=fence.number)
                return True
            except SQLAlchemyError as error:
                log.warning("give-back waits for the database", reason=brief(error))
                time.sleep(0.2)
        return False

    def _stores(self, engine: Engine) -> tuple[TaskStore, LeaseStore]:
        outbox = bool(self._settings.broker_url)
        return (
            TaskStore(engine, self._types, use_outbox=outbox),
            LeaseStore(engine, self._policy, use_outbox=outbox),
        )

    def _make_consumer(self) -> RabbitConsumer:
        return RabbitConsumer(
            self._settings.broker_url,
            task_queue(self._settings.queue_type),
            self._settings.prefetch,
            self._store,
            self._lease,
            self._dispatcher.wake,
        )

    def _ack(self, deliveries: Sequence[Delivery]) -> None:
        if self._rabbit:
            self._rabbit.ack(deliveries)

    def _slot_freed(self, attempt: Attempt) -> None:
        if attempt.suspect:
            # The others of its kind were left to the poller, one at a time.
            self._poller.hasten()
        self._dispatcher.wake()

    def _look_in_the_table(self) -> None:
        self._poller.hasten()
        self._dispatcher.wake()


def main() -> int:
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"worker-service: {error}")
    set_up_logging(settings.log_format, settings.log_level)
    stop = StopRequests()
    stop.listen()
    engine = make_engine(settings.database_url, connections=3, statement_seconds=STATEMENT_SECONDS)
    try:
        ready = wait_for_schema(engine, stop.wait)
    except SchemaMismatch as error:
        sys.exit(f"worker-service: {error}")
    if ready:
        Worker(settings, engine, stop).run()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A handler that still runs must not keep the process: its task was given back.
    os._exit(code)
