"""What every codec offers: a description, streaming encoders and streaming decoders.

The contract: samples go in by any number and come out as frames; a frame, a loss or
a silence goes in and exactly one frame of samples comes out. Streaming gives the same
result as coding the whole signal at once.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame, PlayoutItem

if TYPE_CHECKING:
    from linkcodec.recordings import Recording, Tokens
    from linkcodec.tokenfile import TokenFile

Pcm = npt.NDArray[np.float32]
"""Mono samples, float32, full scale at 1.0; shape (samples,)."""


@dataclass(frozen=True, kw_only=True)
class CodecInfo:
    """What is fixed about a codec.

    `delay` is the algorithmic delay in samples beyond the frame itself: output sample
    n + delay belongs to input sample n. `build` names a way of running the codec that
    changes nothing on the wire, such as "light".
    """

    name: str
    version: int
    sample_rate: int
    frame_size: int
    quantizers: int
    codebook_size: int
    delay: int
    weights_hash: str = ""
    build: str = ""


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

    @overload
    def encode(
        self,
        recording: Recording,
        *,
        sample_rate: int | None = None,
        num_quantizers: int | None = None,
    ) -> Tokens: ...

    @overload
    def encode(
        self,
        recording: list[Recording],
        *,
        sample_rate: int | None = None,
        num_quantizers: int | None = None,
    ) -> list[Tokens]: ...

    def encode(
        self,
        recording: Recording | list[Recording],
        *,
        sample_rate: int | None = None,
        num_quantizers: int | None = None,
    ) -> Tokens | list[Tokens]:
        """A whole recording, or several, to tokens of shape (K, frames).

        A recording is a path, a URL, the bytes of an audio file, or an array of samples with
        its `sample_rate`; files are read block by block.

        Raises:
            AudioFileError: it cannot be read.
            CodecError: `num_quantizers` is not possible.
        """
        if isinstance(recording, list):
            return [
                self.encode(one, sample_rate=sample_rate, num_quantizers=num_quantizers)
                for one in recording
            ]
        from linkcodec import recordings

        return recordings.encode(
            self, recording, sample_rate=sample_rate, num_quantizers=num_quantizers
        )

    @overload
    def decode(
        self, tokens: TokenFile | npt.NDArray[Any], *, target_sample_rate: int | None = None
    ) -> Pcm: ...

    @overload
    def decode(self, tokens: list[Any], *, target_sample_rate: int | None = None) -> list[Pcm]: ...

    def decode(self, tokens: Any, *, target_sample_rate: int | None = None) -> Pcm | list[Pcm]:
        """Tokens (K, frames), a `TokenFile`, or a list of these, to samples.

        Raises:
            InputError: not an array of tokens of this codec.
        """
        if isinstance(tokens, list):
            return [self.decode(one, target_sample_rate=target_sample_rate) for one in tokens]
        from linkcodec import recordings

        return recordings.decode(self, tokens, target_sample_rate=target_sample_rate)

    def encode_blocks(self, blocks: Iterable[Pcm], *, quantizers: int) -> Iterator[Frame]:
        """The frames of a recording, whose samples come in blocks of any length."""
        encoder = self.encoder(quantizers=quantizers)
        for pcm in blocks:
            yield from encoder.push(pcm)
        yield from encoder.flush()

    def decode_blocks(self, tokens: Tokens) -> Iterator[Pcm]:
        """Tokens (K, frames) to the samples of some frames at a time."""
        from linkcodec import recordings

        decoder = self.decoder()
        for frame in recordings.to_frames(tokens):
            yield decoder.decode(frame)

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


def _load_compact(version: int | None = None) -> Codec:
    from linkcodec.light.codec import NumpyCodec

    return NumpyCodec.load() if version is None else NumpyCodec.load(version)


def _load_light(version: int | None = None) -> Codec:
    from linkcodec.light.codec import NumpyCodec

    return NumpyCodec.load_light() if version is None else NumpyCodec.load_light(version)


def _load_qwen12hz(**options: Any) -> Codec:
    from linkcodec.qwen12hz import load_qwen12hz

    return load_qwen12hz(**options)


def _load_mimi(**options: Any) -> Codec:
    from linkcodec.mimi import load_mimi

    return load_mimi(**options)


_LOADERS: dict[str, Callable[[], Codec]] = {
    "compact": _load_compact,
    "compact-light": _load_light,
    "mimi": _load_mimi,
    "qwen3-12hz": _load_qwen12hz,
}

_VERSION_LOADERS: dict[str, Callable[[int], Codec]] = {
    "compact": _load_compact,
    "compact-light": _load_light,
}
"""Codecs of which several versions may be installed."""

_OPTION_LOADERS: dict[str, Callable[..., Codec]] = {
    "mimi": _load_mimi,
    "qwen3-12hz": _load_qwen12hz,
}
"""Codecs whose weights, device and precision the user chooses."""


def codec_names() -> list[str]:
    """Names that `load_codec` knows."""
    return sorted(_LOADERS)


def load_codec(
    name: str = "compact",
    *,
    version: int | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Codec:
    """Load a codec with its weights: the current version of them, or the one asked for.

    `weights` (a folder or a model hub id), `device` ("cpu", "cuda") and `precision` ("auto",
    "fp32", "bf16", "int8") are for codecs whose weights are not in the package.

    Raises:
        CodecError: the name is unknown, the codec has no such option, or the weights are
            missing, damaged or not there in this version.
    """
    if name not in _LOADERS:
        raise CodecError(f"unknown codec '{name}': use one of {', '.join(codec_names())}")
    given = {"weights": weights, "device": device, "precision": precision}
    options = {key: value for key, value in given.items() if value is not None}
    if options and name not in _OPTION_LOADERS:
        raise CodecError(
            f"codec {name} has no {next(iter(options))} to choose: leave the option out, or use "
            f"one of {', '.join(sorted(_OPTION_LOADERS))}"
        )
    if version is None and not options:
        return _LOADERS[name]()
    if version is not None and name in _VERSION_LOADERS:
        return _VERSION_LOADERS[name](version)
    codec = _OPTION_LOADERS[name](**options) if options else _LOADERS[name]()
    if version not in (None, codec.info.version):
        raise CodecError(
            f"codec {name} version {version} is needed, here is version {codec.info.version}: "
            "install a linkcodec that has the other"
        )
    return codec
