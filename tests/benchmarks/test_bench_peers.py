from __future__ import annotations

import ctypes

import numpy as np
import pytest
from fakecodec import DELAY, FakeCodec

from benchmarks.alignment import Pcm
from benchmarks.peers import (
    PEERS,
    Clean,
    OurCodec,
    System,
    by_frames,
    load_peers,
    run_tool,
    to_int16,
)
from linkcodec.exceptions import CodecError, InputError


def noise(samples: int) -> Pcm:
    return np.random.default_rng(7).uniform(-0.5, 0.5, samples).astype(np.float32)


class Late(System):
    name = title = "late"
    version = "1"
    bitrate = None
    delay = 320

    def code(self, pcm: Pcm) -> Pcm:
        return np.pad(pcm * np.float32(0.5), (self.delay, 0))[: len(pcm)]


def test_clean_is_the_signal() -> None:
    pcm = noise(5000)
    assert np.array_equal(Clean().process(pcm), pcm)


def test_delay_is_removed_and_the_level_kept() -> None:
    pcm = noise(5000)
    assert Late().process(pcm) == pytest.approx(pcm / 2)


@pytest.mark.parametrize("samples", [1, 1280, 5000, 16001])
def test_our_codec_is_aligned(samples: int) -> None:
    pcm = noise(samples)
    system = OurCodec(FakeCodec(), quantizers=4)
    assert DELAY > 0
    assert system.process(pcm) == pytest.approx(pcm)


def test_our_codec_at_fewer_books() -> None:
    pcm = noise(5000)
    system = OurCodec(FakeCodec(), quantizers=1)
    assert system.process(pcm) == pytest.approx(pcm / 4)
    assert (system.name, system.bitrate, system.version) == ("fake-1", 137.5, "3/abc")


def test_our_codec_at_another_rate() -> None:
    rng = np.random.default_rng(8)
    smooth = np.convolve(rng.standard_normal(8000), np.hanning(32) / 16, "same").astype(np.float32)
    coded = OurCodec(FakeCodec(sample_rate=24000), quantizers=4).process(smooth)
    assert coded.shape == smooth.shape
    assert coded[200:-200] == pytest.approx(smooth[200:-200], abs=0.01)


def test_too_many_books() -> None:
    with pytest.raises(CodecError, match="quantizers = 5"):
        OurCodec(FakeCodec(), quantizers=5)


def test_unknown_peer() -> None:
    with pytest.raises(InputError, match="unknown peer 'g729': use some of clean"):
        load_peers(["clean", "g729"])


def test_no_peer_comes_silently_instead() -> None:
    assert [system.name for system in load_peers(["clean"])] == ["clean"]
    assert "codec2-1200" in PEERS


def test_by_frames_fills_the_last_one() -> None:
    seen: list[list[int]] = []

    def halve(samples: int, out: int) -> None:
        source = (ctypes.c_int16 * 4).from_address(samples)
        target = (ctypes.c_int16 * 4).from_address(out)
        seen.append(list(source))
        target[:] = [value // 2 for value in source]

    pcm = by_frames(np.arange(0, 12, 2, dtype=np.int16), size=4, one_frame=halve)
    assert seen == [[0, 2, 4, 6], [8, 10, 0, 0]]
    assert (pcm * 32768).tolist() == [0, 1, 2, 3, 4, 5, 0, 0]


def test_to_int16_clips() -> None:
    pcm = np.array([-2.0, -1.0, 0.0, 0.5, 2.0], dtype=np.float32)
    assert to_int16(pcm).tolist() == [-32768, -32768, 0, 16384, 32767]


def test_missing_tool_names_its_package() -> None:
    with pytest.raises(InputError, match="install Debian's package some-tools"):
        run_tool(["no-such-tool-here"], "some-tools")


def test_failing_tool_tells_why() -> None:
    with pytest.raises(InputError, match="sh failed: no input"):
        run_tool(["sh", "-c", "echo no input >&2; exit 3"], "dash")
