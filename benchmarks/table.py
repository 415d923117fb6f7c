"""From scores of clips to a Markdown table and a plot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.cache import Scores
from benchmarks.measures import MEASURES, Measure
from benchmarks.packages import need
from linkcodec.exceptions import InputError

BEGIN: Final = "<!-- {0}: begin (written by benchmarks/{0}.py) -->"
END: Final = "<!-- {0}: end -->"
"""Markers of what a benchmark writes into a page, with its name in place of {0}."""

_PLOTTED: Final = ("distillmos", "stoi", "wer")
_TICKS: Final = (150, 300, 600, 1200, 2400, 4800, 9600)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Scores of one system over all clips: `values` by measure, None where no clip has one;
    `counts` the clips behind each value."""

    title: str
    bitrate: float | None
    ours: bool
    clips: int
    values: dict[str, float | None] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def summarise(
    scores: Sequence[Scores],
    *,
    title: str,
    bitrate: float | None,
    measures: Sequence[str],
    ours: bool = False,
) -> Summary:
    """Means over clips; for word errors, all errors over all words."""
    summary = Summary(title=title, bitrate=bitrate, ours=ours, clips=len(scores))
    for name in measures:
        summary.values[name], summary.counts[name] = _value(scores, MEASURES[name])
    return summary


def _value(scores: Sequence[Scores], measure: Measure) -> tuple[float | None, int]:
    if measure.name == "wer":
        pairs = [
            (errors, words)
            for row in scores
            if (errors := row.get("word_errors")) is not None
            and (words := row.get("words")) is not None
        ]
        total = sum(words for _, words in pairs)
        return (sum(errors for errors, _ in pairs) / total if total else None), len(pairs)
    found = [value for row in scores if (value := row.get(measure.scores[0])) is not None]
    return (sum(found) / len(found) if found else None), len(found)


def markdown(summaries: Sequence[Summary], measures: Sequence[str]) -> str:
    """The table. A value that some clips lack bears the number of those behind it."""
    head = ["codec", "bit/s", *(MEASURES[name].title for name in measures)]
    lines = [
        "| " + " | ".join(head) + " |",
        "|---|" + "---:|" * (len(head) - 1),
    ]
    expected = {
        name: max((summary.counts[name] for summary in summaries), default=0) for name in measures
    }
    for summary in summaries:
        bitrate = "" if summary.bitrate is None else f"{round(summary.bitrate, 1):g}"
        title = f"**{summary.title}**" if summary.ours else summary.title
        cells = [title, bitrate]
        for name in measures:
            value, count = summary.values[name], summary.counts[name]
            text = "" if value is None else f"{value:.{MEASURES[name].digits}f}"
            cells.append(text if count == expected[name] else f"{text} (of {count})".strip())
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def replace_between(document: str, text: str, *, name: str = "quality") -> str:
    """The document with `text` between the markers `BEGIN` and `END` of a benchmark.

    Raises:
        InputError: the markers are not there once each, in this order.
    """
    begin, end = BEGIN.format(name), END.format(name)
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if document.count(begin) != 1 or document.count(end) != 1 or not pattern.search(document):
        raise InputError(f"the document needs one line '{begin}' and after it one '{end}'")
    return pattern.sub(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", document)


def write_page(page: Path, text: str, *, name: str) -> None:
    """Put `text` between the markers of a page."""
    new = replace_between(page.read_text(encoding="utf-8"), text, name=name)
    page.write_text(new, encoding="utf-8")


def by_bitrate(summaries: Sequence[Summary]) -> list[Summary]:
    """Uncoded speech first, then from the highest rate to the lowest."""
    return sorted(summaries, key=lambda one: float("-inf") if one.bitrate is None else -one.bitrate)


def check_plotted(measures: Sequence[str]) -> list[str]:
    """Those of the measures that the plot shows.

    Raises:
        InputError: there is none.
    """
    names = [name for name in _PLOTTED if name in measures]
    if not names:
        raise InputError(f"--docs needs one of these measures to plot: {', '.join(_PLOTTED)}")
    return names


def plot(summaries: Sequence[Summary], measures: Sequence[str], path: Path) -> None:
    """DistillMOS, STOI and word error rate against the bit rate, as a PNG."""
    names = check_plotted(measures)
    need("matplotlib").use("Agg")
    pyplot = need("matplotlib.pyplot", package="matplotlib")
    figure, panels = pyplot.subplots(1, len(names), figsize=(5 * len(names), 5), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        points = [
            (summary, value) for summary in summaries if (value := summary.values[name]) is not None
        ]
        _plot_points(axes, points)
        axes.set_xscale("log")
        axes.set_xlim(100, 12000)
        axes.set_xticks(_TICKS, labels=[str(tick) for tick in _TICKS])
        axes.minorticks_off()
        axes.margins(y=0.1)
        axes.set_xlabel("bit/s")
        better = "lower" if name == "wer" else "higher"
        axes.set_title(f"{MEASURES[name].title} ({better} is better)", fontsize=10)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    for axes, name in zip(panels[0], names, strict=True):
        _plot_names(figure, axes, summaries, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _plot_points(axes: Any, points: Sequence[tuple[Summary, float]]) -> None:
    curve: list[tuple[float, float]] = []
    for summary, value in points:
        if summary.bitrate is None:
            axes.axhline(value, color="0.6", linestyle="--", linewidth=1)
        elif summary.ours:
            curve.append((summary.bitrate, value))
        else:
            axes.plot(summary.bitrate, value, "o", color="tab:gray", markersize=5)
    if curve:
        rates, values = zip(*sorted(curve), strict=True)
        axes.plot(rates, values, "o-", color="tab:blue", label="linkcodec", markersize=5)
        axes.legend(loc="best", fontsize=8)


def _plot_names(figure: Any, axes: Any, summaries: Sequence[Summary], measure: str) -> None:
    """Names beside the points, each where it covers no other name and no point."""
    taken: list[Any] = []
    spots = [
        (100.0 if one.bitrate is None else one.bitrate, value, one)
        for one in summaries
        if (value := one.values[measure]) is not None
    ]
    pixels = [axes.transData.transform((rate, value)) for rate, value, _ in spots]
    for rate, value, summary in spots:
        if summary.ours:
            continue
        for right, up in ((5, 4), (5, -11), (-5, 4), (-5, -11), (5, 14), (5, -21)):
            label = axes.annotate(
                summary.title,
                (rate, value),
                xytext=(right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right",
                fontsize=8,
            )
            box = label.get_window_extent(figure.canvas.get_renderer())
            covers = any(box.overlaps(other) for other in taken)
            if not covers and not any(box.contains(*pixel) for pixel in pixels):
                break
            label.remove()
        else:
            axes.add_artist(label)
        taken.append(box)
