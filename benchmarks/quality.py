"""Speech quality of our codec and its peers on a folder of clips.

    python -m benchmarks.quality --docs

measures everything and rewrites the table and the plot of docs/quality.md. Finished clips
are kept in the cache, so an interrupted run goes on where it stopped, and a new codec costs
only itself. `--limit` and `--measures` make it quick; `--wav ORIGINAL CODED` measures two
folders of files instead of codecs.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from benchmarks.alignment import Pcm, align, estimate_delay, median_delay
from benchmarks.cache import ResultCache, Scores
from benchmarks.clips import Clip, load_clips, read_clip, spread
from benchmarks.command import add_clips, add_codec, progress, run_command
from benchmarks.measures import MEASURES, Evaluator, check_measures, limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.packages import package_version
from benchmarks.peers import PEERS, OurCodec, System, debian_version, load_peers
from benchmarks.table import (
    Summary,
    by_bitrate,
    check_plotted,
    markdown,
    plot,
    replace_between,
    summarise,
)
from linkcodec.codec import Codec
from linkcodec.exceptions import InputError

_KEY_VERSION: Final = 1
"""Raised when a measure's definition changes, so that cached scores become stale."""

_ROOT: Final = Path(__file__).resolve().parents[1]
_DEBIAN: Final = ("libcodec2-1.0", "opus-tools", "speex")

Progress = Callable[[str], None]


def cache_key(system: System, pcm: Pcm) -> str:
    """What a cached line depends on: the system's version and the clip's samples."""
    audio = hashlib.sha256(pcm.tobytes()).hexdigest()[:16]
    return f"{_KEY_VERSION}:{system.name}:{system.version}:{audio}"


def missing_measures(known: Scores, measures: Sequence[str]) -> list[str]:
    """Those of `measures` whose scores are not all known."""
    return [name for name in measures if any(score not in known for score in MEASURES[name].scores)]


def measure_system(
    system: System,
    clips: Sequence[Clip],
    evaluator: Evaluator,
    *,
    cache: Path | None = None,
    progress: Progress = lambda _: None,
) -> Summary:
    """Every clip through the system and the measures; cached clips cost nothing."""
    results = None if cache is None else ResultCache(cache, system.name)
    rows: list[Scores] = []
    start = time.monotonic()
    for number, clip in enumerate(clips, start=1):
        pcm = read_clip(clip.path)
        key = cache_key(system, pcm)
        known: Scores = {} if results is None else results.get(clip.stem, key)
        missing = missing_measures(known, evaluator.measures)
        if missing:
            coded = system.process(pcm)
            new = evaluator.evaluate(
                pcm, coded, clip.text, language=clip.language, measures=missing
            )
            known.update(new)
            if results is not None:
                results.add(clip.stem, key, new)
            progress(f"{system.name} {number}/{len(clips)} {time.monotonic() - start:.0f} s")
        rows.append(known)
    return summarise(
        rows,
        title=system.title,
        bitrate=system.bitrate,
        measures=evaluator.measures,
        ours=system.ours,
    )


def measure_codec(
    codec: Codec,
    clips: Sequence[Clip],
    evaluator: Evaluator,
    *,
    books: Sequence[int],
    cache: Path | None = None,
    progress: Progress = lambda _: None,
) -> list[Summary]:
    """A codec, say a checkpoint in training, at several numbers of books.

    Raises:
        CodecError: the codec has not so many books.
    """
    systems = [OurCodec(codec, quantizers=quantizers) for quantizers in books]
    return [
        measure_system(system, clips, evaluator, cache=cache, progress=progress)
        for system in systems
    ]


def measure_folders(
    reference: Path,
    degraded: Path,
    clips: Sequence[Clip],
    evaluator: Evaluator,
    *,
    find_delay: bool = False,
    progress: Progress = lambda _: None,
) -> Summary:
    """Files in `degraded` against those of the same name in `reference`.

    `find_delay` removes the median delay of all pairs; without it they count as aligned.

    Raises:
        InputError: a clip has no coded file.
    """
    found = {clip.stem: clip.path for clip in load_clips(degraded)}
    pairs: list[tuple[Clip, Pcm, Pcm]] = []
    for clip in clips:
        if clip.stem not in found:
            raise InputError(f"'{clip.stem}' of '{reference}' has no coded file in '{degraded}'")
        pairs.append((clip, read_clip(clip.path), read_clip(found[clip.stem])))
    delay = median_delay([(one, other) for _, one, other in pairs]) if find_delay else 0
    rows: list[Scores] = []
    for number, (clip, original, coded) in enumerate(pairs, start=1):
        aligned = align(coded, delay=delay, length=len(original))
        rows.append(evaluator.evaluate(original, aligned, clip.text, language=clip.language))
        progress(f"{degraded.name} {number}/{len(pairs)}")
    title = degraded.name if not find_delay else f"{degraded.name} (delay {delay / 16:.0f} ms)"
    return summarise(rows, title=title, bitrate=None, measures=evaluator.measures)


def print_delays(systems: Sequence[System], clips: Sequence[Clip]) -> None:
    """Median and spread of each system's delay, beside the one it removes."""
    signals = [read_clip(clip.path) for clip in clips]
    for system in systems:
        found = sorted(estimate_delay(pcm, system.code(pcm)) for pcm in signals)
        middle = found[len(found) // 2]
        print(f"{system.name}: {found[0]}..{middle}..{found[-1]}, removed {system.delay}")


def document(
    summaries: Sequence[Summary], measures: Sequence[str], clips: Sequence[Clip], command: str
) -> str:
    """What stands between the markers of docs/quality.md."""
    packages = sorted({package for name in measures for package in MEASURES[name].packages})
    versions = [f"{name} {package_version(name)}" for name in packages]
    versions += [f"{name} {debian_version(name)} (Debian)" for name in _DEBIAN]
    speakers = len({clip.speaker for clip in clips})
    languages = ", ".join(sorted({clip.language for clip in clips}))
    return "\n\n".join(
        [
            f"{len(clips)} clips, {speakers} speakers, language: {languages}. "
            f"Measured {date.today().isoformat()} with",
            f"    {command}",
            markdown(summaries, measures),
            "![DistillMOS, STOI and word error rate against bit rate](quality.png)",
            "Versions: " + ", ".join(versions) + ".",
        ]
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Measure speech quality of our codec and of its peers.",
    )
    add_clips(new)
    add_codec(new)
    add = new.add_argument
    add("--languages", default="en", help="of the clips, as in texts.tsv; 'all' for all")
    add("--limit", type=int, metavar="N", help="only N clips, spread over the speakers")
    add("--books", default="1,2,4,8,12", help="numbers of books")
    add("--peers", default="all", help=f"'all', 'none' or some of {','.join(PEERS)}")
    add("--measures", default="all", help=f"'all' or some of {','.join(MEASURES)}")
    add("--threads", type=int, default=1)
    add("--docs", action="store_true", help="rewrite the table and plot of docs/quality.md")
    add(
        "--wav",
        nargs=2,
        type=Path,
        metavar=("ORIGINAL", "CODED"),
        help="measure the files of a folder against those of the same name in another",
    )
    add("--align", action="store_true", help="with --wav: find and remove their delay")
    add("--delays", action="store_true", help="print the delays of the systems and end")
    return new


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _books(text: str) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise InputError(f"--books {text} is not a list of numbers such as 1,4,8") from None


def _load_systems(options: argparse.Namespace) -> list[System]:
    names = list(PEERS) if options.peers == "all" else _names(options.peers)
    systems = [] if options.peers == "none" else load_peers(names)
    if options.codec != "none":
        codec = load_named_codec(options.codec, options.weights)
        systems += [OurCodec(codec, quantizers=books) for books in _books(options.books)]
    if not systems:
        raise InputError("nothing to measure: --codec and --peers are both 'none'")
    return systems


def _measures(options: argparse.Namespace) -> list[str] | None:
    return None if options.measures == "all" else _names(options.measures)


def _evaluator(options: argparse.Namespace) -> Evaluator:
    return Evaluator(
        measures=_measures(options),
        threads=options.threads,
        whisper=options.whisper or options.cache / "whisper-base",
    )


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    check_measures(_measures(options))
    if options.threads < 1:
        raise InputError(f"--threads {options.threads} is too few: at least 1 is needed")
    limit_threads(options.threads)
    languages = None if options.languages == "all" else _names(options.languages)
    if options.wav:
        reference, degraded = options.wav
        if options.docs or options.delays:
            raise InputError("--wav prints a table; it goes with neither --docs nor --delays")
        evaluator = _evaluator(options)
        # Any folder will do here, so the names need not tell a language.
        clips = spread(load_clips(reference), options.limit)
        summary = measure_folders(
            reference,
            degraded,
            clips,
            evaluator,
            find_delay=options.align,
            progress=progress,
        )
        print(markdown([summary], evaluator.measures))
        return
    clips = spread(load_clips(options.clips, languages=languages), options.limit)
    page = _ROOT / "docs" / "quality.md"
    if options.docs:
        # Known before hours of measuring, not after them.
        replace_between(page.read_text(encoding="utf-8"), "")
        check_plotted(check_measures(_measures(options)))
    systems = _load_systems(options)
    if options.delays:
        print_delays(systems, clips)
        return
    evaluator = _evaluator(options)
    summaries = by_bitrate(
        [
            measure_system(system, clips, evaluator, cache=options.cache, progress=progress)
            for system in systems
        ]
    )
    print(markdown(summaries, evaluator.measures))
    if options.docs:
        plot(summaries, evaluator.measures, _ROOT / "docs" / "quality.png")
        text = document(summaries, evaluator.measures, clips, command)
        page.write_text(replace_between(page.read_text(encoding="utf-8"), text), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
