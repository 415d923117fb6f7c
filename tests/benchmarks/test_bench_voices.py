from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from benchmarks.alignment import Pcm
from benchmarks.voices import Moments, cepstra, judge, main, verdict

RATE = 16_000


def voice(number: int, seed: int) -> Pcm:
    """Noise through a filter of its own; every third third of a second is silent."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal(2 * RATE)
    sound = np.convolve(noise, np.random.default_rng(number).standard_normal(12), "same")
    sound[(np.arange(sound.size) // (RATE // 3)) % 3 == 2] *= 1e-4
    return (0.05 * sound).astype(np.float32)


def test_cepstra_leave_out_level_and_pauses() -> None:
    pcm = voice(1, 1)
    found = cepstra(pcm)
    assert found.shape[1] == 19
    assert 0.5 < len(found) / (pcm.size / 160) < 0.62
    np.testing.assert_allclose(cepstra(0.1 * pcm).mean(axis=0), found.mean(axis=0), atol=0.05)


def test_the_likelihood_is_that_of_a_gaussian() -> None:
    random = np.random.default_rng(5)
    frames = random.standard_normal((4000, 3)) @ np.diag([1.0, 2.0, 0.5]) + [1.0, 0.0, -1.0]
    whole = Moments.of(frames)
    halves = Moments.of(frames[:1000]) + Moments.of(frames[1000:])
    assert halves.likelihood(frames) == pytest.approx(whole.likelihood(frames))
    # Half the entropy's terms without its constant: log |C| = 0, trace = 3.
    assert whole.likelihood(frames) == pytest.approx(-1.5, abs=0.06)
    assert whole.likelihood(frames) > whole.likelihood(frames + 1.0)


def test_a_voice_stands_out_from_the_others() -> None:
    right, margin = judge({"a": 3.0, "b": 1.0, "c": -1.0}, "a")
    assert right
    assert margin == pytest.approx(3.0)
    right, margin = judge({"a": 0.0, "b": 1.0, "c": -1.0}, "a")
    assert not right
    assert margin == pytest.approx(0.0)


def test_the_clip_itself_is_no_witness() -> None:
    clips = {f"{speaker}-{n}": voice(number, 10 * number + n) for speaker, number in
             (("a", 1), ("b", 2), ("c", 3)) for n in range(2)}  # fmt: skip
    frames = {stem: cepstra(pcm) for stem, pcm in clips.items()}
    known = {stem: Moments.of(one) for stem, one in frames.items()}
    speakers = {stem: stem[0] for stem in clips}
    assert verdict(frames, known, speakers).identified == 1.0
    # A clip under the wrong name is told by its own filter, not by that name's other clip.
    speakers["a-0"], speakers["b-0"] = "b", "a"
    assert verdict({"a-0": frames["a-0"]}, known, speakers).identified == 0.0


def test_the_command_needs_several_voices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stem in ("a-1", "a-2", "b-1"):
        soundfile.write(tmp_path / f"{stem}.wav", voice(1, 1), RATE)
    arguments = ["--clips", str(tmp_path), "--languages", "a-1,a-2,b-1"]
    assert main(arguments) == 2
    assert "three speakers of two clips" in capsys.readouterr().err
    assert main([*arguments, "--books", "x"]) == 2


def test_the_command_compares_books(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stems = [f"{speaker}-{n}" for speaker in "abc" for n in range(2)]
    for stem in stems:
        soundfile.write(tmp_path / f"{stem}.wav", voice(ord(stem[0]), ord(stem[2])), RATE)
    arguments = ["--clips", str(tmp_path), "--languages", ",".join(stems), "--books", "1"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "6 clips of 3 speakers" in lines[0]
    assert lines[3].startswith("| uncoded | 1.000 |")
    assert lines[4].startswith("| 1 |")
