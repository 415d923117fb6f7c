"""A small HTTP/1.1 server and client: one bounded request per connection (RFC 9112).

What signalling and the gateway need, and no more: no chunks, no pipelining, no files. aiortc
brings no server along, and a framework would be a dozen packages for two kinds of request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from linkcodec.exceptions import LinkError, PacketError

__all__ = ["MOST_BYTES", "Handler", "Request", "Response", "post", "serve"]

MOST_BYTES: Final = 65_536
"""Most bytes of a request's head, and of its body."""

_SECONDS: Final = 20.0
_MOST_CONNECTIONS: Final = 32
_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; the names in `fields` are in small letters."""

    method: str
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def length(self) -> int:
        """Bytes of the body, as the head says.

        Raises:
            PacketError: it says nothing useful.
        """
        text = self.fields.get("content-length", "0")
        if not (text.isascii() and text.isdecimal()) or int(text[:9]) > MOST_BYTES:
            raise PacketError("a request whose length is missing or too much")
        return int(text)

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """The request that a head, its empty line included, describes; without its body.

        Raises:
            PacketError: it is no head of HTTP/1.x.
        """
        first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise PacketError("not a request of HTTP/1")
        pairs = (line.partition(":") for line in rest)
        fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(method=words[0], path=words[1], fields=fields)


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response; `kind` is the media type of its body."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    fields: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The bytes of it."""
        fields = {
            "Content-Type": self.kind,
            "Content-Length": str(len(self.body)),
            "Connection": "close",
            **self.fields,
        }
        head = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return head.encode("latin-1") + b"\r\n" + self.body


Handler = Callable[[Request], Awaitable[Response]]
"""Gives the response to a request; a `LinkError` or `PacketError` stands for 400."""


async def serve(
    handle: Handler,
    *,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until cancelled; `listening` is called once that can begin.

    Raises:
        LinkError: nobody can listen there.
    """
    open_now = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError):
            if open_now <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_SECONDS):
                    writer.write((await _respond(reader, handle)).encode())
                    await writer.drain()
        open_now -= 1

    try:
        server = await asyncio.start_server(take, host, port, limit=MOST_BYTES, ssl=tls)
    except OSError as error:
        raise LinkError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    async with server:
        listening()
        await server.serve_forever()


async def _respond(reader: asyncio.StreamReader, handle: Handler) -> Response:
    try:
        request = Request.parse(await reader.readuntil(_END))
        body = await reader.readexactly(request.length)
        whole = Request(method=request.method, path=request.path, fields=request.fields, body=body)
        return await handle(whole)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, LinkError, PacketError):
        return Response(status=400)


async def post(host: str, port: int, path: str, body: bytes, **fields: str) -> Response:
    """Send a request and give what comes back; `fields` are further lines of its head.

    Raises:
        LinkError: nobody answered, or not in HTTP.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\n"
    head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            with contextlib.closing(writer):
                writer.write(head.encode("latin-1") + b"\r\n" + body)
                await writer.drain()
                response = b""
                while more := await reader.read(MOST_BYTES):
                    response = (response + more)[: 2 * MOST_BYTES]
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise LinkError(f"cannot call {host}:{port}: {reason}") from None
    head_bytes, _, content = response.partition(_END)
    status, *lines = head_bytes.decode("latin-1").split("\r\n")
    words = status.split(" ")
    if len(words) < 2 or words[1] not in {str(int(known)) for known in HTTPStatus}:
        raise LinkError(f"{host}:{port} does not answer in HTTP: is it the right port?")
    pairs = (line.partition(":") for line in lines)
    return Response(
        status=int(words[1]),
        body=content,
        fields={name.strip().lower(): value.strip() for name, _, value in pairs},
    )
