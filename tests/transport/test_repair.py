"""Redundancy all the way: packets with parity, a bursty channel, and the jitter buffer."""

from __future__ import annotations

import pytest

from benchmarks.packets import carry, frame, share_repaired
from linkcodec.frame import LOST, Frame
from transport.config import ChannelConfig, LinkConfig, WireConfig
from transport.redundancy import Redundancy
from transport.wire import CodecLabel, WireSetup

BOOKS = 5


def setup(redundancy: str, *, distance: int = 2) -> WireSetup:
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
        wire=WireConfig(frames_per_packet=3, redundancy=redundancy, redundancy_distance=distance),
        label=CodecLabel(name="compact", version=1, quantizers=BOOKS),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_half_of_what_a_bursty_link_loses_is_heard_with_two_books(seed: int) -> None:
    """10 % in bursts of two packets, 5 books and copies of 2 in the same 1200 bit/s."""
    spurts = [range(10 + 300 * i, 280 + 300 * i) for i in range(8)]
    channel = ChannelConfig(delay_ms=260, loss=0.1, burst=2, seed=seed)
    call = carry(setup("copy"), channel, spurts=spurts)
    assert call.transmitter.line.peak_bps <= 1200
    outcome = call.outcome()
    assert 0.04 < 1 - outcome.whole / outcome.sent < 0.2
    assert outcome.repaired >= 0.5
    for tick, item in call.items:
        if isinstance(item, Frame):
            assert tick is not None
            assert item == frame(tick, len(item.indices))
            assert len(item.indices) in (2, BOOKS)
    counted = call.buffer.statistics
    assert counted.frames_received == (
        counted.frames_played + counted.frames_late + counted.frames_skipped
    )
    assert counted.frames_concealed == (
        counted.frames_lost + counted.frames_late + counted.frames_inserted
    )


@pytest.mark.parametrize(("distances", "least"), [((1,), 0.4), ((2,), 0.65), ((1, 3), 0.75)])
def test_share_that_comes_back_after_bursts(distances: tuple[int, ...], least: float) -> None:
    redundancy = Redundancy(books=2, distances=distances)
    share, after = share_repaired(redundancy, loss=0.1, burst=2, packets=4000, seed=2)
    assert least < share < least + 0.2
    assert min(after) == distances[0]


def test_redundancy_costs_a_good_link_only_delay() -> None:
    spurts = [range(10, 200)]
    plain, copied = (
        carry(setup(kind), ChannelConfig(delay_ms=260), spurts=spurts) for kind in ("none", "copy")
    )
    for call in (plain, copied):
        heard = [tick for tick, item in call.items if isinstance(item, Frame)]
        assert heard == list(range(10, 200))
        assert not any(item is LOST for _, item in call.items)
        assert call.buffer.statistics.frames_concealed == 0
    begin = [
        next(place for place, (_, item) in enumerate(call.items) if isinstance(item, Frame))
        for call in (plain, copied)
    ]
    assert begin[1] - begin[0] == pytest.approx(6, abs=1)
