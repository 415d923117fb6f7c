"""The rooms in which the echo gate is measured."""

from __future__ import annotations

import numpy as np
from speechlike import phrase

from benchmarks.echo_gate import Room, Scene, rooms, through

RATE = 16_000


def test_the_echo_is_late_and_as_loud_as_told() -> None:
    far = phrase(RATE, dbfs=-20, seed=1, syllables=12).astype(np.float32)
    room = Room(delay=0.1, gain_db=-12.0, seed=1)
    echo = room.echo(far)
    assert not echo[: RATE // 10].any()
    ratio = np.mean(far[: -RATE // 10] ** 2) / np.mean(echo[RATE // 10 :] ** 2)
    assert 9.0 < 10 * np.log10(ratio) < 15.0
    assert 10 * np.log10(np.mean(room.noise(RATE) ** 2)) < -59.0


def test_rooms_differ_and_are_the_same_each_time() -> None:
    assert list(rooms(6)) == list(rooms(6))
    assert len({room.delay for room in rooms(6)}) == 6
    assert {room.gain_db for room in rooms(6)} == {-6.0, -12.0, -18.0, -24.0, -30.0}


def test_what_got_through_is_counted_where_there_is_an_echo() -> None:
    near = np.full(4 * 320, 0.1, np.float32)
    echo = np.concatenate([np.full(2 * 320, 0.05), np.full(2 * 320, 1e-5)]).astype(np.float32)
    closed = np.array([True, False, True, False])
    scene = Scene(microphone=near + echo, out=near, echo=echo, closed=closed)
    assert through(near, scene, above_db=(6.0, 12.0)) == (1, 2)
    assert through(near, scene, above_db=(0.0, 6.0)) == (0, 0)
