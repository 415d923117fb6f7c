from __future__ import annotations

import pytest

from transport.config import JitterConfig
from transport.delay import DelayEstimator

CONFIG = JitterConfig(floor_ms=40, ceiling_ms=500, quantile=0.95, history_seconds=20)


def estimator(offsets: list[float], *, step: float = 0.1) -> DelayEstimator:
    delays = DelayEstimator(CONFIG)
    for i, offset in enumerate(offsets):
        delays.add(offset=offset, frames=4, now=i * step)
    return delays


def test_starts_at_the_floor() -> None:
    delays = estimator([])
    assert delays.base is None
    assert delays.target == 0.04


def test_constant_offsets_need_the_floor_only() -> None:
    delays = estimator([7.0] * 50)
    assert delays.base == 7.0
    assert delays.target == 0.04


def test_target_is_the_quantile_and_what_catches_the_rest_for_little_more() -> None:
    delays = estimator([5 + i % 101 / 1000 for i in range(202)], step=0.05)
    assert delays.base == 5.0
    assert delays.target == pytest.approx(0.11)


def test_few_packets_tell_less() -> None:
    """Of 100 packets the latest counts for 15 % more than of 200."""
    delays = estimator([5 + i / 1000 for i in range(101)])
    assert delays.target == pytest.approx(0.11 + 0.3 * 99 / 200 * 0.1)
    assert delays.slack == pytest.approx(0.02)
    assert estimator([5.0] * 50).slack == pytest.approx(0.078)


@pytest.mark.parametrize(
    ("latest", "target", "slack"),
    [(0.27, 0.28, 0.078), (0.31, 0.32, 0.02), (0.33, 0.313, 0.02), (0.4, 0.3, 0.02)],
)
def test_a_little_more_is_spent_where_it_catches_all(
    latest: float, target: float, slack: float
) -> None:
    """One packet in 25 comes at the latest, one in 12 at the quantile, 0.24 s. What is spent
    leaves less for speech to lie beyond the target."""
    offsets = [5 + (latest if i % 25 == 0 else 0.24 if i % 12 == 0 else 0.1) for i in range(240)]
    offsets[1] = 5.0
    delays = estimator(offsets, step=0.08)
    assert delays.target == pytest.approx(target)
    assert delays.slack == pytest.approx(slack, abs=1e-6)


def test_target_is_bounded_and_hopeless_packets_do_not_count() -> None:
    assert estimator([5.0, 5.48, 9.0] * 250, step=0.02).target == pytest.approx(0.49)
    assert estimator([5.0, 5.5] * 100).target == pytest.approx(0.5)


def test_rare_peaks_do_not_raise_the_target() -> None:
    offsets = [5 + i % 5 / 100 for i in range(220)]
    offsets[60] += 0.4
    offsets[130] += 0.4
    assert estimator(offsets, step=0.09).target == pytest.approx(0.04 + 0.06)


def test_a_stall_counts_as_one_late_packet() -> None:
    """Twelve packets that were held up and come at once, twice in 15 s."""
    delays = DelayEstimator(CONFIG)
    for i in range(150):
        spoken = i * 0.1
        now = 6.2 if 50 <= i < 62 else 12.2 if 110 <= i < 122 else spoken
        delays.add(offset=5 + now - spoken, frames=4, now=now)
    assert delays.target == pytest.approx(0.04)
    assert delays.shifts == 0


def test_level_follows_the_fastest_of_the_last_packets() -> None:
    delays = estimator([5.0] * 210, step=0.08)
    for i in range(4):
        delays.add(offset=5.3 - i / 100, frames=4, now=17.3 + i * 0.1)
    assert delays.level == pytest.approx(0.27)
    assert delays.present == delays.level
    delays.add(offset=5.0, frames=4, now=17.7)
    assert delays.present == delays.target


@pytest.mark.parametrize("step", [-1.0, -0.1, 0.1, 1.0])
def test_a_shift_of_the_path_makes_the_past_forgotten(step: float) -> None:
    delays = estimator([5 + i % 4 / 200 for i in range(100)])
    packets = 0
    while not delays.shifts and packets < 50:
        now = 10 + max(step, 0) + packets * 0.1
        delays.add(offset=5 + step + packets % 4 / 200, frames=4, now=now)
        packets += 1
    assert packets <= (10 if step > 0 else 5)
    assert delays.base == pytest.approx(5 + step)
    assert delays.target == 0.04


def test_what_is_known_of_the_jitter_survives_a_shift() -> None:
    delays = estimator([5 + i % 9 / 50 for i in range(190)])
    before = delays.target
    for i in range(12):
        delays.add(offset=6 + (i + 3) % 9 / 50, frames=4, now=20 + i * 0.1)
    assert delays.shifts == 1
    assert delays.base == pytest.approx(6)
    assert delays.target == pytest.approx(before, abs=0.02)


def test_a_late_packet_at_the_edge_of_a_shift_does_not_hide_it() -> None:
    """The first packet of the shorter path is later than those that follow."""
    delays = estimator([6 + i % 9 / 50 for i in range(190)])
    before = delays.target
    for i, late in enumerate((0.3, 0.0, 0.02, 0.01, 0.03, 0.02)):
        delays.add(offset=5 + late, frames=4, now=19 + i * 0.1)
    assert delays.shifts == 1
    assert delays.base == pytest.approx(5)
    assert delays.target == pytest.approx(before, abs=0.06)


def test_packets_late_on_the_shorter_path_do_not_hide_it() -> None:
    """Four packets prove nothing yet, the fifth is late, and with the sixth there are more."""
    path = [(0.08 * i, 6 + i % 5 / 100) for i in range(250)]
    path += [(20 + 0.08 * i, 5.0 + (0.18 if i == 4 else i / 100)) for i in range(12)]
    delays = DelayEstimator(CONFIG)
    for now, offset in sorted((spoken + offset, offset) for spoken, offset in path):
        delays.add(offset=offset, frames=1, now=now)
        if delays.shifts:
            break
    assert delays.shifts == 1
    assert now < 20 + 5 + 0.7


def test_what_a_longer_path_lets_go_of_does_not_count() -> None:
    """The path gets 1 s shorter, and none overtakes another: a second's speech comes at once."""
    last, path = 0.0, []
    for i in range(270):
        spoken = 0.08 * i
        last = max(last, spoken + 5 + i % 5 / 100 + (1 if spoken < 20 else 0))
        path.append((last, last - spoken))
    delays = DelayEstimator(CONFIG)
    for now, offset in path:
        delays.add(offset=offset, frames=1, now=now)
    assert delays.shifts == 1
    assert delays.target < 0.1


def test_a_path_that_gets_shorter_bit_by_bit() -> None:
    """By 0.1 s in a second, for 8 s; packets spread over 80 ms."""
    delays = DelayEstimator(JitterConfig())
    for i in range(400):
        spoken = 0.08 * i
        offset = 5 + min(max(0.8 - 0.1 * (spoken - 20), 0.0), 0.8) + i % 5 / 50
        delays.add(offset=offset, frames=1, now=spoken + offset)
    assert delays.base == pytest.approx(5.0)
    assert delays.target < 0.25


def test_a_stall_after_a_late_packet_is_no_shift() -> None:
    delays = estimator([5 + i % 4 / 200 for i in range(199)] + [5.3])
    for i in range(20):
        delays.add(offset=7 - 0.08 * i, frames=4, now=22.0)
    assert delays.shifts == 0
    assert delays.base == 5.0


def test_less_jitter_is_noticed_after_a_quarter_of_the_history() -> None:
    """That is 200 packets of 0.025 s, most of which must be calm."""
    delays = estimator([5 + i % 10 / 25 for i in range(800)], step=0.025)
    targets = []
    for i in range(240):
        delays.add(offset=5 + i % 2 / 100, frames=4, now=20 + 0.025 * i)
        targets.append(delays.target)
    assert min(targets[:120]) == pytest.approx(0.37)
    assert targets[-1] == 0.04


def test_drift_is_taken_off_the_history() -> None:
    delays = DelayEstimator(CONFIG)
    for i in range(3000):
        now = i * 0.1
        delays.add(offset=5 + 1e-3 * now + i % 3 / 100, frames=4, now=now)
    assert delays.base == pytest.approx(5 + 1e-3 * now, abs=0.002)
    assert delays.target == 0.04


def test_jitter_as_in_rfc_3550() -> None:
    delays = estimator([5.0, 5.08])
    assert delays.jitter == pytest.approx(0.08 / 16)
    assert estimator([5.0, 5.02] * 60).jitter == pytest.approx(0.02, rel=0.01)


def test_settings_may_change_during_a_call() -> None:
    delays = estimator([5.0, 5.2] * 100)
    assert delays.target == pytest.approx(0.21)
    delays.configure(JitterConfig(floor_ms=300, ceiling_ms=600))
    assert delays.target == 0.3
    delays.configure(JitterConfig(floor_ms=0, ceiling_ms=100))
    assert delays.target == 0.1


def test_short_packets_are_left_out() -> None:
    delays = estimator([5.0] * 20)
    delays.add(offset=4.5, frames=1, now=2.0)
    assert delays.base == 5.0
    assert delays.full_frames == 4


def test_old_arrivals_are_forgotten_but_never_all() -> None:
    delays = estimator([5.3] * 10 + [5.0] * 30, step=1.0)
    assert delays.target == 0.04
    delays.add(offset=5.2, frames=4, now=1000.0)
    assert delays.base == 5.0
    # Ten packets, so 190 of 200 are missing.
    assert delays.target == pytest.approx(0.21 + 0.3 * 0.95 * 0.2)
    delays.reset()
    assert delays.base is None
