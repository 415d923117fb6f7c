"""The echo gate: no echo goes out, near speech alone stays whole, loud near speech gets through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechlike import phrase

from benchmarks.echo_gate import Room, listen, rooms, through
from benchmarks.gate import sent_frames
from linkcodec.codec import Pcm
from linkcodec.echo_gate import EchoGate
from linkcodec.gate import GateConfig

RATE = 16_000
SETTLED = 19
"""Frames after which the voice gate knows the room's noise."""


def talk(seconds: float, *, seed: int, dbfs: float = -26.0, start: float = 0.0) -> Pcm:
    """Phrases with pauses of about a second."""
    pieces = [np.zeros(round(start * RATE))]
    while sum(piece.size for piece in pieces) < seconds * RATE:
        number = seed * 100 + len(pieces)
        pieces.append(phrase(RATE, dbfs=dbfs, seed=number, syllables=7))
        pieces.append(np.zeros(round((0.6 + 0.1 * (number % 7)) * RATE)))
    return np.concatenate(pieces)[: round(seconds * RATE)].astype(np.float32)


def silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE), np.float32)


def frames(pcm: Pcm) -> np.ndarray:
    return sent_frames(pcm, GateConfig())[SETTLED:]


@pytest.mark.parametrize("room", list(rooms(10)), ids=lambda room: f"{room.gain_db:g} dB")
def test_no_echo_frame_goes_out(room: Room) -> None:
    scene = listen(talk(15, seed=room.seed, start=3.0), silence(15), room)
    assert frames(scene.microphone).sum() > 20
    assert frames(scene.out).sum() == 0


@pytest.mark.parametrize("room", list(rooms(3)), ids=lambda room: f"{room.gain_db:g} dB")
def test_near_talker_alone_is_not_touched(room: Room) -> None:
    scene = listen(silence(8), talk(8, seed=50 + room.seed), room)
    assert np.array_equal(scene.out, scene.microphone)


@pytest.mark.parametrize("gap", [0.6, 1.0])
def test_answer_after_the_far_end_is_whole(gap: float) -> None:
    """Once the room is quiet again the first sample of an answer goes out as it is."""
    room = Room(delay=0.1, gain_db=-12.0, seed=3)
    far, near = silence(10), silence(10)
    said = talk(6, seed=4)[: 5 * RATE]
    far[: said.size] = said
    starts = round((5 + gap) * RATE)
    answer = talk(3, seed=9)
    near[starts : starts + answer.size] = answer
    scene = listen(far, near, room)
    out, heard = scene.out[starts:], scene.microphone[starts:]
    assert np.array_equal(out, heard)


def test_louder_near_talker_gets_through() -> None:
    passed = whole = 0
    for room in rooms(4):
        near = talk(16, seed=70 + room.seed, start=6.0, dbfs=-20.0)
        scene = listen(talk(16, seed=30 + room.seed), near, room)
        counts = through(near, scene, above_db=(6.0, np.inf))
        passed, whole = passed + counts[0], whole + counts[1]
    assert whole > 200
    assert passed / whole > 0.5  # of syllables as regular as these; of speech more


def test_delay_and_gain_are_learned() -> None:
    room = Room(delay=0.15, gain_db=-20.0, seed=5)
    gate = EchoGate(RATE)
    far = talk(12, seed=6)
    heard = room.echo(far) + room.noise(far.size)
    for start in range(0, far.size, 320):
        gate.played(far[start : start + 320], 100.0 + start / RATE)
        gate.push(heard[start : start + 320], 100.0 + (start + 320) / RATE)
    assert -25.0 < gate.gain_db < -12.0


def test_louder_volume_is_followed() -> None:
    """10 dB more in the middle: what slips through ends within a second and a half."""
    seconds = np.arange(16 * RATE) / RATE
    scene = listen(
        talk(16, seed=8),
        silence(16),
        Room(delay=0.06, gain_db=-24.0, seed=7),
        gain_db=np.where(seconds > 8, 10.0, 0.0),
    )
    sent = np.flatnonzero(frames(scene.out)) + SETTLED
    assert all(8.0 - 0.4 < number * 0.08 < 9.5 + 0.4 for number in sent)


def test_sound_that_starts_anew_in_time_is_placed_there() -> None:
    """After a gap in what is played, times count and not the number of samples."""
    gate = EchoGate(RATE)
    loud = talk(2, seed=1)
    gate.played(loud[:RATE], 0.0)
    gate.played(loud[:RATE], 3.0)
    closed = []
    for number in range(250):
        gate.push(silence(0.02) + np.float32(1e-4), (number + 1) * 0.02)
        closed.append(gate.closed)
    assert any(closed[:50])
    assert not any(closed[100:145])
    assert any(closed[150:200])


@settings(deadline=None, max_examples=25)
@given(sizes=st.lists(st.integers(0, 900), max_size=40))
def test_any_block_size_gives_all_samples_in_order(sizes: list[int]) -> None:
    gate = EchoGate(RATE)
    pcm = talk(1.5, seed=2)
    out, start = [], 0
    for size in sizes:
        block = pcm[start : start + size]
        start += block.size
        out.append(gate.push(block, start / RATE))
    whole = np.concatenate([pcm[:0], *out])
    assert start - whole.size < 320
    assert np.array_equal(whole, pcm[: whole.size])


@pytest.mark.parametrize("rate", [8000, 24_000])
def test_other_rates(rate: int) -> None:
    gate = EchoGate(rate)
    far = phrase(rate, dbfs=-20, seed=1, syllables=20).astype(np.float32)
    heard = np.concatenate([np.zeros(rate // 20), 0.3 * far]).astype(np.float32)
    piece = rate // 50
    out = []
    for start in range(0, far.size, piece):
        gate.played(far[start : start + piece], start / rate)
        out.append(gate.push(heard[start : start + piece], (start + piece) / rate))
    assert np.mean(np.concatenate(out) ** 2) < np.mean(heard**2) / 100
