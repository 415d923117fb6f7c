"""Whose voice is it? Speakers told apart after coding, by a judge that training never heard.

    python -m benchmarks.voices --books 4,8,12

The similarity of docs/quality.md comes from the network that training listens to since
`compact-7`, so it is no independent judge of that codec. Here each speaker is a Gaussian over the
cepstra of all clips but the one in question, uncoded (Gish and Schmidt 1994); a coded clip
belongs to the speaker whose Gaussian makes it likeliest. `identified` is the share of clips for
which that is right, `margin` how far the right one's likelihood lies above the mean of the others,
in their standard deviations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.alignment import Pcm
from benchmarks.clips import load_clips, read_clip
from benchmarks.command import add_clips, add_codec, progress, run_command
from benchmarks.measures import limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.peers import Clean, OurCodec, System
from linkcodec.compact.shape import hann, mel_matrix
from linkcodec.exceptions import InputError

__all__ = ["Moments", "Verdict", "cepstra", "judge", "verdict"]

_WINDOW: Final = 512
_HOP: Final = 160
_BANDS: Final = 40
_CEPSTRA: Final = 19
_QUIET_SHARE: Final = 0.4
"""Of the frames, the softest, which may hold no speech."""

_LEAST_VARIANCE: Final = 0.01

Array = npt.NDArray[Any]


def cepstra(pcm: Pcm) -> Array:
    """Mel cepstra without the level, of the louder frames of 32 ms: (frames, 19)."""
    pieces = np.lib.stride_tricks.sliding_window_view(pcm, _WINDOW)[::_HOP] * hann(_WINDOW)
    bands = np.square(np.abs(np.fft.rfft(pieces))) @ mel_matrix(bands=_BANDS, fft=_WINDOW).T
    power = bands.sum(axis=1)
    loud = np.log(bands[power > np.quantile(power, _QUIET_SHARE)] + 1e-8)
    order, band = np.arange(1, _CEPSTRA + 1)[:, None], np.arange(_BANDS)
    cosines = np.cos(np.pi / _BANDS * order * (band + 0.5)) * np.sqrt(2 / _BANDS)
    found: Array = loud @ cosines.T
    return found


@dataclass(frozen=True)
class Moments:
    """What a Gaussian needs of some frames: their number, sum, and sum of products."""

    count: int
    total: Array
    products: Array

    @classmethod
    def of(cls, frames: Array) -> Moments:
        """Of frames (n, channels)."""
        return cls(len(frames), frames.sum(axis=0), frames.T @ frames)

    def __add__(self, other: Moments) -> Moments:
        products = self.products + other.products
        return Moments(self.count + other.count, self.total + other.total, products)

    def likelihood(self, frames: Array) -> float:
        """Mean logarithm of the density of `frames`, but for a constant."""
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        covariance += _LEAST_VARIANCE * np.eye(len(mean))
        centred = frames - mean
        distances = np.einsum("tc,tc->t", centred @ np.linalg.inv(covariance), centred)
        return float(-0.5 * (np.linalg.slogdet(covariance)[1] + distances.mean()))


def judge(likelihoods: Mapping[str, float], speaker: str) -> tuple[bool, float]:
    """Whether `speaker` is the likeliest, and by how many standard deviations it stands out."""
    others = [value for name, value in likelihoods.items() if name != speaker]
    own = likelihoods[speaker]
    return own > max(others), float((own - np.mean(others)) / np.std(others))


@dataclass(frozen=True)
class Verdict:
    """Means over clips."""

    identified: float
    margin: float


def verdict(
    coded: Mapping[str, Array], known: Mapping[str, Moments], speakers: Mapping[str, str]
) -> Verdict:
    """Of coded clips' cepstra, given the moments of the uncoded ones and their speakers."""
    found = []
    for stem, frames in coded.items():
        models: dict[str, Moments] = {}
        for other, moments in known.items():
            if other != stem:
                name = speakers[other]
                models[name] = models[name] + moments if name in models else moments
        likelihoods = {name: model.likelihood(frames) for name, model in models.items()}
        found.append(judge(likelihoods, speakers[stem]))
    right, margins = zip(*found, strict=True)
    return Verdict(identified=float(np.mean(right)), margin=float(np.mean(margins)))


def _parser() -> argparse.ArgumentParser:
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.voices", description="Tell speakers apart after coding."
    )
    add_clips(new)
    add_codec(new)
    new.add_argument("--languages", default="en", help="of the clips")
    new.add_argument("--books", default="4,8,12", metavar="N,...")
    return new


def run(options: argparse.Namespace, command: str) -> None:
    """Do what the command line says.

    Raises:
        LinkcodecError: it cannot be done.
    """
    del command
    try:
        counts = [int(count) for count in options.books.split(",")]
    except ValueError:
        raise InputError(f"--books {options.books}: give numbers with commas") from None
    limit_threads(1)
    clips = load_clips(options.clips, languages=options.languages.split(","))
    names = [clip.speaker for clip in clips]
    clips = [clip for clip in clips if names.count(clip.speaker) > 1]
    speakers = {clip.stem: clip.speaker for clip in clips}
    if len(set(speakers.values())) < 3:
        raise InputError(
            f"folder '{options.clips}' has too few voices: give three speakers of two clips each"
        )
    codec = load_named_codec(options.codec, options.weights)
    clean = {clip.stem: cepstra(read_clip(clip.path)) for clip in clips}
    known = {stem: Moments.of(frames) for stem, frames in clean.items()}
    info = codec.info
    print(
        f"{len(clips)} clips of {len(set(speakers.values()))} speakers, codec {info.name} "
        f"version {info.version} (weights {info.weights_hash})"
    )
    print("| books | identified | margin |\n|---|---:|---:|")
    systems: dict[str, System] = {"uncoded": Clean()}
    systems |= {str(books): OurCodec(codec, quantizers=books) for books in counts}
    for books, system in systems.items():
        progress(system.title)
        coded = {clip.stem: cepstra(system.process(read_clip(clip.path))) for clip in clips}
        found = verdict(coded, known, speakers)
        print(f"| {books} | {found.identified:.3f} | {found.margin:.2f} |")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
