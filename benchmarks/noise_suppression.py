"""What noise suppression before the codec is worth: word errors and DistillMOS of coded speech.

    python -m benchmarks.noise_suppression --limit 16

adds white noise, a car's or babble at 10 dB SNR to each clip and codes it with
`audio.noise_suppression` off and on. Before the clip come 3 s of the noise alone, from which the
suppressor learns as in a call, and which are not scored.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from benchmarks.clips import SAMPLE_RATE, load_clips, read_clip, spread
from benchmarks.command import add_clips, add_codec, progress, run_command
from benchmarks.measures import Evaluator, limit_threads
from benchmarks.ours import load_named_codec
from benchmarks.peers import OurCodec, System
from benchmarks.quality import measure_system
from linkcodec.codec import Pcm
from linkcodec.compact.train import augment
from linkcodec.noise_suppression import NoiseSuppressor

__all__ = ["NoisyCall", "main", "noises"]

_SNR_DB: Final = 10.0
_LEAD: Final = 3 * SAMPLE_RATE
_TALKERS: Final = 12
_BABBLERS: Final = 6

Noise = Callable[[np.random.Generator, int], Pcm]


def noises(talkers: Sequence[Pcm]) -> dict[str, Noise]:
    """Noises by name; babble is made of `talkers`."""

    def babble(random: np.random.Generator, samples: int) -> Pcm:
        chosen = random.choice(len(talkers), min(_BABBLERS, len(talkers)), replace=False)
        return augment.babble(random, [talkers[number] for number in chosen], samples)

    return {
        "none": lambda _, samples: np.zeros(samples, np.float32),
        "white": lambda random, samples: augment.coloured_noise(random, samples, tilt=0.0),
        "car": augment.car_noise,
        "babble": babble,
    }


class NoisyCall(System):
    """Speech in noise through a codec; `level` of the suppressor, 0 for none."""

    def __init__(self, noise: str, make: Noise, codec: OurCodec, *, level: int) -> None:
        self._silent = noise == "none"
        self._make = make
        self._codec = codec
        self._level = level
        self.name = f"suppression-{noise}-{level}-{codec.name}"
        self.title = noise
        self.version = codec.version
        self.bitrate = codec.bitrate

    def code(self, pcm: Pcm) -> Pcm:
        random = np.random.default_rng(zlib.crc32(pcm.tobytes()))
        sound = np.concatenate([np.zeros(_LEAD, np.float32), pcm])
        if not self._silent:
            sound += augment.at_ratio(self._make(random, sound.size), pcm, _SNR_DB)
        if self._level:
            sound = NoiseSuppressor(SAMPLE_RATE, level=self._level).push(sound)
        return self._codec.code(sound)[_LEAD:]


def _parser() -> argparse.ArgumentParser:
    new = argparse.ArgumentParser(
        prog="python -m benchmarks.noise_suppression",
        description="Measure what noise suppression before the codec is worth.",
    )
    add_clips(new)
    add_codec(new)
    new.add_argument("--limit", type=int, default=16, metavar="N", help="clips (default 16)")
    new.add_argument("--books", type=int, default=8)
    new.add_argument("--levels", default="0,1", help="of the suppressor, 0 (none) to 4")
    return new


def _run(options: argparse.Namespace, _command: str) -> None:
    limit_threads(1)
    clips = load_clips(options.clips, languages=["en"])
    chosen = spread(clips, options.limit)
    others = [clip for clip in clips if clip not in chosen] or chosen
    talkers = [read_clip(clip.path) for clip in spread(others, _TALKERS)]
    codec = OurCodec(load_named_codec(options.codec, options.weights), quantizers=options.books)
    whisper = options.whisper or options.cache / "whisper-base"
    evaluator = Evaluator(measures=("distillmos", "wer"), threads=1, whisper=whisper)
    levels = [int(level) for level in options.levels.split(",")]
    print("| noise | " + " | ".join(f"WER, level {n} | DistillMOS" for n in levels) + " |")
    print("|---|" + "---:|---:|" * len(levels))
    for name, make in noises(talkers).items():
        cells = []
        for level in levels:
            system = NoisyCall(name, make, codec, level=level)
            values = measure_system(
                system, chosen, evaluator, cache=options.cache, progress=progress
            ).values
            cells += [f"{100 * (values['wer'] or 0):.1f} %", f"{values['distillmos'] or 0:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    return run_command(_parser(), _run, arguments)


if __name__ == "__main__":
    sys.exit(main())
