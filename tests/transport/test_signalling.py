from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
import socket
from pathlib import Path

import pytest
from conftest import free_port, listening
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import LinkError
from transport.http import post
from transport.signalling import (
    Description,
    FolderSignalling,
    HttpSignalling,
    PasteSignalling,
    Signalling,
    decode_line,
    encode_line,
)

OFFER = {"type": "offer", "sdp": "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n" * 30}
TOKEN = "-".join(["correct", "horse", "battery"])
ANSWER = {"type": "answer", "sdp": "v=0\r\n"}


async def exchange(caller: Signalling, server: Signalling, *, port: int = 0) -> Description:
    """A call; the server, which listens at `port` if it does, checks the offer."""

    async def answer(offer: Description) -> Description:
        assert offer == OFFER
        return ANSWER

    serving = asyncio.create_task(server.serve(answer))
    if port:
        await listening(port)
    try:
        return await caller.call(OFFER)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def test_http() -> None:
    signalling = HttpSignalling("127.0.0.1", port := free_port())
    assert asyncio.run(exchange(signalling, signalling, port=port)) == ANSWER


def test_http_with_a_token() -> None:
    port = free_port()
    ends = [HttpSignalling("127.0.0.1", port, token=TOKEN) for _ in range(2)]
    assert asyncio.run(exchange(*ends, port=port)) == ANSWER


@pytest.mark.parametrize("token", ["", "another long secret"])
def test_http_with_another_token_is_refused(token: str) -> None:
    port = free_port()
    server = HttpSignalling("127.0.0.1", port, token=TOKEN)
    caller = HttpSignalling("127.0.0.1", port, token=token)
    with pytest.raises(LinkError, match=r"another webrtc\.token: set the same"):
        asyncio.run(exchange(caller, server, port=port))


def test_http_without_proof_of_the_other_end() -> None:
    port = free_port()
    server = HttpSignalling("127.0.0.1", port)
    caller = HttpSignalling("127.0.0.1", port, token=TOKEN)
    with pytest.raises(LinkError, match=r"does not know webrtc\.token"):
        asyncio.run(exchange(caller, server, port=port))


def test_an_offer_counts_once() -> None:
    async def run() -> list[int]:
        token = TOKEN
        server = HttpSignalling("127.0.0.1", port := free_port(), token=token)
        body = json.dumps(OFFER).encode()
        proof = hmac.new(token.encode(), b"offer " + body, hashlib.sha256).hexdigest()

        async def answer(offer: Description) -> Description:
            return ANSWER

        serving = asyncio.create_task(server.serve(answer))
        await listening(port)
        overheard = {"linkcodec-proof": proof}
        responses = [await post("127.0.0.1", port, "/call", body, **overheard) for _ in range(2)]
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return [response.status for response in responses]

    assert asyncio.run(run()) == [200, 401]


def test_folder(tmp_path: Path) -> None:
    signalling = FolderSignalling(tmp_path)
    assert asyncio.run(exchange(signalling, signalling)) == ANSWER
    assert list(tmp_path.iterdir()) == []


def test_folder_with_rubbish(tmp_path: Path) -> None:
    (tmp_path / "offer-0.json").write_text("rubbish")
    signalling = FolderSignalling(tmp_path)
    assert asyncio.run(exchange(signalling, signalling)) == ANSWER


def test_paste() -> None:
    line = encode_line(ANSWER)
    sink = io.StringIO()
    source = io.StringIO(f"mistake\n{encode_line(OFFER)}\n  {line}  \n")
    assert asyncio.run(PasteSignalling(source, sink).call(OFFER)) == ANSWER
    shown = sink.getvalue().splitlines()
    assert decode_line(shown[1], "offer") == OFFER
    assert sink.getvalue().count("what came is no answer") == 2
    with pytest.raises(LinkError, match="standard input ended"):
        asyncio.run(PasteSignalling(io.StringIO(), sink).call(OFFER))


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /call HTTP/1.1\r\n\r\n",
        b"POST /call HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /call HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /call HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        b"\r\n\r\n",
        bytes(100_000),
    ],
)
def test_strange_requests(request_bytes: bytes) -> None:
    async def run() -> bytes:
        signalling = HttpSignalling("127.0.0.1", port := free_port())

        async def answer(offer: Description) -> Description:
            raise AssertionError("no call")

        serving = asyncio.create_task(signalling.serve(answer))
        await listening(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        writer.write_eof()
        response = await reader.read(1000)
        writer.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return response

    assert asyncio.run(run())[9:12] in (b"400", b"404")


def test_nobody_there() -> None:
    with pytest.raises(LinkError, match=r"cannot call 127.0.0.1:\d+: "):
        asyncio.run(HttpSignalling("127.0.0.1", free_port()).call(OFFER))


def test_port_in_use() -> None:
    async def answer(offer: Description) -> Description:
        return ANSWER

    with socket.create_server(("127.0.0.1", 0)) as taken:
        signalling = HttpSignalling("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(LinkError, match=r"cannot listen on 127\.0\.0\.1"):
            asyncio.run(signalling.serve(answer))


@settings(deadline=None)
@given(st.text())
def test_any_line_is_a_description_or_an_error(line: str) -> None:
    with pytest.raises(LinkError):
        decode_line(line, "offer")


@settings(deadline=None)
@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5))
def test_any_json_is_a_description_or_an_error(value: object) -> None:
    line = encode_line(value)  # type: ignore[arg-type]
    with pytest.raises(LinkError):
        decode_line(line, "offer")


def test_lines_are_bounded() -> None:
    huge = encode_line({"type": "offer", "sdp": "x" * 10_000_000})
    with pytest.raises(LinkError, match="what came is no offer"):
        decode_line(huge, "offer")
