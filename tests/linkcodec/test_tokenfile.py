"""Token files: round trips, and a clear refusal of everything else."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import TokenFileError
from linkcodec.frame import Frame
from linkcodec.tokenfile import (
    TokenFile,
    load_tokens,
    parse_tokens,
    save_tokens,
    serialise_tokens,
)

TOKENS = TokenFile(
    codec="compact",
    codec_version=1,
    weights_hash="0123abcd",
    sample_rate=16_000,
    frame_size=1280,
    quantizers=3,
    samples=4000,
    delay=320,
    frames=(Frame((1, 2, 3)), Frame((2047, 0, 1024)), Frame((5, 6, 7)), Frame((0, 0, 0))),
)
DATA = serialise_tokens(TOKENS)


def with_header(
    packed: bytes | None = None, *, magic: bytes = b"LKC1", tail: bytes = b"", **changes: Any
) -> bytes:
    """The valid file with another header and a right check sum; `None` removes a field."""
    length = int.from_bytes(DATA[4:8], "big")
    header = msgpack.unpackb(DATA[8 : 8 + length]) | changes
    header = {name: value for name, value in header.items() if value is not None}
    new = msgpack.packb(header) if packed is None else packed
    body = magic + len(new).to_bytes(4, "big") + new + DATA[8 + length : -4] + tail
    return body + zlib.crc32(body).to_bytes(4, "big")


@st.composite
def token_files(draw: st.DrawFn) -> TokenFile:
    quantizers = draw(st.integers(1, 16))
    row = st.tuples(*[st.integers(0, 2047)] * quantizers)
    frames = tuple(Frame(indices) for indices in draw(st.lists(row, max_size=10)))
    frame_size = draw(st.integers(1, 4000))
    return TokenFile(
        codec=draw(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=64)),
        codec_version=draw(st.integers(0, 255)),
        weights_hash=draw(st.sampled_from(["", "00ff" * 16])),
        sample_rate=draw(st.integers(1000, 192_000)),
        frame_size=frame_size,
        quantizers=quantizers,
        samples=draw(st.integers(0, len(frames) * frame_size)),
        delay=draw(st.integers(0, 10_000)),
        frames=frames,
    )


def test_vector() -> None:
    """The layout that the module describes, byte by byte."""
    header = (
        b"\x8a\xa6format\x01\xa5codec\xa4test\xacweights_hash\xa0\xadcodec_version\x02"
        b"\xabsample_rate\xcd\x3e\x80\xaaframe_size\xcd\x05\x00\xaaquantizers\x02"
        b"\xa6frames\x01\xa7samples\xcd\x04\xd2\xa5delay\x00"
    )
    body = b"LKC1" + len(header).to_bytes(4, "big") + header + b"\x00\x20\x08"
    tokens = TokenFile(
        codec="test",
        codec_version=2,
        sample_rate=16_000,
        frame_size=1280,
        quantizers=2,
        samples=1234,
        delay=0,
        frames=(Frame((1, 2)),),
    )
    assert serialise_tokens(tokens) == body + zlib.crc32(body).to_bytes(4, "big")


@settings(deadline=None)
@given(token_files())
def test_round_trip(tokens: TokenFile) -> None:
    assert parse_tokens(serialise_tokens(tokens)) == tokens


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    save_tokens(tmp_path / "a.lkc", TOKENS)
    assert load_tokens(tmp_path / "a.lkc") == TOKENS
    assert load_tokens(str(tmp_path / "a.lkc")) == TOKENS


def test_half_an_hour(tmp_path: Path) -> None:
    frames = tuple(Frame((number % 2048,) * 8) for number in range(22_500))
    tokens = replace(TOKENS, quantizers=8, frames=frames, samples=22_500 * 1280)
    save_tokens(tmp_path / "long.lkc", tokens)
    assert load_tokens(tmp_path / "long.lkc") == tokens
    assert (tmp_path / "long.lkc").stat().st_size < 22_500 * 11 + 300


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=400), st.binary(max_size=100).map(lambda tail: DATA + tail)))
def test_any_bytes(data: bytes) -> None:
    try:
        tokens = parse_tokens(data)
    except TokenFileError:
        return
    assert serialise_tokens(tokens) == data


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_found(place: int, flip: int) -> None:
    damaged = DATA[:place] + bytes([DATA[place] ^ flip]) + DATA[place + 1 :]
    with pytest.raises(TokenFileError):
        parse_tokens(damaged)


@pytest.mark.parametrize("length", range(len(DATA)))
def test_every_truncation_is_found(length: int) -> None:
    with pytest.raises(TokenFileError, match=r"truncated|empty"):
        parse_tokens(DATA[:length])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_header_with_a_right_check_sum(packed: bytes) -> None:
    data = with_header(packed)
    try:
        tokens = parse_tokens(data)
    except TokenFileError:
        return
    assert parse_tokens(serialise_tokens(tokens)) == tokens


FIELDS = [
    "format",
    "codec",
    "codec_version",
    "weights_hash",
    "sample_rate",
    "frame_size",
    "quantizers",
    "frames",
    "samples",
    "delay",
]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=200),
        st.binary(max_size=20),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from([*FIELDS, "something_else"]),
    VALUES,
)
def test_any_value_in_the_header(field: str, value: Any) -> None:
    data = with_header(**{field: value})
    try:
        tokens = parse_tokens(data)
    except TokenFileError:
        return
    assert parse_tokens(serialise_tokens(tokens)) == tokens


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty"),
        (b"RIFF" + bytes(100), "not a token file"),
        (b"LKC2" + DATA[4:], "format 2 is not supported"),
        (with_header(format=2), "format 2 is not supported"),
        (with_header(format=True), "format True is not supported"),
        (with_header(format=None), "format None is not supported"),
        (with_header(delay=None), "'delay'"),
        (with_header(more=1), "'more'"),
        (with_header(codec="x" * 65), "codec"),
        (with_header(codec="a\nb"), "codec"),
        (with_header(codec=b"compact"), "codec"),
        (with_header(weights_hash=7), "weights_hash"),
        (with_header(quantizers=0), "quantizers = 0"),
        (with_header(quantizers=17), "quantizers = 17"),
        (with_header(quantizers=True), "quantizers = True"),
        (with_header(sample_rate=16000.0), "sample_rate"),
        (with_header(sample_rate=999), "sample_rate"),
        (with_header(frame_size=0), "frame_size"),
        (with_header(delay=-1), "delay"),
        (with_header(frames=2**40), "frames"),
        (with_header(frames=5), "5 frames of 3 indices"),
        (with_header(frames=3, samples=0), "3 frames of 3 indices"),
        (with_header(samples=5121), "samples = 5121"),
        (with_header(tail=b"\x00"), "bytes are there"),
        (with_header(b"\xc1"), "msgpack"),
        (with_header(b"\x93\x01\x02\x03"), "msgpack"),
        (with_header(msgpack.packb({"format": 1}) + b"\x00"), "msgpack"),
        (with_header(b"\x81\x90\x01"), "msgpack"),
        (with_header(b""), "msgpack"),
        (b"LKC1\xff\xff\xff\xff" + DATA[8:], "absurd"),
        (b"LKC1\x00\x00\x03\x00" + DATA[8:], "check sum"),
        (DATA[:-1] + bytes([DATA[-1] ^ 1]), "check sum"),
    ],
)
def test_refusals(data: bytes, text: str) -> None:
    with pytest.raises(TokenFileError, match=text) as error:
        parse_tokens(data)
    assert "\n" not in str(error.value)


def test_header_longer_than_the_file() -> None:
    body = b"LKC1\x00\x00\x03\x00" + DATA[8:-4]
    with pytest.raises(TokenFileError, match="longer than the file"):
        parse_tokens(body + zlib.crc32(body).to_bytes(4, "big"))


def test_padding_must_be_zero() -> None:
    body = DATA[:-5] + bytes([DATA[-5] | 1])
    with pytest.raises(TokenFileError, match="padding"):
        parse_tokens(body + zlib.crc32(body).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"quantizers": 2}, "not all frames"),
        ({"codec_version": 256}, "codec_version = 256"),
        ({"samples": 5121}, "samples = 5121"),
        ({"weights_hash": "x" * 129}, "weights_hash"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    path = tmp_path / "a.lkc"
    with pytest.raises(TokenFileError, match=text) as error:
        save_tokens(path, replace(TOKENS, **changes))
    assert str(path) in str(error.value)
    assert not path.exists()


def test_too_long_for_one_file() -> None:
    frames = (Frame((0,) * 16),) * (64 * 1024 * 1024 // 22)
    with pytest.raises(TokenFileError, match="split the recording"):
        serialise_tokens(replace(TOKENS, quantizers=16, frames=frames))


def test_errors_name_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.lkc"
    with pytest.raises(TokenFileError, match=r"missing\.lkc: cannot be read: No such file"):
        load_tokens(missing)
    with pytest.raises(TokenFileError, match="cannot be read: Is a directory"):
        load_tokens(tmp_path)
    (tmp_path / "text.lkc").write_text("hello")
    with pytest.raises(TokenFileError, match=r"text\.lkc: not a token file"):
        load_tokens(tmp_path / "text.lkc")
    (tmp_path / "cut.lkc").write_bytes(DATA[:-7])
    with pytest.raises(TokenFileError, match=r"cut\.lkc: truncated"):
        load_tokens(tmp_path / "cut.lkc")
    with pytest.raises(TokenFileError, match="cannot be written: No such file"):
        save_tokens(tmp_path / "no" / "where.lkc", TOKENS)


def test_only_regular_files(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="not a regular file"):
        load_tokens(os.devnull)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.lkc"
    with path.open("wb") as file:
        file.write(DATA)
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(TokenFileError, match="longer than 64 MiB"):
        load_tokens(path)
