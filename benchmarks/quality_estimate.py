"""How well the running estimate of a call's quality follows the measured one.

    python -m benchmarks.quality_estimate --docs

Clips through the codec with few and many books and losses, the spread that calls have; the
estimate of `transport.quality` against DistillMOS. A mean over the clips of one condition leaves
out in what voices and recordings differ, as is usual where estimates are judged (ITU-T P.1401).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.clips import load_clips, spread
from benchmarks.command import add_clips, add_codec, progress, run_command
from benchmarks.links import ROOT
from benchmarks.measures import Evaluator, limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.receiver import Bench, Row, estimates_and_scores
from benchmarks.table import write_page

__all__ = ["Judgement", "judge", "parser", "run"]

_BOOKS: Final = (2, 4, 8)
_LOSSES: Final = ((0.0, 1.0), (0.1, 2.0), (0.25, 3.0))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Pearson's correlation of the estimates with what was measured, and their error (RMS): clip
    by clip, and over the means of the conditions."""

    clips: float
    clip_error: float
    conditions: float
    condition_error: float

    def __str__(self) -> str:
        return (
            f"Correlation of the running estimate with DistillMOS: {self.clips:.2f} clip by clip "
            f"(error {self.clip_error:.2f}), {self.conditions:.2f} over the means of the "
            f"conditions (error {self.condition_error:.2f})."
        )


def judge(rows: Sequence[Row]) -> Judgement:
    """Compare the estimates of all rows with DistillMOS; one row is one condition."""
    pairs = [np.array(estimates_and_scores(row)) for row in rows]
    clips, clip_error = _compare(np.concatenate(pairs))
    means = np.array([np.mean(row, axis=0) for row in pairs])
    conditions, condition_error = _compare(means)
    return Judgement(
        clips=clips,
        clip_error=clip_error,
        conditions=conditions,
        condition_error=condition_error,
    )


def _compare(pairs: npt.NDArray[np.float64]) -> tuple[float, float]:
    estimates, measured = pairs.T
    error = float(np.sqrt(np.mean(np.square(estimates - measured))))
    together: npt.NDArray[np.float64] = np.asarray(np.corrcoef(estimates, measured))
    return float(together[0, 1]), error


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.quality_estimate",
        description="Compare the running estimate of the quality with the measured one.",
    )
    add_clips(new)
    add_codec(new)
    add = new.add_argument
    add("--limit", type=int, metavar="N", help="only N clips, spread over the speakers")
    add("--docs", action="store_true", help="rewrite the table of docs/receiver.md")
    return new


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    limit_threads(1)
    evaluator = Evaluator(measures=["distillmos"], threads=1)
    clips = spread(load_clips(options.clips, languages=["en"]), options.limit)
    codec = load_named_codec(options.codec, options.weights)
    rows = []
    lines = ["| books | loss | mean run | DistillMOS | estimate |", "|---|---|---|---|---|"]
    for books in _BOOKS:
        bench = Bench(
            codec, quantizers=books, evaluator=evaluator, plcmos=None, cache=options.cache
        )
        for loss, burst in _LOSSES:
            row = bench.run(clips, method="ours", loss=loss, burst=burst)
            rows.append(row)
            measured, estimate = row.scores["distillmos"], row.scores["estimate"]
            lines.append(
                f"| {books} | {100 * loss:g} % | {burst:g} | {measured:.2f} | {estimate:.2f} |"
            )
            progress(lines[-1])
    text = "\n".join([*lines, "", str(judge(rows))])
    print(text)
    if options.docs:
        info = codec.info
        head = (
            f"{len(clips)} clips, codec `{info.name}` version {info.version} (weights "
            f"{info.weights_hash}). Measured {date.today().isoformat()} with\n\n    {command}\n\n"
        )
        write_page(ROOT / "docs" / "receiver.md", head + text, name="quality_estimate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
