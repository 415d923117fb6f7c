"""Recordings of calls as frames: what was written is read, cut off or damaged or whole."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec import callfile
from linkcodec.callfile import CallFile, CallWriter, is_call, load_call, parse_call
from linkcodec.codec import CodecInfo
from linkcodec.exceptions import TokenFileError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from linkcodec.tokenfile import load_tokens

INFO = CodecInfo(
    name="compact",
    version=4,
    sample_rate=16_000,
    frame_size=1280,
    quantizers=12,
    codebook_size=2048,
    delay=320,
    weights_hash="0123abcd",
)
SPOKEN: list[PlayoutItem] = [Frame((1, 2, 3)), Frame((4, 5, 2047)), LOST, Frame((7,))]
QUIET: list[PlayoutItem] = [Silence(level_dbfs=-61.0, colour=4095)] * 3

items = st.one_of(
    st.lists(st.integers(0, 2047), min_size=1, max_size=16).map(lambda row: Frame(tuple(row))),
    st.just(LOST),
    st.builds(
        Silence,
        level_dbfs=st.integers(0, 127).map(lambda level: -float(level)),
        colour=st.integers(0, 4095),
    ),
)


def written(path: Path, recorded: list[PlayoutItem]) -> bytes:
    with CallWriter(path, INFO) as writer:
        for item in recorded:
            writer.add(item)
    return path.read_bytes()


def test_vector(tmp_path: Path) -> None:
    """The layout that the module describes, byte by byte."""
    header = (
        b"\x87\xa6format\x02\xa5codec\xa4test\xacweights_hash\xa0\xadcodec_version\x02"
        b"\xabsample_rate\xcd\x3e\x80\xaaframe_size\xcd\x05\x00\xa5delay\x00"
    )
    body = (
        b"LKC2" + len(header).to_bytes(4, "big") + header
        # Two frames of two indices, one lost, three of silence, the end.
        + b"\x02\x00\x02\x00\x20\x08\x01\xff\xf0"
        + b"\x00\x00\x01"
        + b"\x20\x00\x03\x3d\x0f\xff"
        + b"\xff\x00\x00"
    )  # fmt: skip
    recorded: list[PlayoutItem] = [Frame((1, 2)), Frame((3, 2047)), LOST, *QUIET]
    info = replace(INFO, name="test", version=2, delay=0, weights_hash="")
    with CallWriter(tmp_path / "call.lkc", info) as writer:
        for item in recorded:
            writer.add(item)
    data = body + zlib.crc32(body).to_bytes(4, "big")
    assert (tmp_path / "call.lkc").read_bytes() == data
    assert parse_call(data).frames == tuple(recorded)


def test_all_kinds_come_back(tmp_path: Path) -> None:
    path = tmp_path / "call.lkc"
    written(path, SPOKEN + QUIET + SPOKEN)
    assert is_call(path)
    call = load_call(path)
    assert call == CallFile(
        codec="compact",
        codec_version=4,
        weights_hash="0123abcd",
        sample_rate=16_000,
        frame_size=1280,
        delay=320,
        frames=(*SPOKEN, *QUIET, *SPOKEN),
    )
    assert call.complete
    assert call.quantizers == 3
    assert call.samples == 11 * 1280 - 320


@settings(deadline=None, max_examples=60)
@given(recorded=st.lists(items, max_size=300))
def test_any_call_comes_back(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[PlayoutItem]
) -> None:
    path = tmp_path_factory.mktemp("call") / "call.lkc"
    assert parse_call(written(path, recorded)).frames == tuple(recorded)


def test_an_hour_of_speech_takes_half_a_megabyte(tmp_path: Path) -> None:
    speech: list[PlayoutItem] = [Frame(tuple(range(8)))] * 45_000
    assert len(written(tmp_path / "call.lkc", speech)) < 500_000


def test_levels_are_whole_decibels_within_what_a_byte_holds(tmp_path: Path) -> None:
    levels = [3.0, -0.4, -60.6, -300.0]
    data = written(tmp_path / "call.lkc", [Silence(level_dbfs=level) for level in levels])
    read = [item.level_dbfs for item in parse_call(data).frames if isinstance(item, Silence)]
    assert read == [0.0, 0.0, -61.0, -127.0]


def test_a_recording_that_was_cut_off_is_good_up_to_there(tmp_path: Path) -> None:
    data = written(tmp_path / "call.lkc", SPOKEN + QUIET)
    header = 8 + int.from_bytes(data[4:8], "big")
    lengths = set()
    for size in range(header, len(data)):
        call = parse_call(data[:size])
        assert not call.complete
        assert call.frames == tuple(SPOKEN + QUIET)[: len(call.frames)]
        lengths.add(len(call.frames))
    assert lengths == {0, 2, 3, 4, 7}


def test_a_call_that_goes_on_is_there_but_for_its_last_seconds(tmp_path: Path) -> None:
    path = tmp_path / "call.lkc"
    writer = CallWriter(path, INFO)
    for number in range(1000):
        writer.add(Frame((number,)))
    assert len(load_call(path).frames) == 875
    writer.close()
    writer.close()
    assert len(load_call(path).frames) == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: b"", "the file is empty"),
        (lambda _: b"RIFF", "no call's recording: make one"),
        (lambda data: b"LKC1" + data[4:], "format 1 .* no call's recording, but tokens"),
        (lambda data: data[:6], "truncated inside the header"),
        (lambda data: data[:4] + b"\xff" * 4 + data[8:], "absurd header length"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "wrong check sum"),
        (lambda data: data + b"more", "the end is not at the end"),
        (lambda data: data.replace(b"\xa6format\x02", b"\xa6format\x01"), "format 1 is not"),
        (lambda data: data.replace(b"compact", b"comp\0ct"), "not a text"),
        (lambda data: data[:-7] + b"\x63\x00\x01" + data[-7:], "unknown kind 99"),
        (lambda data: data[:-7] + bytes(3) + data[-7:], "impossible number"),
        (lambda data: data[:-5] + b"\x01" + data[-4:], "impossible number"),
        (lambda data: data[:-7] + b"\x20\x00\x01\x80\x00\x00" + data[-7:], "impossible silence"),
        (lambda data: data[:-7] + b"\x01\x00\x01\x00\x01" + data[-7:], "padding"),
    ],
)
def test_damage_is_named(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    data = change(written(tmp_path / "call.lkc", SPOKEN + QUIET))
    with pytest.raises(TokenFileError, match=message):
        parse_call(data)


@settings(deadline=None, max_examples=200)
@given(data=st.binary(max_size=200), place=st.integers(0, 400))
def test_any_bytes_are_a_call_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, place: int
) -> None:
    whole = written(tmp_path_factory.mktemp("call") / "call.lkc", SPOKEN + QUIET)
    for candidate in (data, whole[:place] + data + whole[place + len(data) :]):
        try:
            parse_call(candidate)
        except TokenFileError:
            continue


def test_a_full_disk_is_named() -> None:
    with pytest.raises(TokenFileError, match="/dev/full: cannot be written: No space left"):
        CallWriter("/dev/full", INFO)


def test_nothing_is_written_after_a_failure(tmp_path: Path) -> None:
    """Every later item fails alike, and closing does not."""
    path = tmp_path / "call.lkc"
    writer = CallWriter(path, INFO)
    writer._file.close()
    with open("/dev/full", "wb", buffering=0) as full:
        writer._file = full
        writer.add(Frame((1,)))
        with pytest.raises(TokenFileError, match="cannot be written: No space") as first:
            writer.add(LOST)
        assert full.closed
        writer.add(LOST)
        with pytest.raises(TokenFileError) as second:
            writer.add(Frame((2,)))
        assert second.value is first.value
        writer.close()
    assert load_call(path).frames == ()


@pytest.mark.parametrize(("limit", "value"), [("MAX_FILE_BYTES", 400), ("_MOST_ITEMS", 250)])
def test_a_recording_ends_before_it_is_too_long_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(callfile, limit, value)
    path = tmp_path / "call.lkc"
    writer = CallWriter(path, INFO)

    def write() -> None:
        for number in range(1000):
            writer.add(Frame((number,)))

    with pytest.raises(TokenFileError, match=r"call\.lkc: is as long as a recording can be"):
        write()
    writer.close()
    call = load_call(path)
    assert call.complete
    assert call.frames == tuple(Frame((number,)) for number in range(len(call.frames)))
    assert len(call.frames) in (125, 250)


def test_files_of_the_other_kind(tmp_path: Path) -> None:
    path = tmp_path / "call.lkc"
    written(path, SPOKEN)
    with pytest.raises(TokenFileError, match="call's recording, which `linkcodec decode` plays"):
        load_tokens(path)
    assert not is_call(tmp_path / "missing.lkc")
    assert not is_call(tmp_path)
    with pytest.raises(TokenFileError, match="cannot be read"):
        load_call(tmp_path / "missing.lkc")
    with pytest.raises(TokenFileError, match="cannot be written"):
        CallWriter(tmp_path / "missing" / "call.lkc", INFO)
