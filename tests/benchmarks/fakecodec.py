"""A lossless codec for tests: an index is the number of a frame kept on the side."""

from __future__ import annotations

from typing import Any

import numpy as np

from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder, Pcm
from linkcodec.frame import Frame, PlayoutItem

DELAY = 320
BOOKS = 4


class FakeCodec(Codec):
    """Output comes `DELAY` samples late, and quieter with fewer of its 4 books."""

    def __init__(self, *, sample_rate: int = 16000) -> None:
        self.info = CodecInfo(
            name="fake",
            version=3,
            sample_rate=sample_rate,
            frame_size=sample_rate * 2 // 25,
            quantizers=BOOKS,
            codebook_size=2048,
            delay=DELAY,
            weights_hash="abc",
        )
        self.frames: list[Pcm] = []

    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        return FakeEncoder(self, self.check_quantizers(quantizers))

    def decoder(self) -> Decoder:
        return FakeDecoder(self)


class FakeEncoder(Encoder):
    def __init__(self, codec: FakeCodec, quantizers: int) -> None:
        self.codec = codec
        self.quantizers = quantizers
        self.pending = np.zeros(0, dtype=np.float32)

    def push(self, pcm: Pcm) -> list[Frame]:
        size = self.codec.info.frame_size
        self.pending = np.concatenate([self.pending, pcm])
        frames: list[Frame] = []
        while len(self.pending) >= size:
            frames.append(Frame((len(self.codec.frames),) * self.quantizers))
            self.codec.frames.append(self.pending[:size])
            self.pending = self.pending[size:]
        return frames

    def flush(self) -> list[Frame]:
        wanted = len(self.pending) + DELAY
        fill = -wanted % self.codec.info.frame_size
        frames = self.push(np.zeros(DELAY + fill, dtype=np.float32))
        self.reset()
        return frames

    def reset(self) -> None:
        self.pending = np.zeros(0, dtype=np.float32)

    def snapshot(self) -> Any:
        return self.pending.copy()

    def restore(self, state: Any) -> None:
        self.pending = state.copy()


class FakeDecoder(Decoder):
    def __init__(self, codec: FakeCodec) -> None:
        self.codec = codec
        self.late: Pcm = np.zeros(DELAY, dtype=np.float32)

    def decode(self, item: PlayoutItem) -> Pcm:
        assert isinstance(item, Frame)
        gain = np.float32(len(item.indices) / BOOKS)
        joined = np.concatenate([self.late, self.codec.frames[item.indices[0]] * gain])
        self.late = joined[-DELAY:]
        return joined[:-DELAY]

    def reset(self) -> None:
        self.late = np.zeros(DELAY, dtype=np.float32)

    def snapshot(self) -> Any:
        return self.late.copy()

    def restore(self, state: Any) -> None:
        self.late = state.copy()
