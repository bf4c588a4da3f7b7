"""The live numbers of a session: frames a second, latency, what was dropped and skipped."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np

WINDOW = 3.0  # seconds that frames a second are counted over
SAMPLES = 128  # latencies that the percentiles are taken of


class SessionMetrics:
    """Counted by several threads; read by anyone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: deque[float] = deque(maxlen=1024)
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self.frames = self.dropped = self.skipped = 0

    def answered(self, latency: float) -> None:
        """Count a picture that took ``latency`` seconds from arrival to delivery."""
        with self._lock:
            self.frames += 1
            self._shown.append(time.monotonic())
            self._latencies.append(latency)

    def drop(self) -> None:
        """Count a frame that a newer one replaced."""
        with self._lock:
            self.dropped += 1

    def skip(self) -> None:
        """Count a frame that the similar-image filter held back."""
        with self._lock:
            self.skipped += 1

    def snapshot(self) -> dict[str, Any]:
        """fps, latency_ms_p50 and latency_ms_p95 (None before the first picture), frames, dropped, skipped."""
        with self._lock:
            since = time.monotonic() - WINDOW
            fps = sum(shown > since for shown in self._shown) / WINDOW
            p50, p95 = np.percentile(self._latencies, (50, 95)) * 1000 if self._latencies else (None, None)
            return {
                "fps": round(fps, 1),
                "latency_ms_p50": p50 if p50 is None else round(float(p50), 1),
                "latency_ms_p95": p95 if p95 is None else round(float(p95), 1),
                "frames": self.frames,
                "dropped": self.dropped,
                "skipped": self.skipped,
            }
