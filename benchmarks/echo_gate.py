"""What the echo gate lets through beside an open loudspeaker, in simulated rooms.

    python -m benchmarks.echo_gate

plays clips as the far end's speech on a small loudspeaker, adds what a room makes of it, a near
talker and the room's noise, and counts the frames that the voice gate sends: with the far end
alone, all of them are echo. With both talking it counts the pieces of near speech that get
through, by how far they are above the echo. The loudspeaker's delay is not told to the gate.
Reduced, the same runs in the tests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.alignment import Pcm
from benchmarks.clips import SAMPLE_RATE, load_clips, read_clip
from benchmarks.gate import sent_frames
from linkcodec.compact.train import augment
from linkcodec.echo_gate import EchoGate
from linkcodec.exceptions import LinkcodecError
from linkcodec.gate import GateConfig

__all__ = ["Room", "Scene", "listen", "main", "rooms", "through"]

_PIECE: Final = SAMPLE_RATE // 50
_WRITTEN: Final = SAMPLE_RATE * 2 // 25
"""The receiver writes the loudspeaker's sound in frames, about 0.1 s before it leaves."""

_JITTER: Final = 0.004
_SMALL_HZ: Final = 300.0
"""A small loudspeaker gives little below this."""

_SPEECH_DBFS: Final = -26.0
_LOUD_DBFS: Final = -40.0
_PAUSE: Final = (0.5, 2.0)
_CLASSES: Final = ((0.0, 6.0), (6.0, 12.0), (12.0, np.inf))
_SETTLING: Final = 38
"""Frames before the far end's first word (3 s): a call is set up before anybody speaks."""

_GAINS: Final = (-6.0, -12.0, -18.0, -24.0, -30.0)


@dataclass(frozen=True, kw_only=True)
class Room:
    """Where loudspeaker and microphone stand.

    delay: seconds from the time at which the sound is said to leave to the microphone. gain_db:
    from what is played to what is heard. reverberation: seconds to -60 dB. noise_dbfs: level of
    the room's own noise.
    """

    delay: float
    gain_db: float
    reverberation: float = 0.3
    noise_dbfs: float = -60.0
    seed: int = 0

    def echo(self, far: Pcm) -> Pcm:
        """What the microphone hears of the loudspeaker; shape as `far`."""
        random = np.random.default_rng(self.seed)
        response = augment.room_response(random, seconds=self.reverberation, direct_db=3.0)
        heard = augment.convolve(far, response)
        spectrum = np.fft.rfft(heard)
        ratio = (np.fft.rfftfreq(heard.size, 1 / SAMPLE_RATE) / _SMALL_HZ) ** 2
        heard = np.asarray(np.fft.irfft(spectrum * ratio / (1 + ratio), heard.size), np.float32)
        heard *= np.sqrt(np.mean(far**2, dtype=np.float64) / (np.mean(heard**2) + 1e-12))
        late = np.concatenate([np.zeros(round(self.delay * SAMPLE_RATE)), heard])[: far.size]
        return np.asarray(late * 10 ** (self.gain_db / 20), np.float32)

    def noise(self, samples: int) -> Pcm:
        """The room's noise."""
        random = np.random.default_rng(self.seed + 1)
        return augment.at_level(augment.coloured_noise(random, samples, tilt=1.0), self.noise_dbfs)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What was heard, shape (samples,), and what came of it in whole pieces of 20 ms.

    closed: of each piece, whether noise went out in its place.
    """

    microphone: Pcm
    out: Pcm
    echo: Pcm
    closed: npt.NDArray[np.bool_]


def listen(far: Pcm, near: Pcm, room: Room, *, gain_db: npt.ArrayLike = 0.0) -> Scene:
    """Far and near talker of one length before a gate that knows nothing yet.

    gain_db: added to the room's, for each sample or for all: somebody turns the volume knob.
    """
    echo = np.asarray(room.echo(far) * 10 ** (np.asarray(gain_db) / 20), np.float32)
    heard = near + echo + room.noise(near.size)
    random = np.random.default_rng(room.seed + 2)
    gate = EchoGate(SAMPLE_RATE)
    out, closed, written = [], [], 0
    for start in range(0, heard.size - _PIECE + 1, _PIECE):
        while written < min(far.size, start + _PIECE + SAMPLE_RATE // 10):
            at = written / SAMPLE_RATE + random.uniform(-_JITTER, _JITTER)
            gate.played(far[written : written + _WRITTEN], at)
            written += _WRITTEN
        out.append(gate.push(heard[start : start + _PIECE], (start + _PIECE) / SAMPLE_RATE))
        closed.append(gate.closed)
    return Scene(
        microphone=heard[: len(closed) * _PIECE],
        out=np.concatenate(out),
        echo=echo[: len(closed) * _PIECE],
        closed=np.array(closed),
    )


def through(near: Pcm, scene: Scene, *, above_db: tuple[float, float]) -> tuple[int, int]:
    """Pieces of loud near speech that got through, and all of them, where it lies so far above
    the echo."""
    one, other = (
        np.mean(pcm[: scene.out.size].astype(np.float64).reshape(-1, _PIECE) ** 2, axis=1)
        for pcm in (near, scene.echo)
    )
    above = 10 * np.log10((one + 1e-12) / (other + 1e-12))
    audible = other > np.mean(other) / 100
    chosen = (one > 10 ** (_LOUD_DBFS / 10)) & audible
    chosen &= (above >= above_db[0]) & (above < above_db[1])
    return int(np.sum(chosen & ~scene.closed)), int(np.sum(chosen))


def rooms(count: int) -> Iterator[Room]:
    """Rooms of all gains from -6 to -30 dB, delays of 20 to 200 ms, and some noise."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        yield Room(
            delay=random.uniform(0.02, 0.2),
            gain_db=_GAINS[seed % len(_GAINS)],
            reverberation=random.uniform(0.1, 0.4),
            noise_dbfs=random.uniform(-70.0, -50.0),
            seed=seed,
        )


def _talk(clips: Sequence[Pcm], seconds: float, *, seed: int) -> Pcm:
    """Clips one after the other with pauses in between."""
    random = np.random.default_rng(seed)
    pieces: list[Pcm] = []
    while sum(piece.size for piece in pieces) < seconds * SAMPLE_RATE:
        pieces.append(augment.at_level(clips[int(random.integers(len(clips)))], _SPEECH_DBFS))
        pieces.append(np.zeros(round(random.uniform(*_PAUSE) * SAMPLE_RATE), np.float32))
    return np.clip(np.concatenate(pieces)[: round(seconds * SAMPLE_RATE)], -1.0, 1.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.echo_gate", description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path("../shared/speech/eval"))
    parser.add_argument("--rooms", type=int, default=20, metavar="N")
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args(arguments)
    try:
        clips = [read_clip(clip.path) for clip in load_clips(options.clips)]
    except LinkcodecError as error:
        print(f"echo_gate: {error}", file=sys.stderr)
        return 2
    config = GateConfig()
    settling = np.zeros(_SETTLING * _WRITTEN, np.float32)
    results: dict[float, list[int]] = {gain: [0] * (3 + 2 * len(_CLASSES)) for gain in _GAINS}
    for room in rooms(options.rooms):
        far, near = (
            np.concatenate([settling, _talk(clips, options.seconds, seed=2 * room.seed + number)])
            for number in (0, 1)
        )
        silence = np.zeros_like(far)
        alone = listen(far, silence, room)
        talker = listen(silence, near, room)
        counts = [
            *(
                int(np.sum(sent_frames(pcm, config)[_SETTLING:]))
                for pcm in (alone.microphone, alone.out)
            ),
            int(np.sum(talker.out != talker.microphone)),
        ]
        near[: near.size // 4] = 0.0  # the gate has heard the echo alone before
        both = listen(far, near, room)
        for above in _CLASSES:
            counts += through(near, both, above_db=above)
        row = results[room.gain_db]
        results[room.gain_db] = [a + b for a, b in zip(row, counts, strict=True)]
    titles = [f"{low:g} to {high:g} dB" for low, high in _CLASSES[:-1]] + ["more"]
    print("| echo path | echo frames sent without | with | near alone, samples changed |", end="")
    print("".join(f" through, {title} above |" for title in titles))
    print("|---|" + "---:|" * (3 + len(_CLASSES)))
    for gain, (without, sent, changed, *parts) in results.items():
        shares = [
            f"{100 * passed / whole:.0f} %" if whole else "-"
            for passed, whole in zip(parts[::2], parts[1::2], strict=True)
        ]
        print(f"| {gain:g} dB | {without} | {sent} | {changed} | {' | '.join(shares)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
