"""How two ends of a data channel find each other: descriptions go over by HTTP, folder or paste.

A caller has an offer and wants an answer; the other end makes the answer. Both are texts (a
session description as JSON).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import sys
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, TextIO

from linkcodec.exceptions import LinkError
from transport import http
from transport.http import MOST_BYTES, Request, Response

__all__ = [
    "Description",
    "FolderSignalling",
    "HttpSignalling",
    "PasteSignalling",
    "Signalling",
    "decode_line",
    "encode_line",
]

_ANSWER_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.2
_PATH: Final = "/call"
_PROOF: Final = "linkcodec-proof"
_REMEMBERED: Final = 1000

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
    """`POST /call` with the offer as JSON; the response is the answer.

    token: what both ends know; "" only where nobody else reaches the address. It never
    travels: each side adds HMAC-SHA256 (RFC 2104) of what it says, and an offer counts once,
    so whoever listens can neither call nor take a place between the two.
    """

    def __init__(self, host: str, port: int, *, token: str = "") -> None:
        self._host = host
        self._port = port
        self._token = token.encode()
        self._seen: deque[bytes] = deque(maxlen=_REMEMBERED)

    def _proof(self, *parts: bytes) -> bytes:
        digest = hmac.new(self._token, b"".join(parts), hashlib.sha256)
        return digest.hexdigest().encode() if self._token else b""

    async def call(self, offer: Description) -> Description:
        body = json.dumps(offer).encode("utf-8")
        proof = self._proof(b"offer ", body)
        response = await http.post(self._host, self._port, _PATH, body, **{_PROOF: proof.decode()})
        there = f"{self._host}:{self._port}"
        if response.status == HTTPStatus.UNAUTHORIZED:
            raise LinkError(f"{there} has another webrtc.token: set the same at both ends")
        if response.status != HTTPStatus.OK:
            raise LinkError(f"{there} does not take the call")
        expected = self._proof(b"answer ", proof, response.body)
        if not hmac.compare_digest(_bytes(response.fields), expected):
            raise LinkError(f"{there} does not know webrtc.token: set the same at both ends")
        return parse_description(response.body, "answer")

    async def serve(self, answer: Answer) -> None:
        async def take(request: Request) -> Response:
            if (request.method, request.path) != ("POST", _PATH):
                return Response(status=404)
            proof = _bytes(request.fields)
            good = hmac.compare_digest(proof, self._proof(b"offer ", request.body))
            if self._token and (not good or proof in self._seen):
                return Response(status=401)
            self._seen.append(proof)
            offer = parse_description(request.body, "offer")
            body = json.dumps(await answer(offer)).encode("utf-8")
            answered = self._proof(b"answer ", proof, body).decode()
            return Response(status=200, body=body, fields={_PROOF: answered})

        await http.serve(take, host=self._host, port=self._port)


def _bytes(fields: Mapping[str, str]) -> bytes:
    """The proof that came, whatever it is."""
    return fields.get(_PROOF, "").encode("latin-1")


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
