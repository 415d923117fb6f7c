"""What every codec offers: a description, streaming encoders and streaming decoders.

The contract: samples go in by any number and come out as frames; a frame, a loss or
a silence goes in and exactly one frame of samples comes out. Streaming gives the same
result as coding the whole signal at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame, PlayoutItem

Pcm = npt.NDArray[np.float32]
"""Mono samples, float32, full scale at 1.0; shape (samples,)."""


@dataclass(frozen=True, kw_only=True)
class CodecInfo:
    """What is fixed about a codec.

    `delay` is the algorithmic delay in samples beyond the frame itself: output sample
    n + delay belongs to input sample n.
    """

    name: str
    version: int
    sample_rate: int
    frame_size: int
    quantizers: int
    codebook_size: int
    delay: int
    weights_hash: str = ""


class Encoder(ABC):
    """One stream of speech on its way into frames."""

    @abstractmethod
    def push(self, pcm: Pcm) -> list[Frame]:
        """Take any number of samples at the codec's rate, give the frames completed by them."""

    @abstractmethod
    def flush(self) -> list[Frame]:
        """Pad the end with zeros and give the last frames, enough to decode every sample pushed
        (the codec's delay included). The encoder is reset afterwards."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the past, as if newly made."""

    @abstractmethod
    def snapshot(self) -> Any:
        """A copy of the state, good for `restore` on any encoder of the same codec."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go back to the state of a snapshot."""


class Decoder(ABC):
    """One stream of frames on its way to the ear."""

    @abstractmethod
    def decode(self, item: PlayoutItem) -> Pcm:
        """One frame, loss or silence in; exactly `frame_size` samples out.

        Losses are concealed and faded; silence comes out as comfort noise.

        Raises:
            CodecError: the frame has more indices than the codec has codebooks.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget the past, as if newly made."""

    @abstractmethod
    def snapshot(self) -> Any:
        """A copy of the state, good for `restore` on any decoder of the same codec."""

    @abstractmethod
    def restore(self, state: Any) -> None:
        """Go back to the state of a snapshot."""


class Codec(ABC):
    """A codec with its weights; makes any number of independent encoders and decoders."""

    info: CodecInfo

    @abstractmethod
    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        """A new encoder that gives `quantizers` indices per frame (all by default).

        Raises:
            CodecError: `quantizers` is outside 1..info.quantizers.
        """

    @abstractmethod
    def decoder(self) -> Decoder:
        """A new decoder; it takes frames with any number of indices."""

    def check_quantizers(self, quantizers: int | None) -> int:
        """The number of quantizers to use, or a `CodecError` that says what is possible."""
        if quantizers is None:
            return self.info.quantizers
        if not 1 <= quantizers <= self.info.quantizers:
            raise CodecError(
                f"quantizers = {quantizers} is not possible: codec {self.info.name} "
                f"has 1 to {self.info.quantizers}"
            )
        return quantizers


def _load_compact() -> Codec:
    from linkcodec.compact import CompactCodec

    return CompactCodec.load()


_LOADERS: dict[str, Callable[[], Codec]] = {"compact": _load_compact}


def codec_names() -> list[str]:
    """Names that `load_codec` knows."""
    return sorted(_LOADERS)


def load_codec(name: str = "compact") -> Codec:
    """Load a codec with its weights.

    Raises:
        CodecError: the name is unknown or the weights are missing or damaged.
    """
    if name not in _LOADERS:
        raise CodecError(f"unknown codec '{name}': use one of {', '.join(codec_names())}")
    return _LOADERS[name]()
