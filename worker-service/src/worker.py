"""A worker process: its parts, wired together, from the start to the end."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from src.config import Settings
from src.consumers import Consumer, Delivery
from src.consumers.poller import Poller
from src.consumers.rabbitmq import RabbitConsumer
from src.contract import task_queue
from src.decision import RetryPolicy
from src.dispatcher import Dispatcher
from src.executor import Executor
from src.finisher import Finisher
from src.handlers.call import call
from src.handlers.context import Context
from src.handlers.declare import Handler
from src.handlers.process import call_in_process
from src.heartbeat import Heartbeat
from src.held import Held
from src.kept import Kept
from src.lease import Lease
from src.outcome import Outcome, Released
from src.progress import ProgressWriter
from src.stop import StopRequests
from src.store.attempts import Fence
from src.store.dialect import STALE_SECONDS, brief, make_engine
from src.store.leases import LeaseStore
from src.store.tasks import TaskStore
from src.watchdog import start_watchdog

log = structlog.get_logger(__name__)

#: Seconds between two polls where the table is the only source.
POLL_SECONDS = 0.1
#: Seconds for one statement while the worker stops.
LAST_STATEMENT_SECONDS = 1.5
#: Seconds after the grace period in which the give-back must be committed.
GIVE_BACK_SECONDS = 3.0


class Worker:
    """Everything that a worker process holds, wired together."""

    def __init__(
        self,
        settings: Settings,
        handlers: Mapping[str, Handler],
        engine: Engine,
        stop: StopRequests,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._worn_out = self._stopping = False
        self._types = sorted(handlers)
        self._isolated = [name for name in self._types if handlers[name].process]
        with_broker = bool(settings.broker_url)
        self._store, _ = self._stores(engine)
        self._lease = Lease(settings.lease_seconds)
        self._held = Held()
        self._progress = ProgressWriter(self._store)
        policies = {name: _policy(settings, handler) for name, handler in handlers.items()}
        self._finisher = Finisher(self._store, policies, self._ack, self._let_go)
        self._executor = Executor(
            settings.worker_concurrency,
            handlers,
            self._run_handler,
            limit_seconds=settings.task_timeout_seconds,
            patience_seconds=settings.lease_seconds,
            may_start=lambda: self._dispatcher.may_act(),
            finished=self._finisher.put,
            finished_alone=self._finisher.finish_here,
            slot_freed=lambda: self._dispatcher.slot_freed(),
            report=self._progress.report,
            worn_out=self._wear_out,
        )
        self._dispatcher = Dispatcher(self._executor, self._held, self._lease, self._ack)
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
            self._held,
            about={
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "concurrency": settings.worker_concurrency,
                "lease_seconds": settings.lease_seconds,
                "max_attempts": settings.max_attempts,
                "types": self._types,
            },
            catalogue=[handlers[name].entry() for name in self._types],
            renewed=self._dispatcher.wake,
            rescued=self._look_in_the_table,
            sign_file=settings.heartbeat_file,
        )

    def run(self) -> int:
        """Work until told to stop, then finish or give back what is under way.

        Returns:
            The exit code: 0, or 1 if the worker stopped because too many threads were lost.
        """
        start_watchdog(self._settings.lease_seconds)
        self._heartbeat.start()
        self._executor.start_threads()
        self._finisher.start()
        self._progress.start()
        consumers: list[Consumer] = [self._poller]
        if self._rabbit:
            consumers.append(self._rabbit)
            self._rabbit.start()
        self._dispatcher.start(consumers)
        self._stop.wait()
        self._wind_up()
        return 1 if self._worn_out else 0

    def _wind_up(self) -> None:
        self._stopping = True
        log.info("stopping", running=len(self._held.fences()))
        grace_ends = time.monotonic() + self._settings.shutdown_grace_seconds
        if self._rabbit:
            self._rabbit.close(seconds=1)
        self._dispatcher.stop(seconds=1)
        self._executor.release_waiting("the worker stopped")
        # A second signal ends the grace.
        while time.monotonic() < grace_ends and not self._held.wait_until_none(0.2):
            if self._stop.is_urgent():
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
        # Nothing that they do counts any more; processes of handlers end here and not with us.
        self._executor.tell_all(Released("the worker stopped"))
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
                # First what is decided: given back, finished work would be done again.
                self._finisher.flush(tasks)
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
        # One for both, or each would hold on to a connection.
        kept = Kept(engine, stale_seconds=STALE_SECONDS)
        return (
            TaskStore(kept, self._types, use_outbox=outbox, isolated=self._isolated),
            LeaseStore(kept, use_outbox=outbox),
        )

    def _run_handler(self, handler: Handler, details: Any, context: Context) -> Outcome:
        if not handler.process:
            return call(handler, details, context)
        log_format, log_level = self._settings.log_format, self._settings.log_level
        return call_in_process(
            handler, details, context, log_format=log_format, log_level=log_level
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

    def _let_go(self, fences: Sequence[Fence]) -> None:
        held_suspects = self._held.suspects()
        self._held.let_go(fences)
        if self._held.suspects() < held_suspects:
            # The others of its kind were left to the poller, one at a time.
            self._look_in_the_table()

    def _wear_out(self) -> None:
        """Stop as on SIGTERM; whoever supervises us starts a process with all its threads."""
        if not self._stopping and not self._worn_out:
            log.error("half of the slots are lost to handlers that do not stop, ending the process")
            self._worn_out = True
            self._stop.ask()

    def _look_in_the_table(self) -> None:
        self._poller.hasten()
        self._dispatcher.wake()


def _policy(settings: Settings, handler: Handler) -> RetryPolicy:
    return RetryPolicy(
        handler.max_attempts or settings.max_attempts,
        settings.retry_base_seconds,
        settings.retry_max_seconds,
        handler.backoff,
    )
