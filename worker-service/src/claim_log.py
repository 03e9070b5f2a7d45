"""What was claimed goes into the log a moment later."""

from collections.abc import Sequence

import structlog

from src.execution import Execution

log = structlog.get_logger(__name__)

#: Ids in one line: Docker cuts lines at 16 KiB.
IDS_A_LINE = 100


class ClaimLog:
    """Used by the dispatcher's thread only.

    At the moment of the claim its line would be in the way of the slots, whose threads need the
    interpreter to begin.
    """

    def __init__(self) -> None:
        self._untold: list[Sequence[Execution]] = []

    def note(self, executions: Sequence[Execution]) -> None:
        """Have claims logged later, or now if one may take the process down before."""
        self._untold.append(executions)
        if any(execution.claimed.attempt.suspect for execution in executions):
            self.tell()

    def has_untold(self) -> bool:
        return bool(self._untold)

    def tell(self) -> None:
        """Log what was noted since the last time."""
        untold, self._untold = self._untold, []
        for executions in untold:
            _tell(executions)


def _tell(executions: Sequence[Execution]) -> None:
    if len(executions) == 1:
        log.info("claimed", **executions[0].names())
        return
    ids = [execution.fence.task_id for execution in executions]
    for start in range(0, len(ids), IDS_A_LINE):
        some = ids[start : start + IDS_A_LINE]
        log.info("claimed together", attempts=len(some), task_ids=some)
