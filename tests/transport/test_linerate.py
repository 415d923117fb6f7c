from __future__ import annotations

import pytest

from transport.framing import encode_stream
from transport.linerate import Framing, capacity_bps, line_bits, wire_bits, wire_bytes


@pytest.mark.parametrize("length", [1, 4, 81, 254])
def test_byte_pipes_are_charged_what_they_carry(length: int) -> None:
    on_the_wire = len(encode_stream(bytes(length)))
    for framing in (Framing.SYNC, Framing.ASYNC_8N1):
        assert wire_bytes(length, framing) == on_the_wire
        assert wire_bits(length, framing) == 8 * on_the_wire
    assert line_bits(length, Framing.SYNC) == 8 * on_the_wire
    assert line_bits(length, Framing.ASYNC_8N1) == 10 * on_the_wire


@pytest.mark.parametrize(
    ("framing", "length", "wire"),
    [
        (Framing.UDP, 81, 109),
        (Framing.KISS, 42, 63),
        (Framing.KISS, 43, 65),
        (Framing.WEBRTC, 8, 101),
        (Framing.WEBRTC, 9, 105),
    ],
)
def test_datagrams_carry_their_headers(framing: Framing, length: int, wire: int) -> None:
    assert wire_bytes(length, framing) == wire
    assert line_bits(length, framing) == wire_bits(length, framing) == 8 * wire


def test_start_and_stop_bits_take_a_fifth() -> None:
    assert capacity_bps(1200, Framing.ASYNC_8N1) == 960
    assert capacity_bps(1200, Framing.SYNC) == 1200
    assert [framing.value for framing in Framing if framing.stream] == ["sync", "8n1"]
