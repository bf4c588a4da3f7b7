"""A network between two programs of this machine that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading


class Network:
    """Passes TCP connections on to a port; after a `cut` those that were open are silent: no data, no end, no reset."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._dead: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Pass on nothing more of what is open; later connections are passed on."""
        self._dead |= self._open

    def close(self) -> None:
        """End everything."""
        self._server.close()
        for line in [*self._open]:
            line.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open |= {near, far}
                for a, b in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(a, b), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and source not in self._dead:
                target.sendall(data)
            if source not in self._dead:
                target.shutdown(socket.SHUT_WR)
