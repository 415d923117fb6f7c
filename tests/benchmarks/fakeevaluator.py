"""An evaluator for tests: scores are made up of the samples, and its calls are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.alignment import Pcm
from benchmarks.cache import Scores
from benchmarks.measures import MEASURES, Evaluator

Score = Callable[[Pcm, Pcm], float]


def mean_error(reference: Pcm, degraded: Pcm) -> float:
    """Mean absolute difference of the samples."""
    return float(np.abs(reference - degraded).mean())


def level(_: Pcm, degraded: Pcm) -> float:
    """RMS of what is heard."""
    return float(np.sqrt(np.mean(degraded**2)))


class FakeEvaluator(Evaluator):
    """Every score is that of `score`, but for those of `fixed`.

    Stops like a user when it is asked for a clip more than `most`.
    """

    def __init__(
        self,
        measures: Sequence[str] = ("stoi", "wer"),
        *,
        score: Score = mean_error,
        fixed: Scores | None = None,
        most: int | None = None,
    ) -> None:
        super().__init__(measures=measures)
        self.calls: list[tuple[str | None, tuple[str, ...]]] = []
        self.languages: set[str] = set()
        self._score = score
        self._fixed: Scores = {"word_errors": 1.0, "words": 4.0} if fixed is None else fixed
        self._most = most

    def evaluate(
        self, reference: Pcm, degraded: Pcm, text: str | None = None, **options: Any
    ) -> Scores:
        if len(self.calls) == self._most:
            raise KeyboardInterrupt
        names = tuple(options.get("measures") or self.measures)
        self.calls.append((text, names))
        self.languages.add(options.get("language", "en"))
        value = self._score(reference, degraded)
        return {
            score: self._fixed.get(score, value)
            for name in names
            for score in MEASURES[name].scores
        }
