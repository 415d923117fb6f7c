from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from fakecodec import FakeCodec
from fakeevaluator import FakeEvaluator

from benchmarks.cache import Scores
from benchmarks.clips import Clip, load_clips
from benchmarks.measures import MEASURES, Evaluator, check_measures
from benchmarks.peers import Clean, OurCodec
from benchmarks.quality import (
    document,
    main,
    measure_codec,
    measure_folders,
    measure_system,
    missing_measures,
)
from linkcodec.exceptions import CodecError, InputError


@pytest.fixture(autouse=True)
def _threads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line limits the threads of the whole process, which other tests share."""
    monkeypatch.setattr("benchmarks.quality.limit_threads", lambda _: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    made = tmp_path / "clips"
    made.mkdir()
    for number in range(4):
        pcm = rng.uniform(-0.5, 0.5, 3000 + number).astype(np.float32)
        soundfile.write(made / f"en_{number}-1.flac", pcm, 16000)
    lines = [f"en_{number}-1\ten\tclip {number}" for number in range(4)]
    (made / "texts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


@pytest.fixture
def clips(folder: Path) -> list[Clip]:
    return load_clips(folder)


def test_cached_clips_cost_nothing(clips: list[Clip], tmp_path: Path) -> None:
    first, second = FakeEvaluator(), FakeEvaluator()
    one = measure_system(Clean(), clips, first, cache=tmp_path)
    other = measure_system(Clean(), clips, second, cache=tmp_path)
    assert len(first.calls) == 4
    assert first.languages == {"en"}
    assert second.calls == []
    assert one == other
    assert one.values == {"stoi": 0.0, "wer": 0.25}


def test_an_interrupted_run_goes_on(clips: list[Clip], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        measure_system(Clean(), clips, FakeEvaluator(most=2), cache=tmp_path)
    rest = FakeEvaluator()
    summary = measure_system(Clean(), clips, rest, cache=tmp_path)
    assert [text for text, _ in rest.calls] == ["clip 2", "clip 3"]
    assert summary.clips == 4


def test_a_new_measure_costs_only_itself(clips: list[Clip], tmp_path: Path) -> None:
    measure_system(Clean(), clips, FakeEvaluator(["stoi"]), cache=tmp_path)
    more = FakeEvaluator(["stoi", "estoi"])
    measure_system(Clean(), clips, more, cache=tmp_path)
    assert {names for _, names in more.calls} == {("estoi",)}


def test_other_weights_are_measured_again(clips: list[Clip], tmp_path: Path) -> None:
    codec = FakeCodec()
    measure_codec(codec, clips, FakeEvaluator(), books=[4], cache=tmp_path)
    changed = FakeCodec()
    changed.info = type(codec.info)(
        **{name: getattr(codec.info, name) for name in codec.info.__dataclass_fields__}
        | {"weights_hash": "other"}
    )
    again = FakeEvaluator()
    measure_codec(changed, clips, again, books=[4], cache=tmp_path)
    assert len(again.calls) == 4


def test_a_changed_clip_is_measured_again(clips: list[Clip], tmp_path: Path) -> None:
    measure_system(Clean(), clips, FakeEvaluator(), cache=tmp_path)
    soundfile.write(clips[1].path, np.full(3000, 0.1, dtype=np.float32), 16000)
    again = FakeEvaluator()
    measure_system(Clean(), clips, again, cache=tmp_path)
    assert [text for text, _ in again.calls] == ["clip 1"]


def test_our_codec_at_each_number_of_books(clips: list[Clip]) -> None:
    found = measure_codec(FakeCodec(), clips, FakeEvaluator(["stoi"]), books=[1, 4])
    assert [one.title for one in found] == ["fake, 1 book", "fake, 4 books"]
    assert [one.bitrate for one in found] == [137.5, 550.0]
    # The fake codec loses level with fewer books and nothing else.
    assert found[0].values["stoi"] == pytest.approx(0.1875, rel=0.1)
    assert found[1].values["stoi"] == pytest.approx(0.0, abs=1e-6)


def test_more_books_than_there_are(clips: list[Clip]) -> None:
    with pytest.raises(CodecError, match="quantizers = 9"):
        measure_codec(FakeCodec(), clips, FakeEvaluator(), books=[1, 9])


def test_folders_of_files(folder: Path, tmp_path: Path) -> None:
    clips = load_clips(folder)
    coded = tmp_path / "coded"
    coded.mkdir()
    for clip in clips:
        pcm, rate = soundfile.read(clip.path, dtype="float32")
        soundfile.write(coded / f"{clip.stem}.wav", pcm[:-100], rate)
    evaluator = FakeEvaluator()
    summary = measure_folders(folder, coded, clips, evaluator)
    assert summary.values["stoi"] == pytest.approx(0.25 * 100 / 3000, rel=0.2)
    assert [text for text, _ in evaluator.calls] == [f"clip {number}" for number in range(4)]
    (coded / "en_2-1.wav").unlink()
    with pytest.raises(InputError, match="'en_2-1'"):
        measure_folders(folder, coded, clips, evaluator)


def test_missing_measures() -> None:
    assert missing_measures({}, ["stoi", "wer"]) == ["stoi", "wer"]
    known: Scores = {"stoi": None, "word_errors": 1.0}
    assert missing_measures(known, ["stoi", "wer"]) == ["wer"]


def test_measures_come_in_the_order_of_the_table() -> None:
    assert check_measures(["wer", "stoi"]) == ("stoi", "wer")
    assert check_measures(None) == tuple(MEASURES)


def test_scores_have_one_measure_each() -> None:
    scores = [score for measure in MEASURES.values() for score in measure.scores]
    assert len(scores) == len(set(scores))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        Evaluator(measures=[]).evaluate(np.zeros(5, np.float32), np.zeros(6, np.float32))


def test_document_names_what_was_done(clips: list[Clip]) -> None:
    summary = measure_system(Clean(), clips, FakeEvaluator(["stoi"]))
    text = document([summary], ["stoi"], clips, "python -m benchmarks.quality --docs")
    assert "4 clips, 4 speakers, language: en." in text
    assert "    python -m benchmarks.quality --docs" in text
    assert "| clean signal |  | 0.000 |" in text
    assert "pystoi" in text


def test_system_names_are_file_names() -> None:
    assert OurCodec(FakeCodec(), quantizers=4).name == "fake-4"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clips", "no-such-folder"], "folder of clips 'no-such-folder' does not exist"),
        (["--measures", "mos"], "unknown measure 'mos'"),
        (["--peers", "g729"], "unknown peer 'g729'"),
        (["--peers", "clean", "--codec", "opus"], "unknown codec 'opus'"),
        (["--peers", "none", "--codec", "fake", "--weights", "x"], "--weights is for codec"),
        (["--peers", "none", "--codec", "none"], "nothing to measure"),
        (["--peers", "clean", "--codec", "none", "--threads", "0"], "--threads 0"),
        (["--docs", "--measures", "pesq_wb"], "--docs needs one of these measures"),
        (["--limit", "0"], "--limit 0"),
        (["--wav", "x", "y", "--docs"], "goes with neither --docs nor --delays"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--clips" not in arguments:
        arguments = ["--clips", str(folder), *arguments]
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1


def test_delays_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--clips", str(folder), "--codec", "none", "--peers", "clean", "--delays"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "clean: 0..0..0, removed 0\n"
