"""Training batches: random pieces of the corpus, varied in level, speed, noise and band."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr  # type: ignore[import-untyped]
import torch
from torch import Tensor

from linkcodec.compact.features import PAST, SAMPLE_RATE, STEP
from linkcodec.compact.model import DELAY, FRAME_SIZE
from linkcodec.exceptions import InputError

Signal = npt.NDArray[np.float32]

GROUP_WEIGHTS = {
    "aishell-sample": 2.5,
    "picovoice-wwb": 0.35,
    "precise-community": 0.5,
    "librivox-fr-fleursdumal": 0.6,
    "kerstin-de": 0.8,
}
"""Share of a group against its duration; 1 where none is given."""

_EDGE = FRAME_SIZE


@dataclass(frozen=True)
class Batch:
    """`heard` is what the encoder gets, (items, PAST + samples); `meant` what the decoder
    should give, (items, samples), already delayed; `pitch` in Hz, 0 where unvoiced, for each
    10 ms step of the decoder."""

    heard: Tensor
    meant: Tensor
    pitch: Tensor


class Corpus:
    """A prepared corpus on disk and its random variations."""

    def __init__(self, folder: Path, *, frames: int, seed: int) -> None:
        index = folder / "clips.json"
        if not index.exists():
            raise InputError(f"{folder}: no prepared corpus; run 'prepare' first")
        clips = json.loads(index.read_text())
        self._audio = np.memmap(folder / "audio.i16", dtype=np.int16, mode="r")
        self._pitch = np.fromfile(folder / "pitch.f16", dtype=np.float16)
        self._samples = frames * FRAME_SIZE
        # Room for pieces that are played up to 15 % faster.
        self._room = int((self._samples + PAST + 2 * _EDGE) * 1.16)
        self._random = np.random.default_rng(seed)
        fitting = [clip for clip in clips if clip["length"] >= self._room // 2]
        self._starts = np.array([clip["start"] for clip in fitting])
        self._lengths = np.array([clip["length"] for clip in fitting])
        weights = np.array(
            [clip["length"] * GROUP_WEIGHTS.get(clip["group"], 1.0) for clip in fitting]
        )
        self._weights = weights / weights.sum()

    def _piece(self) -> tuple[Signal, Signal]:
        """A random piece of one clip, padded with silence where the clip is too short."""
        clip = self._random.choice(len(self._starts), p=self._weights)
        length, start = int(self._lengths[clip]), int(self._starts[clip])
        room = self._room - self._room % STEP
        first = int(self._random.integers(-room // 8, max(1, length - room * 7 // 8)))
        first = first // STEP * STEP
        low, high = max(0, first), min(length, first + room)
        audio = np.zeros(room, dtype=np.float32)
        pitch = np.zeros(room // STEP, dtype=np.float32)
        audio[low - first : high - first] = self._audio[start + low : start + high] / 32768.0
        steps = slice((start + low) // STEP, (start + high) // STEP)
        pitch[(low - first) // STEP : (high - first) // STEP] = self._pitch[steps]
        return audio, pitch

    def _speed(self, audio: Signal, pitch: Signal) -> tuple[Signal, Signal]:
        """Other voices from the same talkers: faster and higher, or slower and lower."""
        if self._random.random() < 0.5:
            return audio, pitch
        ratio = float(np.exp(self._random.uniform(np.log(0.87), np.log(1.15))))
        rate = int(SAMPLE_RATE * ratio)
        resampled = soxr.resample(audio, rate, SAMPLE_RATE, quality="MQ").astype(np.float32)
        count = len(resampled) // STEP * STEP
        resampled = resampled[:count]
        nearest = np.minimum(np.round(np.arange(count // STEP) * ratio), len(pitch) - 1)
        return resampled, pitch[nearest.astype(np.int64)] * np.float32(ratio)

    def _noise(self, samples: int) -> Signal:
        """Background: babble of other clips, or noise of a random spectral tilt."""
        if self._random.random() < 0.4:
            babble = np.zeros(samples, dtype=np.float32)
            for _ in range(int(self._random.integers(2, 7))):
                piece = self._piece()[0]
                babble += np.resize(piece, samples) / (np.std(piece) + 1e-4)
            return babble
        spectrum = np.fft.rfft(self._random.standard_normal(samples))
        frequency = np.linspace(1e-2, 1.0, len(spectrum))
        spectrum *= frequency ** self._random.uniform(-1.5, 0.3)
        return np.fft.irfft(spectrum, n=samples).astype(np.float32)

    def _vary(self, audio: Signal) -> tuple[Signal, Signal]:
        """Level, microphone, band and noise: what is heard and what is meant."""
        loudness = np.sqrt(np.mean(audio**2)) + 1e-5
        level = np.clip(self._random.normal(-24.0, 4.5), -40.0, -12.0)
        clean = audio * np.float32(10 ** (level / 20) / loudness)
        if self._random.random() < 0.2:
            spectrum = np.fft.rfft(clean)
            points = self._random.normal(0.0, 4.0, 6)
            curve = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), points)
            clean = np.fft.irfft(spectrum * 10 ** (curve / 20), n=len(clean)).astype(np.float32)
        heard, meant = clean, clean
        if self._random.random() < 0.2:
            noise = self._noise(len(clean))
            snr = self._random.uniform(5.0, 30.0)
            noise *= np.float32(np.std(clean) / (np.std(noise) + 1e-6) * 10 ** (-snr / 20))
            # The far end should hear the talker more than the room.
            heard, meant = clean + noise, clean + np.float32(0.35) * noise
        return np.clip(heard, -1.0, 1.0), meant

    def _item(self) -> tuple[Signal, Signal, Signal]:
        audio, pitch = self._speed(*self._piece())
        heard, meant = self._vary(audio)
        spare = (len(audio) - PAST - self._samples - _EDGE) // STEP
        start = PAST + int(self._random.integers(2, max(3, spare))) * STEP
        step = start // STEP
        steps = self._samples // STEP
        # A step's pitch is the one at its excitation's end, half a step after its start.
        now, then = pitch[step : step + steps], pitch[step + 1 : step + 1 + steps]
        both = (now > 0) & (then > 0)
        middle = np.where(both, (now + then) / 2, np.maximum(now, then))
        return (
            heard[start - PAST : start + self._samples],
            meant[start - DELAY : start - DELAY + self._samples],
            middle,
        )

    def batch(self, items: int) -> Batch:
        """A new random batch."""
        heard, meant, pitch = zip(*(self._item() for _ in range(items)), strict=True)
        return Batch(
            heard=torch.from_numpy(np.stack(heard).astype(np.float32)),
            meant=torch.from_numpy(np.stack(meant).astype(np.float32)),
            pitch=torch.from_numpy(np.stack(pitch).astype(np.float32)),
        )

    def batches(self, items: int) -> Iterator[Batch]:
        """Batches without end, the next one made while the last is in use."""
        ready: queue.Queue[Batch] = queue.Queue(maxsize=2)

        def work() -> None:
            while True:
                ready.put(self.batch(items))

        threading.Thread(target=work, daemon=True).start()
        while True:
            yield ready.get()


def fill_pitch(pitch: Tensor, default: float = 130.0) -> Tensor:
    """Pitch carried through unvoiced steps on a straight line: (items, steps)."""
    filled = pitch.clone()
    places = np.arange(pitch.shape[1])
    for row in filled:
        voiced = (row > 0).numpy()
        if voiced.any():
            values = row.numpy()[voiced]
            row.copy_(torch.from_numpy(np.interp(places, places[voiced], values)))
        else:
            row.fill_(default)
    return filled
