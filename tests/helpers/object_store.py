"""An object store of this machine that takes its time: as much of S3 as a reader of sets needs, over a folder."""

import multiprocessing
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
"""What clients want to find in their environment."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    delay_s: float
    requests: "Synchronized[int]"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        with self.requests.get_lock():
            self.requests.value += 1
        time.sleep(self.delay_s)
        path = self.folder / self.path.partition("?")[0].lstrip("/").partition("/")[2]  # without the bucket
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            with path.open("rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(folder: Path, delay_s: float, requests: "Synchronized[int]", port: "Synchronized[int]", up: Event) -> None:
    handler = type("Handler", (_Handler,), {"folder": folder, "delay_s": delay_s, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    port.value = server.server_port
    up.set()
    server.serve_forever()


@contextmanager
def object_store(folder: Path, delay_s: float) -> Iterator[tuple[str, "Synchronized[int]"]]:
    """Serve a folder as a bucket, every request after ``delay_s``; give its URI's query, and the number of requests."""
    context = multiprocessing.get_context("spawn")
    requests, port, up = context.Value("i", 0), context.Value("i", 0), context.Event()
    server = context.Process(target=_serve, args=(folder, delay_s, requests, port, up), daemon=True)
    server.start()
    try:
        assert up.wait(120), "the store did not start"
        yield f"endpoint_override=127.0.0.1:{port.value}&scheme=http&region=us-east-1", requests
    finally:
        server.kill()
        server.join()
