"""Packing of frames into bits: shared by the wire format and by token files.

Frame after frame, index after index (coarsest first), each index in 11 bits with the
most significant bit first; nothing between frames, zero bits up to the byte at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linkcodec.frame import INDEX_BITS, MAX_QUANTIZERS, Frame

__all__ = ["frame_bits", "pack_frames", "packed_size", "unpack_frames"]

_SHIFTS = np.arange(INDEX_BITS - 1, -1, -1, dtype=np.uint16)


def frame_bits(quantizers: int) -> int:
    """Bits of one frame with `quantizers` indices.

    Raises:
        ValueError: `quantizers` is outside 1..16.
    """
    if not 1 <= quantizers <= MAX_QUANTIZERS:
        raise ValueError(f"a frame has 1 to {MAX_QUANTIZERS} indices, not {quantizers}")
    return quantizers * INDEX_BITS


def packed_size(*, quantizers: int, count: int) -> int:
    """Bytes that `count` frames of `quantizers` indices take.

    Raises:
        ValueError: `quantizers` is outside 1..16 or `count` is negative.
    """
    if count < 0:
        raise ValueError(f"a number of frames cannot be negative: {count}")
    return (frame_bits(quantizers) * count + 7) // 8


def pack_frames(frames: Sequence[Frame]) -> bytes:
    """The bits of `frames`, which all have the same number of indices.

    Raises:
        ValueError: the frames differ in their number of indices.
    """
    if not frames:
        return b""
    quantizers = len(frames[0].indices)
    if any(len(frame.indices) != quantizers for frame in frames):
        raise ValueError("all frames packed together need the same number of indices")
    indices = np.array([frame.indices for frame in frames], dtype=np.uint16)
    bits = (indices.reshape(-1, 1) >> _SHIFTS) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack_frames(data: bytes, *, quantizers: int, count: int) -> list[Frame]:
    """The `count` frames of `quantizers` indices that `data` holds.

    Raises:
        ValueError: `data` has another size than these frames take, its padding is not
            zero, `quantizers` is outside 1..16 or `count` is negative.
    """
    size = packed_size(quantizers=quantizers, count=count)
    if len(data) != size:
        raise ValueError(
            f"{count} frames of {quantizers} indices take {size} bytes, not {len(data)}"
        )
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
    used = frame_bits(quantizers) * count
    if bits[used:].any():
        raise ValueError("the padding after the last frame is not zero")
    groups = bits[:used].reshape(-1, INDEX_BITS).astype(np.uint16)
    indices = (groups << _SHIFTS).sum(axis=1).reshape(count, quantizers)
    return [Frame(tuple(row)) for row in indices.tolist()]
