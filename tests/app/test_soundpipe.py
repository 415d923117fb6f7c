from __future__ import annotations

import numpy as np

from linkcodec.app.soundpipe import SoundPipe

RATE = 16_000
PIECE = 640


def sound(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.linspace(0.1, 1.0, round(seconds * RATE), dtype=np.float32)


def test_sound_goes_through_in_order_after_a_cushion() -> None:
    pipe = SoundPipe("pipe", sample_rate=RATE)
    pcm = sound(0.16)
    pipe.write(pcm[:PIECE])
    assert not pipe.take(PIECE).any()  # too little waits
    pipe.write(pcm[PIECE:])
    taken = np.concatenate([pipe.take(PIECE) for _ in range(4)])
    np.testing.assert_array_equal(taken, pcm)
    assert pipe.underruns == 0
    assert not pipe.take(PIECE).any()
    assert pipe.underruns == 1


def test_no_delay_stays_after_the_taker_was_late() -> None:
    pipe = SoundPipe("pipe", sample_rate=RATE)
    for _ in range(10):
        pipe.write(sound(0.08))
    assert pipe.waiting <= 0.5
    pipe.take(PIECE)
    assert pipe.waiting < 0.1
    assert pipe.skipped > 0.3 * RATE


def test_flush() -> None:
    pipe = SoundPipe("pipe", sample_rate=RATE)
    pipe.write(sound(0.2))
    pipe.flush()
    assert pipe.waiting == 0.0
    assert not pipe.take(PIECE).any()
