"""LoRA files, and a local HTTP server that has them and behaves as badly as it is told.

with FileServer({"/a.safetensors": lora()}) as server:
    server.faults["/a.safetensors"] = ["cut", "403"]     # of its next answers, one each
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import numpy as np
from safetensors.numpy import save

WIDTHS = {"sd15": 768, "sd2": 1024, "sdxl": 2048}
FAULTS = (
    "cut", "cut", "stall", "reset", "too_short", "too_long", "ignores_range", "wrong_range", "changes", "403", "404",
    "429", "429_date", "429_long", "500", "page", "packed", "loop", "to_private", "no_etag", "unsized", "weights",
)  # fmt: skip


def lora(base: str = "sd15", *, seed: int = 0, rank: int = 4, metadata: dict[str, str] | None = None) -> bytes:
    """A LoRA of one layer as a safetensors file, some kilobytes long."""
    random = np.random.default_rng(seed)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {
        f"{name}.lora_down.weight": random.standard_normal((rank, WIDTHS[base])).astype(np.float32),
        f"{name}.lora_up.weight": random.standard_normal((320, rank)).astype(np.float32),
        f"{name}.alpha": np.array(rank, np.float32),
    }
    return save(tensors, metadata)


class FileServer:
    """Serves ``files`` (path to bytes) on a free loopback port while the ``with`` block lasts."""

    def __init__(self, files: dict[str, bytes], *, pace: float = 0.0) -> None:
        self.files = files
        self.pace = pace
        """Seconds before each 8 kB."""
        self.faults: dict[str, list[str]] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        """Every request: path, headers."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def ranges(self, path: str) -> list[str]:
        """The Range headers of the requests for a path, empty where there was none."""
        return [headers.get("range", "") for asked, headers in self.log if asked == path]

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.path = self.path.removesuffix("?cdn")
                server.log.append((self.path, headers))
                faults = server.faults.get(self.path)
                fault = faults.pop(0) if faults else ""
                if self.path.startswith("/api/models/"):
                    names = [path.rsplit("/", 1)[-1] for path in server.files]
                    self._plain(200, json.dumps({"id": "a/b", "siblings": [{"rfilename": n} for n in names]}).encode())
                elif self.path not in server.files:
                    self._plain(404)
                elif fault[:3].isdigit():
                    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
                    after = {"429": "0", "429_date": date, "429_long": "3600"}.get(fault)
                    self._plain(int(fault[:3]), b"no", {"Retry-After": after} if after else {})
                elif fault == "page":
                    self._plain(200, b"<html>Please sign in</html>", {"ETag": '"page"'})
                elif fault == "weights":
                    self._plain(200, save({"a.weight": np.zeros((2, 2), np.float32)}), {"ETag": '"weights"'})
                elif fault == "other_checksum":  # as the Hub sends on to its CDN
                    self._plain(302, b"", {"Location": self.path + "?cdn", "X-Linked-Etag": f'"{"0" * 64}"'})
                elif fault in ("loop", "to_private"):
                    self._plain(302, b"", {"Location": self.path if fault == "loop" else "http://10.0.0.1/x"})
                elif fault != "reset":
                    self._file(headers, fault)
                self.close_connection = True

            def _file(self, headers: dict[str, str], fault: str) -> None:
                if fault == "changes":
                    server.files[self.path] = changed(server.files[self.path])
                whole = server.files[self.path]
                etag, body, status = f'"{hashlib.sha1(whole).hexdigest()}"', whole, 200
                match = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
                sent: dict[str, str] = {} if fault == "no_etag" else {"ETag": etag}
                if match and fault != "ignores_range" and headers.get("if-range", etag) == etag:
                    start = int(match[1]) if fault != "wrong_range" else max(0, int(match[1]) - 100)
                    if start >= len(whole):
                        self._plain(416, b"")
                        return
                    body, status = whole[start:], 206
                    sent["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
                if fault == "packed":
                    sent["Content-Encoding"] = "gzip"
                length = {"too_short": len(body) * 2 // 3, "too_long": len(body) + 1000}.get(fault, len(body))
                if fault != "unsized":
                    sent["Content-Length"] = str(length)
                self._send(status, sent)
                try:
                    self._body(body[: len(body) // 2] if fault in ("cut", "stall") else body)
                except OSError:
                    return
                if fault == "stall":
                    server._over.wait(2)

            def _body(self, body: bytes) -> None:
                for at in range(0, len(body), 8192):
                    self.wfile.write(body[at : at + 8192])
                    self.wfile.flush()
                    time.sleep(server.pace)

            def _plain(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
                self._send(status, {"Content-Length": str(len(body))} | (headers or {}))
                self.wfile.write(body)

            def _send(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

        return Handler


def changed(file: bytes) -> bytes:
    """Another file of the same length: what a repository's next version may be."""
    return file[:-4000] + bytes(byte ^ 1 for byte in file[-4000:-3000]) + file[-3000:]
