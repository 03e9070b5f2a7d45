"""Submitting tasks, looking one up, and what a client may do to it."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import anyio.to_thread
import structlog
import uuid_utils
from sqlalchemy import Connection, RowMapping

from src.contract import DEFAULT_PRIORITY, PRIORITIES
from src.db.database import Database
from src.services.catalogue import Catalogue
from src.services.errors import (
    Complaint,
    KeyReused,
    NothingToTell,
    SubmissionInvalid,
    TaskNotFound,
    TransitionRefused,
)
from src.services.ledger import Ledger, read_ledger
from src.services.listing import Filter, Page, list_tasks
from src.services.new_tasks import (
    NewTask,
    Repeatable,
    Stored,
    Submission,
    commit_batch,
    find_keys,
)
from src.services.resend import send_again
from src.services.transitions import Action, act, find
from src.services.writer import Hand, Writer

log = structlog.get_logger(__name__)

#: Complaints after which a batch is not checked further; an answer names no more.
MAX_COMPLAINTS = 50
NO_WEBHOOKS = Complaint("callback_url", "webhooks are off here: WEBHOOK_SECRET is not set")


class Delivery(Hand, Protocol):
    """A relay, as it is seen from here."""

    def sweep_soon(self) -> None: ...


class TaskService:
    """What the routes call. ``relay`` is None where no broker is configured."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        relay: Delivery | None,
        *,
        webhooks: bool = False,
    ) -> None:
        """``webhooks``: tasks may ask for one."""
        self._database = database
        self._catalogue = catalogue
        self._relay = relay
        self._webhooks = webhooks
        self._writer = Writer(database, relay)
        #: A key that a frozen process has locked keeps whoever stores it: not those without keys.
        self._keyed_writer = Writer(database, relay)

    async def submit(self, wish: Submission, repeatable: Repeatable | None = None) -> Stored:
        """Store a task and promise its delivery; return once both are committed.

        With ``repeatable`` a task that was stored under this key before is the answer. The key is
        unique in the table: of two requests at once, the second one finds the first one's row.

        Raises:
            KeyReused: the request under this key asked for something else.
            SubmissionInvalid: no worker can run it.
            TooManySubmissions: it is not stored; the service has too much to do.
            DatabaseUnavailable: it may be stored; with a key it is safe to send again.
        """
        if wish.callback_url and not self._webhooks:
            raise SubmissionInvalid([NO_WEBHOOKS])
        if not self._catalogue.is_known_to_fit(wish.type, wish.details):
            known = await anyio.to_thread.run_sync(self._check, wish, repeatable)
            if known:
                return known
        writer = self._keyed_writer if repeatable else self._writer
        stored = await writer.store(_new(wish, repeatable))
        # On the line that tells of the request: one more for each task would cost a tenth of it.
        structlog.contextvars.bind_contextvars(task_id=stored.task_id, type=wish.type)
        return stored

    def check_writer(self) -> None:
        """Return if submissions are stored, as far as can be told.

        Raises:
            DatabaseUnavailable: they are not.
        """
        self._writer.check()
        self._keyed_writer.check()

    def close(self) -> None:
        """Store what waits, and end."""
        self._writer.stop()
        self._keyed_writer.stop()

    def submit_all(self, wishes: Sequence[Submission]) -> list[str]:
        """Store tasks, all or none; return their ids in the same order.

        Raises:
            SubmissionInvalid: some cannot be run; ``complaints`` name them by index.
            DatabaseUnavailable: nothing may be stored.
        """
        complaints = list(self._complaints(wishes))
        if complaints:
            raise SubmissionInvalid(complaints)
        tasks = [_new(wish) for wish in wishes]
        promise = self._relay is not None
        stored = commit_batch(self._database, tasks, promise_delivery=promise)
        if self._relay:
            self._relay.hand(stored.messages)
        for task in tasks:
            log.info("submitted", task_id=task.task_id, type=task.wish.type)
        return [task.task_id for task in tasks]

    def list(self, wanted: Filter, before: str | None, limit: int) -> Page:
        """Return a page of tasks, newest first; see ``list_tasks``.

        Raises:
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read(partial(list_tasks, wanted=wanted, before=before, limit=limit))

    def ledger(self, task_id: str) -> Ledger:
        """Return a task's row, and its attempts that did not succeed.

        Raises:
            TaskNotFound: no row has this id.
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read_at_once(partial(read_ledger, task_id=task_id))

    def get(self, task_id: str) -> RowMapping:
        """Return the task's row.

        Raises:
            TaskNotFound: no row has this id.
            DatabaseUnavailable: nobody could be asked.
        """
        return self._database.read(lambda connection: find(connection, task_id))

    def act(self, action: Action, task_id: str) -> RowMapping:
        """Cancel, retry or delete a task; return its row as it is then, or was before.

        Raises:
            TaskNotFound: no row has this id.
            TransitionRefused: its status leads nowhere from there.
            DatabaseUnavailable: it may have been done; asking again finds out.
        """
        promise = self._relay is not None
        done: list[RowMapping] = []

        def work(connection: Connection) -> RowMapping:
            try:
                row = act(connection, action, task_id, promise_delivery=promise)
            except (TaskNotFound, TransitionRefused) as refusal:
                # Run again since the answer to its commit was lost, it finds its own deed: a task
                # that is gone, or PENDING already.
                is_own = isinstance(refusal, TaskNotFound) is (action is Action.DELETE)
                if done and is_own and action is not Action.CANCEL:
                    return done[0]
                raise
            done.append(row)
            return row

        row = self._database.write(work)
        log.info(f"{action} requested", task_id=task_id, status=row["status"])
        if action is Action.RETRY or row["callback_url"]:
            self.send_promised()
        return row

    def send_webhook(self, task_id: str) -> str:
        """Tell of a final task again; return the id of the task that does it.

        Raises:
            TaskNotFound: no row has this id.
            NothingToTell: it is not final, or nobody is to be told.
            DatabaseUnavailable: it may be sent; asking again sends it again.
        """
        if not self._webhooks:
            raise NothingToTell("Webhooks are off here: WEBHOOK_SECRET is not set.")
        promise = self._relay is not None
        sent = self._database.write(partial(send_again, task_id=task_id, promise_delivery=promise))
        log.info("webhook requested", task_id=task_id, webhook_task_id=sent)
        self.send_promised()
        return sent

    def send_promised(self) -> None:
        """Have a relay send at once what was promised anew, and is handed to nobody."""
        if self._relay:
            self._relay.sweep_soon()

    def _check(self, wish: Submission, repeatable: Repeatable | None) -> Stored | None:
        """Hold a submission against what the table says now.

        What was accepted once is answered as it was, although it may not fit any more.
        """
        try:
            self._catalogue.check(wish.type, wish.details)
        except SubmissionInvalid:
            if repeatable is None:
                raise
            known = self._database.read(partial(find_keys, keys=[repeatable.key]))
            if repeatable.key not in known:
                raise
            answer = known[repeatable.key].answer(repeatable)
            if isinstance(answer, KeyReused):
                raise answer from None
            return answer
        return None

    def _complaints(self, wishes: Sequence[Submission]) -> Iterable[Complaint]:
        found = 0
        for index, wish in enumerate(wishes):
            try:
                if wish.callback_url and not self._webhooks:
                    raise SubmissionInvalid([NO_WEBHOOKS])
                self._catalogue.check(wish.type, wish.details)
            except SubmissionInvalid as invalid:
                for complaint in invalid.complaints:
                    yield Complaint(f"tasks.{index}.{complaint.field}", complaint.message)
                found += len(invalid.complaints)
                if found >= MAX_COMPLAINTS:
                    return


def _new(wish: Submission, repeatable: Repeatable | None = None) -> NewTask:
    return NewTask(str(uuid_utils.uuid7()), wish, _priority(wish), repeatable)


def _priority(wish: Submission) -> int:
    """Take the priority asked for; else ``metadata.priority`` where it says high, normal or low."""
    name = wish.priority or (wish.details or {}).get("priority")
    return PRIORITIES.get(name, DEFAULT_PRIORITY) if isinstance(name, str) else DEFAULT_PRIORITY
