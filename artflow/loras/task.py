"""One download: how far it is, how fast, and how it ended."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from artflow.loras.download import Wanted

State = Literal["queued", "downloading", "paused", "completed", "failed", "cancelled"]
ACTIVE = ("queued", "downloading")
SPEED_OVER = 5.0  # seconds


@dataclass
class Task:
    """One download. ``done`` and ``total`` are bytes (total 0: not known), ``speed`` bytes a second."""

    id: str
    name: str
    wanted: Wanted
    state: State = "queued"
    done: int = 0
    total: int = 0
    doing: str = ""
    error: str = ""
    mirror: str = ""
    began: float = field(default_factory=time.monotonic)
    _seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=512))

    def progress(self, done: int, total: int, doing: str) -> None:
        """What `download` tells."""
        self.done, self.total, self.doing = done, total, doing
        now = time.monotonic()
        if not self._seen or now - self._seen[-1][0] > SPEED_OVER / 256:
            self._seen.append((now, done))

    @property
    def speed(self) -> float:
        """Over the last seconds; 0 while nothing comes."""
        now = time.monotonic()
        recent = [one for one in tuple(self._seen) if now - one[0] <= SPEED_OVER]
        if self.state != "downloading" or len(recent) < 2:
            return 0.0
        return max(0.0, (recent[-1][1] - recent[0][1]) / max(now - recent[0][0], 0.05))

    @property
    def seconds_left(self) -> float | None:
        """None where it cannot be told."""
        speed = self.speed
        return (self.total - self.done) / speed if speed and self.total else None

    def as_json(self) -> dict[str, Any]:
        """As the routes and the page have it; ``progress`` is 0 to 100."""
        left = self.seconds_left
        return {
            "preset_id": self.id,
            "name": self.name,
            "filename": self.wanted.target.name,
            "status": self.state,
            "progress": round(100 * self.done / self.total, 1) if self.total else 0.0,
            "downloaded": self.done,
            "total": self.total,
            "speed": round(self.speed),
            "eta": None if left is None else round(left),
            "message": self.doing,
            "mirror": self.mirror,
            "error": self.error,
        }
