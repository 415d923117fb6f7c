"""The running quality estimate: what moves it, and which way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.frame import LOST, Frame, PlayoutItem, Silence
from transport.quality import QualityMeter

FRAME = Frame((1,) * 8)


def score(items: Sequence[PlayoutItem]) -> float:
    meter = QualityMeter()
    for item in items:
        meter.add(item)
    assert meter.score is not None
    return meter.score


def test_nothing_is_known_before_speech() -> None:
    meter = QualityMeter()
    meter.add(Silence())
    meter.add(LOST)
    assert meter.score is None


def test_more_books_are_better() -> None:
    scores = [score([Frame((1,) * books)] * 50) for books in (1, 2, 4, 6, 8, 12, 16)]
    assert scores == sorted(scores)
    assert scores[-1] - scores[0] > 0.5


def test_more_losses_are_worse_and_runs_worse_still() -> None:
    clear = score([FRAME] * 400)
    some = score(([FRAME] * 19 + [LOST]) * 20)
    many = score(([FRAME] * 9 + [LOST]) * 40)
    runs = score(([FRAME] * 36 + [LOST] * 4) * 10)
    assert clear > some > many > runs > 1


def test_silence_changes_nothing() -> None:
    meter = QualityMeter()
    for item in (FRAME, LOST, FRAME):
        meter.add(item)
    before = meter.score
    for _ in range(1000):
        meter.add(Silence())
    assert meter.score == before


def test_it_recovers_within_half_a_minute() -> None:
    before = score([FRAME] * 10)
    after = score([FRAME] * 100 + [LOST] * 50 + [FRAME] * 375)
    assert after == pytest.approx(before, abs=0.3)


@settings(deadline=None)
@given(st.lists(st.sampled_from([FRAME, LOST, Silence(), Frame((1,))]), max_size=200))
def test_always_a_mean_opinion_score(items: list[PlayoutItem]) -> None:
    assert 1 <= score([FRAME, *items]) <= 5
