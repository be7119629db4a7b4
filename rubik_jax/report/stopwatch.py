"""Where the time of a run goes: seconds by activity, measured where the host stands anyway."""

import time
from collections import defaultdict
from collections.abc import Mapping

ACTIVITIES = {
    "stepping": "steps of training",
    "waiting": "waiting for data: the devices had finished before the next windows were there",
    "compiling": "compiling, and making or reading the state",
    "evaluating": "evaluating on validation cases",
    "probing": "probes of the encoder's features",
    "saving": "saving checkpoints",
    "reporting": "writing this page",
}


class Stopwatch:
    """Gives each stretch of time to one of `ACTIVITIES`; nothing is left out or counted twice."""

    def __init__(self):
        self._since = time.monotonic()
        self._seconds: dict[str, float] = defaultdict(float)

    def lap(self, activity: str) -> None:
        """Gives the time since the last lap to an activity."""
        now = time.monotonic()
        self._seconds[activity] += now - self._since
        self._since = now

    def add(self, seconds: Mapping[str, float]) -> None:
        """Adds seconds by activity, which an earlier process took and didn't record."""
        for name, of in seconds.items():
            self._seconds[name] += of

    def take(self) -> dict[str, float]:
        """The seconds by activity since they were last taken."""
        taken = {name: self._seconds[name] for name in ACTIVITIES if name in self._seconds}
        self._seconds.clear()
        return taken
