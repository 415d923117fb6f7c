"""The compact codec in numpy, in its full and its light build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from linkcodec.blocks import BlockEncoder
from linkcodec.codec import Codec, Pcm
from linkcodec.compact.streams import DecoderMemory, EncoderMemory, FrameEncoder, Stream
from linkcodec.compact.versions import (
    CURRENT_VERSION,
    FOLDER,
    compact_info,
    file_name,
    weights_path,
)
from linkcodec.concealment import BareDecoder, SteadyDecoder
from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame
from linkcodec.light.layers import Context
from linkcodec.light.network import Quantizer, SpeechEncoder, Trunk
from linkcodec.light.synthesis import SynthesisState, Synthesizer
from linkcodec.light.weights import CODEBOOKS, Weights, read_full, read_light

_ENCODER = "light-encoder"
_DECODER = "light-decoder"


@dataclass
class _EncoderState(EncoderMemory[Context]):
    context: Context = field(default_factory=Context)


class NumpyEncoder(FrameEncoder):
    """One stream through the encoder."""

    def __init__(self, network: SpeechEncoder, quantizer: Quantizer, *, quantizers: int) -> None:
        super().__init__(_EncoderState)
        self._network = network
        self._quantizer = quantizer
        self._quantizers = quantizers

    def _code(self, heard: Pcm) -> tuple[int, ...]:
        latent = self._network(heard, self._state.context)[0]
        return self._quantizer.encode(latent, quantizers=self._quantizers)


@dataclass
class _DecoderState(DecoderMemory[Context, SynthesisState]):
    context: Context = field(default_factory=Context)
    synthesis: SynthesisState = field(default_factory=SynthesisState)


class NumpyDecoder(Stream[_DecoderState], BareDecoder):
    """One stream through the decoder; a lost frame is synthesised by the network itself."""

    def __init__(self, trunk: Trunk, quantizer: Quantizer, synthesizer: Synthesizer) -> None:
        super().__init__(_DecoderState)
        self._trunk = trunk
        self._quantizer = quantizer
        self._synthesizer = synthesizer

    def speak(self, frame: Frame) -> Pcm:
        return self._synthesize(self._quantizer.decode(frame.indices))

    def guess(self) -> Pcm:
        return self._synthesize(None)

    def _synthesize(self, latents: Pcm | None) -> Pcm:
        parameters, pitch = self._trunk(latents, self._state.context)
        return self._synthesizer(parameters, pitch, self._state.synthesis)

    def owed(self) -> Pcm:
        return self._state.synthesis.tail


class NumpyCodec(Codec):
    """The embedded codec: 16 kHz, 12.5 frames/s, up to 12 books of 2048 entries.

    The encoder's weights are read when an encoder is first asked for.
    """

    def __init__(self, decoder: Weights, *, encoder: Callable[[], Weights], build: str) -> None:
        vectors = decoder.arrays[CODEBOOKS]
        self._quantizer = Quantizer(vectors)
        self._trunk = Trunk(decoder.arrays)
        self._synthesizer = Synthesizer()
        self._read_encoder = encoder
        self._network: SpeechEncoder | None = None
        self.info = compact_info(
            version=decoder.version,
            weights_hash=decoder.hash,
            quantizers=vectors.shape[0],
            codebook_size=vectors.shape[1],
            build=build,
        )

    @classmethod
    def load(cls, version: int = CURRENT_VERSION) -> NumpyCodec:
        """The full build of an installed version.

        Raises:
            CodecError: its file is missing or damaged.
        """
        return cls.read(weights_path(version))

    @classmethod
    def read(cls, path: Path) -> NumpyCodec:
        """The full build from a weights file.

        Raises:
            CodecError: the file is missing or damaged.
        """
        weights = read_full(path)
        return cls._checked(path, weights, encoder=lambda: weights)

    @classmethod
    def load_light(cls, version: int = CURRENT_VERSION, *, folder: Path = FOLDER) -> NumpyCodec:
        """The light build of an installed version, or of one that `export_light` has written
        into a folder.

        Raises:
            CodecError: the decoder's file is missing or damaged.
        """
        path = weights_path(version, _DECODER, folder=folder)
        other = path.with_name(file_name(version, _ENCODER))
        weights = read_light(path, "decoder")

        def encoder() -> Weights:
            read = read_light(other, "encoder")
            if read.hash != weights.hash:
                raise CodecError(
                    f"{other}: made from weights {read.hash}, the decoder from "
                    f"{weights.hash}: export both again"
                )
            return read

        return cls._checked(path, weights, encoder=encoder, build="light")

    @classmethod
    def _checked(
        cls, path: Path, weights: Weights, *, encoder: Callable[[], Weights], build: str = ""
    ) -> NumpyCodec:
        try:
            return cls(weights, encoder=encoder, build=build)
        except (KeyError, ValueError, IndexError) as error:
            raise CodecError(f"{path}: lacks {error}; install the package again") from error

    def encoder(self, *, quantizers: int | None = None) -> BlockEncoder:
        """A new encoder.

        Raises:
            CodecError: too many or too few quantizers, or the encoder's file is missing,
                damaged or made from other weights than the decoder's.
        """
        count = self.check_quantizers(quantizers)
        if self._network is None:
            weights = self._read_encoder()
            try:
                self._network = SpeechEncoder(weights.arrays)
            except KeyError as error:
                raise CodecError(
                    f"the encoder's weights lack {error}; install the package again"
                ) from error
        bare = NumpyEncoder(self._network, self._quantizer, quantizers=count)
        return BlockEncoder(bare, self.info)

    def decoder(self) -> SteadyDecoder:
        return SteadyDecoder(
            NumpyDecoder(self._trunk, self._quantizer, self._synthesizer), self.info
        )
