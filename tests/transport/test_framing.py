from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.framing import StreamDeframer, encode_stream
from transport.packet import MAX_PACKET

packets = st.binary(min_size=1, max_size=MAX_PACKET)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@settings(deadline=None)
@given(packets)
def test_stream_costs_exactly_two_bytes(packet: bytes) -> None:
    encoded = encode_stream(packet)
    assert len(encoded) == len(packet) + 2
    assert encoded.index(0) == len(encoded) - 1


@pytest.mark.parametrize("packet", [bytes(254), bytes([255]) * 254])
def test_longest_packets_cost_two_bytes(packet: bytes) -> None:
    assert len(encode_stream(packet)) == 256
    assert StreamDeframer().push(encode_stream(packet)) == [packet]


@pytest.mark.parametrize("length", [0, 255])
def test_impossible_lengths_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="1 to 254 bytes"):
        encode_stream(bytes(length))


@settings(deadline=None)
@given(st.lists(packets, max_size=8), st.lists(st.integers(0, 2100), max_size=20))
def test_packets_come_out_whatever_the_chunks(sent: list[bytes], cuts: list[int]) -> None:
    deframer = StreamDeframer()
    stream = b"".join(map(encode_stream, sent))
    received = [p for chunk in chunked(stream, cuts) for p in deframer.push(chunk)]
    assert received == sent
    assert deframer.damaged == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=600), max_size=10), packets)
def test_any_bytes_are_survived_and_the_next_packet_is_found(
    noise: list[bytes], packet: bytes
) -> None:
    deframer = StreamDeframer()
    for chunk in noise:
        for found in deframer.push(chunk):
            assert 1 <= len(found) <= MAX_PACKET
    deframer.push(b"\0")
    assert deframer.push(encode_stream(packet)) == [packet]


def test_damage_is_counted_once_per_stretch() -> None:
    deframer = StreamDeframer()
    assert deframer.push(b"\x05ab\0") == []  # COBS says four more bytes
    assert deframer.damaged == 1
    assert deframer.push(b"x" * 5000) == []
    assert deframer.push(b"x" * 5000 + b"\0") == []
    assert deframer.damaged == 2
    assert deframer.push(encode_stream(b"good")) == [b"good"]
    assert deframer.damaged == 2


def test_line_fill_is_no_damage() -> None:
    deframer = StreamDeframer()
    assert deframer.push(bytes(100) + encode_stream(b"one") + bytes(7)) == [b"one"]
    assert deframer.damaged == 0


def test_memory_is_bounded() -> None:
    deframer = StreamDeframer()
    for _ in range(100):
        deframer.push(b"x" * 10_000)
        assert len(deframer._partial) <= 255
