"""How a codec bears noise, rooms, levels, lines, other languages, and what is no speech.

    python -m benchmarks.robustness --docs

measures every condition twice, as it reaches the codec and as it leaves it, because a codec
can do nothing for words that the noise has hidden already. Finished clips are kept in the
cache, so that an interrupted run goes on, and other weights (`--weights FILE`) cost only
themselves: 2 s of CPU time for each of 20 clips and 11 conditions, 8 minutes on one core, and
as much once for what reaches the codec. `--docs` rewrites the tables of docs/robustness.md.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.clips import SAMPLE_RATE, Clip, load_clips, read_clip, spread
from benchmarks.command import add_clips, add_codec, progress, run_command
from benchmarks.measures import Evaluator, limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.peers import OurCodec, System
from benchmarks.quality import measure_system
from benchmarks.table import Summary, write_page
from linkcodec.codec import Codec, Pcm
from linkcodec.compact.train import augment
from linkcodec.exceptions import InputError
from linkcodec.frame import FRAME_SECONDS

_ROOT: Final = Path(__file__).resolve().parents[1]
_MEASURES: Final = ("stoi", "distillmos", "wer")
_VERSION: Final = "1"
_TALKERS: Final = 6
_SECONDS: Final = 10.0
_VOICE_HERTZ: Final = 160.0
"""Few men speak above it and few women below."""

Change = Callable[[Pcm, np.random.Generator], Pcm]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Something that happens to clean speech."""

    name: str
    title: str
    change: Change
    key: str = ""
    """What else a result depends on, such as who babbles."""


def _noisy(noise: Callable[[np.random.Generator, int], Pcm], snr_db: float) -> Change:
    def change(pcm: Pcm, random: np.random.Generator) -> Pcm:
        return pcm + augment.at_ratio(noise(random, len(pcm)), pcm, snr_db)

    return change


def _in_a_room(seconds: float, direct_db: float) -> Change:
    def change(pcm: Pcm, random: np.random.Generator) -> Pcm:
        response = augment.room_response(random, seconds=seconds, direct_db=direct_db)
        return augment.convolve(pcm, response)

    return change


def _at_peak(dbfs: float) -> Change:
    return lambda pcm, _: pcm * np.float32(10 ** (dbfs / 20) / (np.abs(pcm).max() + 1e-9))


def conditions(talkers: Sequence[Pcm]) -> list[Condition]:
    """All conditions; babble is made of `talkers`."""

    def babble(random: np.random.Generator, samples: int) -> Pcm:
        chosen = random.choice(len(talkers), min(_TALKERS, len(talkers)), replace=False)
        return augment.babble(random, [talkers[number] for number in chosen], samples)

    def at_rms(dbfs: float) -> Change:
        return lambda pcm, _: np.clip(augment.at_level(pcm, dbfs), -1.0, 1.0)

    table: list[tuple[str, str, Change]] = [
        ("clean", "clean", lambda pcm, _: pcm),
        ("babble-20", "babble, 20 dB SNR", _noisy(babble, 20.0)),
        ("babble-10", "babble, 10 dB SNR", _noisy(babble, 10.0)),
        ("babble-5", "babble, 5 dB SNR", _noisy(babble, 5.0)),
        ("car-10", "car, 10 dB SNR", _noisy(augment.car_noise, 10.0)),
        ("car-5", "car, 5 dB SNR", _noisy(augment.car_noise, 5.0)),
        ("room", "room, 0.5 s, direct sound 3 dB above", _in_a_room(0.5, 3.0)),
        ("quiet", "-40 dBFS RMS", at_rms(-40.0)),
        ("loud", "peaks at -3 dBFS", _at_peak(-3.0)),
        (
            "clipped",
            "clipped, 5 % of the samples",
            lambda pcm, _: augment.overdriven(pcm, share=0.05),
        ),
        ("telephone", "telephone band", lambda pcm, _: augment.telephone(pcm)),
    ]
    spoken = f"{zlib.crc32(b''.join(pcm.tobytes() for pcm in talkers)):08x}/"
    return [
        Condition(
            name=name,
            title=title,
            change=change,
            key=spoken if name.startswith("babble") else "",
        )
        for name, title, change in table
    ]


class Changed(System):
    """A condition, and after it a codec if there is one."""

    def __init__(self, condition: Condition, codec: OurCodec | None) -> None:
        self._condition = condition
        self._codec = codec
        name = codec.name if codec else "input"
        self.name = f"{condition.name}-{name}"
        self.title = condition.title
        self.version = f"{_VERSION}/{condition.key}{codec.version if codec else ''}"
        self.bitrate = codec.bitrate if codec else None

    def code(self, pcm: Pcm) -> Pcm:
        # The same chance for the input and for every codec.
        random = np.random.default_rng(zlib.crc32(pcm.tobytes()))
        changed = self._condition.change(pcm, random).astype(np.float32)
        return self._codec.code(changed) if self._codec else changed


@dataclass(frozen=True, kw_only=True)
class Row:
    """A condition before and after the codec: means of each measure; None: not measured."""

    title: str
    before: Summary
    after: Summary


def measure_conditions(
    codec: OurCodec,
    chosen: Sequence[Condition],
    clips: Sequence[Clip],
    evaluator: Evaluator,
    *,
    cache: Path | None,
) -> list[Row]:
    """Every condition before and after the codec, on all clips."""
    return [
        Row(
            title=condition.title,
            before=measure_system(
                Changed(condition, None), clips, evaluator, cache=cache, progress=progress
            ),
            after=measure_system(
                Changed(condition, codec), clips, evaluator, cache=cache, progress=progress
            ),
        )
        for condition in chosen
    ]


def measure_languages(
    codec: OurCodec, clips: Sequence[Clip], evaluator: Evaluator, *, cache: Path | None
) -> list[Row]:
    """The clean signal before and after the codec, for each language."""
    clean = conditions([])[:1]
    rows: list[Row] = []
    for language in sorted({clip.language for clip in clips}):
        some = [clip for clip in clips if clip.language == language]
        row = measure_conditions(codec, clean, some, evaluator, cache=cache)[0]
        rows.append(Row(title=language, before=row.before, after=row.after))
    return rows


def median_pitch(pcm: Pcm) -> float:
    """Median pitch in Hz of the voiced pieces, by autocorrelation; NaN where there are none."""
    size, shortest, longest = 1024, SAMPLE_RATE // 400, SAMPLE_RATE // 60
    window = np.hanning(size)
    frames = np.lib.stride_tricks.sliding_window_view(pcm, size)[:: size // 2] * window

    def correlation(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        power = np.square(np.abs(np.fft.rfft(x, n=2 * size)))
        found: npt.NDArray[Any] = np.fft.irfft(power)[..., : longest + 1]
        return found

    # The window makes long lags look weak.
    expected = correlation(window)
    found = correlation(frames) * (expected[0] / expected)
    lags = found[:, shortest:]
    peak = lags.max(axis=1)
    # Every multiple of a period is one too: the shortest counts.
    tops = (lags[:, 1:-1] > lags[:, :-2]) & (lags[:, 1:-1] >= lags[:, 2:])
    best = (tops & (lags[:, 1:-1] > 0.9 * peak[:, None])).argmax(axis=1) + 1 + shortest
    voiced = (peak > 0.6 * found[:, 0]) & (found[:, 0] > 0.1 * found[:, 0].max())
    return float(np.median(SAMPLE_RATE / best[voiced])) if voiced.any() else float("nan")


def measure_voices(
    codec: OurCodec, clips: Sequence[Clip], evaluator: Evaluator, *, cache: Path | None
) -> list[Row]:
    """The clean signal before and after the codec, for low and for high voices."""
    pitches = {clip.stem: median_pitch(read_clip(clip.path)) for clip in clips}
    groups = {
        "voices below": [clip for clip in clips if pitches[clip.stem] < _VOICE_HERTZ],
        "voices above": [clip for clip in clips if pitches[clip.stem] >= _VOICE_HERTZ],
    }
    rows: list[Row] = []
    for title, some in groups.items():
        if some:
            row = measure_conditions(codec, conditions([])[:1], some, evaluator, cache=cache)[0]
            full = f"clean, {title} {_VOICE_HERTZ:.0f} Hz ({len(some)} clips)"
            rows.append(Row(title=full, before=row.before, after=row.after))
    return rows


@dataclass(frozen=True, kw_only=True)
class SoundRow:
    """A sound that is no speech: levels in dBFS before and after, and how far the loudest
    80 ms after the codec lie above the loudest before it, in dB."""

    title: str
    before: float
    after: float
    rise: float


def sounds(talkers: Sequence[Pcm]) -> dict[str, Pcm]:
    """Sounds that are no speech of one talker."""
    random = np.random.default_rng(1)
    count = round(_SECONDS * SAMPLE_RATE)
    pair = [np.resize(pcm, count) for pcm in talkers[:2]]
    return {
        "digital silence": np.zeros(count, np.float32),
        "room noise, -70 dBFS": augment.at_level(
            augment.coloured_noise(random, count, tilt=0.5), -70.0
        ),
        "white noise, -40 dBFS": augment.at_level(
            augment.coloured_noise(random, count, tilt=0.0), -40.0
        ),
        "car, -30 dBFS": augment.at_level(augment.car_noise(random, count), -30.0),
        "music on hold, -23 dBFS": augment.at_level(augment.music(random, count), -23.0),
        "two talkers, -23 dBFS": augment.at_level(
            np.sum([augment.at_level(pcm, -23.0) for pcm in pair], axis=0), -23.0
        ),
    }


def measure_sounds(codec: OurCodec, talkers: Sequence[Pcm]) -> list[SoundRow]:
    """Levels of each sound before and after the codec, which codes them as speech."""

    def loudest(pcm: Pcm) -> float:
        size = round(FRAME_SECONDS * SAMPLE_RATE)
        return max(augment.rms(pcm[i : i + size]) for i in range(0, len(pcm) - size + 1, size))

    rows: list[SoundRow] = []
    for title, pcm in sounds(talkers).items():
        coded = codec.process(pcm)
        before, after = (float(20 * np.log10(augment.rms(part))) for part in (pcm, coded))
        # What lies below -80 dBFS is silence to everybody.
        rise = 20 * np.log10((loudest(coded) + 1e-4) / (loudest(pcm) + 1e-4))
        rows.append(SoundRow(title=title, before=before, after=after, rise=float(rise)))
    return rows


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def conditions_table(rows: Sequence[Row]) -> str:
    """Condition by condition: word errors, DistillMOS and STOI before and after."""
    lines = [
        "| condition | WER before | WER after | ratio | DistillMOS before | after | STOI before "
        "| after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        one, other = row.before.values, row.after.values
        errors = one.get("wer"), other.get("wer")
        ratio = errors[1] / errors[0] if errors[0] and errors[1] is not None else None
        cells = [_cell(errors[0], 3), _cell(errors[1], 3), _cell(ratio, 2)]
        for name, digits in (("distillmos", 2), ("stoi", 3)):
            cells += [_cell(one.get(name), digits), _cell(other.get(name), digits)]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def languages_table(rows: Sequence[Row]) -> str:
    """Language by language: DistillMOS of the clean and the coded speech, its fall, and how much
    that is more than in English."""
    lines = [
        "| language | clips | clean | coded | fall | more than en |",
        "|---|---:|---:|---:|---:|---:|",
    ]

    def fall_of(row: Row) -> float | None:
        one, other = row.before.values["distillmos"], row.after.values["distillmos"]
        return None if one is None or other is None else one - other

    english = next((fall_of(row) for row in rows if row.title == "en"), None)
    for row in rows:
        one, other = row.before.values["distillmos"], row.after.values["distillmos"]
        fall = fall_of(row)
        more = None if fall is None or english is None else fall - english
        cells = " | ".join(_cell(value, 2) for value in (one, other, fall, more))
        lines.append(f"| {row.title} | {row.before.clips} | {cells} |")
    return "\n".join(lines)


def sounds_table(rows: Sequence[SoundRow]) -> str:
    """Sound by sound: levels before and after."""
    lines = ["| sound | before | after | loudest 80 ms |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row.title} | {row.before:.0f} dBFS | {row.after:.0f} dBFS | {row.rise:+.1f} dB |"
        for row in rows
    ]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.robustness",
        description="Measure how a codec bears noise, rooms, levels and other languages.",
    )
    add_clips(new)
    add_codec(new)
    add = new.add_argument
    add("--limit", type=int, default=20, metavar="N", help="English clips (default %(default)s)")
    add("--conditions", default="all", help="'all' or some of their names")
    add("--books", type=int, default=8)
    add("--docs", action="store_true", help="rewrite the tables of docs/robustness.md")
    return new


def choose(names: str, known: Sequence[Condition]) -> list[Condition]:
    """Conditions by name.

    Raises:
        InputError: a name is unknown.
    """
    if names == "all":
        return list(known)
    by_name = {condition.name: condition for condition in known}
    for name in names.split(","):
        if name not in by_name:
            raise InputError(f"unknown condition '{name}': use some of {','.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    limit_threads(1)
    clips = load_clips(options.clips)
    english = spread([clip for clip in clips if clip.language == "en"], options.limit)
    if not english:
        raise InputError(f"folder '{options.clips}' has no clip of language en")
    # Babble is spoken by those whose own clips are not measured, as far as there are any.
    spoken = {clip.stem for clip in english}
    others = [clip for clip in clips if clip.language == "en" and clip.stem not in spoken]
    foreign = english + [clip for clip in clips if clip.language != "en"]
    talkers = [read_clip(clip.path) for clip in spread(others or english, 12)]
    chosen = choose(options.conditions, conditions(talkers))
    codec: Codec = load_named_codec(options.codec, options.weights)
    ours = OurCodec(codec, quantizers=options.books)
    whisper = options.whisper or options.cache / "whisper-base"

    def evaluator(measures: Sequence[str]) -> Evaluator:
        return Evaluator(measures=measures, threads=1, whisper=whisper)

    cache: dict[str, Any] = {"cache": options.cache}
    everything = evaluator(_MEASURES)
    rows = measure_conditions(ours, chosen, english, everything, **cache)
    parts = [
        conditions_table(rows + measure_voices(ours, english, everything, **cache)),
        sounds_table(measure_sounds(ours, talkers)),
        languages_table(measure_languages(ours, foreign, evaluator(["distillmos"]), **cache)),
    ]
    print("\n\n".join(parts))
    if options.docs:
        head = (
            f"{ours.title}, version {codec.info.version} (weights {codec.info.weights_hash}), "
            f"{len(english)} English clips. Measured {date.today().isoformat()} with"
        )
        text = "\n\n".join([head, f"    {command}", *parts])
        write_page(_ROOT / "docs" / "robustness.md", text, name="robustness")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
