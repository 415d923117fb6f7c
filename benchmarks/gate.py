"""How well the voice gate keeps what is speech and drops what is not.

    python -m benchmarks.gate

puts clips between silences, adds a room's noise, and compares what the gate sends with
labels from the clean signal's energy; then it counts what is sent of sounds that are no speech.
Reduced, the same runs in the tests.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.alignment import Pcm
from benchmarks.clips import SAMPLE_RATE, load_clips, read_clip, spread
from linkcodec.exceptions import LinkcodecError
from linkcodec.frame import FRAME_SECONDS
from linkcodec.gate import GateConfig, VoiceGate

LEAD_SECONDS: Final = 3.0
"""Silence before and after each clip."""

_ABOVE_ROOM_DB: Final = 8.0
_BELOW_SPEECH_DB: Final = (-30.0, -20.0)
"""Speech lies 8 dB above the clip's quietest 5 % (its own room), but that threshold lies between
30 and 20 dB below its loud parts (95 % quantile; levels of 10 ms)."""

_RUMBLE_HZ: Final = (100.0, 200.0)
"""Below lie handling noise and breath on the microphone: no speech begins there. Between the two
the filter rises slowly, or it would ring before a loud word as if speech had begun."""

_SETTLING: Final = 1.5
"""Seconds at the start that do not count as silence: noise must prove to be steady first."""

_STEP: Final = SAMPLE_RATE // 100
_SHORTEST_SPEECH: Final = 5
_SHORTEST_PAUSE: Final = 30
"""An onset is 50 ms of speech after 300 ms without any (in steps of 10 ms)."""

_HANGOVER: Final = 0.6
_CLIPPED: Final = 0.02

_ROOMS: Final = (
    ("white noise, 20 dB", 20.0, 0.0),
    ("pink noise, 20 dB", 20.0, 1.0),
    ("brown noise, 20 dB", 20.0, 2.0),
    ("pink noise, 30 dB", 30.0, 1.0),
    ("the clip's own", None, 0.0),
)

DISTURBANCES: Final = ("typing", "thuds", "gusts", "music")
_DISTURBED_SECONDS: Final = 60

_Labels = npt.NDArray[np.bool_]


def speech_labels(pcm: Pcm) -> _Labels:
    """Whether each 10 ms of a clean recording is speech; shape (steps,)."""
    steps = _without_rumble(pcm)[: pcm.size // _STEP * _STEP].reshape(-1, _STEP)
    levels = 10 * np.log10(np.mean(steps**2, axis=1) + 1e-12)
    low, high = np.quantile(levels, 0.95) + np.array(_BELOW_SPEECH_DB)
    loud = levels > np.clip(np.quantile(levels, 0.05) + _ABOVE_ROOM_DB, low, high)
    # Runs too short for speech are no speech, and then pauses too short are no pauses.
    return _without_runs(_without_runs(loud, True, _SHORTEST_SPEECH), False, _SHORTEST_PAUSE)


def _without_rumble(pcm: Pcm) -> npt.NDArray[np.float64]:
    hertz = np.fft.rfftfreq(pcm.size, 1 / SAMPLE_RATE)
    low, high = _RUMBLE_HZ
    rise = np.clip((hertz - low) / (high - low), 0, 1)
    gains = 0.5 - 0.5 * np.cos(np.pi * rise)
    return np.asarray(np.fft.irfft(np.fft.rfft(pcm.astype(np.float64)) * gains, pcm.size))


def _without_runs(labels: _Labels, value: bool, shortest: int) -> _Labels:
    """Runs of `value` shorter than `shortest` inside the signal take the other value."""
    edges = np.flatnonzero(np.diff(labels.astype(np.int8))) + 1
    bounds = [0, *edges.tolist(), labels.size]
    result = labels.copy()
    for start, stop in pairwise(bounds):
        inside = start > 0 and stop < labels.size
        if labels[start] == value and stop - start < shortest and (inside or value):
            result[start:stop] = not value
    return result


def add_room(clean: Pcm, labels: _Labels, *, snr_db: float, tilt: float, seed: int) -> Pcm:
    """`clean` in steady noise; white with tilt 0, pink with 1, brown with 2. Rumble does not
    count as speech."""
    rng = np.random.default_rng(seed)
    hertz = np.fft.rfftfreq(clean.size, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(clean.size)) / np.maximum(hertz, 50) ** (tilt / 2)
    noise = np.fft.irfft(spectrum, clean.size)
    speech = np.repeat(labels, _STEP)
    power = np.mean(_without_rumble(clean)[: speech.size][speech] ** 2)
    noise *= np.sqrt(power / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return np.asarray(clean + noise, dtype=np.float32)


def disturbance(kind: str, *, seconds: int, seed: int) -> Pcm:
    """A made-up sound that is no speech, in a quiet room; a kind of `DISTURBANCES`."""
    rng = np.random.default_rng(seed)
    size = seconds * SAMPLE_RATE
    room = rng.standard_normal(size)
    pcm = 10 ** (-55 / 20) * room
    if kind == "gusts":  # wind: its level changes four times a second
        levels = np.repeat(rng.normal(-40, 4, 4 * seconds), SAMPLE_RATE // 4)
        pcm = np.convolve(room, np.ones(8) / 8, mode="same") * 10 ** (levels / 20)
    elif kind == "music":  # three plucked tones a second
        time = np.arange(size) / SAMPLE_RATE
        pitch = rng.choice([220, 247, 262, 294, 330, 392, 440], 3 * seconds)
        phase = 2 * np.pi * np.cumsum(pitch[(3 * time).astype(int)]) / SAMPLE_RATE
        tones = sum(np.sin(n * phase) / n for n in (1, 2, 3))
        pcm += 0.05 * np.exp(-3 * (3 * time % 1)) * tones
    else:  # key strokes of 20 ms, or thuds of 0.2 s
        fast = kind == "typing"
        length, decay, smooth = (900, 150, 1) if fast else (4800, 900, 24)
        start = 0
        while start < size - length:
            stroke = np.convolve(rng.standard_normal(length), np.ones(smooth) / smooth, "same")
            level = rng.uniform(-30, -15) if fast else -14.0
            pcm[start : start + length] += (
                stroke * np.exp(-np.arange(length) / decay) * 10 ** (level / 20)
            )
            start += int(SAMPLE_RATE * (rng.uniform(0.1, 0.5) if fast else rng.uniform(0.8, 2.5)))
    return np.asarray(pcm, dtype=np.float32)


def sent_frames(pcm: Pcm, config: GateConfig) -> _Labels:
    """Whether each frame is sent, the pre-roll included; shape (frames,)."""
    gate = VoiceGate(config, sample_rate=SAMPLE_RATE)
    frames = pcm[: pcm.size // gate.frame_size * gate.frame_size].reshape(-1, gate.frame_size)
    sent = np.zeros(len(frames), dtype=bool)
    for number, frame in enumerate(frames):
        decision = gate.decide(frame)
        sent[number - decision.pre_roll : number + 1] |= decision.send
    return sent


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """Counts over clips: onsets, those of which more than 20 ms are missing, frames of silence
    (from 0.6 s after speech on), those of them that are sent, and steps of speech not sent."""

    onsets: int = 0
    clipped: int = 0
    silent: int = 0
    wasted: int = 0
    speech: int = 0
    missing: int = 0

    def __add__(self, other: GateResult) -> GateResult:
        return GateResult(**{name: value + vars(other)[name] for name, value in vars(self).items()})


def judge(labels: _Labels, sent: _Labels) -> GateResult:
    """Compare what was sent with what is speech (per frame and per 10 ms)."""
    per_frame = round(FRAME_SECONDS * SAMPLE_RATE) // _STEP
    steps = np.repeat(sent, per_frame)[: labels.size]
    labels = labels[: steps.size]
    onsets = np.flatnonzero(np.diff(labels.astype(np.int8), prepend=0) == 1)
    clipped = 0
    for onset in onsets:
        heard = np.flatnonzero(steps[onset:])
        clipped += int(not heard.size or heard[0] * 0.01 > _CLIPPED)
    reach = round(_HANGOVER * 100)
    near = np.convolve(labels, np.ones(reach), mode="full")[: labels.size] > 0
    # Before speech: the frame of the onset and the pre-roll.
    early = np.convolve(labels[::-1], np.ones(4 * per_frame), mode="full")[: labels.size] > 0
    quiet = ~near & ~early[::-1]
    quiet[: round(_SETTLING * 100)] = False
    whole = quiet[: quiet.size // per_frame * per_frame].reshape(-1, per_frame).all(axis=1)
    return GateResult(
        onsets=onsets.size,
        clipped=clipped,
        silent=int(whole.sum()),
        wasted=int(sent[: whole.size][whole].sum()),
        speech=int(labels.sum()),
        missing=int((labels & ~steps).sum()),
    )


def measure(
    clips: Sequence[Pcm], *, snr_db: float | None, tilt: float, config: GateConfig
) -> GateResult:
    """All clips in one kind of room; None adds no noise."""
    result = GateResult()
    lead = np.zeros(round(LEAD_SECONDS * SAMPLE_RATE), np.float32)
    for seed, clip in enumerate(clips):
        clean = np.concatenate([lead, clip, lead])
        quiet = np.zeros(lead.size // _STEP, dtype=bool)
        labels = np.concatenate([quiet, speech_labels(clip), quiet])
        pcm = clean
        if snr_db is not None:
            pcm = add_room(clean, labels, snr_db=snr_db, tilt=tilt, seed=seed)
        result += judge(labels, sent_frames(pcm, config))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path("../shared/speech/eval"))
    parser.add_argument("--limit", type=int, metavar="N", help="only N clips")
    parser.add_argument("--detector", default="webrtc", help="gate.detector: webrtc or silero")
    parser.add_argument("--pre-roll-ms", type=int, default=160, help="gate.pre_roll_ms")
    options = parser.parse_args(arguments)
    try:
        config = GateConfig(detector=options.detector, pre_roll_ms=options.pre_roll_ms)
        clips = [read_clip(clip.path) for clip in spread(load_clips(options.clips), options.limit)]
    except LinkcodecError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2
    print("| room | onsets | clipped by > 20 ms | silence sent | speech not sent |")
    print("|---|---|---|---|---|")
    for name, snr_db, tilt in _ROOMS:
        found = measure(clips, snr_db=snr_db, tilt=tilt, config=config)
        print(
            f"| {name} | {found.onsets} | {100 * found.clipped / found.onsets:.1f} % | "
            f"{100 * found.wasted / found.silent:.1f} % | "
            f"{100 * found.missing / found.speech:.2f} % |",
            flush=True,
        )
    print("\n| no speech, in a quiet room | frames sent |\n|---|---|")
    for kind in DISTURBANCES:
        sent = sent_frames(disturbance(kind, seconds=_DISTURBED_SECONDS, seed=5), config)
        print(f"| {kind} | {100 * np.mean(sent):.0f} % |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
