"""Folders of speech clips: files, transcripts, and small selections spread over speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]

from benchmarks.alignment import Pcm
from linkcodec.exceptions import AudioFileError, InputError

SAMPLE_RATE: Final = 16000
"""All measures work at this rate, in hertz."""

_SUFFIXES: Final = {".flac", ".ogg", ".opus", ".wav"}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One utterance. `text` is None where there is no transcript; `language` comes from
    texts.tsv or else from the file name up to the first underscore."""

    stem: str
    path: Path
    language: str
    text: str | None

    @property
    def speaker(self) -> str:
        """The file name up to the first hyphen: LibriSpeech's speaker, or the whole stem."""
        return self.stem.partition("-")[0]


def read_texts(path: Path) -> dict[str, tuple[str, str]]:
    """Stem to (language, transcript), from tab-separated lines of stem, language, text.

    Raises:
        InputError: a line has not three fields.
    """
    texts: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) != 3:
            raise InputError(f"{path}:{number}: expected 'stem<TAB>language<TAB>text'")
        texts[fields[0]] = (fields[1], fields[2])
    return texts


def load_clips(folder: Path, *, languages: Sequence[str] | None = None) -> list[Clip]:
    """The clips of a folder in order of their names; of these `languages` only, if given.

    Raises:
        InputError: no folder, or no clip in it that fits.
    """
    if not folder.is_dir():
        raise InputError(f"folder of clips '{folder}' does not exist: name one with --clips")
    texts_file = folder / "texts.tsv"
    texts = read_texts(texts_file) if texts_file.is_file() else {}
    clips: list[Clip] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        language, text = texts.get(path.stem, (path.stem.partition("_")[0], None))
        if languages is None or language in languages:
            clips.append(Clip(stem=path.stem, path=path, language=language, text=text))
    if not clips:
        wanted = "" if languages is None else f" of language {', '.join(languages)}"
        raise InputError(f"folder '{folder}' has no clip{wanted}")
    return clips


def spread(clips: Sequence[Clip], limit: int | None) -> list[Clip]:
    """At most `limit` clips, as many speakers as possible and evenly spaced among them.

    Raises:
        InputError: the limit is below 1.
    """
    if limit is None or limit >= len(clips):
        return list(clips)
    if limit < 1:
        raise InputError(f"--limit {limit} is too small: at least 1 clip is needed")
    by_speaker: dict[str, list[Clip]] = {}
    for clip in clips:
        by_speaker.setdefault(clip.speaker, []).append(clip)
    chosen: list[Clip] = []
    turn = 0
    while len(chosen) < limit:
        round_ = [found[turn] for found in by_speaker.values() if turn < len(found)]
        room = min(limit - len(chosen), len(round_))
        chosen += [round_[index * len(round_) // room] for index in range(room)]
        turn += 1
    return sorted(chosen, key=lambda clip: clip.stem)


def read_clip(path: Path) -> Pcm:
    """Mono samples at 16 kHz, float32, shape (samples,).

    Raises:
        AudioFileError: the file cannot be read or is empty.
    """
    try:
        pcm, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"'{path}' cannot be read as audio: {error}") from None
    if not len(pcm):
        raise AudioFileError(f"'{path}' holds no sample")
    return resample(pcm.mean(axis=1), rate, SAMPLE_RATE)


def resample(pcm: Pcm, rate: float, target: float) -> Pcm:
    """`pcm` at another rate, without delay."""
    if rate == target:
        return np.asarray(pcm, dtype=np.float32)
    return np.asarray(soxr.resample(pcm, rate, target), dtype=np.float32)
