"""Clicks: how large the steps are where sounds are joined, beside those of the sound itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from benchmarks.alignment import Pcm
from linkcodec.frame import Frame, PlayoutItem

__all__ = ["join_step", "joins"]

_NEAR_SECONDS: Final = 0.0025
_AROUND_SECONDS: Final = 0.08

_LEAST_STEP: Final = 1e-3
"""Steps of -60 dB full scale are no click, however quiet the sound around them."""


def joins(items: Sequence[PlayoutItem], frame_size: int) -> list[int]:
    """Samples at which one kind of item follows another, or speech has been concealed."""
    kinds = [type(item) for item in items]
    return [
        number * frame_size
        for number, (before, after) in enumerate(pairwise(kinds), start=1)
        if before is not after or after is not Frame
    ]


def join_step(pcm: Pcm, places: Iterable[int], sample_rate: int) -> float:
    """The worst step between neighbouring samples at the `places` of joins.

    The largest within 2.5 ms of each, over the largest of the 80 ms before and after that:
    up to 1 a join cannot be told from the sound around it. 0 without any join.
    """
    steps = np.abs(np.diff(pcm))
    near, around = (round(s * sample_rate) for s in (_NEAR_SECONDS, _AROUND_SECONDS))
    worst = 0.0
    for place in places:
        # Step n lies between samples n and n + 1.
        start, stop = max(place - 1 - near, 0), place + near
        outside = np.concatenate([steps[max(start - around, 0) : start], steps[stop:][:around]])
        least = max(_LEAST_STEP, float(outside.max(initial=0.0)))
        worst = max(worst, float(steps[start:stop].max(initial=0.0)) / least)
    return worst
