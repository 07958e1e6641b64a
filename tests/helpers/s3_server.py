"""A store that speaks all of S3 (moto's server), and a way to it on which answers go wrong."""

import http.client
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.helpers.mlflow_servers import free_port
from tests.helpers.requirements import imported

BUCKET = "bucket"
_WORDS = {
    503: ("SlowDown", "Please reduce your request rate."),
    500: ("InternalError", "We encountered an internal error. Please try again."),
    403: ("AccessDenied", "Access Denied"),
}


def query(port: int, host: str = "127.0.0.1") -> str:
    """What stands behind the question mark of this store's addresses."""
    return f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"


@contextmanager
def s3_server(host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> Iterator[int]:
    """Start a store that holds one empty bucket, :data:`BUCKET`, in memory, and give its port.

    Args:
        host: Address that it listens at.
        inside: Command that the server is started by, as one that enters a network namespace.
    """
    imported("moto", "s3")
    port = free_port()
    command = [*inside, sys.executable, "-m", "moto.server", "--host", host, "--port", str(port)]
    env = {**os.environ, "S3_IGNORE_SUBDOMAIN_BUCKETNAME": "true"}  # an address is no name of a bucket
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    make = [*inside, sys.executable, "-c", _MAKE, f"http://{host}:{port}/{BUCKET}"]
    try:
        give_up = time.monotonic() + 120
        while subprocess.run(make, check=False, capture_output=True).returncode:
            assert server.poll() is None, "the S3 server ended"
            assert time.monotonic() < give_up, "the S3 server does not answer"
            time.sleep(0.2)
        yield port
    finally:
        server.kill()
        server.wait()


_MAKE = "import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], method='PUT'), timeout=10)"


@dataclass
class Way:
    """Passes requests on to a store, but for those that go wrong."""

    port: int
    """That the store answers at."""
    fault: Callable[[str, str], int | str | None] = lambda method, path: None
    """Told a request's method and path with query, says what becomes of it: None, that the store answers it; a status,
    that this is the answer; ``reset``, that the connection breaks off before it gets there; ``lost``, that the answer
    does not get back; ``half``, that half of the answer's body does; ``silence``, that nothing ever comes."""
    seen: Counter[str] = field(default_factory=Counter)
    """How many requests of each method came; of those that went wrong, with what became of them."""

    def fails(self, times: float, what: int | str, matching: str = "") -> None:
        """Let the next so many requests whose ``METHOD path`` matches a pattern go wrong in one way."""
        left, lock = [times], threading.Lock()

        def fault(method: str, path: str) -> int | str | None:
            with lock:
                if left[0] <= 0 or not re.search(matching, f"{method} {path}"):
                    return None
                left[0] -= 1
            return what

        self.fault = fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    way: Way

    def _pass_on(self) -> None:
        body = self._body()
        what = self.way.fault(self.command, self.path)
        self.way.seen[self.command] += 1
        if what is not None:
            self.way.seen[f"{self.command} {what}"] += 1
        if isinstance(what, int):
            code, message = _WORDS[what]
            text = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0A1B</RequestId></Error>"
            self._answer(what, {"Content-Type": "application/xml"}, text.encode())
        elif what == "reset":
            self._break_off()
        elif what == "silence":
            with suppress(OSError):
                self.connection.settimeout(60)
                self.connection.recv(1)
            self.close_connection = True
        else:
            status, headers, answer = self._ask(body)
            if what == "lost":
                self._break_off()
            else:
                self._answer(status, headers, answer, half=what == "half")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - so they are looked for

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.way.port, timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("transfer-encoding", "expect", "connection")}
        try:
            connection.request(self.command, self.path, body, kept | {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, dict(answer.getheaders()), content

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, half: bool = False) -> None:
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        kept = {
            k: v for k, v in headers.items() if k.lower() not in ("content-length", "transfer-encoding", "connection")
        }
        self.send_response_only(status)
        for name, value in kept.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._break_off()

    def _break_off(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no end
        self.connection.close()
        self.close_connection = True

    def handle(self) -> None:
        with suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def way_to(port: int) -> Iterator[tuple[Way, str]]:
    """Open a way to the store at ``port``; give it, and what stands behind the question mark of addresses by it."""
    way = Way(port)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"way": way}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield way, query(server.server_port)
    finally:
        server.shutdown()
        server.server_close()


def unfinished_uploads(port: int) -> int:
    """How many uploads were begun and neither finished nor given up; the store keeps their bytes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{BUCKET}?uploads", timeout=10) as answer:
        return answer.read().count(b"<UploadId>")
