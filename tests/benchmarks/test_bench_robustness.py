from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from fakecodec import FakeCodec
from fakeevaluator import FakeEvaluator, level
from speechlike import phrase

from benchmarks.alignment import Pcm
from benchmarks.clips import load_clips
from benchmarks.peers import OurCodec
from benchmarks.robustness import (
    Changed,
    SoundRow,
    choose,
    conditions,
    conditions_table,
    languages_table,
    main,
    measure_conditions,
    measure_languages,
    measure_sounds,
    measure_voices,
    median_pitch,
    sounds,
    sounds_table,
)
from linkcodec.exceptions import InputError


def speech(seed: int = 1) -> Pcm:
    return phrase(16000, dbfs=-26.0, seed=seed).astype(np.float32)


def level_evaluator(*measures: str) -> FakeEvaluator:
    """Gives the RMS of what it hears as every score."""
    return FakeEvaluator(measures, score=level, fixed={"words": 4.0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, stem in enumerate(("en_1-a", "en_2-b", "xx_c")):
        soundfile.write(tmp_path / f"{stem}.wav", speech(number), 16000, subtype="FLOAT")
    return tmp_path


@pytest.mark.parametrize("number", range(11))
def test_conditions_repeat_themselves_and_keep_the_length(number: int) -> None:
    condition = conditions([speech(2), speech(3), speech(4)])[number]
    system = Changed(condition, None)
    pcm = speech()
    out = system.process(pcm)
    assert out.shape == pcm.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out, system.process(pcm))
    assert np.array_equal(out, pcm) == (condition.name == "clean")


def test_noise_comes_at_its_ratio() -> None:
    pcm = speech()
    for name, ratio in (("babble-10", 10.0), ("car-5", 5.0)):
        condition = choose(name, conditions([speech(2), speech(3)]))[0]
        noise = Changed(condition, None).process(pcm) - pcm
        found = 10 * np.log10(np.mean(pcm**2) / np.mean(noise**2))
        # The pause that is added for the codec's delay counts as speech.
        assert found == pytest.approx(ratio, abs=0.6)


def test_a_codec_gets_what_the_condition_left() -> None:
    quiet = choose("quiet", conditions([speech()]))[0]
    codec = OurCodec(FakeCodec(), quantizers=4)
    pcm = speech()
    np.testing.assert_allclose(
        Changed(quiet, codec).process(pcm), Changed(quiet, None).process(pcm), atol=1e-7
    )
    assert Changed(quiet, codec).name == "quiet-fake-4"
    assert Changed(quiet, None).name == "quiet-input"


def test_every_condition_is_measured_before_and_after(folder: Path) -> None:
    clips = load_clips(folder, languages=["en"])
    chosen = choose("clean,quiet", conditions([speech()]))
    codec = OurCodec(FakeCodec(), quantizers=2)
    evaluator = level_evaluator("stoi", "distillmos", "wer")
    rows = measure_conditions(codec, chosen, clips, evaluator, cache=None)
    assert [row.title for row in rows] == ["clean", "-40 dBFS RMS"]
    for row in rows:
        before, after = row.before.values["stoi"], row.after.values["stoi"]
        assert before is not None
        # Two of four books of the fake codec halve the signal.
        assert after == pytest.approx(before / 2, rel=1e-3)
    lines = conditions_table(rows).splitlines()
    assert lines[2].startswith("| clean |")
    assert lines[2].split("|")[4].strip() == "0.50"


def harmonics(pitch: float) -> Pcm:
    phase = 2 * np.pi * pitch * np.arange(16000) / 16000
    return np.asarray(sum(np.sin(k * phase) / k for k in range(1, 10)), dtype=np.float32)


@pytest.mark.parametrize("pitch", [85.0, 120.0, 210.0, 300.0])
def test_pitch_is_found(pitch: float) -> None:
    noise = np.random.default_rng(1).standard_normal(16000).astype(np.float32)
    assert median_pitch(harmonics(pitch) + 0.05 * noise) == pytest.approx(pitch, rel=0.02)
    assert np.isnan(median_pitch(noise))


def test_low_and_high_voices_are_measured_apart(tmp_path: Path) -> None:
    for stem, pitch in (("en_1", 100.0), ("en_2", 220.0), ("en_3", 240.0)):
        soundfile.write(tmp_path / f"{stem}.wav", 0.1 * harmonics(pitch), 16000)
    codec = OurCodec(FakeCodec(), quantizers=4)
    evaluator = level_evaluator("stoi")
    rows = measure_voices(codec, load_clips(tmp_path), evaluator, cache=None)
    assert [(row.title, row.after.clips) for row in rows] == [
        ("clean, voices below 160 Hz (1 clips)", 1),
        ("clean, voices above 160 Hz (2 clips)", 2),
    ]


def test_languages_are_measured_apart(folder: Path) -> None:
    codec = OurCodec(FakeCodec(), quantizers=4)
    evaluator = level_evaluator("distillmos")
    rows = measure_languages(codec, load_clips(folder), evaluator, cache=None)
    assert [(row.title, row.before.clips) for row in rows] == [("en", 2), ("xx", 1)]
    assert languages_table(rows).splitlines()[2].endswith("| 0.00 |")


def test_sounds_come_back_as_loud_as_they_were() -> None:
    talkers = [speech(1), speech(2)]
    rows = measure_sounds(OurCodec(FakeCodec(), quantizers=4), talkers)
    assert [row.title for row in rows] == list(sounds(talkers))
    for row in rows:
        assert row.after == pytest.approx(row.before, abs=0.1)
        assert row.rise == pytest.approx(0.0, abs=0.2)
    assert rows[0].before == pytest.approx(-100.0, abs=1.0)
    assert rows[4].before == pytest.approx(-23.0, abs=0.2)


def test_a_row_of_sounds() -> None:
    row = SoundRow(title="x", before=-23.4, after=-25.0, rise=1.26)
    assert sounds_table([row]).splitlines()[2] == "| x | -23 dBFS | -25 dBFS | +1.3 dB |"


def test_unknown_conditions_and_folders_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="unknown condition 'rain'"):
        choose("rain", conditions([speech()]))
    assert main(["--clips", str(folder / "none")]) == 2
    assert "none" in capsys.readouterr().err
