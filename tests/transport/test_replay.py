from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.replay import RESERVED_TICKS, WINDOW_TICKS, Heard, Ledger, ReplayWindow

places = st.tuples(st.integers(0, 2000), st.integers(0, 71))


@settings(deadline=None)
@given(st.lists(places, max_size=200))
def test_nothing_passes_twice(sequence: list[tuple[int, int]]) -> None:
    window = ReplayWindow()
    passed: set[tuple[int, int]] = set()
    for tick, lane in sequence + sequence:
        newest = max((tick for tick, _ in passed), default=-1)
        new = (tick, lane) not in passed and tick >= newest - WINDOW_TICKS
        assert window.accept(tick, lane) == new
        if new:
            passed.add((tick, lane))


def test_reordered_packets_pass_within_the_window() -> None:
    window = ReplayWindow()
    assert window.accept(1000, 0)
    assert window.accept(1000 - WINDOW_TICKS, 0)
    assert not window.accept(1000 - WINDOW_TICKS - 1, 0)
    assert window.newest == 1000


def test_memory_of_the_window_is_bounded() -> None:
    window = ReplayWindow()
    for tick in range(100_000):
        window.accept(tick, tick % 9)
    assert len(window._seen) <= 2 * WINDOW_TICKS


def test_below_the_floor_nothing_passes() -> None:
    window = ReplayWindow(floor=500)
    assert not window.accept(499, 0)
    assert window.accept(500, 0)


def test_a_restart_knows_what_may_have_been_heard() -> None:
    kept: list[dict[int, Heard]] = []
    ledger = Ledger(save=kept.append)
    for tick in range(120):
        ledger.note(7, 1000, tick)
        # What was let through is always on record before it is.
        assert kept[-1][7].tick >= tick
        assert Ledger(kept[-1]).floor(7, 1000) > tick
    assert len(kept) == 3
    assert kept[-1][7].tick <= 119 + RESERVED_TICKS
    assert Ledger(kept[-1]).session(7) == 1000
    assert Ledger(kept[-1]).floor(7, 1001) == 0
    assert Ledger(kept[-1]).session(8) == -1


def test_an_orderly_end_leaves_no_reserve() -> None:
    kept: list[dict[int, Heard]] = []
    ledger = Ledger(save=kept.append)
    ledger.note(7, 1000, 20)
    ledger.settle()
    assert kept[-1] == {7: Heard(session=1000, tick=20)}
    assert ledger.floor(7, 1000) == 21


def test_older_sessions_change_nothing() -> None:
    ledger = Ledger({7: Heard(session=5, tick=100)})
    ledger.note(7, 4, 9999)
    ledger.note(7, 5, 50)
    assert ledger.session(7) == 5
    assert ledger.floor(7, 5) == 101


def test_nothing_is_noted_that_could_not_be_kept() -> None:
    def fail(_stations: dict[int, Heard]) -> None:
        raise OSError("disk full")

    ledger = Ledger({7: Heard(session=5, tick=100)}, save=fail)
    with pytest.raises(OSError, match="disk full"):
        ledger.note(7, 6, 0)
    assert ledger.session(7) == 5
