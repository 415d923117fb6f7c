from __future__ import annotations

import numpy as np

from linkcodec.app.timeline import HELD_FRAMES, Timeline
from linkcodec.codec import Pcm
from linkcodec.frame import Silence

SIZE = 8


def frame(value: float) -> Pcm:
    return np.full(SIZE, value, np.float32)


def values(pcm: Pcm) -> list[float]:
    """The value of each frame of `frame`s."""
    return [round(float(value), 3) for value in pcm.reshape(-1, SIZE)[:, 0]]


def timeline(*, first_tick: int | None = None) -> Timeline:
    return Timeline(sample_rate=16_000, frame_size=SIZE, first_tick=first_tick)


def test_steady_frames_come_out_in_order() -> None:
    line = timeline()
    out = [line.add(5 + tick, frame(tick / 1000)) for tick in range(100)]
    assert sum(piece.size for piece in out) == (100 - HELD_FRAMES) * SIZE
    assert values(np.concatenate([*out, line.finish()])) == [n / 1000 for n in range(100)]


def test_inserted_frames_are_left_out() -> None:
    line = timeline()
    for tick in (0, 1, None, None, 2):
        line.add(tick, frame(0.5 if tick is None else tick / 10))
    assert values(line.finish()) == [0.0, 0.1, 0.2]


def test_step_back_replaces_what_was_given() -> None:
    line = timeline()
    for tick, value in ((0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4), (2, 0.5), (3, 0.6), (4, 0.7)):
        line.add(tick, frame(value))
    assert values(line.finish()) == [0.1, 0.2, 0.5, 0.6, 0.7]


def test_step_forward_is_filled_with_noise_of_the_room() -> None:
    line = timeline()
    line.add(0, frame(0.1), background=Silence(-40.0))
    line.add(30, frame(0.2))
    pcm = line.finish()
    assert pcm.size == 31 * SIZE
    fill = pcm[SIZE : 30 * SIZE]
    assert -45.0 < 10.0 * np.log10(np.mean(fill**2)) < -35.0


def test_start_before_the_first_frame_is_filled() -> None:
    line = timeline(first_tick=0)
    line.add(None, frame(0.9))
    line.add(3, frame(0.25))
    pcm = line.finish()
    assert pcm.size == 4 * SIZE
    assert values(pcm)[3] == 0.25


def test_end_is_filled_or_cut() -> None:
    for end in (2, 5, 9):
        line = timeline()
        for tick in range(5):
            line.add(tick, frame(tick / 10))
        assert line.finish(end).size == end * SIZE


def test_another_clock_goes_on_where_the_recording_is() -> None:
    line = timeline()
    line.add(0, frame(0.1))
    ready = line.add(1_000_000, frame(0.2))
    assert values(np.concatenate([ready, line.finish()])) == [0.1, 0.2]
    line = timeline()
    line.add(1_000_000, frame(0.1))
    ready = line.add(0, frame(0.2))
    assert values(np.concatenate([ready, line.finish()])) == [0.1, 0.2]


def test_nothing_gives_nothing() -> None:
    assert timeline().finish().size == 0
    assert timeline(first_tick=0).finish(3).size == 3 * SIZE
