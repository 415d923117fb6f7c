"""Evaluation during training: how far coded speech is from clips that are never trained on.

It needs nothing but the network and a few seconds: the mean distance of Mel spectra and the
likeness of the loudness. benchmarks/quality.py measures what listeners hear.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Final

import numpy as np

from linkcodec.audiofile import read_audio
from linkcodec.compact.codec import CompactCodec
from linkcodec.compact.model import CompactModel
from linkcodec.compact.shape import DELAY, SAMPLE_RATE, Array, hann, mel_matrix
from linkcodec.compact.train.data import SUFFIXES
from linkcodec.exceptions import InputError

_WINDOW: Final = 512
_HOP: Final = 160
_BANDS: Final = 40
_FLOOR: Final = 1e-4


def mel_db(pcm: Array) -> Array:
    """Mel spectrum in dB every 10 ms: (steps, 40)."""
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _WINDOW)[::_HOP] * hann(_WINDOW)
    bands = np.abs(np.fft.rfft(frames)) @ mel_matrix(bands=_BANDS, fft=_WINDOW).T
    return np.asarray(20 * np.log10(bands + _FLOOR), dtype=np.float32)


class Evaluation:
    """A few clips of a folder, coded again and again as the network learns."""

    def __init__(self, folder: Path, *, clips: int = 8, quantizers: int = 8) -> None:
        """`clips` are taken evenly from those of the folder.

        Raises:
            InputError: the folder has no recordings.
        """
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise InputError(f"{folder}: no recordings to evaluate with; give another folder")
        chosen = paths[:: max(1, len(paths) // clips)][:clips]
        self._clips = [read_audio(path, SAMPLE_RATE) for path in chosen]
        self._quantizers = quantizers

    def measure(self, model: CompactModel) -> dict[str, float]:
        """`eval_mel`: mean distance in dB; `eval_contour`: correlation of the loudness."""
        copied = deepcopy(model).cpu().eval()
        codec = CompactCodec(copied, version=0, weights_hash="")
        distances: list[float] = []
        contours: list[float] = []
        quantizers = min(self._quantizers, codec.info.quantizers)
        for pcm in self._clips:
            encoder, decoder = codec.encoder(quantizers=quantizers), codec.decoder()
            frames = encoder.push(pcm) + encoder.flush()
            coded = np.concatenate([decoder.decode(frame) for frame in frames])
            one, other = mel_db(pcm), mel_db(coded[DELAY : DELAY + len(pcm)])
            distances.append(float(np.abs(one - other).mean()))
            contours.append(float(np.corrcoef(one.mean(axis=1), other.mean(axis=1))[0, 1]))
        return {
            "eval_mel": float(np.mean(distances)),
            "eval_contour": float(np.nan_to_num(np.mean(contours))),
        }
