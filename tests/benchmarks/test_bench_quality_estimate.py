"""Estimates against made-up measurements."""

from __future__ import annotations

import pytest

from benchmarks.cache import Scores
from benchmarks.quality_estimate import judge
from benchmarks.receiver import Row


def row(estimate: float, measured: list[float]) -> Row:
    clips: list[Scores] = [{"estimate": estimate, "distillmos": value} for value in measured]
    return Row(method="ours", loss=0.1, burst=1.0, scores={}, clips=clips)


def test_means_of_conditions_leave_out_what_clips_differ_in() -> None:
    found = judge([row(4.0, [4.5, 3.5]), row(3.0, [3.4, 2.6]), row(2.0, [2.2, 1.8])])
    assert found.conditions == pytest.approx(1.0)
    assert found.condition_error == pytest.approx(0.0, abs=1e-9)
    assert 0.8 < found.clips < 0.95
    assert found.clip_error == pytest.approx(((0.5**2 + 0.4**2 + 0.2**2) / 3) ** 0.5)


def test_an_estimate_that_is_off_has_an_error_and_still_correlates() -> None:
    found = judge([row(4.0, [3.5]), row(3.0, [2.5])])
    assert found.clips == pytest.approx(1.0)
    assert found.clip_error == pytest.approx(0.5)
    assert "1.00 clip by clip (error 0.50)" in str(found)


def test_clips_that_were_not_measured_do_not_count() -> None:
    rows = [row(4.0, [2.0, 5.0]), row(3.0, [3.0, 3.0])]
    rows[0].clips[1]["distillmos"] = None
    assert judge(rows).conditions == pytest.approx(-1.0)
