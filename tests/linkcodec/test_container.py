"""What both kinds of `.lkc` file share: magic, header, reading."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.container import (
    MAX_FILE_BYTES,
    body_offset,
    check_magic,
    read_file,
    serialise_head,
    unpack_header,
)
from linkcodec.exceptions import TokenFileError

FIELDS = ("codec", "delay")


@settings(deadline=None)
@given(
    codec=st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=64),
    delay=st.integers(0, 192_000),
)
def test_a_header_comes_back(codec: str, delay: int) -> None:
    fields = {"codec": codec, "delay": delay}
    head = serialise_head(2, fields)
    assert body_offset(head + b"body") == len(head)
    assert unpack_header(head[8:], format_number=2, fields=FIELDS) == fields


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"codec": "x", "delay": -1}, "header field delay = -1 is no integer in 0..192000"),
        ({"codec": 1, "delay": 1}, "header field codec is not a text"),
    ],
)
def test_what_no_header_holds(fields: dict[str, object], text: str) -> None:
    with pytest.raises(TokenFileError, match=text):
        serialise_head(1, fields)


@pytest.mark.parametrize(
    ("begins", "text"),
    [
        (b"", "the file is empty"),
        (b"LK", "truncated inside the header"),
        (b"LKC3", "format 3 is not supported, only 2: decode it with the version that"),
        (b"LKC1", "no call's recording, but tokens"),
        (b"RIFF", "something else"),
    ],
)
def test_other_beginnings(begins: bytes, text: str) -> None:
    with pytest.raises(TokenFileError, match=text):
        check_magic(begins, format_number=2, refusal="something else")


def test_no_more_is_read_than_may_be_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1000)
    seen: list[bytes] = []
    assert read_file(path, begins=seen.append, parse=len) == MAX_FILE_BYTES + 1
    assert seen == [bytes(8)]


def test_errors_name_the_file(tmp_path: Path) -> None:
    def refuse(_: bytes) -> None:
        raise TokenFileError("no such thing")

    path = tmp_path / "some"
    path.write_bytes(b"12345678")
    with pytest.raises(TokenFileError, match=f"{path}: no such thing"):
        read_file(path, begins=refuse, parse=len)
    with pytest.raises(TokenFileError, match="missing: cannot be read: No such file"):
        read_file(tmp_path / "missing", begins=refuse, parse=len)
    with pytest.raises(TokenFileError, match="not a regular file"):
        read_file(os.devnull, begins=refuse, parse=len)
