"""How many CPU threads a call of a network computes with: measured, because no rule holds on all machines.

Several threads shorten a long call on idle cores. They lose as soon as another program needs a core, because the
threads of one call wait for each other hundreds of times, and they take the cores that JPEG work, sockets and jobs
need. So one thread is the rule. A kind of call uses all cores where that is clearly faster on this machine, beside what
runs now.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")

FASTER = 1.25  # how many times as fast as one thread all cores must be
STARVED = 3.0  # a call that takes this many times its own best was kept waiting for a core
TRIAL_CALLS, TRIAL_SECONDS = 5, 0.2  # a trial of the other thread count ends with either
FIRST_PATIENCE, LONGEST_PATIENCE = 0.5, 128.0  # seconds of calls between two trials
BACK_OFF = 4  # how many times as long that gets when a trial changes nothing
TRIAL_SHARE = 0.05  # of the time at most is spent in trials


_fixed = threading.local()  # ``count``: what `with_threads` has set for this thread


def with_threads(count: int, work: Callable[[], T]) -> T:
    """The result of ``work``, computed by torch in ``count`` threads, those of a `ThreadPolicy` included.

    For a thread that ends afterwards.

    A thread that has computed in several keeps them, its OpenMP team, until it ends. While a process has more of such
    threads than cores, all teams wait in a slower way: the engine's calls then take up to twice as long.
    """
    torch.set_num_threads(count)
    _fixed.count = count
    try:
        return work()
    finally:
        del _fixed.count
        torch.set_num_threads(1)  # also what threads begin with that compute from now on


class CallKind:
    """Calls that compute about as much as each other: the seconds they took, and the thread count that follows.

    Ask ``choose`` for the threads of a call, then tell ``observe`` its seconds. There is no clock in here: time is the
    sum of the calls.
    """

    def __init__(self, most: int) -> None:
        self.usual = 1  # threads
        self._most = most
        self._recent: deque[float] = deque(maxlen=TRIAL_CALLS)  # seconds with the usual threads
        self._best: dict[int, float] = {}  # seconds, by threads
        self._trial: list[float] | None = None  # seconds with the other count, while it is tried
        self._since = 0.0  # seconds of calls since the last trial
        self._patience = FIRST_PATIENCE
        self._warm = False

    @property
    def starved(self) -> bool:
        """Whether calls take far longer now than they have taken before."""
        return bool(self._recent) and median(self._recent) > STARVED * self._best[self.usual]

    def choose(self) -> int:
        """The threads of the next call."""
        if self._trial is None:
            return self.usual
        return self._most if self.usual == 1 else 1

    def observe(self, seconds: float) -> None:
        """Note what the call took that `choose` was asked for."""
        if not self._warm:  # the first call also packs weights and builds kernels
            self._warm = True
            return
        threads = self.choose()
        best = self._best[threads] = min(seconds, self._best.get(threads, seconds))
        if self._trial is not None:
            self._trial.append(seconds)
            self._judge(self._trial)
            return
        self._recent.append(seconds)
        self._since += seconds
        if self.usual > 1 and seconds > STARVED * best:
            self._use(1)
            self._wait_longer()
        elif self._most > 1 and self._since >= self._patience:
            self._trial = []

    def _judge(self, trial: list[float]) -> None:
        """End the trial once it says enough. Its first call builds kernels for the other thread count."""
        usual = median(self._recent)
        slower = len(trial) > 1 and trial[-1] > usual
        if not (slower or len(trial) == TRIAL_CALLS or sum(trial) >= TRIAL_SECONDS):
            return
        tried = median(trial[1:] or trial)
        one, several = (usual, tried) if self.usual == 1 else (tried, usual)
        better = self._most if one > FASTER * several else 1
        self._trial = None
        if better == self.usual:
            self._wait_longer()
        else:
            self._use(better)
            self._since, self._patience = 0.0, FIRST_PATIENCE
        self._patience = max(self._patience, sum(trial) / TRIAL_SHARE)

    def _use(self, threads: int) -> None:
        self.usual = threads
        self._recent.clear()

    def _wait_longer(self) -> None:
        self._since, self._patience = 0.0, min(BACK_OFF * self._patience, LONGEST_PATIENCE)


class ThreadPolicy:
    """The thread counts of one model's calls, by network and size. ``most``: 1 for a model that is not on the CPU."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kinds: dict[tuple[str, int], CallKind] = {}

    def kind(self, network: str, pixels: int) -> CallKind:
        """What a call of this network on a batch of so many pixels is judged with."""
        name = network, (pixels - 1).bit_length()
        if name not in self._kinds:
            self._kinds[name] = CallKind(self._most)
        return self._kinds[name]

    @contextmanager
    def call(self, network: str, pixels: int) -> Iterator[None]:
        """Compute the body with the threads that suit it. ``pixels``: of all the pictures in the batch."""
        if hasattr(_fixed, "count"):
            yield
            return
        kind = self.kind(network, pixels)
        torch.set_num_threads(kind.choose())
        begin = time.perf_counter()
        try:
            yield
        finally:
            torch.set_num_threads(1)
        kind.observe(time.perf_counter() - begin)

    @property
    def starved(self) -> bool:
        """Whether any kind of call takes far longer now than it has taken before."""
        return any(kind.starved for kind in list(self._kinds.values()))

    @property
    def choices(self) -> dict[str, dict[int, int]]:
        """Threads by network and size; a size is the most pixels that a call of the kind has, a power of two."""
        choices: dict[str, dict[int, int]] = {}
        for (network, bits), kind in sorted(self._kinds.copy().items()):
            choices.setdefault(network, {})[2**bits] = kind.usual
        return choices
