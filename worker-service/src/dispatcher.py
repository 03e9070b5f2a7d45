"""Matches free slots with tasks: the only thread that claims."""

import threading
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from src.backoff import database_backoff
from src.consumers import Consumer, Delivery
from src.executor import Executor
from src.held import Held
from src.lease import Lease
from src.store.dialect import brief
from src.store.leases import LeaseLost

log = structlog.get_logger(__name__)

#: Seconds after which it looks around without being woken.
LOOK_SECONDS = 1.0
#: Seconds in which a slot's thread takes what it was given, and more.
MOMENT_SECONDS = 0.002
#: Seconds to wait for the heartbeat to register anew.
LEASE_LOST_SECONDS = 0.2


class Dispatcher:
    """Woken by a delivery, a free slot or a heartbeat; asks the consumers in their order."""

    def __init__(
        self,
        executor: Executor,
        held: Held,
        lease: Lease,
        ack: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self._executor = executor
        self._held = held
        self._lease = lease
        self._ack = ack
        self._consumers: Sequence[Consumer] = ()
        self._woken = threading.Event()
        #: There may have been something to claim when there was no room for it.
        self._wants_room = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers
        self._thread.start()

    def wake(self) -> None:
        # Mostly it is awake, and to look costs less than to tell it again.
        if not self._woken.is_set():
            self._woken.set()

    def slot_freed(self) -> None:
        """Wake up if there may be something for a slot; mostly there is not."""
        if self._wants_room or any(c.seconds_until_ready() <= 0 for c in self._consumers):
            self.wake()

    def may_act(self) -> bool:
        """Tell whether an attempt may be claimed or begin."""
        return self._lease.is_fresh() and not self._stop.is_set()

    def stop(self, seconds: float) -> None:
        """Claim nothing more; wait for a claim that is under way."""
        self._stop.set()
        self._woken.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        backoff = database_backoff()
        while not self._stop.is_set():
            self._woken.clear()
            try:
                self._turn()
            except LeaseLost:
                # The heartbeat finds out likewise and registers anew.
                self._stop.wait(LEASE_LOST_SECONDS)
            except SQLAlchemyError as error:
                log.warning("claims wait for the database", reason=brief(error))
                self._stop.wait(backoff.next())
            except Exception:
                log.exception("dispatcher stumbled")
                self._stop.wait(backoff.next())
            else:
                backoff.reset()
                self._wait()
            self._executor.claim_log.tell()

    def _wait(self) -> None:
        """Wait until woken, unless there is more to claim already."""
        seconds = self._seconds_to_wait()
        claims = self._executor.claim_log
        # The slots' threads go first: they need the interpreter to begin.
        if seconds > 0 and claims.has_untold() and not self._woken.wait(MOMENT_SECONDS):
            claims.tell()
        self._woken.wait(seconds)

    def _turn(self) -> None:
        """Ask every consumer once that has something for a free slot.

        Raises:
            Exception: the last one of a consumer's, after the others were asked.
        """
        trouble: Exception | None = None
        for consumer in self._consumers:
            try:
                self._ask(consumer)
            except Exception as error:  # noqa: BLE001 - raised below
                trouble = error
        if trouble:
            raise trouble

    def _ask(self, consumer: Consumer) -> None:
        slots = self._room()
        if slots <= 0 or not self.may_act() or consumer.seconds_until_ready() > 0:
            return
        suspect = self._held.suspects() == 0
        with self._held.claiming():
            claimed = consumer.claim(slots, take_suspect=suspect)
            if self.may_act():
                self._held.add(one.attempt for one in claimed)
                self._executor.start(*claimed)
            else:
                # Too late to begin: the heartbeat's check gives the rows back.
                self._ack([one.delivery for one in claimed if one.delivery])

    def _room(self) -> int:
        # A suspect may take down what is here: nothing is claimed ahead beside it.
        alone = self._held.suspects() > 0
        return self._executor.free_slots() if alone else self._executor.room()

    def _seconds_to_wait(self) -> float:
        # Noted before the look: a slot that is freed from here on wakes us.
        self._wants_room = True
        if self._room() <= 0 or not self._lease.is_fresh():
            return LOOK_SECONDS
        self._wants_room = False
        return min(LOOK_SECONDS, *(c.seconds_until_ready() for c in self._consumers))
