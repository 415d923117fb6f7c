from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError
from linkcodec.frame import Frame
from transport.linerate import Framing
from transport.slot import Header, SlotShape, protection, slot_shape

SHAPES = [
    slot_shape(1200, Framing.SYNC),
    slot_shape(1200, Framing.ASYNC_8N1),
    slot_shape(2400, Framing.ASYNC_8N1),
    slot_shape(9600, Framing.SYNC),
]


def test_shapes() -> None:
    sync, asynchronous, faster, fastest = SHAPES
    assert (sync.size, sync.side_bits, sync.payload_bits, sync.most_quantizers) == (12, 1, 89, 8)
    assert (asynchronous.size, asynchronous.payload_bits, asynchronous.most_quantizers) == (
        9,
        66,
        6,
    )
    assert (faster.size, faster.most_quantizers) == (19, 13)
    assert (fastest.size, fastest.most_quantizers) == (31, 16)
    assert sync.side_per_superframe == 12
    assert asynchronous.side_per_superframe == 4


def test_lines_without_slots() -> None:
    with pytest.raises(ConfigError, match="needs 900 bit/s or more with framing sync"):
        slot_shape(899, Framing.SYNC)
    with pytest.raises(ConfigError, match="needs 1125 bit/s or more with framing 8n1"):
        slot_shape(1124, Framing.ASYNC_8N1)
    with pytest.raises(ConfigError, match="does not go with framing udp"):
        slot_shape(64000, Framing.UDP)


@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_slot_there_and_back(shape: SlotShape, data: st.DataObject) -> None:
    fields = (
        data.draw(st.integers(0, 7)),
        data.draw(st.integers(0, 7)),
        data.draw(st.integers(0, (1 << shape.side_bits) - 1)),
        data.draw(st.integers(0, (1 << shape.payload_bits) - 1)),
    )
    packed = shape.pack(sync=fields[0], header=fields[1], side=fields[2], payload=fields[3])
    assert len(packed) == shape.size
    assert shape.split(int.from_bytes(packed, "big")) == fields


def test_header_there_and_back() -> None:
    for counter in range(16):
        header = Header(counter=counter, quantizers=16 - counter, side=counter ^ 5)
        assert Header.decode(header.encode()) == (header, 0)
        assert Header.decode(header.encode() ^ 0x800401) == (header, 3)
        assert Header.decode(header.encode() ^ 0x810401) is None


@pytest.mark.parametrize(
    ("quantizers", "covered", "errors", "check"),
    [(8, 0, 0, 1), (7, 4, 2, 0), (6, 6, 3, 2), (5, 5, 4, 6), (4, 4, 6, 3)],
)
def test_what_protects_speech_at_1200(
    quantizers: int, covered: int, errors: int, check: int
) -> None:
    shared = protection(89, quantizers)
    assert (shared.covered, shared.check_bits) == (covered, check)
    assert (shared.code.errors if shared.code else 0) == errors


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_there_and_back_with_as_many_errors_as_are_repaired(shape: SlotShape) -> None:
    rng = random.Random(1)
    for quantizers in range(1, shape.most_quantizers + 1):
        shared = protection(shape.payload_bits, quantizers)
        frame = Frame(tuple(rng.randrange(2048) for _ in range(quantizers)))
        payload = shared.pack(frame)
        assert payload < 1 << shape.payload_bits
        assert shared.unpack(payload) == (frame, 0)
        if shared.code is not None:
            for place in rng.sample(range(shared.code.size), shared.code.errors):
                payload ^= 1 << shape.payload_bits - 1 - place
            assert shared.unpack(payload) == (frame, shared.code.errors)


def test_damaged_coarse_books_are_a_loss_and_damaged_fine_ones_are_used() -> None:
    shared = protection(89, 8)
    frame = Frame(tuple(range(100, 108)))
    payload = shared.pack(frame)
    assert shared.unpack(payload ^ 1 << 88) is None
    damaged = shared.unpack(payload ^ 1)
    assert damaged is not None
    assert damaged[0].indices == (*range(100, 107), 106)


def test_a_long_check_saves_the_first_books_where_the_code_gives_up() -> None:
    shared = protection(89, 5)
    frame = Frame((1, 2, 3, 4, 5))
    payload = shared.pack(frame)
    for place in (40, 41, 42, 43, 44):  # behind the first two books
        payload ^= 1 << place
    assert shared.unpack(payload) == (Frame((1, 2)), 5)


def test_errors_of_the_caller() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        protection(89, 9)
    with pytest.raises(ValueError, match="do not fit"):
        protection(89, 0)
    with pytest.raises(ValueError, match="6 indices is wanted"):
        protection(89, 6).pack(Frame((1,)))
