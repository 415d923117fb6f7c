"""Training material: a folder of recordings becomes one memory-mapped corpus.

`prepare` reads every recording below a folder, resamples it to 16 kHz, estimates the
pitch (DIO and StoneMask of WORLD, Morise 2016) and writes three files:

- `audio.i16`: all clips, one after another, as little-endian int16;
- `pitch.f16`: the pitch in Hz every 10 ms, 0 where there is no voice;
- `clips.json`: for each clip its name, group (top folder), start and length.

A clip is padded to a whole number of 10 ms steps, so that both files share one
time axis. Work is done group by group; a group that is finished is not redone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from linkcodec.audiofile import read_audio
from linkcodec.exceptions import InputError

SAMPLE_RATE = 16000
STEP = 160
SUFFIXES = frozenset({".opus", ".ogg", ".flac", ".wav", ".mp3"})
SHORTEST = SAMPLE_RATE // 2

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One recording of the corpus: `start` and `length` are in samples."""

    name: str
    group: str
    start: int
    length: int


def estimate_pitch(audio: Audio) -> npt.NDArray[np.float32]:
    """Pitch in Hz for every 10 ms of `audio`, 0 where unvoiced (WORLD's DIO and StoneMask)."""
    try:
        import pyworld  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise InputError(
            "preparing a corpus needs pyworld: pip install 'linkcodec[train]'"
        ) from error
    exact = audio.astype(np.float64) / max(1e-6, float(np.abs(audio).max()))
    coarse, times = pyworld.dio(exact, SAMPLE_RATE, f0_floor=55.0, f0_ceil=500.0, frame_period=10.0)
    pitch = pyworld.stonemask(exact, coarse, times, SAMPLE_RATE)
    return np.asarray(pitch[: len(audio) // STEP], dtype=np.float32)


def _read(path: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float16]] | None:
    audio = read_audio(path, SAMPLE_RATE)
    if len(audio) < SHORTEST or not np.any(audio):
        return None
    audio = np.pad(audio, (0, -len(audio) % STEP))
    scaled = np.clip(np.round(audio * 32767.0), -32768, 32767).astype(np.int16)
    return scaled, estimate_pitch(audio).astype(np.float16)


def _read_all(
    paths: list[Path], workers: int
) -> Iterator[tuple[npt.NDArray[np.int16], npt.NDArray[np.float16]] | None]:
    if workers == 1:
        yield from map(_read, paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_read, paths, chunksize=16)


def prepare(*, source: Path, destination: Path, workers: int = 2) -> Iterator[str]:
    """Build the corpus of all recordings below `source`; yields lines of progress.

    Raises:
        InputError: the source is no folder or holds no recordings.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give a folder of recordings")
    if (destination / "clips.json").exists():
        yield f"{destination}: already prepared"
        return
    groups = sorted(path for path in source.iterdir() if path.is_dir()) or [source]
    destination.mkdir(parents=True, exist_ok=True)
    for group in groups:
        done = destination / f"{group.name}.json"
        if done.exists():
            yield f"{group.name}: already prepared"
            continue
        paths = sorted(path for path in group.rglob("*") if path.suffix.lower() in SUFFIXES)
        clips: list[Clip] = []
        start = 0
        with (
            open(destination / f"{group.name}.i16", "wb") as audio_file,
            open(destination / f"{group.name}.f16", "wb") as pitch_file,
        ):
            for path, result in zip(paths, _read_all(paths, workers), strict=True):
                if result is None:
                    continue
                audio, pitch = result
                audio_file.write(audio.tobytes())
                pitch_file.write(pitch.tobytes())
                name = path.relative_to(source).as_posix()
                clips.append(Clip(name=name, group=group.name, start=start, length=len(audio)))
                start += len(audio)
        done.write_text(json.dumps([asdict(clip) for clip in clips]))
        yield f"{group.name}: {len(clips)} clips, {start / SAMPLE_RATE / 3600:.2f} h"
    yield _join(destination, [group.name for group in groups])


def _join(destination: Path, groups: list[str]) -> str:
    clips: list[Clip] = []
    offset = 0
    with (
        open(destination / "audio.i16", "wb") as audio_file,
        open(destination / "pitch.f16", "wb") as pitch_file,
    ):
        for group in groups:
            entries = json.loads((destination / f"{group}.json").read_text())
            clips.extend(Clip(**{**entry, "start": entry["start"] + offset}) for entry in entries)
            audio = (destination / f"{group}.i16").read_bytes()
            audio_file.write(audio)
            pitch_file.write((destination / f"{group}.f16").read_bytes())
            offset += len(audio) // 2
    if not clips:
        raise InputError(f"{destination}: no recordings were found; give a folder of audio files")
    (destination / "clips.json").write_text(json.dumps([asdict(clip) for clip in clips]))
    for group in groups:
        for suffix in ("i16", "f16", "json"):
            (destination / f"{group}.{suffix}").unlink()
    return f"corpus: {len(clips)} clips, {offset / SAMPLE_RATE / 3600:.2f} h in {destination}"
