"""Concealment and comfort noise around any codec's bare decoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.codec import CodecInfo, Pcm
from linkcodec.concealment import FADE, BareDecoder, SteadyDecoder
from linkcodec.exceptions import CodecError
from linkcodec.frame import LOST, Frame, PlayoutItem, Silence

RATE = 16_000
SIZE = 1280
INFO = CodecInfo(
    name="sine",
    version=1,
    sample_rate=RATE,
    frame_size=SIZE,
    quantizers=8,
    codebook_size=2048,
    delay=0,
)
SPEECH = Frame((100,))
QUIET = Silence(-60.0, 0)
AMPLITUDE = 0.3


class SineDecoder(BareDecoder):
    """A sine of 200 Hz that never breaks: any larger step comes from the code under test."""

    def __init__(self) -> None:
        self.position = 0
        self.guesses = 0
        self.restarts = 0

    def _next(self) -> Pcm:
        times = (self.position + np.arange(SIZE)) / RATE
        self.position += SIZE
        return (AMPLITUDE * np.sin(2 * np.pi * 200 * times)).astype(np.float32)

    def speak(self, frame: Frame) -> Pcm:  # noqa: ARG002
        return self._next()

    def guess(self) -> Pcm:
        self.guesses += 1
        return self._next()

    def owed(self) -> Pcm:
        position = self.position
        tail = self._next()[:240] * np.linspace(1, 0, 240, dtype=np.float32)
        self.position = position
        return tail

    def restart(self) -> None:
        self.restarts += 1

    def snapshot(self) -> Any:
        return self.position

    def restore(self, state: Any) -> None:
        self.position = state


def play(items: list[PlayoutItem]) -> tuple[Pcm, SineDecoder]:
    bare = SineDecoder()
    steady = SteadyDecoder(bare, INFO)
    return np.concatenate([steady.decode(item) for item in items]), bare


def level(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-12))


def largest_step(pcm: Pcm) -> float:
    return float(np.max(np.abs(np.diff(pcm))))


OWN_STEP = AMPLITUDE * 2 * np.pi * 200 / RATE
"""The largest step between two samples that the sine itself has."""


def test_speech_passes_untouched() -> None:
    pcm, _ = play([SPEECH] * 5)
    np.testing.assert_array_equal(pcm[:SIZE], SineDecoder()._next())
    assert level(pcm) == pytest.approx(10 * np.log10(AMPLITUDE**2 / 2), abs=0.01)


def test_a_loss_fades_within_five_frames_into_the_background() -> None:
    pcm, bare = play([QUIET, *[SPEECH] * 5, *[LOST] * 12])
    levels = [level(frame) for frame in pcm[6 * SIZE :].reshape(-1, SIZE)]
    assert levels[0] > level(pcm[5 * SIZE : 6 * SIZE]) - 1
    assert all(after < before for before, after in pairwise(levels[:5]))
    assert bare.guesses == len(FADE) == 5
    for faded in levels[5:]:
        assert faded == pytest.approx(-60, abs=2)


def test_concealment_never_runs_past_the_end_of_a_spurt() -> None:
    pcm, bare = play([*[SPEECH] * 3, LOST, QUIET, QUIET, LOST])
    assert bare.guesses == 1
    assert level(pcm[4 * SIZE + 240 : 5 * SIZE]) < -50
    assert level(pcm[5 * SIZE :]) == pytest.approx(-60, abs=2)


@pytest.mark.parametrize("lost", [1, 2, 3, 4, 5, 8])
def test_speech_returns_at_full_level_and_without_a_click(lost: int) -> None:
    pcm, _ = play([*[SPEECH] * 4, *[LOST] * lost, *[SPEECH] * 3])
    assert largest_step(pcm) < 1.6 * OWN_STEP
    assert level(pcm[-SIZE:]) == pytest.approx(level(pcm[:SIZE]), abs=0.1)


def test_no_click_where_speech_ends() -> None:
    pcm, bare = play([QUIET, *[SPEECH] * 4, QUIET, QUIET])
    assert largest_step(pcm[5 * SIZE :]) < 1.1 * OWN_STEP
    assert bare.restarts == 1


def test_the_background_is_heard_with_its_colour() -> None:
    dark, bright = (play([Silence(-40.0, colour)] * 20)[0] for colour in (0x700, 0x900))
    assert level(dark) == pytest.approx(-40, abs=1)
    assert level(bright) == pytest.approx(-40, abs=1)
    assert np.mean(np.diff(bright) ** 2) > 4 * np.mean(np.diff(dark) ** 2)


def test_too_many_indices() -> None:
    with pytest.raises(CodecError, match="9 indices, codec sine has 8 codebooks"):
        play([Frame((1,) * 9)])


def test_a_foreign_snapshot() -> None:
    with pytest.raises(TypeError, match="not a snapshot of a sine decoder"):
        SteadyDecoder(SineDecoder(), INFO).restore(None)


ITEMS = st.lists(st.sampled_from([SPEECH, LOST, QUIET, Silence(-30.0, 77)]), max_size=30)


@settings(deadline=None, max_examples=40)
@given(ITEMS, ITEMS)
def test_any_sequence_gives_whole_frames_and_can_be_resumed(
    before: list[PlayoutItem], after: list[PlayoutItem]
) -> None:
    steady = SteadyDecoder(SineDecoder(), INFO)
    for item in before:
        pcm = steady.decode(item)
        assert pcm.shape == (SIZE,)
        assert pcm.dtype == np.float32
        assert np.max(np.abs(pcm)) <= 1
    state = steady.snapshot()
    first = [steady.decode(item) for item in after]
    steady.restore(state)
    for item, expected in zip(after, first, strict=True):
        np.testing.assert_array_equal(steady.decode(item), expected)
