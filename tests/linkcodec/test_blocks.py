from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.blocks import BareEncoder, BlockEncoder
from linkcodec.codec import CodecInfo, Pcm
from linkcodec.frame import Frame

SIZE = 8
INFO = CodecInfo(
    name="count",
    version=1,
    sample_rate=100,
    frame_size=SIZE,
    quantizers=2,
    codebook_size=2048,
    delay=3,
)


class Counter(BareEncoder):
    """Gives the number of frames so far, and the sum of the block in hundredths."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, block: Pcm) -> Frame:
        assert block.shape == (SIZE,)
        assert np.isfinite(block).all()
        self.count += 1
        return Frame((self.count, round(float(block.sum()) * 100)))

    def restart(self) -> None:
        self.count = 0

    def snapshot(self) -> int:
        return self.count

    def restore(self, state: int) -> None:
        self.count = state


def encoder() -> BlockEncoder:
    return BlockEncoder(Counter(), INFO)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), max_size=6))
def test_the_frames_do_not_depend_on_the_pushes(sizes: list[int]) -> None:
    signal = np.linspace(0.0, 1.0, sum(sizes), dtype=np.float32)
    whole, parts = encoder(), encoder()
    expected = whole.push(signal) + whole.flush()
    made: list[Frame] = []
    start = 0
    for size in sizes:
        made += parts.push(signal[start : start + size])
        start += size
    assert made + parts.flush() == expected
    frames = -(-(len(signal) + INFO.delay) // SIZE) if len(signal) else 0
    assert len(expected) == frames


def test_flush_resets() -> None:
    used = encoder()
    used.push(np.ones(20, np.float32))
    used.flush()
    assert used.flush() == []
    assert used.push(np.ones(SIZE, np.float32)) == encoder().push(np.ones(SIZE, np.float32))


def test_samples_that_are_no_samples_are_put_right() -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0, 0.5, 0.0, 0.0], dtype=np.float32)
    # 0 + 1 - 1 + 1 - 1 + 0.5
    assert encoder().push(wild) == [Frame((1, 50))]


def test_snapshots() -> None:
    used = encoder()
    used.push(np.ones(11, np.float32))
    state = used.snapshot()
    first = used.push(np.ones(9, np.float32))
    other = encoder()
    other.restore(state)
    assert other.push(np.ones(9, np.float32)) == first
    with pytest.raises(TypeError, match="count encoder"):
        used.restore(3)


def test_the_delay_lengthens_the_end() -> None:
    late = BlockEncoder(Counter(), replace(INFO, delay=SIZE + 1))
    assert len(late.push(np.ones(SIZE, np.float32)) + late.flush()) == 3
