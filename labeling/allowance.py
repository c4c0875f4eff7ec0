"""So many times a minute and no more, for each of many askers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable

MINUTE = 60.0
# Askers that are remembered; the one that was quiet longest is forgotten first.
REMEMBERED = 10_000


class Allowance:
    """Counts what each asker did over the last minute; safe to ask from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._times: dict[Hashable, deque[float]] = {}
        self._lock = threading.Lock()

    def ask(self, who: Hashable, limit: int) -> float:
        """0 where ``who`` may once more, which is counted; else the seconds to wait."""
        now = self.clock()
        with self._lock:
            times = self._times.pop(who, deque())
            self._times[who] = times  # to the end: asked last
            while times and times[0] <= now - MINUTE:
                times.popleft()
            if len(times) >= limit:
                return times[0] + MINUTE - now
            times.append(now)
            while len(self._times) > REMEMBERED:
                del self._times[next(iter(self._times))]
        return 0.0
