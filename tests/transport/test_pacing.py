from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.linerate import Framing, line_bits
from transport.pacing import Pacer, Parcel


def offer(pacer: Pacer, data: bytes, now: float, *, voice: bool = True) -> list[bytes]:
    return [one.data for one in pacer.offer(Parcel(data=data, voice=voice), now)]


def drain(pacer: Pacer, now: float) -> list[tuple[float, bytes]]:
    """Poll at the times that the pacer asks for."""
    sent = []
    while (due := pacer.next_time()) is not None:
        now = max(now, due)
        sent += [(now, one.data) for one in pacer.poll(now)]
    return sent


def test_a_free_line_takes_a_packet_at_once() -> None:
    pacer = Pacer(rate=1200, framing=Framing.SYNC)
    assert pacer.next_time() is None
    assert pacer.poll(5.0) == []
    offer(pacer, b"x" * 81, 5.0)
    assert pacer.next_time() == 5.0
    assert [one.data for one in pacer.poll(5.0)] == [b"x" * 81]
    assert pacer.idle_at == pytest.approx(5.0 + 664 / 1200)


@pytest.mark.parametrize(("framing", "bit_times"), [(Framing.SYNC, 8), (Framing.ASYNC_8N1, 10)])
def test_packets_wait_for_the_line(framing: Framing, bit_times: int) -> None:
    pacer = Pacer(rate=1200, framing=framing)
    for i in range(3):
        offer(pacer, bytes([i] * 58), 0.0)
    on_line = 60 * bit_times / 1200
    sent = drain(pacer, 0.0)
    assert [data for _, data in sent] == [bytes([i] * 58) for i in range(3)]
    assert [at for at, _ in sent] == pytest.approx([0, on_line, 2 * on_line])
    assert pacer.queue_delay.maximum == pytest.approx(2 * on_line)
    assert pacer.send_time.mean == pytest.approx(on_line)
    assert pacer.wire.mean_bps == pytest.approx(1200 * 8 / bit_times)
    assert pacer.line.peak_bps == pytest.approx(1200)


def test_full_queue_drops_the_oldest_voice() -> None:
    pacer = Pacer(rate=1200, framing=Framing.SYNC)
    assert offer(pacer, b"silence", 0.0, voice=False) == []
    assert offer(pacer, b"one", 0.0) == []
    assert offer(pacer, b"two", 0.0) == []
    assert offer(pacer, b"three", 0.0) == []
    assert offer(pacer, b"four", 0.0) == [b"one"]
    assert pacer.packets_dropped == 1
    assert len(pacer) == 4
    assert [data for _, data in drain(pacer, 0.0)] == [b"silence", b"two", b"three", b"four"]
    assert pacer.packets_sent == 4


def test_control_packets_never_push_voice_out() -> None:
    pacer = Pacer(rate=1200, framing=Framing.SYNC, limit=1)
    offer(pacer, b"voice", 0.0)
    offer(pacer, b"silence", 0.0, voice=False)
    assert offer(pacer, b"bye", 0.0, voice=False) == [b"silence"]
    assert [data for _, data in drain(pacer, 0.0)] == [b"voice", b"bye"]


def test_a_coarse_timer_does_not_waste_a_full_line() -> None:
    """82 bytes per 560 ms on 1200 bit/s leave 2 ms; polls come every 15 ms."""
    pacer = Pacer(rate=1200, framing=Framing.SYNC)
    sent = 0
    for step in range(4000):
        now = step * 0.015
        while now >= 0.56 * (pacer.packets_sent + len(pacer) + pacer.packets_dropped):
            offer(pacer, b"x" * 81, now)
        sent += len(pacer.poll(now))
    assert pacer.packets_dropped == 0
    assert sent >= 60 / 0.56 - 2
    assert pacer.wire.peak_bps <= 1200


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 254)), max_size=60),
    st.sampled_from(list(Framing)),
    st.sampled_from([300, 1200, 9600]),
)
def test_the_line_never_carries_more_than_its_rate(
    steps: list[tuple[float, int]], framing: Framing, rate: int
) -> None:
    pacer = Pacer(rate=rate, framing=framing)
    now = 0.0
    sent: list[tuple[float, bytes]] = []
    for wait, length in steps:
        now += wait
        sent += [(now, one.data) for one in pacer.poll(now)]
        offer(pacer, bytes(length), now)
        assert len(pacer) <= 3
    sent += drain(pacer, now)
    assert pacer.line.peak_bps <= rate + 1e-6
    assert pacer.packets_sent + pacer.packets_dropped == len(steps)
    # Never ahead of the line by more than the slack.
    begin = 0.0
    for at, data in sent:
        begin = max(begin, at - 0.02)
        assert at >= begin - 1e-6
        begin += line_bits(len(data), framing) / rate
