from __future__ import annotations

import asyncio
import contextlib

import pytest
from conftest import free_port, listening
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import LinkError, PacketError
from transport.http import MOST_BYTES, Request, Response, post, serve


def test_request_and_response() -> None:
    async def run() -> Response:
        async def handle(request: Request) -> Response:
            assert request.method == "POST"
            assert request.fields["x-thing"] == "value"
            return Response(status=200, body=request.path.encode() + request.body)

        port = free_port()
        serving = asyncio.create_task(serve(handle, host="127.0.0.1", port=port))
        await listening(port)
        response = await post("127.0.0.1", port, "/there", b" and back", x_thing="value")
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        return response

    response = asyncio.run(run())
    assert (response.status, response.body) == (200, b"/there and back")
    assert response.fields["connection"] == "close"


def test_a_server_that_speaks_something_else() -> None:
    async def run() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example.org\r\n")
            writer.close()

        port = free_port()
        async with await asyncio.start_server(greet, "127.0.0.1", port):
            await post("127.0.0.1", port, "/", b"")

    with pytest.raises(LinkError, match="does not answer in HTTP"):
        asyncio.run(run())


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_head_is_a_request_or_an_error(data: bytes) -> None:
    try:
        request = Request.parse(data + b"\r\n\r\n")
        assert 0 <= request.length <= MOST_BYTES
    except PacketError:
        pass


@pytest.mark.parametrize("length", ["-1", "65537", "1" * 5000, "\u00b2", "one"])
def test_impossible_lengths(length: str) -> None:
    request = Request(method="POST", path="/", fields={"content-length": length})
    with pytest.raises(PacketError, match="length"):
        _ = request.length
