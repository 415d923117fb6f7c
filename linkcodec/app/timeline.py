"""The sender's time axis, rebuilt from what a receiver plays.

A receiver stretches and shortens silence and inserts concealment to manage its delay.
A recording should not: every frame goes where the sender's clock had it, so that the file
is as long as what was sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import numpy as np

from linkcodec.codec import Pcm
from linkcodec.comfort_noise import ComfortNoise
from linkcodec.frame import Silence

__all__ = ["TimeAxis", "Timeline"]

HELD_FRAMES: Final = 40
"""Frames kept back, since the axis may step back over silence: 3.2 s."""

LONGEST_FILL: Final = 10_000
"""Longest gap of ticks that is filled; a longer one is another call's clock."""


T = TypeVar("T")


class TimeAxis(Generic[T]):
    """Whatever lasts 80 ms, with ticks in; one of it for every tick out.

    Args:
        fill: gives what goes where nothing came.
        first_tick: tick at which the axis starts; None takes the first one that comes.
    """

    def __init__(self, fill: Callable[[], T], *, first_tick: int | None = None) -> None:
        self._fill_in = fill
        self._next = first_tick
        self._held: deque[tuple[int, T]] = deque()

    def add(self, tick: int | None, value: T) -> list[T]:
        """Place one; gives those that cannot change any more (often none).

        Args:
            tick: None for one without a place of its own: it is left out.
        """
        if tick is None:
            return self._release(HELD_FRAMES)
        ready: list[T] = []
        if self._next is None or abs(tick - self._next) > LONGEST_FILL:
            # The sender's clock started anew: the recording goes on where it is.
            ready = self._release(0)
            self._next = tick
        while self._held and self._held[-1][0] >= tick:
            self._held.pop()
            self._next -= 1
        self._fill(tick)
        if tick == self._next:
            self._held.append((tick, value))
            self._next += 1
        return ready + self._release(HELD_FRAMES)

    def _fill(self, tick: int) -> None:
        assert self._next is not None
        while self._next < tick:
            self._held.append((self._next, self._fill_in()))
            self._next += 1

    def finish(self, end_tick: int | None = None) -> list[T]:
        """The rest; with `end_tick`, filled up or cut so that the axis ends there."""
        if end_tick is not None and self._next is not None:
            while self._held and self._held[-1][0] >= end_tick:
                self._held.pop()
                self._next -= 1
            if end_tick - self._next <= LONGEST_FILL:
                self._fill(end_tick)
        return self._release(0)

    def _release(self, keep: int) -> list[T]:
        count = len(self._held) - keep
        return [self._held.popleft()[1] for _ in range(count)]


class Timeline:
    """Frames of sound with ticks in, one gapless stretch of samples out.

    Args:
        first_tick: see `TimeAxis`.
    """

    def __init__(self, *, sample_rate: int, frame_size: int, first_tick: int | None = None) -> None:
        self._frame_size = frame_size
        self._noise = ComfortNoise(sample_rate, seed=1)
        self._background = Silence()
        self._axis = TimeAxis(self._quiet, first_tick=first_tick)

    def add(self, tick: int | None, pcm: Pcm, *, background: Silence | None = None) -> Pcm:
        """Place one frame; gives the samples that cannot change any more (often none).

        Args:
            tick: None for a frame without a place of its own: it is left out.
            background: what this frame is, where it is silence.
        """
        if background is not None:
            self._background = background
        return _joined(self._axis.add(tick, pcm))

    def finish(self, end_tick: int | None = None) -> Pcm:
        """The rest; with `end_tick`, filled up or cut so that the recording ends there."""
        return _joined(self._axis.finish(end_tick))

    def _quiet(self) -> Pcm:
        return self._noise.generate(
            self._frame_size, self._background.level_dbfs, self._background.colour
        )


def _joined(pieces: list[Pcm]) -> Pcm:
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
