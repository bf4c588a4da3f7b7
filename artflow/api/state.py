"""What the routes share: the pipeline, the open channels, and threads for JPEG work."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from artflow.api.channel import Channel
from artflow.api.pool import Pool
from artflow.errors import ArtflowError
from artflow.images import encode_jpeg
from artflow.modes.filters.live import filtered

if TYPE_CHECKING:
    from artflow.engine.stream_policy import Result
    from artflow.pipeline import Pipeline

METRICS_EVERY = 1.0  # seconds
USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Api:
    """What the routes share: the pipeline, the open channels, and threads for JPEG work."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._channels: dict[tuple[str, str], Channel] = {}
        self.pool = Pool()
        self.converting = asyncio.Semaphore(1)  # one file at a time: some take seconds and much memory
        self._metrics: dict[str, Any] = {}
        self._measured = float("-inf")  # monotonic seconds

    @property
    def metrics(self) -> dict[str, Any]:
        """`Pipeline.metrics`, measured once a second for all who watch: asking a GPU for its memory takes a while."""
        if (now := time.monotonic()) - self._measured >= METRICS_EVERY:
            self._metrics, self._measured = self.pipeline.metrics(), now
        return self._metrics

    def claim(self, mode: str, user_id: str, channel: Channel) -> None:
        """Register a channel under its user's id.

        Raises:
            ArtflowError: ``bad_user_id``, or ``user_id_taken`` where another socket has it.
        """
        if not USER_ID.fullmatch(user_id):
            raise ArtflowError("bad_user_id", "A user id has 1 to 64 letters, digits, - and _.")
        if (mode, user_id) in self._channels:
            raise ArtflowError("user_id_taken", f"Another socket uses the id {user_id!r}; choose another one.")
        self._channels[mode, user_id] = channel

    def release(self, mode: str, user_id: str) -> None:
        """Forget a channel."""
        del self._channels[mode, user_id]

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
        async with channel.encoding, self.pool.turn(out=True):
            return await self.pool.run(_as_jpeg, result, quality, self.pipeline.settings.server.max_size)

    def close(self) -> None:
        """End every channel and the threads."""
        for channel in self._channels.values():
            channel.close()
        self.pool.close()


def _as_jpeg(result: Result, quality: int, longest: int) -> bytes:
    return encode_jpeg(filtered(result.whole(), (result.recipe or {}).get("filters"), longest), quality)


def api_of(connection: HTTPConnection) -> Api:
    """The shared state, as the app's lifespan put it there."""
    return connection.app.state.artflow
