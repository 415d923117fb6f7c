"""The compact codec's two networks in numpy; see `linkcodec.compact.model`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcodec.compact.shape import (
    CANDIDATES,
    FLOOR,
    FOUND_STEPS,
    HIGHEST_LAG,
    LAG_FFT,
    LAG_FLOOR,
    LOWEST_LAG,
    MEL_BANDS,
    MEL_FFT,
    MEL_SCALE,
    MEL_WINDOW,
    PERIODS,
    PITCH_BINS,
    PITCH_CENTRE,
    PITCH_RANGE,
    PITCH_SCALE,
    PITCH_WINDOW,
    RECENT_FFT,
    RECENT_REACH,
    RECENT_RISE,
    RECENT_SPAN,
    RECENT_WINDOW,
    SAMPLE_RATE,
    SEARCH_WIDTH,
    SPECTRA,
    STEP,
    STEPS_PER_FRAME,
    TOLD_STEPS,
    Array,
    hann,
    lag_weights,
    mel_matrix,
)
from linkcodec.light.layers import (
    Arrays,
    Context,
    Linear,
    Stage,
    gelu,
    merge,
    normalise,
    split,
)


def windows(x: Array, length: int, hop: int) -> Array:
    """Overlapping pieces of a signal, without a copy: (pieces, length)."""
    return np.lib.stride_tricks.sliding_window_view(x, length)[::hop]


def _octaves(lags: npt.NDArray[Any]) -> Array:
    return np.asarray(math.log2(SAMPLE_RATE / PITCH_CENTRE) - np.log2(lags), np.float32)


def _peak_octaves(before: Array, here: Array, after: Array, place: npt.NDArray[np.intp]) -> Array:
    """Octaves of a peak `place` above `LOWEST_LAG`, between its neighbours."""
    bend = np.minimum(before - 2 * here + after, -1e-6)
    return _octaves(LOWEST_LAG + place + np.clip(0.5 * (before - after) / bend, -0.5, 0.5))


class Periods:
    """Windowed pieces (n, PITCH_WINDOW) to their most likely periods: (n, PERIODS)."""

    def __init__(self) -> None:
        self._band, self._gains, self._costs = lag_weights()

    def __call__(self, windowed: Array) -> Array:
        power = np.square(np.abs(np.fft.rfft(windowed, n=LAG_FFT))) * self._band
        alike = np.fft.irfft(power)
        whole = alike[:, :1] + LAG_FLOOR
        alike = alike[:, LOWEST_LAG - 1 : HIGHEST_LAG + 2] / whole * self._gains
        before, here, after = alike[:, :-2], alike[:, 1:-1], alike[:, 2:]
        peak = (here > before) & (here >= after) & (here > 0)
        score = np.where(peak, here - self._costs[1:-1], -np.inf)
        rows = np.arange(len(score))
        found: list[Array] = []
        for _ in range(CANDIDATES):
            place = score.argmax(axis=1)
            low, top, high = (part[rows, place] for part in (before, here, after))
            any_left = score[rows, place] > -np.inf
            octaves = _peak_octaves(low, top, high, place)
            found += [octaves * any_left, top * any_left]
            score[rows, place] = -np.inf
        return np.stack(found, axis=1).astype(np.float32)


class RecentPeriods:
    """Pieces (n, RECENT_SPAN) and their periods to what these are at the end: (n, PERIODS)."""

    def __init__(self) -> None:
        self._octaves = _octaves(np.arange(LOWEST_LAG, HIGHEST_LAG + 1))

    def __call__(self, pieces: Array, periods: Array) -> Array:
        pieces = pieces - pieces.mean(axis=1, keepdims=True)
        across = np.fft.rfft(pieces, n=RECENT_FFT)
        across *= np.fft.rfft(pieces[:, -RECENT_WINDOW:], n=RECENT_FFT).conj()
        products = np.fft.irfft(across)[:, : RECENT_SPAN - RECENT_WINDOW + 1]
        sums = np.pad(np.cumsum(np.square(pieces, dtype=np.float64), axis=1), ((0, 0), (1, 0)))
        powers = (sums[:, RECENT_WINDOW:] - sums[:, :-RECENT_WINDOW]) + LAG_FLOOR
        alike = (products / np.sqrt(powers * powers[:, -1:]))[:, ::-1]
        alike = alike[:, LOWEST_LAG - 1 : HIGHEST_LAG + 2]
        before, here, after = alike[:, :-2], alike[:, 1:-1], alike[:, 2:]
        peak = here > np.maximum(np.maximum(before, after), 0) + RECENT_RISE
        rows = np.arange(len(alike))
        found: list[Array] = []
        for octaves, strength in periods.reshape(-1, CANDIDATES, 2).transpose(1, 2, 0):
            near = np.abs(self._octaves - octaves[:, None]) < RECENT_REACH
            score = np.where(near & peak, here, -np.inf)
            place = score.argmax(axis=1)
            low, top, high = (part[rows, place] for part in (before, here, after))
            any_left = (score[rows, place] > -np.inf) & (strength > 0)
            found += [_peak_octaves(low, top, high, place) * any_left, top * any_left]
        return np.stack(found, axis=1).astype(np.float32)


class Features:
    """Samples with `PAST` before them to log spectra and periods: (PAST + 160 n,) to
    (n, FEATURES)."""

    def __init__(self) -> None:
        self._long = hann(PITCH_WINDOW) * np.float32(PITCH_SCALE)
        self._short = hann(MEL_WINDOW) * np.float32(MEL_SCALE)
        self._mel = np.ascontiguousarray(mel_matrix(bands=MEL_BANDS, fft=MEL_FFT).T)
        self._periods = Periods()
        self._recent = RecentPeriods()

    def __call__(self, x: Array) -> Array:
        long = windows(x, PITCH_WINDOW, STEP) * self._long
        short = windows(x[PITCH_WINDOW - MEL_WINDOW :], MEL_WINDOW, STEP) * self._short
        harmonics = np.abs(np.fft.rfft(long)[:, :PITCH_BINS])
        bands = np.abs(np.fft.rfft(short, n=MEL_FFT)).astype(np.float32) @ self._mel
        spectra = np.concatenate((harmonics, bands), axis=1).astype(np.float32)
        logarithms = (np.log(spectra + np.float32(FLOOR)) + np.float32(4.0)) / np.float32(2.5)
        periods = self._periods(long)
        recent = self._recent(windows(x[PITCH_WINDOW - RECENT_SPAN :], RECENT_SPAN, STEP), periods)
        return np.concatenate((logarithms, periods, recent), axis=1)


class IntonationEncoder:
    """Tracks the pitch: (n, channels) and periods (n, 8 views PERIODS), those of the frames
    before too, to what is added to the latents."""

    def __init__(self, arrays: Arrays) -> None:
        self._mix, self._guess, self._leave = (
            Linear.read(arrays, f"encoder.intonation.{name}") for name in ("mix", "guess", "leave")
        )
        self.views = (len(self._guess.bias) // STEPS_PER_FRAME - 1) // CANDIDATES
        self._found, self._told = FOUND_STEPS[:, : self.views], TOLD_STEPS[:, : self.views]

    def __call__(self, h: Array, past: Array, periods: Array) -> Array:
        guesses = self._guess(gelu(self._mix(np.concatenate((h, past, periods), axis=1))))
        octaves = guesses[:, :STEPS_PER_FRAME]
        shape = (len(h), STEPS_PER_FRAME, self.views, CANDIDATES)
        belief = 1 / (1 + np.exp(-guesses[:, STEPS_PER_FRAME:].reshape(shape)))
        found = periods.reshape(*shape, 2)[..., 0][:, self._found, np.arange(self.views)]
        octaves = octaves + (belief * (found - octaves[:, self._told][..., None])).sum(axis=(2, 3))
        return self._leave(octaves)


class IntonationDecoder:
    """Latents (n, latent), None where one frame was lost, and the first stage's output (n,
    channels) to octaves (8 n,)."""

    def __init__(self, arrays: Arrays) -> None:
        self._read, self._mix, self._leave = (
            Linear.read(arrays, f"trunk.intonation.{name}") for name in ("read", "mix", "leave")
        )

    def __call__(self, latents: Array | None, h: Array) -> Array:
        known = np.zeros((1, len(self._read.weight)), np.float32) if latents is None else latents
        octaves = self._leave(gelu(self._mix(np.concatenate((normalise(h), known), axis=1))))
        if latents is not None:
            octaves += self._read(latents)
        return octaves.reshape(-1)


class SpeechEncoder:
    """Samples with `PAST` before them to latents: (PAST + 1280 n,) to (n, latent)."""

    def __init__(self, arrays: Arrays) -> None:
        self._features = Features()
        self._enter = Linear.read(arrays, "encoder.enter")
        self._stages = [Stage.read(arrays, f"encoder.stage{n}") for n in (1, 2, 3, 4)]
        self._merges = [Linear.read(arrays, f"encoder.merge{n}.mix") for n in (1, 2, 3)]
        self._leave = Linear.read(arrays, "encoder.leave")
        old = "encoder.intonation.mix.weight" not in arrays
        self._intonation = None if old else IntonationEncoder(arrays)

    def __call__(self, x: Array, context: Context) -> Array:
        context.rewind()
        features = self._features(x)
        h = self._stages[0](self._enter(features[:, : len(self._enter.weight)]), context)
        for mix, stage in zip(self._merges, self._stages[1:], strict=True):
            h = stage(merge(h, mix), context)
        h = normalise(h)
        latents = self._leave(h)
        if self._intonation is not None:
            heard = self._intonation.views * PERIODS
            periods = features[:, SPECTRA : SPECTRA + heard].reshape(len(h), -1)
            latents += self._intonation(h, context.extend(periods, 1)[:-1], periods)
        return latents


class Trunk:
    """Latents to the synthesiser's parameters and pitch: (n, latent) to (8 n, PARAMETERS) and
    hertz (8 n,)."""

    def __init__(self, arrays: Arrays) -> None:
        self._lost = arrays["trunk.lost"]
        self._enter = Linear.read(arrays, "trunk.enter")
        self._stages = [Stage.read(arrays, f"trunk.stage{n}") for n in (4, 3, 2, 1)]
        self._splits = [Linear.read(arrays, f"trunk.split{n}.mix") for n in (3, 2, 1)]
        self._pitch = Linear.read(arrays, "trunk.pitch")
        self._leave = Linear.read(arrays, "trunk.leave")
        old = "trunk.intonation.mix.weight" not in arrays
        self._intonation = None if old else IntonationDecoder(arrays)

    def __call__(self, latents: Array | None, context: Context) -> tuple[Array, Array]:
        """`latents` is None for one frame that did not arrive."""
        context.rewind()
        h = self._lost[None] if latents is None else self._enter(latents)
        frames = h = self._stages[0](h, context)
        for mix, stage in zip(self._splits, self._stages[1:], strict=True):
            h = stage(split(h, mix), context)
        h = normalise(h)
        octaves = self._pitch(h)[:, 0]
        if self._intonation is not None:
            octaves = self._intonation(latents, frames) + (octaves if latents is None else 0)
        pitch: Array = np.float32(PITCH_CENTRE) * np.exp2(octaves)
        return self._leave(h), np.clip(pitch, *PITCH_RANGE)


class Quantizer:
    """Residual vector quantisation by `vectors`, (books, entries, channels)."""

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors
        power = np.square(vectors).sum(axis=2)
        table = np.concatenate((-2 * vectors, power[:, :, None]), axis=2)
        self._distances = np.ascontiguousarray(table.transpose(0, 2, 1))

    def encode(self, latent: Array, *, quantizers: int) -> tuple[int, ...]:
        """(channels,) to indices: a search that keeps the `SEARCH_WIDTH` best beginnings."""
        residuals = latent[None]
        ways: npt.NDArray[np.intp] = np.zeros((1, 0), np.intp)
        for book, vectors in enumerate(self.vectors[:quantizers]):
            ones = np.ones((len(residuals), 1), np.float32)
            distances = np.concatenate((residuals, ones), axis=1) @ self._distances[book]
            distances += np.einsum("bc,bc->b", residuals, residuals)[:, None]
            width = 1 if book == quantizers - 1 else min(SEARCH_WIDTH, distances.size)
            places = np.empty(width, np.intp)
            # A few searches for the least are faster than one that sorts.
            for place in range(width):
                places[place] = distances.argmin()
                distances.ravel()[places[place]] = np.inf
            begun, chosen = np.divmod(places, len(vectors))
            residuals = residuals[begun] - vectors[chosen]
            ways = np.concatenate((ways[begun], chosen[:, None]), axis=1)
        return tuple(ways[0].tolist())

    def decode(self, indices: tuple[int, ...]) -> Array:
        """Indices to the sum of their entries: (1, channels)."""
        books: npt.NDArray[np.intp] = np.arange(len(indices))
        total: Array = self.vectors[books, list(indices)].sum(axis=0, keepdims=True)
        return total
