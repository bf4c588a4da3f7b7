"""What the routes share: the pipeline, the open channels, and threads for JPEG work."""

from __future__ import annotations

import asyncio
import os
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from artflow.admission import Places
from artflow.api.channel import Channel
from artflow.api.pool import Pool
from artflow.errors import ArtflowError
from artflow.images import encode_jpeg
from artflow.modes.filters.live import Layers, filtered

if TYPE_CHECKING:
    from artflow.engine.stream_policy import Result
    from artflow.pipeline import Pipeline

METRICS_EVERY = 1.0  # seconds
SMALL = 1920 * 1080  # pixels of pictures that all have the same threads for
QUICK = 0.05  # seconds that filters may take in those
MOST_LARGE = 8  # people at once whose live pictures are larger: each holds some 150 MB
WAITING_STRIPS, STRIPS_PER_ADDRESS = 7, 2  # sheets of thumbnails that are asked for at once; pages ask again
CORES = os.cpu_count() or 1
USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Api:
    """What the routes share: the pipeline, the open channels, and threads for picture work."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._channels: dict[tuple[str, str], Channel] = {}
        self.pool = Pool(max(2, min(8, CORES)))
        self.large = Pool(max(1, CORES // 4))
        """For large pictures and slow filters, which would keep all the others waiting."""
        self.converting = asyncio.Semaphore(1)  # one file at a time: some take seconds and much memory
        self.lora_watchers = 0
        """Sockets that are told of downloads."""
        self.strips = Places(1, WAITING_STRIPS, per_address=STRIPS_PER_ADDRESS)
        self._metrics: dict[str, Any] = {}
        self._measured = float("-inf")  # monotonic seconds

    @property
    def metrics(self) -> dict[str, Any]:
        """`Pipeline.metrics`, measured once a second for all who watch: asking a GPU for its memory takes a while."""
        if (now := time.monotonic()) - self._measured >= METRICS_EVERY:
            self._metrics, self._measured = self.pipeline.metrics(), now
        return self._metrics

    async def claim(self, mode: str, user_id: str, channel: Channel) -> None:
        """Register a channel under its user's id, once an earlier one of the same owner has gone.

        Whoever comes back with their id after their network was cut has a socket here of which nobody knows that.

        Raises:
            ArtflowError: ``bad_user_id``, ``user_id_taken`` where somebody else has it, or ``too_many_sessions`` from
                the address of this one.
        """
        if not USER_ID.fullmatch(user_id):
            raise ArtflowError("bad_user_id", "A user id has 1 to 64 letters, digits, - and _.")
        while (earlier := self._channels.get((mode, user_id))) is not None:
            if earlier.owner != channel.owner:
                raise ArtflowError("user_id_taken", f"Somebody else uses the id {user_id!r}; choose another one.")
            earlier.taken_over.set()
            await earlier.released.wait()
        share = self.pipeline.settings.server.sessions_per_address
        near = sum(other.address == channel.address for other in self._channels.values())
        if channel.address and 0 < share <= near:
            sentence = f"{share} live sessions from your address are open already; close one of them first."
            raise ArtflowError("too_many_sessions", sentence)
        self._channels[mode, user_id] = channel

    def release(self, mode: str, user_id: str) -> None:
        """Forget a channel."""
        self._channels.pop((mode, user_id)).released.set()

    def find(self, mode: str, user_id: str, owner: str | None) -> Channel:
        """The open channel of an id, for its owner alone.

        Raises:
            ArtflowError: ``no_session``, the same for what does not exist and for what is somebody else's.
        """
        channel = self._channels.get((mode, user_id))
        if channel is None or channel.owner != owner:
            raise ArtflowError("no_session", f"There is no {mode} session {user_id!r}; open its socket first.")
        return channel

    def is_open(self, mode: str, user_id: str) -> bool:
        """Whether an id has a channel; says nothing about whose it is."""
        return (mode, user_id) in self._channels

    def count(self, mode: str | None = None) -> int:
        """Open channels of a mode, or of all."""
        return sum(mode in (None, key[0]) for key in self._channels)

    async def jpeg(self, channel: Channel, result: Result, quality: int) -> bytes:
        """The whole picture of a channel's result as JPEG, seen through the filters of its recipe.

        Raises:
            ArtflowError: where the filters cannot be applied to it.
        """
        filters = (result.recipe or {}).get("filters")
        pool = self.large if channel.large or (filters and filters != channel.quick_filters) else self.pool
        async with channel.encoding, pool.turn(out=True):
            longest = self.pipeline.settings.server.max_size
            picture, seconds = await pool.run(_encoded, result, filters, quality, longest)
        channel.quick_filters = filters if seconds < QUICK else None
        return picture

    def check_large(self, channel: Channel) -> None:
        """Refuse a picture over `SMALL` pixels where enough people work with such ones.

        Raises:
            ArtflowError: ``busy``.
        """
        if not channel.large and sum(other.large for other in self._channels.values()) >= MOST_LARGE:
            sentence = f"{MOST_LARGE} people work with large live pictures already; one of {SMALL} pixels can be used."
            raise ArtflowError("busy", sentence)
        channel.large = True

    def close(self) -> None:
        """End every channel and the threads."""
        for channel in self._channels.values():
            channel.close()
        self.pool.close()
        self.large.close()


def _encoded(result: Result, filters: Layers | None, quality: int, longest: int) -> tuple[bytes, float]:
    """The JPEG, and the seconds that the filters took."""
    whole, begun = result.whole(), time.monotonic()
    seen = filtered(whole, filters, longest)
    taken = time.monotonic() - begun
    return encode_jpeg(seen, quality), taken


def api_of(connection: HTTPConnection) -> Api:
    """The shared state, as the app's lifespan put it there."""
    return connection.app.state.artflow
