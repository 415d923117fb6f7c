from __future__ import annotations

import pytest

from transport.adaptation import Controller, LossMeter, Step, packet_steps
from transport.budget import packets_fit
from transport.linerate import Framing
from transport.redundancy import Redundancy
from transport.wire import ReceiverReport


def report(loss: float, *, burst: float = 1.0) -> ReceiverReport:
    return ReceiverReport(loss=loss, residual=0.0, burst=burst)


def test_losses_are_answered_at_once_and_trusted_slowly() -> None:
    controller = Controller(patience=20)
    assert controller.level(0.0) is None
    levels = []
    losses = [0.0, 0.05, 0.05, 0.03, *[0.0] * 10]
    for number, loss in enumerate(losses):
        controller.take(report(loss), 5.0 * number)
        levels.append(controller.level(5.0 * number))
    # 5 % takes two steps; 3 % is within the hysteresis; 20 s without loss per step back.
    assert levels == [0, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0]


def test_a_loss_between_the_limits_changes_nothing_for_ever() -> None:
    controller = Controller(patience=5)
    controller.take(report(0.05), 0.0)
    for number in range(100):
        controller.take(report((0.03, 0.0)[number % 2]), 5.0 * number)
    assert controller.level(500.0) == 2


def test_without_reports_the_file_counts_again() -> None:
    controller = Controller(patience=5)
    controller.take(report(0.5), 0.0)
    assert controller.level(30.0) == 3
    assert controller.level(30.1) is None
    controller.take(report(0.0), 40.0)
    assert controller.level(40.0) == 0


def test_bursts_are_told_apart() -> None:
    controller = Controller(patience=5)
    controller.take(report(0.1, burst=2.0), 0.0)
    assert controller.bursty
    controller.take(report(0.0, burst=1.0), 5.0)
    assert controller.bursty
    controller.take(report(0.1, burst=1.1), 10.0)
    assert not controller.bursty


def test_ladder_of_a_1200_line() -> None:
    steps = packet_steps(1200, Framing.SYNC, floor=3, ceiling=8, most_frames=7, bursty=True)
    assert steps == (
        Step(quantizers=8, frames=6),
        Step(quantizers=7, frames=7, redundancy=Redundancy(books=1, distances=(2,))),
        Step(quantizers=6, frames=7, redundancy=Redundancy(books=2, distances=(2,))),
        Step(quantizers=5, frames=7, redundancy=Redundancy(books=3, distances=(2,))),
    )
    random = packet_steps(1200, Framing.SYNC, floor=3, ceiling=8, most_frames=7, bursty=False)
    assert random[2].redundancy == Redundancy(books=2, distances=(1, 3))


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("rate", [600, 1200, 2400, 16_000])
@pytest.mark.parametrize("floor", [1, 3, 6])
def test_every_step_fits_and_keeps_floor_and_ceiling(
    framing: Framing, rate: int, floor: int
) -> None:
    steps = packet_steps(rate, framing, floor=floor, ceiling=8, most_frames=8, bursty=True)
    for step in steps:
        books = step.redundancy.books if step.redundancy else 0
        assert floor <= step.quantizers <= 8
        assert packets_fit(rate, framing, step.quantizers, step.frames, books)
    quantizers = [step.quantizers for step in steps]
    assert quantizers == sorted(quantizers, reverse=True)


def test_ladder_leaves_room_for_tags() -> None:
    steps = packet_steps(
        1200, Framing.SYNC, floor=3, ceiling=8, most_frames=7, bursty=True, tag_bytes=4
    )
    assert [step.quantizers for step in steps] == [7, 6, 5, 4]
    for step in steps:
        books = step.redundancy.books if step.redundancy else 0
        assert packets_fit(1200, Framing.SYNC, step.quantizers, step.frames, books, tag_bytes=4)


def test_line_too_slow_for_the_floor_has_no_ladder() -> None:
    assert not packet_steps(300, Framing.UDP, floor=3, ceiling=8, most_frames=4, bursty=True)


def voices(meter: LossMeter, ticks: list[int], *, frames: int = 2) -> None:
    for number, tick in enumerate(ticks):
        meter.voice(tick=tick % 512, frames=frames, start=number == 0, end=False)


def test_meter_counts_gaps_and_their_length() -> None:
    meter = LossMeter()
    voices(meter, [500, 502, 508, 510, 514, 516, 518, 520])
    meter.repaired(2)
    result = meter.report()
    assert result is not None
    assert result.loss == pytest.approx(6 / 22)
    assert result.residual == pytest.approx(4 / 22)
    assert result.burst == pytest.approx(1.5)
    assert meter.report() is None


def test_overtaken_packets_are_no_losses() -> None:
    meter = LossMeter()
    voices(meter, [0, 4, 2, 6, 10, 8, 12])
    result = meter.report()
    assert result is not None
    assert result.loss == 0.0


def test_silence_tells_of_a_lost_end() -> None:
    meter = LossMeter()
    voices(meter, list(range(0, 20, 2)))
    meter.silence(24)
    meter.silence(49)
    result = meter.report()
    assert result is not None
    assert result.loss == pytest.approx(4 / 24)


def test_silence_between_spurts_is_no_loss_but_a_lost_start_is() -> None:
    meter = LossMeter()
    voices(meter, list(range(0, 20, 2)))
    meter.voice(tick=20, frames=2, start=False, end=True)
    meter.voice(tick=100, frames=2, start=True, end=True)
    meter.voice(tick=202, frames=2, start=False, end=False)
    result = meter.report()
    assert result is not None
    assert result.loss == pytest.approx(2 / 28)
