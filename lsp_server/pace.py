"""How long to wait for a pause in the typing before the model is asked: from the user's rhythm and the model's latency.

An offer should come when the fingers rest, and not a moment later. While keys follow each other
every 150 ms, a pause is what lasts twice as long; a model that needs 200 ms to answer is asked that
much earlier, since typing on cancels it. Fixed times either nag fast typists or bore slow ones.
"""

from __future__ import annotations

from collections import deque
from statistics import median

PAUSE_INTERVALS = 2.0
"""A pause is this many usual intervals between two keys."""
USUAL_INTERVAL = 0.15
"""Seconds between two keys, before there is anything to go by (80 words a minute)."""
LONGEST_INTERVAL = 1.0
"""What is further apart is no typing."""
LEAST_SECONDS, MOST_SECONDS = 0.02, 0.5
REMEMBERED = 16


class Pace:
    """The rhythm of one client's user, and how long the model takes."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=REMEMBERED)
        self._latencies: deque[float] = deque(maxlen=REMEMBERED)
        self._last: float | None = None

    def typed(self, at: float) -> None:
        """A key was pressed at `at` (monotonic seconds)."""
        if self._last is not None and 0 < at - self._last <= LONGEST_INTERVAL:
            self._intervals.append(at - self._last)
        self._last = at

    def answered(self, seconds: float) -> None:
        """The model took this long to answer a request for ghost text."""
        self._latencies.append(seconds)

    @property
    def seconds(self) -> float:
        """How long to wait now, in seconds."""
        interval = median(self._intervals) if self._intervals else USUAL_INTERVAL
        latency = median(self._latencies) if self._latencies else 0.0
        return min(MOST_SECONDS, max(LEAST_SECONDS, PAUSE_INTERVALS * interval - latency))
