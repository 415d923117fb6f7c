from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks import codec_speed
from benchmarks.codec_speed import (
    CODERS,
    Coder,
    OurCoder,
    Result,
    document,
    main,
    markdown,
    measure,
)
from linkcodec.codec import Pcm, load_codec
from linkcodec.exceptions import InputError


class Halver(Coder):
    """Frames of 10 ms, halved and doubled."""

    sample_rate = 8000
    frame_size = 80

    def encode(self, pcm: Pcm) -> Pcm:
        assert len(pcm) == self.frame_size
        return np.asarray(pcm / 2, dtype=np.float32)

    def decode(self, coded: Pcm) -> Pcm:
        return coded * 2


def ramp(sample_rate: int) -> Pcm:
    return np.linspace(0, 1, sample_rate, dtype=np.float32)


def test_times_are_ordered_and_the_memory_is_a_process() -> None:
    result = measure(Halver, ramp, frames=40)
    for median, late in (result.encoder, result.decoder, result.both):
        assert 0 <= median <= late
    assert result.start > 0
    assert 5 < result.memory < 100_000


def test_short_signals_are_refused() -> None:
    with pytest.raises(InputError, match="too short"):
        measure(Halver, lambda _: np.zeros(400, np.float32), frames=1)


def test_a_coder_that_loses_samples_is_found_out() -> None:
    class Loser(Halver):
        def decode(self, coded: Pcm) -> Pcm:
            return coded[1:]

    with pytest.raises(InputError, match="79 samples for 80"):
        measure(Loser, ramp, frames=1)


def test_our_light_build_runs() -> None:
    coder = OurCoder(load_codec("compact-light"))
    coded = coder.encode(np.zeros(coder.frame_size, np.float32))
    assert [len(frame.indices) for frame in coded] == [8]
    assert coder.decode(coded).shape == (coder.frame_size,)


def result() -> Result:
    return Result(encoder=(1.5, 2), decoder=(2.25, 3), both=(4, 5.125), start=0.5, memory=99.6)


def test_a_row_of_the_table() -> None:
    rows = markdown({"lpcnet": result()}).splitlines()
    assert rows[2] == "| LPCNet | 1.50 ms | 2.25 ms | 4.00 ms | 5.12 ms | 0.50 s | 100 MB |"


def test_the_page_tells_how_it_was_made() -> None:
    text = document({"compact-light": result()}, "python -m something")
    assert "    python -m something" in text
    assert f"numpy {np.__version__}" in text


def test_unknown_coders_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--coders", "none-such"]) == 2
    assert "none-such" in capsys.readouterr().err
    assert main(["--frames", "0"]) == 2


def test_a_coder_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="lpcnet: failed"):
        codec_speed.run_alone("lpcnet", frames=1)


def test_ours_are_marked() -> None:
    assert all(
        ("**" in entry.title) == name.startswith("compact") for name, entry in CODERS.items()
    )
