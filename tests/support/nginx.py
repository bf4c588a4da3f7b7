"""Debian's nginx between a browser and the app, with the configuration that a test gives it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"  # where Debian has it, which is in root's PATH alone
SOCKETS = """
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection "upgrade";
"""  # what nginx does not pass on by itself

CONFIGURATION = """
daemon off;
{user}
pid nginx.pid;
error_log error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen 127.0.0.1:{port} {tls};
    {certificate}
    {location}
  }}
}}
"""


@contextmanager
def nginx(location: str, *, tls: bool = False) -> Iterator[int]:
    """Run nginx with a server of these ``location`` blocks; yields its port on 127.0.0.1.

    With ``tls`` it has a certificate that browsers do not trust.
    """
    with tempfile.TemporaryDirectory(prefix="artflow-nginx-") as name:
        folder, port = Path(name), _free_port()
        if tls:
            issued = trustme.CA().issue_cert("127.0.0.1")
            issued.private_key_and_cert_chain_pem.write_to_path(folder / "certificate.pem")
        text = CONFIGURATION.format(
            user="user root;" if os.geteuid() == 0 else "",
            port=port,
            tls="ssl" if tls else "",
            certificate="ssl_certificate certificate.pem; ssl_certificate_key certificate.pem;" if tls else "",
            location=location,
        )
        (folder / "nginx.conf").write_text(text)
        process = subprocess.Popen([NGINX, "-p", name, "-c", "nginx.conf", "-e", "error.log"])
        try:
            _wait_for(port, process, folder / "error.log")
            yield port
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx does not start: {log.read_text() if log.exists() else ''}")
