"""Curves of training runs: `python -m benchmarks.curves RUN... --output docs/training.svg`.

A run is a folder that `python -m linkcodec.compact.train run` has written; several in a row
are one training, each begun with the weights of the one before.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.command import run_command
from benchmarks.packages import need
from linkcodec.exceptions import InputError

LOSSES: Final = {
    "spectral": "spectral distance",
    "pitch": "pitch error, octaves",
    "listener": "recogniser's distance",
    "matching": "distance to the discriminators",
}
_SECONDS_PER_STEP: Final = 16 * 1.6
"""Speech heard in a step, for logs of runs that did not count it."""
_SMOOTHED: Final = 7


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One loss of one run against the hours of speech heard since the first run began."""

    hours: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


def read_runs(folders: list[Path]) -> tuple[dict[str, list[Curve]], list[float]]:
    """Curves by loss, and the hours at which each run ends.

    Raises:
        InputError: a folder has no log.
    """
    curves: dict[str, list[Curve]] = {name: [] for name in LOSSES}
    ends: list[float] = []
    for folder in folders:
        path = folder / "log.jsonl"
        if not path.is_file():
            raise InputError(f"{path}: no such log; give the folders of training runs")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if not lines:
            raise InputError(f"{path}: empty; the run has not logged anything yet")
        before = ends[-1] if ends else 0.0
        for name, kept in curves.items():
            # Not every loss is taken in every stage of a run.
            told = [line for line in lines if name in line]
            if told:
                hours = [before + line["step"] * _SECONDS_PER_STEP / 3600 for line in told]
                values = np.array([line[name] for line in told])
                kept.append(Curve(hours=np.array(hours), values=smoothed(values)))
        ends.append(before + lines[-1]["step"] * _SECONDS_PER_STEP / 3600)
    return curves, ends


def smoothed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Medians of each value and its neighbours."""
    half = min(_SMOOTHED, len(values)) // 2
    padded = np.pad(values, half, mode="edge")
    return np.asarray(
        np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    )


def draw(folders: list[Path], output: Path) -> None:
    """Write the picture, one panel for each loss.

    Raises:
        InputError: a run has no log.
    """
    curves, ends = read_runs(folders)
    need("matplotlib").use("svg")
    plt: Any = need("matplotlib.pyplot", package="matplotlib")
    plt.rcParams["svg.hashsalt"] = "linkcodec"
    figure, panels = plt.subplots(len(LOSSES), 1, figsize=(8, 9), sharex=True)
    for panel, (name, title) in zip(panels, LOSSES.items(), strict=True):
        for curve in curves[name]:
            panel.plot(curve.hours, curve.values, linewidth=1.2, color="#1f5fa8")
        for end in ends[:-1]:
            panel.axvline(end, color="#999999", linewidth=0.6)
        if curves[name]:
            tail = np.concatenate(
                [curve.values[len(curve.values) // 4 :] for curve in curves[name]]
            )
            panel.set_ylim(0.95 * tail.min(), 1.05 * float(np.percentile(tail, 98)))
        panel.set_title(title, fontsize=9, loc="left")
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("hours of speech heard; grey: a new run")
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, metadata={"Date": None})
    print(f"{output}: {len(folders)} runs, {ends[-1]:.0f} hours")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--output", type=Path, default=Path("docs/training.svg"), metavar="FILE")
    return run_command(parser, lambda options, _: draw(options.runs, options.output))


if __name__ == "__main__":
    raise SystemExit(main())
