from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import InputError, LinkError
from transport.capture import (
    Capture,
    CaptureHeader,
    CaptureWriter,
    RecordedLink,
    RecordingLink,
    Stretch,
)
from transport.links import MemoryLink

HEADER = CaptureHeader(mode="packets", framing="sync", rate=1200, datagram=False)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_what_went_over_a_link_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    clock = Clock()
    near, far = MemoryLink.pair(datagram=False)
    with RecordingLink(near, CaptureWriter(path, HEADER), clock=clock) as link:
        assert link.up
        assert link.send(b"\x01\x02")
        clock.sleep(0.25)
        far.send(b"\xff")
        assert link.receive(0.0) == [b"\xff"]
    assert far.receive(0.0) == [b"\x01\x02"]
    assert not far.up
    assert Capture.read(path) == Capture(
        header=HEADER,
        stretches=(Stretch(time=0.0, data=b"\x01\x02"), Stretch(time=0.25, data=b"\xff")),
    )


def test_capture_plays_at_its_own_pace() -> None:
    clock = Clock()
    stretches = tuple(Stretch(time=at, data=bytes([n])) for n, at in enumerate((0.0, 0.1, 0.1, 1)))
    capture = Capture(header=HEADER, stretches=stretches)
    link = RecordedLink(capture, name="call.jsonl", clock=clock, sleep=clock.sleep)
    assert not link.send(b"x")
    got = []
    for _ in range(40):
        got += [(round(clock.now - 100, 3), data) for data in link.receive(0.05)]
    assert got == [(0.0, b"\0"), (0.1, b"\1"), (0.1, b"\2"), (1.0, b"\3")]
    assert link.ended


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("{}", "line 1"),
        ('{"linkcodec_wire": 2, "mode": "packets"}', "line 1"),
        (
            '{"linkcodec_wire": 1, "mode": "pigeons", "framing": "sync", "rate": 1, '
            '"datagram": true}',
            "line 1",
        ),
        ("[[", "line 1"),
        ("GOOD\n{}", "line 2"),
        ('GOOD\n{"t": 0, "data": "0"}', "line 2"),
        ('GOOD\n{"t": -1, "data": "00"}', "line 2"),
        ('GOOD\n{"t": 0, "data": "00"}\n7', "line 3"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "x.jsonl"
    CaptureWriter(path, HEADER).close()
    path.write_text(text.replace("GOOD", path.read_text().strip()))
    with pytest.raises(InputError, match=line):
        Capture.read(path)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        Capture.read(tmp_path / "missing")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not ASCII"):
        Capture.read(binary)
    with pytest.raises(LinkError, match="cannot write"):
        CaptureWriter(tmp_path / "missing" / "x", HEADER)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full disk")
def test_a_full_disk_is_an_error_with_the_name_of_the_file() -> None:
    with pytest.raises(LinkError, match="/dev/full: cannot write the capture: No space"):
        CaptureWriter("/dev/full", HEADER)


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(st.text(alphabet='{}[]":,0123456789tdaen.\\', max_size=40), max_size=4))
def test_any_text_is_a_capture_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    path = tmp_path_factory.mktemp("capture") / "x"
    CaptureWriter(path, HEADER).close()
    path.write_text(path.read_text() + "\n".join(lines))
    with suppress(InputError):
        assert Capture.read(path).header == HEADER
