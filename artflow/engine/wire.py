"""Messages between two processes: calls by name, pickled, whose arrays go through shared memory."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import pickle
import socket
import tempfile
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

log = logging.getLogger(__name__)

RING_BYTES = 1 << 24  # of each direction: twenty pictures of 512 x 512
HEADER = 64  # bytes before the ring: how much of it has been read


class Ring:
    """Bytes in a file that two processes have in their memory: one writes, the other reads, in the same order."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, HEADER + RING_BYTES)
        self._bytes = memoryview(self._memory)[HEADER:]
        self._read = np.frombuffer(self._memory, np.int64, 1)  # bytes ever read; written by the reader alone
        self._written = 0  # bytes ever written

    def write(self, data: memoryview) -> int | None:
        """Put bytes in, in one piece; returns where they begin, None while there is no room for them."""
        begin = self._written
        if begin % RING_BYTES + len(data) > RING_BYTES:
            begin += RING_BYTES - begin % RING_BYTES
        if begin + len(data) - int(self._read[0]) > RING_BYTES:
            return None
        self._bytes[begin % RING_BYTES : begin % RING_BYTES + len(data)] = data
        self._written = begin + len(data)
        return begin

    def read(self, begin: int, size: int) -> bytearray:
        """Take bytes out; what was written before them is over."""
        data = bytearray(self._bytes[begin % RING_BYTES : begin % RING_BYTES + size])
        self._read[0] = begin + size
        return data


def shared_file() -> BinaryIO:
    """A new file for a `Ring`, without a name, in memory where there is room.

    Raises:
        OSError: there is room nowhere.
    """
    for folder in (Path("/dev/shm"), None):
        try:
            file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - whoever asks for it closes it
            if hasattr(os, "posix_fallocate"):  # else a full disk would end whoever writes
                os.posix_fallocate(file.fileno(), 0, HEADER + RING_BYTES)
            file.truncate(HEADER + RING_BYTES)
        except OSError:
            if folder is None:
                raise
        else:
            return file
    raise AssertionError


def check_portable(value: Any) -> None:
    """Raise what pickling a value raises; its arrays are not copied."""
    pickle.dumps(value, protocol=5, buffer_callback=lambda _: None)


class Wire:
    """One end of the connection. `send` never waits: a thread of its own does; `serve` reads until the end."""

    def __init__(self, end: socket.socket, outgoing: Ring, incoming: Ring) -> None:
        self._socket, self._outgoing, self._incoming = end, outgoing, incoming
        self._connection = Connection(os.dup(end.fileno()))
        self._queue: SimpleQueue[tuple[str, tuple[Any, ...]] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="wire", daemon=True)
        self._writer.start()

    def send(self, name: str, *values: Any) -> None:
        """Call a method of the other end's target. All calls arrive in order, or none after the connection's end."""
        self._queue.put((name, values))

    def serve(self, target: Any) -> None:
        """Call the target's methods as the other end says, until that has gone; then nothing can be sent any more."""
        self._hear(target)
        self.close()
        self._writer.join()
        self._connection.close()
        self._socket.close()

    def _hear(self, target: Any) -> None:
        while True:
            try:
                places, pickled = pickle.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                return
            buffers = [self._incoming.read(*place) if isinstance(place, tuple) else place for place in places]
            self._call(target, pickled, buffers)
            del buffers  # pictures: nothing here keeps them until the next message

    @staticmethod
    def _call(target: Any, pickled: bytes, buffers: list[bytearray]) -> None:
        name = "it cannot be read"
        try:
            name, values = pickle.loads(pickled, buffers=buffers)
            getattr(target, name)(*values)
        except Exception:
            log.exception("a message of another process failed: %s", name)

    def close(self) -> None:
        """End the connection when what was sent has gone out; `serve` returns when the other end has done the same."""
        self._queue.put(None)

    def _write(self) -> None:
        while (message := self._queue.get()) is not None:
            buffers: list[pickle.PickleBuffer] = []
            try:
                pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
            except Exception:
                log.exception("a message to another process cannot be sent: %s", message[0])
                continue
            places = [self._place(buffer.raw()) for buffer in buffers]
            del message, buffers
            try:
                self._connection.send_bytes(pickle.dumps((places, pickled), protocol=5))
            except OSError:  # the other end has gone, which its reader tells
                return
        with contextlib.suppress(OSError):  # the other end was first
            self._socket.shutdown(socket.SHUT_WR)

    def _place(self, data: memoryview) -> tuple[int, int] | bytearray:
        begin = self._outgoing.write(data)
        return bytearray(data) if begin is None else (begin, len(data))
