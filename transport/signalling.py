"""How two ends of a data channel find each other: descriptions go over by HTTP, folder or paste.

A caller has an offer and wants an answer; the other end makes the answer. Both are texts (a
session description as JSON).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import secrets
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TextIO

from linkcodec.exceptions import LinkError

__all__ = [
    "Description",
    "FolderSignalling",
    "HttpSignalling",
    "PasteSignalling",
    "Signalling",
    "decode_line",
    "encode_line",
]

MOST_BYTES: Final = 65_536
_ANSWER_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.2
_PATH: Final = "/call"

Description = dict[str, str]
"""`type` ("offer" or "answer") and `sdp`."""

Answer = Callable[[Description], Awaitable[Description]]


def parse_description(data: bytes, kind: str) -> Description:
    """
    Raises:
        LinkError: `data` is no description of this kind.
    """
    try:
        value = json.loads(data) if len(data) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if (
        not isinstance(value, dict)
        or value.get("type") != kind
        or not isinstance(value.get("sdp"), str)
    ):
        raise LinkError(f"what came is no {kind}: copy it whole, from the other end's terminal")
    return {"type": kind, "sdp": value["sdp"]}


def encode_line(description: Description) -> str:
    """One line to copy and paste."""
    packed = zlib.compress(json.dumps(description).encode("utf-8"), 9)
    return base64.b64encode(packed).decode("ascii")


def decode_line(line: str, kind: str) -> Description:
    """
    Raises:
        LinkError: it is not a line of `encode_line`, or not of this kind.
    """
    try:
        packed = base64.b64decode(line.strip()[: 2 * MOST_BYTES], validate=True)
        data = zlib.decompressobj().decompress(packed, MOST_BYTES)
    except (binascii.Error, ValueError, zlib.error):
        data = b""
    return parse_description(data, kind)


class Signalling(ABC):
    """A way for descriptions to go over."""

    @abstractmethod
    async def call(self, offer: Description) -> Description:
        """The other end's answer.

        Raises:
            LinkError: nobody answered.
        """

    @abstractmethod
    async def serve(self, answer: Answer) -> None:
        """Answer calls until cancelled.

        Raises:
            LinkError: that is not possible here.
        """


class HttpSignalling(Signalling):
    """`POST /call` with the offer as JSON; the response is the answer."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def call(self, offer: Description) -> Description:
        body = json.dumps(offer).encode("utf-8")
        head = f"POST {_PATH} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                with contextlib.closing(writer):
                    writer.write(head.encode("ascii") + body)
                    await writer.drain()
                    response = await reader.read(MOST_BYTES)
                    while more := await reader.read(MOST_BYTES):
                        response = (response + more)[: 2 * MOST_BYTES]
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or "no answer"
            raise LinkError(f"cannot call {self._host}:{self._port}: {reason}") from None
        status, _, rest = response.partition(b"\r\n")
        if status.split(b" ")[1:2] != [b"200"]:
            raise LinkError(f"{self._host}:{self._port} does not take the call")
        return parse_description(rest.partition(b"\r\n\r\n")[2], "answer")

    async def serve(self, answer: Answer) -> None:
        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    status, body = await self._respond(reader, answer)
                    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n"
                    head += "Content-Type: application/json\r\nConnection: close\r\n\r\n"
                    writer.write(head.encode("ascii") + body)
                    await writer.drain()

        try:
            server = await asyncio.start_server(take, self._host, self._port, limit=MOST_BYTES)
        except OSError as error:
            raise LinkError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}"
            ) from None
        async with server:
            await server.serve_forever()

    @staticmethod
    async def _respond(reader: asyncio.StreamReader, answer: Answer) -> tuple[str, bytes]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *fields = head.decode("latin-1").split("\r\n")
            lengths = [
                field.partition(":")[2].strip()
                for field in fields
                if field.lower().startswith("content-length:")
            ]
            if not first.startswith(f"POST {_PATH} "):
                return "404 Not Found", b""
            length = int(lengths[0]) if lengths and lengths[0].isdecimal() else -1
            if not 0 < length <= MOST_BYTES:
                return "400 Bad Request", b""
            offer = parse_description(await reader.readexactly(length), "offer")
            return "200 OK", json.dumps(await answer(offer)).encode("utf-8")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, LinkError):
            return "400 Bad Request", b""


class FolderSignalling(Signalling):
    """A folder that both ends see, such as a synchronised or a shared one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def call(self, offer: Description) -> Description:
        number = secrets.token_hex(8)
        reply = self._folder / f"answer-{number}.json"
        question = self._folder / f"offer-{number}.json"
        self._put(question, offer)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while not reply.exists():
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            raise LinkError(f"nobody answers in {self._folder}") from None
        finally:
            question.unlink(missing_ok=True)
        answer = parse_description(reply.read_bytes(), "answer")
        reply.unlink(missing_ok=True)
        return answer

    async def serve(self, answer: Answer) -> None:
        while True:
            for question in sorted(self._folder.glob("offer-*.json")):
                with contextlib.suppress(LinkError, FileNotFoundError):
                    offer = parse_description(question.read_bytes(), "offer")
                    question.unlink(missing_ok=True)
                    number = question.stem.removeprefix("offer-")
                    self._put(self._folder / f"answer-{number}.json", await answer(offer))
            await asyncio.sleep(_LOOK_SECONDS)

    def _put(self, path: Path, description: Description) -> None:
        """Whole or not at all: the other end may look at any time."""
        part = path.with_suffix(".part")
        try:
            part.write_text(json.dumps(description), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            raise LinkError(f"cannot write {path}: {error.strerror}") from None


class PasteSignalling(Signalling):
    """A person copies one line each way, through any messenger."""

    def __init__(self, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        self._source = source or sys.stdin
        self._sink = sink or sys.stderr

    async def call(self, offer: Description) -> Description:
        self._show("Send this line to the other end:", offer)
        return await self._read("Paste the line that comes back, then Enter:", "answer")

    async def serve(self, answer: Answer) -> None:
        offer = await self._read("Paste the caller's line, then Enter:", "offer")
        self._show("Send this line back:", await answer(offer))
        await asyncio.Event().wait()

    def _show(self, request: str, description: Description) -> None:
        self._sink.write(f"{request}\n{encode_line(description)}\n")
        self._sink.flush()

    async def _read(self, request: str, kind: str) -> Description:
        self._sink.write(f"{request}\n")
        self._sink.flush()
        while True:
            line = await asyncio.to_thread(self._source.readline)
            if not line:
                raise LinkError("standard input ended before the other end's line was pasted")
            try:
                return decode_line(line, kind)
            except LinkError as error:
                self._sink.write(f"{error}\n")
                self._sink.flush()
