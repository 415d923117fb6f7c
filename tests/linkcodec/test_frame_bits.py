"""Bit packing: fixed vectors, round trips, and refusal of everything else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.frame import Frame
from linkcodec.frame_bits import frame_bits, pack_frames, packed_size, unpack_frames


@st.composite
def frame_lists(draw: st.DrawFn) -> list[Frame]:
    quantizers = draw(st.integers(1, 16))
    row = st.tuples(*[st.integers(0, 2047)] * quantizers)
    return [Frame(indices) for indices in draw(st.lists(row, min_size=1, max_size=20))]


@pytest.mark.parametrize(
    ("frames", "packed"),
    [
        ([], ""),
        ([Frame((0,))], "0000"),
        ([Frame((2047,))], "ffe0"),
        ([Frame((1,))], "0020"),
        ([Frame((1024,))], "8000"),
        ([Frame((1, 2))], "002008"),
        ([Frame((1,)), Frame((2,))], "002008"),
        ([Frame((3, 2047, 0, 1365))], "007ffc005550"),
    ],
)
def test_vectors(frames: list[Frame], packed: str) -> None:
    assert pack_frames(frames).hex() == packed


@settings(deadline=None)
@given(frame_lists())
def test_round_trip(frames: list[Frame]) -> None:
    quantizers = len(frames[0].indices)
    data = pack_frames(frames)
    assert len(data) == packed_size(quantizers=quantizers, count=len(frames))
    assert unpack_frames(data, quantizers=quantizers, count=len(frames)) == frames


@settings(deadline=None)
@given(st.binary(max_size=64), st.integers(-1, 18), st.integers(-1, 40))
def test_any_bytes_unpack_or_raise(data: bytes, quantizers: int, count: int) -> None:
    try:
        frames = unpack_frames(data, quantizers=quantizers, count=count)
    except ValueError:
        return
    assert pack_frames(frames) == data
    assert len(frames) == count


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xe0\x00"])
def test_wrong_size(data: bytes) -> None:
    with pytest.raises(ValueError, match="take 2 bytes"):
        unpack_frames(data, quantizers=1, count=1)


@pytest.mark.parametrize("last", [0xE1, 0xF0, 0xFF])
def test_padding_must_be_zero(last: int) -> None:
    with pytest.raises(ValueError, match="padding"):
        unpack_frames(bytes([0xFF, last]), quantizers=1, count=1)


def test_frames_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same number"):
        pack_frames([Frame((1, 2)), Frame((1,))])


@pytest.mark.parametrize("quantizers", [0, 17, -1])
def test_impossible_quantizers(quantizers: int) -> None:
    with pytest.raises(ValueError, match="1 to 16"):
        frame_bits(quantizers)


def test_negative_count() -> None:
    with pytest.raises(ValueError, match="negative"):
        packed_size(quantizers=1, count=-1)


def test_half_an_hour_keeps_every_index() -> None:
    rng = random.Random(1)
    frames = [Frame(tuple(rng.choices(range(2048), k=16))) for _ in range(22_500)]
    data = pack_frames(frames)
    assert len(data) == 22_500 * 22
    assert unpack_frames(data, quantizers=16, count=22_500) == frames
