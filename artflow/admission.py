"""Who may ask for how much at once: places for work, shared out between people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from artflow.errors import ArtflowError, Cancelled

HEARD = 0.1  # seconds at most until who waits hears of a cancel


class Asker(NamedTuple):
    """Who asks: a person as far as one can be told from others, and the network address; empty where unknown."""

    person: str = ""
    address: str = ""


UNKNOWN = Asker()


@dataclass(eq=False)
class _Entry:
    who: Asker
    running: bool = False


class Places:
    """``at_once`` works run, ``waiting`` more wait; a person and an address have a share of both. From any thread.

    A share of 0 is no limit, and who is unknown has none. A free place goes to the person with the fewest running
    works, and among those to who has waited longest: so nobody waits for all the works of another.
    """

    def __init__(self, at_once: int, waiting: int = 0, *, per_person: int = 0, per_address: int = 0) -> None:
        self._at_once, self._most = at_once, at_once + waiting
        self._per_person, self._per_address = per_person, per_address
        self._entries: list[_Entry] = []  # in the order in which they came
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """Works that run or wait."""
        return len(self._entries)

    @contextmanager
    def place(
        self,
        who: Asker,
        cancelled: threading.Event | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """One of the places, once it is free; ``on_wait`` is called where it is not at once.

        Raises:
            ArtflowError: ``busy`` where too many wait, ``too_many_jobs`` where the share is used up.
            Cancelled: ``cancelled`` was set before there was a place.
        """
        entry = _Entry(who)
        with self._changed:
            self._check(who)
            self._entries.append(entry)
            self._share_out()
        try:
            if not entry.running:
                on_wait()
                self._wait(entry, cancelled)
            yield
        finally:
            with self._changed:
                self._entries.remove(entry)
                self._share_out()

    def _wait(self, entry: _Entry, cancelled: threading.Event | None) -> None:
        with self._changed:
            while not entry.running and not (cancelled is not None and cancelled.is_set()):
                self._changed.wait(HEARD)
        if cancelled is not None and cancelled.is_set():
            raise Cancelled

    def _check(self, who: Asker) -> None:
        if len(self._entries) >= self._most:
            raise ArtflowError("busy", f"{len(self._entries)} jobs run or wait already; try again in a moment.")
        for share, mine, name in (
            (self._per_person, lambda other: other.person == who.person, who.person),
            (self._per_address, lambda other: other.address == who.address, who.address),
        ):
            if name and 0 < share <= sum(mine(entry.who) for entry in self._entries):
                whose = "you" if name == who.person else "people at your address"
                sentence = f"{share} jobs by {whose} run or wait already; try again when one is done."
                raise ArtflowError("too_many_jobs", sentence)

    def _share_out(self) -> None:
        """The lock is held."""
        while sum(entry.running for entry in self._entries) < self._at_once:
            waiting = [entry for entry in self._entries if not entry.running]
            if not waiting:
                break
            min(waiting, key=self._running_beside).running = True  # of equals the first, who has waited longest
        self._changed.notify_all()

    def _running_beside(self, entry: _Entry) -> int:
        if not entry.who.person:
            return 0
        return sum(other.running and other.who.person == entry.who.person for other in self._entries)
