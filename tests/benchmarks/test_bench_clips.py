from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from benchmarks.clips import Clip, load_clips, read_clip, read_texts, resample, spread
from linkcodec.exceptions import AudioFileError, InputError


def clips_of(*stems: str) -> list[Clip]:
    return [Clip(stem=stem, path=Path(stem), language="en", text=None) for stem in stems]


def write(path: Path, *, rate: int = 16000, shape: tuple[int, ...] = (1600,)) -> None:
    soundfile.write(path, np.full(shape, 0.25, dtype=np.float32), rate)


def test_load_clips(tmp_path: Path) -> None:
    for name in ("en_2-1.flac", "en_1-1.wav", "zh_a.flac"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no audio", encoding="utf-8")
    (tmp_path / "texts.tsv").write_text("en_1-1\tde\tguten tag\n\n", encoding="utf-8")
    clips = load_clips(tmp_path)
    assert [(clip.stem, clip.language, clip.text) for clip in clips] == [
        ("en_1-1", "de", "guten tag"),
        ("en_2-1", "en", None),
        ("zh_a", "zh", None),
    ]
    assert [clip.stem for clip in load_clips(tmp_path, languages=["en", "zh"])] == [
        "en_2-1",
        "zh_a",
    ]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_clips(tmp_path / "none")


def test_no_clip_of_the_language(tmp_path: Path) -> None:
    write(tmp_path / "en_1.wav")
    with pytest.raises(InputError, match="no clip of language fr"):
        load_clips(tmp_path, languages=["fr"])


def test_damaged_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.tsv"
    path.write_text("a\ten\tfine\nb en text\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"texts\.tsv:2"):
        read_texts(path)


def test_spread_over_speakers() -> None:
    clips = clips_of("a-1", "a-2", "b-1", "b-2", "c-1", "c-2", "d-1")
    assert [clip.stem for clip in spread(clips, 2)] == ["a-1", "c-1"]
    assert [clip.stem for clip in spread(clips, 4)] == ["a-1", "b-1", "c-1", "d-1"]
    assert [clip.stem for clip in spread(clips, 5)] == ["a-1", "a-2", "b-1", "c-1", "d-1"]
    assert spread(clips, 99) == clips
    assert spread(clips, None) == clips


def test_spread_over_none() -> None:
    with pytest.raises(InputError, match="--limit 0"):
        spread(clips_of("a-1"), 0)


def test_read_clip_mixes_and_resamples(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", rate=48000, shape=(4800, 2))
    pcm = read_clip(tmp_path / "a.wav")
    assert pcm.shape == (1600,)
    assert pcm.dtype == np.float32
    assert pcm[400:1200] == pytest.approx(0.25, abs=0.01)


def test_read_clip_that_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no audio", encoding="utf-8")
    with pytest.raises(AudioFileError, match="cannot be read"):
        read_clip(tmp_path / "a.wav")


def test_read_clip_without_samples(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", shape=(0,))
    with pytest.raises(AudioFileError, match="no sample"):
        read_clip(tmp_path / "a.wav")


def test_resampling_has_no_delay() -> None:
    pulse = np.zeros(1600, dtype=np.float32)
    pulse[800] = 1
    there_and_back = resample(resample(pulse, 16000, 8000), 8000, 16000)
    assert int(np.argmax(there_and_back)) == 800
