"""How long attempts take lately, and how many can be claimed ahead for that."""

#: Seconds within which what is claimed ahead should begin: nobody sees it wait as PROCESSING.
AHEAD_SECONDS = 0.05
#: Half of it waits while the next claim is under way. With 200 the slots run dry meanwhile, and a
#: backlog drains by a tenth slower; from here on a longer list makes a statement slow, not cheap.
MOST_AHEAD = 400
#: The weight of the latest attempt in the mean.
WEIGHT = 1 / 16
#: Seconds that an attempt takes at least, by this measure.
LEAST_SECONDS = 1e-5


class Pace:
    """The mean run time of an attempt, the latest ones weighing most."""

    def __init__(self) -> None:
        self._mean: float | None = None

    def note(self, seconds: float) -> None:
        """Take in how long an attempt ran."""
        self._mean = seconds if self._mean is None else self._mean + WEIGHT * (seconds - self._mean)

    def ahead(self, slots: int) -> int:
        """Return how many attempts so many slots can begin soon, beyond those they run.

        None as long as nothing is known, or where already one takes longer than that.
        """
        if self._mean is None or self._mean > AHEAD_SECONDS:
            return 0
        return min(MOST_AHEAD, int(slots * AHEAD_SECONDS / max(self._mean, LEAST_SECONDS)))
