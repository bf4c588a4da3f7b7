"""One file from the network into a folder: whole and as it should be, or not there at all.

What has arrived lies in ``<name>.part`` beside the target and is carried on with after a cut, a pause or a restart
(``Range`` with ``If-Range``, https://www.rfc-editor.org/rfc/rfc9110#name-range). The target itself appears in one
step, after size, header and checksum were found right.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpx

from artflow.errors import ArtflowError
from artflow.loras import address
from artflow.loras.header import LENGTH, check_lora, check_start
from artflow.loras.library import PART, RECORD, publish

SPARE_DISK = 100_000_000  # bytes that are left free
TRIES = 5  # one after another on which no byte came, of one mirror ...
MOST_TRIES = 40  # ... and in all: a server that sends a byte at a time is no mirror
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds before the next try
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
CHECKSUM = re.compile(r'"?([0-9a-f]{64})"?')
AGAIN = (408, 425, 429, 500, 502, 503, 504)
REASONS = {401: "it wants a sign-in", 403: "it refuses the file", 404: "it does not have the file", 410: "it is gone"}

OnProgress = Callable[[int, int, str], None]
"""Is told the bytes that are there, of how many (0: not known), and what is being done."""


class Source(NamedTuple):
    """A place that has the file, and its URL there."""

    name: str
    url: str


@dataclass(frozen=True)
class Wanted:
    """A file to have: ``size`` 0 and ``sha256`` empty where they are not known. ``own``: somebody gave its URL."""

    target: Path
    sources: Sequence[Source]
    size: int = 0
    sha256: str = ""
    own: bool = False
    largest: int = 4_000_000_000

    @property
    def part(self) -> Path:
        """Where it is while it is not whole."""
        return self.target.with_name(self.target.name + PART)

    @property
    def record(self) -> Path:
        """What the part belongs to."""
        return self.target.with_name(self.target.name + RECORD)

    def forget(self) -> None:
        """Delete the part."""
        self.part.unlink(missing_ok=True)
        self.record.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Record:
    url: str
    etag: str = ""
    """A strong one, or empty."""
    total: int = 0
    sha256: str = ""


class _TryAgain(Exception):
    """The connection failed, not the file. ``wait``: what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _NotHere(Exception):
    """This mirror does not have the right file; another one may."""


class _Spoiled(_NotHere):
    """What has arrived is of no use."""


async def download(
    wanted: Wanted, on_progress: OnProgress, *, stall: float = 20.0, pause: float = FIRST_PAUSE
) -> Source:
    """Have the file at ``wanted.target``; the mirror that it came from last. Cancelling the task keeps the part.

    ``stall`` is how many seconds a server may be silent, ``pause`` the seconds before a second try; each next is twice
    as long.

    Raises:
        ArtflowError: ``download_failed`` with what each mirror did; ``bad_lora``, ``bad_address``, ``no_room``,
            ``name_taken``.
    """
    reasons, name = [], wanted.target.name
    try:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        async with address.client(own=wanted.own, stall=stall) as client:
            for mirror in wanted.sources:
                try:
                    await _Attempts(client, wanted, mirror, on_progress).run(pause)
                    return mirror
                except (_NotHere, _TryAgain) as error:
                    reasons.append(f"{mirror.name}: {error}")
                    if isinstance(error, _Spoiled):
                        wanted.forget()
    except OSError as error:
        raise ArtflowError("no_room", f"{name} could not be written: {error.strerror or error}.") from error
    raise ArtflowError("download_failed", f"{name} could not be downloaded. {'; '.join(reasons)}.")


class _Attempts:
    """The tries at one mirror."""

    def __init__(self, client: httpx.AsyncClient, wanted: Wanted, mirror: Source, on_progress: OnProgress) -> None:
        self._client, self._wanted, self._mirror, self._say = client, wanted, mirror, on_progress
        self._sha256 = wanted.sha256

    async def run(self, pause: float) -> None:
        """Try until the file is there.

        Raises:
            _NotHere, _TryAgain: the last of several.
            ArtflowError: where no mirror would help.
        """
        fruitless, wait, from_scratch = 0, pause, False
        for _ in range(MOST_TRIES):
            before = self._arrived
            try:
                await self._fetch()
                await self._finish()
                return
            except _TryAgain as error:
                came = self._arrived > before
                fruitless, wait = (0, pause) if came else (fruitless + 1, min(2 * wait, LONGEST_PAUSE))
                if fruitless >= TRIES or (error.wait or 0) > LONGEST_PAUSE:
                    raise
                last: Exception = error
                asked = wait if error.wait is None else error.wait
                self._say(self._arrived, self._wanted.size, f"{error}; trying again in {max(1, round(asked))} s")
                await asyncio.sleep(asked)
            except _Spoiled as error:
                self._wanted.forget()
                if from_scratch or before == 0:
                    raise
                from_scratch, last = True, error  # what was there before may have been of another file
        raise _NotHere(str(last))

    @property
    def _arrived(self) -> int:
        part = self._wanted.part
        return part.stat().st_size if part.is_file() else 0

    def _known(self) -> _Record | None:
        """What the part belongs to, if this mirror can carry it on."""
        try:
            record = _Record(**json.loads(self._wanted.record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        same_file = bool(record.sha256) and record.sha256 == self._wanted.sha256
        return record if same_file or (record.url == self._mirror.url and record.etag) else None

    async def _fetch(self) -> None:
        """Ask for what is missing, and write it into the part."""
        record, start = self._known(), self._arrived
        if record is None:
            start = 0
        if start and record and start == record.total:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and record and record.etag and record.url == self._mirror.url:
            headers["If-Range"] = record.etag
        try:
            async with self._client.stream("GET", self._mirror.url, headers=headers) as response:
                start, total = self._accepted(response, start)
                await self._write(response, start, total)
        except httpx.TimeoutException:
            raise _TryAgain("it stopped answering") from None
        except httpx.TooManyRedirects:
            raise _NotHere("it sends from one address to the next") from None
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _TryAgain(_words(error)) from None
        except httpx.InvalidURL:
            raise _NotHere("it sends to an address that is none") from None
        except ArtflowError as error:
            if error.code == "bad_lora" or (error.code == "bad_address" and not self._wanted.own):
                raise _Spoiled(error.message.rstrip(".")) from None  # another mirror may have the right one
            raise

    def _accepted(self, response: httpx.Response, start: int) -> tuple[int, int]:
        """From which byte on the answer goes, and the bytes of the whole file (0: not said)."""
        status = response.status_code
        if status == 416 and start:
            raise _Spoiled("the file there is another one now")
        if status in AGAIN:
            wait = _retry_after(response.headers.get("retry-after", ""))
            asks = "" if wait is None else f" and asks for {wait:.0f} s of patience"
            raise _TryAgain(f"it answers {status}{asks}", wait)
        if status not in (200, 206):
            raise _NotHere(f"it answers {status}" + (f", {REASONS[status]}" if status in REASONS else ""))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _NotHere("it sends the file packed, which was not asked for")
        length = response.headers.get("content-length", "")
        total = int(length) if length.isdigit() else 0
        if status == 206:
            match = RANGE.fullmatch(response.headers.get("content-range", ""))
            if match is None or int(match[1]) != start:
                raise _Spoiled("it sends another part than was asked for")
            total = 0 if match[2] == "*" else int(match[2])
            known, etag = self._known(), response.headers.get("etag", "")
            other = known and known.url == self._mirror.url and known.etag not in ("", etag)
            if other or (known and known.total and total and known.total != total):
                raise _Spoiled("the file there is another one now")
        else:
            start = 0
        self._check_size(total, start)
        self._note(response, total)
        return start, total

    def _check_size(self, total: int, start: int) -> None:
        wanted = self._wanted
        if wanted.size and total and total != wanted.size:
            raise _Spoiled(f"its file has {total} bytes where {wanted.size} are right")
        if total > wanted.largest:
            sentence = f"{wanted.target.name} has {total / 1e6:.0f} MB; at most {wanted.largest / 1e6:.0f} are allowed."
            raise ArtflowError("no_room", sentence)
        free = shutil.disk_usage(wanted.target.parent).free
        if total - start > free - SPARE_DISK:
            sentence = f"{wanted.target.name} needs {total / 1e6:.0f} MB, and {free / 1e6:.0f} MB of disk are free."
            raise ArtflowError("no_room", sentence)

    def _note(self, response: httpx.Response, total: int) -> None:
        etag = response.headers.get("etag", "")
        if not self._wanted.sha256 and not self._wanted.own:  # the Hub says it where it sends on to the file itself
            said = [one.headers.get("x-linked-etag", "") for one in (*response.history, response)]
            found = [match[1] for one in said if (match := CHECKSUM.fullmatch(one))]
            self._sha256 = found[0] if found else self._sha256
        strong = etag if etag.startswith('"') else ""
        record = _Record(self._mirror.url, strong, total, self._wanted.sha256)
        self._wanted.record.write_text(json.dumps(asdict(record)), encoding="utf-8")

    async def _write(self, response: httpx.Response, start: int, total: int) -> None:
        name, arrived = self._wanted.target.name, start
        shown = total or self._wanted.size
        most = total or self._wanted.size or self._wanted.largest
        with self._wanted.part.open("r+b" if start else "wb") as file:
            file.truncate(start)
            file.seek(start)
            async for data in response.aiter_raw():
                if arrived == 0 and len(data) > LENGTH:
                    check_start(name, data)
                arrived += len(data)
                if arrived > most:
                    raise _Spoiled(f"it sends more than {most} bytes")
                file.write(data)
                self._say(arrived, shown, "Downloading")
        if total and arrived < total:
            raise _TryAgain(f"the connection was cut after {arrived} of {total} bytes")

    async def _finish(self) -> None:
        """Check the whole file, and put it in its place."""
        wanted, arrived = self._wanted, self._arrived
        if wanted.size and arrived != wanted.size:
            raise _Spoiled(f"its file has {arrived} bytes where {wanted.size} are right")
        self._say(arrived, arrived, "Checking")
        await asyncio.to_thread(_check, wanted.part, wanted.target.name, self._sha256)
        try:
            publish(wanted.part, wanted.target)
        except FileExistsError:
            sentence = f"There is a {wanted.target.name} by now, which somebody has added; delete it first."
            raise ArtflowError("name_taken", sentence) from None
        wanted.record.unlink(missing_ok=True)


def _check(part: Path, name: str, sha256: str) -> None:
    try:
        check_lora(part)
    except ArtflowError as error:
        raise _Spoiled(error.message.replace(part.name, name).rstrip(".")) from None
    with part.open("rb+") as file:
        if sha256 and hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise _Spoiled("its file is damaged or another one (its SHA-256 is not the right one)")
        os.fsync(file.fileno())


def _retry_after(text: str) -> float | None:
    """Seconds, or a date (RFC 9110)."""
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError):
        return "it cannot be reached"
    return "the connection was cut"
