"""Networks of Mimi's kind behind the interface of every codec.

`NeuralCodec` holds an encoder and a decoder network and makes streams of them; many streams
or many frames may also go through the networks in one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from linkcodec.blocks import BareEncoder, BlockEncoder
from linkcodec.codec import Codec, CodecInfo, Decoder, Pcm
from linkcodec.concealment import BareDecoder, SteadyDecoder
from linkcodec.exceptions import CodecError
from linkcodec.frame import Frame
from linkcodec.mimi.config import FRAME_SIZE
from linkcodec.mimi.layers import Stack
from linkcodec.mimi.quantizer import ABSENT
from linkcodec.recordings import Tokens

__all__ = ["DecoderNetwork", "EncoderNetwork", "NeuralCodec", "NeuralEncoder"]

_WARM_UP_FRAMES = 8
_FRAMES_PER_STEP = 4


class EncoderNetwork(Protocol):
    """Samples (B, 1920 n) to indices (B, quantizers, n)."""

    def state(self, batch: int = 1) -> Stack: ...

    def __call__(self, pcm: Tensor, state: Stack, *, quantizers: int) -> Tensor: ...


class DecoderNetwork(Protocol):
    """Indices (B, K, n), `ABSENT` where there is none, to samples (B, 1920 n)."""

    def state(self, batch: int = 1) -> Stack: ...

    def __call__(self, indices: Tensor, state: Stack) -> Tensor: ...


class _BareEncoder(BareEncoder):
    def __init__(self, network: EncoderNetwork, *, quantizers: int, device: str) -> None:
        self.quantizers = quantizers
        self._network = network
        self._device = device
        self._state = network.state()

    def encode(self, block: Pcm) -> Frame:
        pcm = torch.from_numpy(block)[None].to(self._device)
        indices = self._network(pcm, self._state, quantizers=self.quantizers)
        return Frame(tuple(indices[0, :, 0].tolist()))

    def restart(self) -> None:
        self._state.reset()

    def snapshot(self) -> Any:
        return self._state.copy()

    def restore(self, state: Any) -> None:
        self._state.restore(state)


class NeuralEncoder(BlockEncoder):
    """A stream through the encoder; the number of books may change from frame to frame."""

    def __init__(self, bare: _BareEncoder, codec: NeuralCodec) -> None:
        super().__init__(bare, codec.info)
        self._network = bare
        self._codec = codec

    @property
    def quantizers(self) -> int:
        """Indices per frame from the next frame on."""
        return self._network.quantizers

    @quantizers.setter
    def quantizers(self, quantizers: int) -> None:
        self._network.quantizers = self._codec.check_quantizers(quantizers)


class _BareDecoder(BareDecoder):
    """A talk spurt begins from the state after a moment of silence: a cold decoder distorts
    the first syllable. A lost frame is the last one again."""

    def __init__(self, network: DecoderNetwork, warm: Stack, *, device: str) -> None:
        self._network = network
        self._warm = warm
        self._device = device
        self._state = warm.copy()
        self._last: Frame | None = None

    def speak(self, frame: Frame) -> Pcm:
        self._last = frame
        return self._decode(frame)

    def guess(self) -> Pcm:
        assert self._last is not None
        return self._decode(self._last)

    def _decode(self, frame: Frame) -> Pcm:
        indices = torch.tensor(frame.indices, device=self._device)[None, :, None]
        samples: Pcm = self._network(indices, self._state)[0].cpu().numpy()
        return samples

    def restart(self) -> None:
        self._state.restore(self._warm)
        self._last = None

    def snapshot(self) -> Any:
        return self._state.copy(), self._last

    def restore(self, state: Any) -> None:
        self._state.restore(state[0])
        self._last = state[1]


class NeuralCodec(Codec):
    """A codec made of two streaming networks.

    `precision` says how the decoder computes; the encoder always does in fp32.
    """

    def __init__(
        self,
        *,
        info: CodecInfo,
        encoder: EncoderNetwork,
        decoder: DecoderNetwork,
        device: str,
        precision: str,
    ) -> None:
        self.info = info
        self.encoder_network = encoder
        self.decoder_network = decoder
        self.device = device
        self.precision = precision
        self._warm = self._warm_up()

    def _warm_up(self) -> Stack:
        """Run both networks on silence: memory is touched, and decoders get a warm state."""
        silence = torch.zeros(1, FRAME_SIZE, device=self.device)
        coder, state = self.encoder_network.state(), self.decoder_network.state()
        for _ in range(_WARM_UP_FRAMES):
            indices = self.encoder_network(silence, coder, quantizers=self.info.quantizers)
            self.decoder_network(indices, state)
        return state

    def encoder(self, *, quantizers: int | None = None) -> NeuralEncoder:
        bare = _BareEncoder(
            self.encoder_network,
            quantizers=self.check_quantizers(quantizers),
            device=self.device,
        )
        return NeuralEncoder(bare, self)

    def decoder(self) -> Decoder:
        bare = _BareDecoder(self.decoder_network, self._warm, device=self.device)
        return SteadyDecoder(bare, self.info)

    def encode_blocks(self, blocks: Iterable[Pcm], *, quantizers: int) -> Iterator[Frame]:
        """As a stream does, in steps of some frames, which cost half as much."""
        state = self.encoder_network.state()
        waiting = np.zeros(0, np.float32)
        for block in blocks:
            heard = np.clip(np.nan_to_num(block.astype(np.float32, copy=False)), -1.0, 1.0)
            waiting = np.concatenate((waiting, heard))
            whole = waiting.size - waiting.size % (_FRAMES_PER_STEP * FRAME_SIZE)
            yield from self._encode(waiting[:whole], state, quantizers)
            waiting = waiting[whole:]
        yield from self._encode(np.pad(waiting, (0, -waiting.size % FRAME_SIZE)), state, quantizers)

    def _encode(self, pcm: Pcm, state: Stack, quantizers: int) -> Iterator[Frame]:
        samples = torch.from_numpy(pcm)[None].to(self.device)
        for step in torch.split(samples, _FRAMES_PER_STEP * FRAME_SIZE, dim=1):
            if step.shape[1]:
                indices = self.encoder_network(step, state, quantizers=quantizers)
                for column in indices[0].t().tolist():
                    yield Frame(tuple(column))

    def decode_blocks(self, tokens: Tokens) -> Iterator[Pcm]:
        for samples in self.decode_indices(torch.from_numpy(tokens)[None]):
            yield samples[0].cpu().numpy()

    def decode_indices(self, indices: Tensor) -> Iterator[Tensor]:
        """Whole signals from a cold start, as the reference decodes them, in a few steps.

        Args:
            indices: (B, K, n), `ABSENT` where there is none.

        Yields:
            Samples (B, 1920 m), m up to 4.

        Raises:
            CodecError: more books than the codec has, or an index outside them.
        """
        count = indices.shape[1]
        if not 1 <= count <= self.info.quantizers:
            raise CodecError(
                f"tokens of {count} codebooks: codec {self.info.name} has {self.info.quantizers}"
            )
        if indices.numel() and not (
            indices.min() >= ABSENT and indices.max() < self.info.codebook_size
        ):
            raise CodecError(f"tokens outside 0..{self.info.codebook_size - 1}")
        state = self.decoder_network.state(indices.shape[0])
        # One frame or a full step: weights lie in the order for these lengths, and others cost
        # more than they save.
        for step in torch.split(indices.to(self.device), _FRAMES_PER_STEP, dim=2):
            whole = step.shape[2] == _FRAMES_PER_STEP
            for part in (step,) if whole else torch.split(step, 1, dim=2):
                yield self.decoder_network(part, state)
