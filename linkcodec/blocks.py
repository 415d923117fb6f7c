"""Any number of samples into whole frames, whatever the codec.

`BlockEncoder` gathers samples and gives a codec's bare encoder one frame of them at a time,
so that the result never depends on how the samples were delivered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from linkcodec.codec import CodecInfo, Encoder, Pcm
from linkcodec.frame import Frame

__all__ = ["BareEncoder", "BlockEncoder"]


class BareEncoder(ABC):
    """What a codec's encoder does for one stream, one frame at a time."""

    @abstractmethod
    def encode(self, block: Pcm) -> Frame:
        """The frame of the next samples, finite and within full scale; shape (frame_size,)."""

    @abstractmethod
    def restart(self) -> None:
        """Another stream begins: forget the last one."""

    @abstractmethod
    def snapshot(self) -> Any:
        """A copy of the state, good for `restore` on any encoder of the same codec."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go back to the state of a snapshot."""


@dataclass
class _State:
    """`pending` waits for the rest of its frame; `samples` were pushed and `frames` made."""

    pending: Pcm = field(default_factory=lambda: np.zeros(0, np.float32))
    samples: int = 0
    frames: int = 0


class BlockEncoder(Encoder):
    """A codec's encoder for pushes of any length."""

    def __init__(self, bare: BareEncoder, info: CodecInfo) -> None:
        self._bare = bare
        self._info = info
        self._state = _State()

    def push(self, pcm: Pcm) -> list[Frame]:
        state, size = self._state, self._info.frame_size
        state.samples += len(pcm)
        # What is not finite, or beyond full scale, would stay in the encoder's memory.
        heard = np.clip(np.nan_to_num(pcm.astype(np.float32, copy=False)), -1.0, 1.0)
        pending = np.concatenate((state.pending, heard))
        whole = len(pending) // size * size
        frames = [
            self._bare.encode(pending[start : start + size]) for start in range(0, whole, size)
        ]
        state.pending = pending[whole:].copy()
        state.frames += len(frames)
        return frames

    def flush(self) -> list[Frame]:
        state, info = self._state, self._info
        wanted = -(-(state.samples + info.delay) // info.frame_size) if state.samples else 0
        missing = (wanted - state.frames) * info.frame_size - len(state.pending)
        frames = self.push(np.zeros(max(0, missing), dtype=np.float32))
        self.reset()
        return frames

    def reset(self) -> None:
        self._bare.restart()
        self._state = _State()

    def snapshot(self) -> Any:
        return copy(self._state), self._bare.snapshot()

    def restore(self, state: Any) -> None:
        if not (isinstance(state, tuple) and isinstance(state[0], _State)):
            raise TypeError(f"not a snapshot of a {self._info.name} encoder")
        self._bare.restore(state[1])
        self._state = copy(state[0])
