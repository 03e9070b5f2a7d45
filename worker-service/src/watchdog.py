"""Ends a process whose interpreter lock is never let go of again."""

import faulthandler
import threading

#: Leases after which the process ends itself; its tasks are others' by then. And at least so many
#: seconds, since a busy machine may starve a thread for some.
LEASES = 4
LEAST_SECONDS = 10.0


def start_watchdog(lease_seconds: float) -> None:
    """Arm a timer again and again; it writes all tracebacks and exits with 1 if that stops.

    The timer runs outside the interpreter and needs no lock. The thread that arms it does nothing
    else: the heartbeat's may wait for a database or a name server, which is no reason to end.
    """
    seconds = max(LEASES * lease_seconds, LEAST_SECONDS)

    def arm() -> None:
        pause = threading.Event()
        while True:
            faulthandler.dump_traceback_later(seconds, exit=True)
            pause.wait(seconds / 8)

    threading.Thread(target=arm, name="watchdog", daemon=True).start()
