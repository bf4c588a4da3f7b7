"""Places for work at once, shared out between people."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from artflow.admission import UNKNOWN, Asker, Places
from artflow.api.client_address import address_of
from artflow.errors import ArtflowError, Cancelled

PATIENCE = 20
ANNA, BEN = Asker("anna", "198.51.100.1"), Asker("ben", "198.51.100.2")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_a_person_has_a_share_and_the_others_still_get_in() -> None:
    places = Places(4, per_person=2)
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(places.place(ANNA))
        with pytest.raises(ArtflowError, match="2 jobs by you run or wait already") as refused, places.place(ANNA):
            pass
        assert refused.value.code == "too_many_jobs"
        held.enter_context(places.place(BEN))
        assert len(places) == 3
    with places.place(ANNA):
        assert len(places) == 1


def test_an_address_has_a_share_however_many_pages_it_opens() -> None:
    places = Places(9, per_address=3)
    with ExitStack() as held:
        for name in "abc":
            held.enter_context(places.place(Asker(name, "198.51.100.1")))
        with pytest.raises(ArtflowError, match="3 jobs by people at your address"), places.place(ANNA):
            pass
        held.enter_context(places.place(BEN))


def test_who_is_unknown_has_no_share_but_the_places_have_an_end() -> None:
    places = Places(2, per_person=1, per_address=1)
    with places.place(UNKNOWN), places.place(UNKNOWN):
        with pytest.raises(ArtflowError, match="2 jobs run or wait already") as refused, places.place(BEN):
            pass
        assert refused.value.code == "busy"


def test_a_free_place_goes_to_who_has_the_fewest(pool: ThreadPoolExecutor) -> None:
    """Two of Anna's run and one more waits when Ben comes: he is next."""
    places, served = Places(2, waiting=4), []
    waits, first, second = threading.Semaphore(0), threading.Event(), threading.Event()

    def work(who: Asker, name: str, until: threading.Event) -> None:
        with places.place(who, on_wait=waits.release):
            served.append(name)
            assert until.wait(PATIENCE)

    running = [pool.submit(work, ANNA, "first", first), pool.submit(work, ANNA, "second", second)]
    while len(served) < 2:
        pass
    for who, name in ((ANNA, "third"), (BEN, "his")):
        running.append(pool.submit(work, who, name, second))
        assert waits.acquire(timeout=PATIENCE)
    first.set()
    running[0].result(PATIENCE)
    while len(served) < 3:
        pass
    second.set()
    for one in running:
        one.result(PATIENCE)
    assert served[2:] == ["his", "third"]


def test_who_is_cancelled_while_waiting_never_has_a_place(pool: ThreadPoolExecutor) -> None:
    places, cancelled, waits = Places(1, waiting=1), threading.Event(), threading.Event()

    def work() -> None:
        with places.place(ANNA, cancelled, waits.set):
            pytest.fail("it was cancelled before")

    with places.place(BEN):
        asked = pool.submit(work)
        assert waits.wait(PATIENCE)
        cancelled.set()
        with pytest.raises(Cancelled):
            asked.result(PATIENCE)
        assert len(places) == 1


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("8.8.4.4", "", "8.8.4.4"),
        ("8.8.4.4", "1.1.1.1", "8.8.4.4"),  # the header is what the client likes to claim
        ("10.0.0.7", "1.1.1.1", "1.1.1.1"),
        ("10.0.0.7", "9.9.9.9, 1.1.1.1, 10.0.0.9", "1.1.1.1"),  # proxies add on the right
        ("10.0.0.7", "", "10.0.0.7"),
        ("10.0.0.7", "rubbish", "10.0.0.7"),
        ("127.0.0.1", "", ""),  # a proxy that says nothing: everybody would be one
        ("::1", "", ""),
        ("::ffff:8.8.4.4", "", "8.8.4.4"),
        ("2606:4700:1:2:3:4:5:6", "", "2606:4700:0001:0002"),
        (None, "", ""),
    ],
)
def test_whose_address_it_is(peer: str | None, forwarded: str, address: str) -> None:
    assert address_of(peer, {"x-forwarded-for": forwarded} if forwarded else {}) == address
