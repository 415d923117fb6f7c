"""Training batches: random pieces of the corpus, varied in level, speed, noise and band."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr  # type: ignore[import-untyped]
import torch
from torch import Tensor

from linkcodec.compact.shape import DELAY, FRAME_SIZE, PAST, SAMPLE_RATE, STEP
from linkcodec.compact.train.augment import (
    Signal,
    at_level,
    at_ratio,
    babble,
    car_noise,
    coloured_noise,
    convolve,
    music,
    overdriven,
    room_response,
    telephone,
)
from linkcodec.exceptions import InputError

GROUP_WEIGHTS = {
    "aishell-sample": 2.5,
    "picovoice-wwb": 0.35,
    "precise-community": 0.5,
    "librivox-fr-fleursdumal": 0.6,
    "kerstin-de": 0.8,
}
"""Share of a group against its duration; 1 where none is given."""

_EDGE = FRAME_SIZE


@dataclass(frozen=True, kw_only=True)
class Variety:
    """Shares of the pieces that something happens to; levels are RMS in dB full scale.

    `noise`, `room`, `clipped` and `second` (another talker) are heard by the encoder and only
    partly meant for the decoder; `telephone`, `music` and `quiet` (background without speech)
    are meant as they are heard.
    """

    speed: float = 0.5
    microphone: float = 0.2
    noise: float = 0.5
    room: float = 0.12
    telephone: float = 0.05
    clipped: float = 0.04
    second: float = 0.03
    music: float = 0.02
    quiet: float = 0.02
    far_level: float = 0.15
    level: float = -24.0
    level_spread: float = 4.5
    lowest: float = -42.0
    highest: float = -9.0


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

    def __init__(
        self, folder: Path, *, frames: int, seed: int, variety: Variety | None = None
    ) -> None:
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
        self._variety = variety or Variety()
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
        if not self._chance(self._variety.speed):
            return audio, pitch
        ratio = float(np.exp(self._random.uniform(np.log(0.87), np.log(1.15))))
        rate = int(SAMPLE_RATE * ratio)
        resampled = soxr.resample(audio, rate, SAMPLE_RATE, quality="MQ").astype(np.float32)
        count = len(resampled) // STEP * STEP
        resampled = resampled[:count]
        nearest = np.minimum(np.round(np.arange(count // STEP) * ratio), len(pitch) - 1)
        return resampled, pitch[nearest.astype(np.int64)] * np.float32(ratio)

    def _chance(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def _noise(self, samples: int) -> Signal:
        """Background: babble of other clips, a car, or noise of a random spectral tilt."""
        kind = self._random.random()
        if kind < 0.65:
            count = int(self._random.integers(2, 7))
            talkers = [self._piece()[0] for _ in range(count)]
            return babble(self._random, talkers, samples)
        if kind < 0.85:
            return car_noise(self._random, samples)
        tilt = float(self._random.uniform(-0.3, 1.5))
        return coloured_noise(self._random, samples, tilt=tilt)

    def _level(self) -> float:
        variety = self._variety
        if self._chance(variety.far_level):
            return float(self._random.uniform(variety.lowest, variety.highest))
        level = self._random.normal(variety.level, variety.level_spread)
        return float(np.clip(level, variety.lowest, variety.highest))

    def _vary(self, audio: Signal) -> tuple[Signal, Signal]:
        """What is heard and what is meant: microphone, level, then what the place adds."""
        variety = self._variety
        if self._chance(variety.microphone):
            audio = self._microphone(audio)
        if self._chance(variety.telephone):
            audio = telephone(audio)
        meant = at_level(audio, self._level()) if audio.any() else audio
        heard = meant
        if self._chance(variety.room):
            heard, meant = self._in_a_room(meant)
        if self._chance(variety.second):
            other = np.resize(self._piece()[0], len(meant))
            other = at_ratio(other, meant, self._random.uniform(0.0, 12.0))
            heard, meant = heard + other, meant + np.float32(0.7) * other
        if self._chance(variety.noise):
            # Loud noise more often than soft: half of it below 13 dB.
            snr = 3.0 + 27.0 * self._random.random() ** 1.4
            noise = at_ratio(self._noise(len(meant)), meant, snr)
            # The far end should hear the talker more than the background.
            heard, meant = heard + noise, meant + np.float32(0.25) * noise
        if self._chance(variety.clipped):
            heard = overdriven(heard, share=float(10 ** self._random.uniform(-2.5, -1.0)))
        return np.clip(heard, -1.0, 1.0), meant

    def _microphone(self, audio: Signal) -> Signal:
        spectrum = np.fft.rfft(audio)
        points = self._random.normal(0.0, 4.0, 6)
        curve = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), points)
        return np.fft.irfft(spectrum * 10 ** (curve / 20), n=len(audio)).astype(np.float32)

    def _in_a_room(self, dry: Signal) -> tuple[Signal, Signal]:
        """Heard with the whole room, meant with a third of it."""
        response = room_response(
            self._random,
            seconds=float(self._random.uniform(0.15, 0.8)),
            direct_db=float(self._random.uniform(-3.0, 10.0)),
        )
        wet = convolve(dry, response)
        return wet, dry + np.float32(0.35) * (wet - dry)

    def _no_speech(self) -> tuple[Signal, Signal]:
        """Music or a quiet background in the place of speech, and no pitch."""
        kinds = self._variety.music + self._variety.quiet
        room = self._room - self._room % STEP
        if self._chance(self._variety.music / kinds):
            sound = at_level(music(self._random, room), float(self._random.uniform(-35, -18)))
        else:
            sound = at_level(self._noise(room), float(self._random.uniform(-90, -50)))
        return np.clip(sound, -1.0, 1.0), np.zeros(room // STEP, dtype=np.float32)

    def _item(self) -> tuple[Signal, Signal, Signal]:
        if self._chance(self._variety.music + self._variety.quiet):
            audio, pitch = self._no_speech()
            heard = meant = audio
        else:
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
