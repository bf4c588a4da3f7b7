"""What the engine has done, counted by kind of owner, for `/api/metrics` and Prometheus."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

WINDOW = 60.0  # seconds that the longest call is looked for in


class EngineMetrics:
    """Counted by the engine's threads; read by anyone."""

    def __init__(self) -> None:
        self.calls = 0
        self.device_lost = False
        """Whether the device has raised an error after which it answers nothing any more."""
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()
        self._seconds = 0.0
        self._longest: deque[tuple[float, float]] = deque()  # when, and seconds; falling

    @property
    def rows(self) -> int:
        """Rows in all calls."""
        return self._rows.total()

    def called(self, kinds: Iterable[str], seconds: float) -> None:
        """Count a call of the denoiser: the kind of each row's owner, and how long it took."""
        with self._lock:
            self.calls += 1
            self._rows.update(kinds)
            self._seconds += seconds

    def stepped(self, seconds: float) -> None:
        """Note how long a step beside live sessions took: nobody is served meanwhile."""
        now = time.monotonic()
        with self._lock:
            while self._longest and self._longest[-1][1] <= seconds:
                self._longest.pop()
            self._longest.append((now, seconds))
            while self._longest[0][0] < now - WINDOW:
                self._longest.popleft()

    def snapshot(self) -> dict[str, Any]:
        """model_calls, rows, rows_live, rows_job, call_seconds (in all), longest_step_seconds (of the last minute)."""
        with self._lock:
            recent = [seconds for when, seconds in self._longest if when > time.monotonic() - WINDOW]
            return {
                "model_calls": self.calls,
                "rows": self._rows.total(),
                "rows_live": self._rows["live"],
                "rows_job": self._rows["job"],
                "call_seconds": round(self._seconds, 3),
                "longest_step_seconds": round(max(recent, default=0.0), 4),
            }
