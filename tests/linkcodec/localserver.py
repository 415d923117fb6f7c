"""A small HTTP server for tests: files, ranges of them, and connections that break."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def etag(content: bytes) -> str:
    """Names a content: its SHA-256."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class LocalServer:
    """What is served, and what was asked for.

    The next answers with a body break after as many bytes as `breaks` says, one entry each.
    `asked` lists (path, first byte) of each request for a body, `sent` the bytes of its answer.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    with_length: bool = True
    asked: list[tuple[str, int]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def local_server(files: dict[str, bytes]) -> Iterator[LocalServer]:
    """Serve files by their paths on 127.0.0.1 until the block ends."""
    owner = LocalServer(files=dict(files))
    with _Server(owner) as server:
        owner.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield owner
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, owner: LocalServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        owner = self.server.owner
        content = owner.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        first = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        rest = content[first:]
        self.send_response(206 if first else 200)
        # As the model hub: the revision, and the content's SHA-256.
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{etag(content)}"')
        if first:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        if owner.with_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if body:
            owner.asked.append((self.path, first))
            part = rest[: owner.breaks.pop(0)] if owner.breaks else rest
            owner.sent.append(len(part))
            # The client may have seen enough.
            with contextlib.suppress(OSError):
                self.wfile.write(part)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
