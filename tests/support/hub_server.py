"""A local HTTP server that speaks the file routes of the Hugging Face Hub, and can cut connections.

    with HubServer({"owner/name": folder}) as hub:
        download("owner/name", endpoint=hub.url)

Folders are served as repositories with one commit on ``main``. As on the Hub, weights are redirected to a second
route (there a CDN) that knows ``Range``; everything else comes at once.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves ``repos`` (id to folder) on a free loopback port while the ``with`` block lasts."""

    def __init__(self, repos: dict[str, Path]) -> None:
        self.repos = {name: Path(folder) for name, folder in repos.items()}
        self.log: list[tuple[str, str, str | None]] = []
        """Every request: method, path, Range header."""
        self.cuts: dict[str, list[int]] = {}
        """File name (last part) to how many bytes its next answers send before the connection drops, one each."""
        self.gated: set[str] = set()
        self.tokens: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fetched(self, suffix: str) -> list[str]:
        """Paths that were asked for with GET and end with ``suffix``."""
        return [path for method, path, _ in self.log if method == "GET" and path.endswith(suffix)]

    @staticmethod
    def commit(repo: str) -> str:
        return hashlib.sha1(repo.encode()).hexdigest()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.log.append((self.command, path, self.headers.get("Range")))
                hub.tokens.add(self.headers.get("Authorization"))
                if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
                    self._api(*match.groups())
                elif match := re.fullmatch(r"/(cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                    self._file(*match.groups())
                else:
                    self._fail(404, "EntryNotFound", "no such route")

            def _api(self, repo: str, kind: str | None, revision: str | None) -> None:
                if not self._known(repo, revision):
                    return
                files = [p for p in sorted(hub.repos[repo].rglob("*")) if p.is_file()]
                names = [p.relative_to(hub.repos[repo]).as_posix() for p in files]
                if kind == "tree":
                    self._json(
                        [
                            {"type": "file", "path": n, "size": p.stat().st_size, "oid": _digest(p, "sha1")} | _lfs(p)
                            for n, p in zip(names, files, strict=True)
                        ]
                    )
                else:
                    siblings = [{"rfilename": n} for n in names]
                    self._json(
                        {
                            "id": repo,
                            "modelId": repo,
                            "sha": hub.commit(repo),
                            "siblings": siblings,
                            "tags": [],
                        }
                    )

            def _file(self, cdn: str | None, repo: str, revision: str, name: str) -> None:
                if not self._known(repo, revision):
                    return
                path = hub.repos[repo] / name
                if not path.is_file():
                    self._fail(404, "EntryNotFound", f"{name} is not in {repo}")
                    return
                headers = {"X-Repo-Commit": hub.commit(repo), "Accept-Ranges": "bytes"}
                if lfs := _lfs(path):
                    headers["ETag"] = headers["X-Linked-Etag"] = f'"{lfs["lfs"]["oid"]}"'
                    headers["X-Linked-Size"] = str(path.stat().st_size)
                    if not cdn:
                        headers["Location"] = f"{hub.url}/cdn/{repo}/resolve/{revision}/{name}"
                        self._send(302, b"", headers)
                        return
                else:
                    headers["ETag"] = f'"{_digest(path, "sha1")}"'
                self._content(path, headers)

            def _content(self, path: Path, headers: dict[str, str]) -> None:
                body, status = path.read_bytes(), 200
                if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                    start = int(match[1])
                    headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                    body, status = body[start:], 206
                cuts = hub.cuts.get(path.name)
                if self.command == "GET" and cuts:
                    self._send(status, body, headers, only=cuts.pop(0))
                    self.close_connection = True
                else:
                    self._send(status, body, headers)

            def _known(self, repo: str, revision: str | None) -> bool:
                if repo not in hub.repos:
                    self._fail(404, "RepoNotFound", "Repository not found")
                elif repo in hub.gated:
                    self._fail(403, "GatedRepo", f"Access to model {repo} is restricted")
                elif revision not in (None, "main", hub.commit(repo)):
                    self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                else:
                    return True
                return False

            def _fail(self, status: int, code: str, message: str) -> None:
                self._json({"error": message}, status, {"X-Error-Code": code, "X-Error-Message": message})

            def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
                self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | (headers or {}))

            def _send(self, status: int, body: bytes, headers: dict[str, str], only: int | None = None) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[:only])

        return Handler


def _digest(path: Path, kind: str) -> str:
    return hashlib.new(kind, path.read_bytes()).hexdigest()


def _lfs(path: Path) -> dict[str, dict]:
    if path.suffix != ".safetensors":
        return {}
    return {"lfs": {"oid": _digest(path, "sha256"), "size": path.stat().st_size, "pointerSize": 134}}
