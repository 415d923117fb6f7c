from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkcodec.smoothing import RecentMean


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_first_values_count_alike(values: list[float]) -> None:
    mean = RecentMean(span=8)
    assert mean.value == 0.0
    for value in values:
        mean.add(value)
    assert mean.value == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_old_values_are_forgotten() -> None:
    mean = RecentMean(span=4)
    for value in [100.0] * 50 + [1.0] * 50:
        mean.add(value)
    assert mean.value == pytest.approx(1.0, abs=1e-3)
