"""What the streams of the compact codec's builds have in common: their states, and how a
stream restarts, is copied and goes back to a copy."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np

from linkcodec.blocks import BareEncoder
from linkcodec.codec import Pcm
from linkcodec.compact.shape import PAST
from linkcodec.frame import Frame

__all__ = ["DecoderMemory", "EncoderMemory", "FrameEncoder", "Stream"]


class _Copied(Protocol):
    def copy(self) -> Self: ...


_Context = TypeVar("_Context", bound=_Copied)
_Synthesis = TypeVar("_Synthesis")
_State = TypeVar("_State", bound=_Copied)


@dataclass
class EncoderMemory(Generic[_Context]):
    """The causal layers' past inputs and the last `PAST` samples, which are never written into."""

    context: _Context
    past: Pcm = field(default_factory=lambda: np.zeros(PAST, dtype=np.float32))

    def copy(self) -> Self:
        """An independent copy, for snapshots."""
        return dataclasses.replace(self, context=self.context.copy())


@dataclass
class DecoderMemory(Generic[_Context, _Synthesis]):
    """The causal layers' past inputs and the synthesiser's state, whose arrays are replaced
    and never written into."""

    context: _Context
    synthesis: _Synthesis

    def copy(self) -> Self:
        """An independent copy, for snapshots."""
        return dataclasses.replace(
            self, context=self.context.copy(), synthesis=copy(self.synthesis)
        )


class Stream(Generic[_State]):
    """A stream whose whole state is one object, made by `fresh`."""

    def __init__(self, fresh: Callable[[], _State]) -> None:
        self._fresh = fresh
        self._state = fresh()

    def restart(self) -> None:
        """Forget the past."""
        self._state = self._fresh()

    def snapshot(self) -> object:
        """A copy of the state."""
        return self._state.copy()

    def restore(self, state: object) -> None:
        """Go back to a snapshot.

        Raises:
            TypeError: of another kind of stream.
        """
        if not isinstance(state, type(self._state)):
            raise TypeError(f"not a snapshot of a {type(self).__name__}")
        self._state = state.copy()


class FrameEncoder(Stream[EncoderMemory[Any]], BareEncoder):
    """One stream through an encoder that sees `PAST` samples before each frame."""

    def encode(self, block: Pcm) -> Frame:
        heard = np.concatenate((self._state.past, block))
        indices = self._code(heard)
        self._state.past = heard[-PAST:]
        return Frame(indices)

    @abstractmethod
    def _code(self, heard: Pcm) -> tuple[int, ...]:
        """Indices of the frame that ends `heard`, (PAST + 1280,)."""
