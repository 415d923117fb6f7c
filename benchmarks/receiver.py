"""Speech quality against frame loss, for our concealment and for simple ones.

    python -m benchmarks.receiver --docs

measures everything and rewrites the table and the plot of docs/receiver.md. Finished clips are
kept in the cache, by the codec's weights, so that several processes may share the `--cases`.
`--limit 10 --measures distillmos,plcmos,stoi` is a quick look. `benchmarks.receiver_delay`
measures delay against jitter, `benchmarks.gate` the sender's gate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.alignment import Pcm, align
from benchmarks.cache import ResultCache, Scores
from benchmarks.clips import SAMPLE_RATE, Clip, load_clips, read_clip, resample, spread
from benchmarks.command import add_clips, add_codec, run_command
from benchmarks.joins import join_step, joins
from benchmarks.measures import Evaluator, limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.packages import need
from benchmarks.table import write_page
from linkcodec.codec import Codec, Decoder
from linkcodec.exceptions import InputError
from linkcodec.frame import LOST, Frame, PlayoutItem
from transport.quality import QualityMeter

_ROOT: Final = Path(__file__).resolve().parents[1]
_KEY_VERSION: Final = 4

CASES: Final = ((0.0, 1.0), (0.05, 1.0), (0.1, 1.0), (0.1, 2.0), (0.1, 4.0), (0.2, 2.0))
"""Shares of frames lost, and mean lengths of a run of losses (Gilbert-Elliott)."""

_WORDS: Final = ((0.0, 1.0), (0.1, 2.0))
"""Where words are recognised, for our method: it takes longer than all the rest."""

Play = Callable[[Decoder, Sequence[PlayoutItem], int], list[Pcm]]


def play_ours(decoder: Decoder, items: Sequence[PlayoutItem], size: int) -> list[Pcm]:
    """The decoder conceals."""
    del size
    return [decoder.decode(item) for item in items]


def play_silence(decoder: Decoder, items: Sequence[PlayoutItem], size: int) -> list[Pcm]:
    """Zeros in the place of a lost frame; the decoder does not hear of it."""
    return [
        decoder.decode(item) if isinstance(item, Frame) else np.zeros(size, np.float32)
        for item in items
    ]


def play_repeat(decoder: Decoder, items: Sequence[PlayoutItem], size: int) -> list[Pcm]:
    """The last frame's indices once more, 6 dB lower for each loss in a row."""
    played = []
    last: PlayoutItem = LOST
    gain = 1.0
    for item in items:
        if isinstance(item, Frame):
            last, gain = item, 1.0
            played.append(decoder.decode(item))
        else:
            fade = np.linspace(gain, gain / 2, size, dtype=np.float32)
            gain /= 2
            played.append(decoder.decode(last) * fade)
    return played


METHODS: Final[dict[str, Play]] = {
    "ours": play_ours,
    "repeat": play_repeat,
    "silence": play_silence,
}


def loss_trace(frames: int, *, loss: float, burst: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which frames are lost, but for the first; shape (frames,)."""
    rng = np.random.default_rng(seed)
    lost = np.zeros(frames, dtype=bool)
    into = loss / (burst * (1 - loss)) if burst > 1 else loss
    for number in range(1, frames):
        stays = lost[number - 1] and burst > 1
        lost[number] = rng.random() < (1 - 1 / burst if stays else into)
    return lost


class PlcScorer:
    """PLCMOS (Diener et al. 2023) of package speechmos."""

    def __init__(self) -> None:
        self._run: Any = need("speechmos.plcmos", package="speechmos").run

    def score(self, pcm: Pcm) -> Scores:
        result = self._run(np.clip(pcm, -1, 1).astype(np.float32), SAMPLE_RATE)
        return {"plcmos": float(result["plcmos"])}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Means over the clips for one method at one loss."""

    method: str
    loss: float
    burst: float
    scores: Scores
    clips: list[Scores]


class Bench:
    """Runs clips through a codec with losses, and scores what comes out.

    codec: what is measured.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        quantizers: int,
        evaluator: Evaluator,
        plcmos: PlcScorer | None,
        cache: Path | None = None,
    ) -> None:
        self.codec = codec
        self._quantizers = quantizers
        self._evaluator = evaluator
        self._plcmos = plcmos
        self._cache = cache
        self._frames: dict[str, list[Frame]] = {}

    def run(self, clips: Sequence[Clip], *, method: str, loss: float, burst: float) -> Row:
        """All clips; cached ones are only encoded."""
        info = self.codec.info
        name = f"receiver-{info.name}-{method}-{loss:g}-{burst:g}"
        cache = None if self._cache is None else ResultCache(self._cache, name)
        key = f"{_KEY_VERSION}:{info.version}/{info.weights_hash}:{self._quantizers}"
        words = method == "ours" and (loss, burst) in _WORDS
        measures = [name for name in self._evaluator.measures if words or name != "wer"]
        wanted = {"join", *(["plcmos"] if self._plcmos else [])}
        wanted |= {"words" if name == "wer" else name for name in measures}
        rows = []
        for number, clip in enumerate(clips):
            frames = self._encoded(clip)
            lost = loss_trace(len(frames), loss=loss, burst=burst, seed=1000 + number)
            items = [LOST if gone else frame for frame, gone in zip(frames, lost, strict=True)]
            known: Scores = {} if cache is None else cache.get(clip.stem, key)
            if not wanted <= set(known):
                known = self._measure(clip, METHODS[method], items, measures)
                if cache is not None:
                    cache.add(clip.stem, key, known)
            # What was recognised of some clips under other settings makes no mean.
            kept = words or not {"words", "word_errors"} & known.keys()
            known = known if kept else {**known, "words": None, "word_errors": None}
            # The estimate costs nothing, and depends on more than the codec.
            rows.append({**known, "estimate": _estimate(items)})
        return Row(method=method, loss=loss, burst=burst, scores=_means(rows), clips=rows)

    def _encoded(self, clip: Clip) -> list[Frame]:
        if clip.stem not in self._frames:
            samples = resample(read_clip(clip.path), SAMPLE_RATE, self.codec.info.sample_rate)
            encoder = self.codec.encoder(quantizers=self._quantizers)
            self._frames[clip.stem] = encoder.push(samples) + encoder.flush()
        return self._frames[clip.stem]

    def _measure(
        self, clip: Clip, play: Play, items: Sequence[PlayoutItem], measures: Sequence[str]
    ) -> Scores:
        info = self.codec.info
        pcm = read_clip(clip.path)
        decoded = np.concatenate(play(self.codec.decoder(), items, info.frame_size))
        length = round(pcm.size * info.sample_rate / SAMPLE_RATE)
        decoded = align(decoded, delay=info.delay, length=length)
        heard = align(resample(decoded, info.sample_rate, SAMPLE_RATE), delay=0, length=pcm.size)
        scores = self._evaluator.evaluate(
            pcm, heard, clip.text, language=clip.language, measures=measures
        )
        if self._plcmos is not None:
            scores |= self._plcmos.score(heard)
        scores["lost"] = float(np.mean([item is LOST for item in items]))
        size = info.frame_size
        # Without losses: what speech itself has at the borders of frames.
        places = joins(items, size) if LOST in items else range(size, size * len(items), size)
        places = [place - info.delay for place in places]
        scores["join"] = join_step(decoded, places, info.sample_rate)
        return scores


def _estimate(items: Sequence[PlayoutItem]) -> float | None:
    meter = QualityMeter()
    for item in items:
        meter.add(item)
    return meter.score


def _means(rows: Sequence[Scores]) -> Scores:
    means: Scores = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row.get(name)) is not None]
        means[name] = float(np.mean(values)) if values else None
    means["join"] = max((row.get("join") or 0.0 for row in rows), default=None)
    words, errors = means.pop("words", None), means.pop("word_errors", None)
    if words and errors is not None:
        means["wer"] = errors / words
    return means


def correlation(rows: Sequence[Row]) -> float:
    """Pearson's, of the running estimate and DistillMOS over all clips of our method."""
    pairs = [pair for row in rows if row.method == "ours" for pair in estimates_and_scores(row)]
    return float(np.corrcoef(np.array(pairs, dtype=float).T)[0, 1])


def fall_correlation(rows: Sequence[Row]) -> float:
    """The same of how far both fall below the clip's values without losses: the receiver cannot
    know how well a voice is coded, in which clips differ more than by their losses."""
    ours = [row for row in rows if row.method == "ours"]
    clear = estimates_and_scores(next(row for row in ours if not row.loss))
    falls = [np.subtract(estimates_and_scores(row), clear) for row in ours if row.loss]
    return float(np.corrcoef(np.concatenate(falls).T)[0, 1])


def estimates_and_scores(row: Row) -> list[tuple[float, float]]:
    """The running estimate and DistillMOS of each clip that has both."""
    return [
        (estimate, measured)
        for one in row.clips
        if (estimate := one.get("estimate")) is not None
        and (measured := one.get("distillmos")) is not None
    ]


def fall(rows: Sequence[Row]) -> str:
    """In words, what losses cost our method: the measures less those without losses."""
    clear = next(row for row in rows if not row.loss)
    lines = []
    for row in rows:
        if row.method != "ours" or not row.loss:
            continue
        costs = [
            f"{name} {value - base:+.3f}"
            for name in ("distillmos", "plcmos", "wer")
            if (value := row.scores.get(name)) is not None
            and (base := clear.scores.get(name)) is not None
        ]
        if costs:
            lines.append(f"- {100 * row.loss:g} % in runs of {row.burst:g}: {', '.join(costs)}")
    return "\n\nAgainst no losses:\n\n" + "\n".join(lines) if lines else ""


def markdown(rows: Sequence[Row]) -> str:
    """One line per method and loss."""
    names = [name for name in rows[0].scores if name != "lost"]
    lines = [
        f"| loss | mean run | method | {' | '.join(names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for row in rows:
        values = [row.scores.get(name) for name in names]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        loss = f"{100 * row.loss:g} % | {row.burst:g}"
        lines.append(f"| {loss} | {row.method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Each measure over the losses, a line for each method."""
    need("matplotlib").use("Agg")
    pyplot: Any = need("matplotlib.pyplot", package="matplotlib")
    names = [name for name in rows[0].scores if name not in {"lost", "estimate", "join", "wer"}]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 3.5), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for method in METHODS:
            points = [row for row in rows if row.method == method or row.loss == 0.0]
            labels = [f"{100 * row.loss:g} %\nrun {row.burst:g}" for row in points]
            axis.plot(labels, [row.scores.get(name) for row in points], "o-", label=method)
        axis.set_title(name)
        axis.grid(visible=True, alpha=0.3)
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.receiver",
        description="Measure speech quality against frame loss.",
    )
    add_clips(new)
    add = new.add_argument
    add("--languages", default="en", help="of the clips")
    add("--limit", type=int, metavar="N", help="only N clips, spread over the speakers")
    add_codec(new)
    add("--quantizers", type=int, default=8)
    add("--measures", default="stoi,distillmos,wer,plcmos")
    add("--threads", type=int, default=1)
    add("--cases", metavar="N,...", help="only these, by their places in the table from 0 on")
    add("--docs", action="store_true", help="rewrite the table and plot of docs/receiver.md")
    return new


def _cases(places: str | None) -> Sequence[tuple[float, float]]:
    """Those of the option --cases.

    Raises:
        InputError: there is no such place.
    """
    if places is None:
        return CASES
    try:
        chosen = [range(len(CASES)).index(int(place)) for place in places.split(",")]
    except ValueError:
        raise InputError(
            f"--cases {places}: give numbers from 0 to {len(CASES) - 1} with commas"
        ) from None
    return [CASES[place] for place in chosen]


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    cases = _cases(options.cases)
    if options.docs and CASES[0] not in cases:
        raise InputError("--docs compares with no losses: add 0 to --cases")
    limit_threads(options.threads)
    measures = options.measures.split(",")
    evaluator = Evaluator(
        measures=[name for name in measures if name != "plcmos"],
        threads=options.threads,
        whisper=options.whisper or options.cache / "whisper-base",
    )
    clips = spread(load_clips(options.clips, languages=options.languages.split(",")), options.limit)
    bench = Bench(
        load_named_codec(options.codec, options.weights),
        quantizers=options.quantizers,
        evaluator=evaluator,
        plcmos=PlcScorer() if "plcmos" in measures else None,
        cache=options.cache,
    )
    rows = []
    for loss, burst in cases:
        for method in METHODS if loss else ("ours",):
            row = bench.run(clips, method=method, loss=loss, burst=burst)
            rows.append(row)
            print(method, loss, burst, row.scores, file=sys.stderr, flush=True)
    table = markdown(rows)
    if "distillmos" in measures and CASES[0] in cases and len(cases) > 1:
        table += (
            f"\n\nCorrelation of the running estimate with DistillMOS over clips and losses: "
            f"{correlation(rows):.2f}; of what losses take from both, clip by clip: "
            f"{fall_correlation(rows):.2f}."
        )
    print(table)
    if options.docs:
        plot(rows, _ROOT / "docs" / "receiver.png")
        info = bench.codec.info
        head = (
            f"{len(clips)} clips, codec `{info.name}` version {info.version} (weights "
            f"{info.weights_hash}), {options.quantizers} books. `estimate` is the running "
            "estimate of the quality, `join` the largest step between neighbouring samples at "
            "a join over the largest of the speech around it (without losses: at the borders "
            "of all frames, which is what speech itself has). "
            f"Measured {date.today().isoformat()} with\n\n    {command}\n\n"
        )
        text = head + table + fall(rows) + "\n\n![Measures against loss](receiver.png)"
        write_page(_ROOT / "docs" / "receiver.md", text, name="receiver")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
