"""What a slow port is given and when, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport.feed import IN_FLIGHT_SECONDS, Feed

BYTE = 10 / 1200


def drive(feed: Feed, until: float, *, start: float = 0.0) -> list[tuple[float, int]]:
    """Poll as the link's thread does; when how many bytes were given."""
    given_at = []
    now = start
    while now < until:
        data = feed.poll(now, 0)
        if data:
            feed.given(len(data), now)
            given_at.append((now, len(data)))
        now += 0.01
    return given_at


def test_never_more_than_two_frames_ahead() -> None:
    feed = Feed(byte_seconds=BYTE)
    assert feed.offer(bytes(83), 0.0)
    given_at = drive(feed, 1.0)
    assert sum(count for _, count in given_at) == 83
    total = 0
    for now, count in given_at:
        total += count
        assert total * BYTE - now <= IN_FLIGHT_SECONDS + 1e-9
    # Nor does the line ever wait: the next piece comes before the last one is through.
    assert given_at[-1][0] < 83 * BYTE
    assert len(given_at) <= 10


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 250), st.floats(0, 2)), max_size=20))
def test_delay_in_the_port_is_bounded(packets: list[tuple[int, float]]) -> None:
    feed = Feed(byte_seconds=BYTE)
    now = 0.0
    for length, pause in packets:
        waiting = len(feed)
        if feed.offer(bytes(length), now):
            assert waiting * BYTE <= IN_FLIGHT_SECONDS + 1e-9
        drive(feed, now + pause, start=now)
        now += pause


def test_a_packet_that_would_wait_is_refused() -> None:
    feed = Feed(byte_seconds=BYTE)
    assert feed.offer(bytes(83), 0.0)
    assert not feed.offer(b"x", 0.1)
    drive(feed, 83 * BYTE - 0.1)
    assert feed.offer(b"x", 83 * BYTE - 0.1)


def test_a_driver_that_holds_bytes_gets_no_more() -> None:
    """A modem that pulls CTS down, or a port that is slower than it says."""
    feed = Feed(byte_seconds=BYTE)
    feed.offer(bytes(83), 0.0)
    first = feed.poll(0.0, 0)
    feed.given(len(first), 0.0)
    assert feed.poll(1.0, len(first)) == b""
    assert feed.poll(1.0, len(first) - 1) == b""
    assert len(feed.poll(1.0, 0)) == len(first) == 19


def test_a_port_that_takes_only_a_part() -> None:
    feed = Feed(byte_seconds=BYTE)
    feed.offer(b"abcdef", 0.0)
    assert feed.poll(0.0, 0) == b"abcdef"
    feed.given(2, 0.0)
    assert feed.poll(0.0, 0) == b"cdef"


def test_key_leads_and_trails() -> None:
    feed = Feed(byte_seconds=0.01, keyed=True, lead=0.3, tail=0.1)
    assert not feed.key_down
    feed.over(True, 1.0)
    assert feed.key_down
    feed.offer(bytes(10), 1.1)
    assert feed.poll(1.29, 0) == b""
    assert feed.next_time(1.1) == pytest.approx(1.3)
    assert feed.poll(1.3, 0) == bytes(10)
    feed.given(10, 1.3)
    feed.poll(2.0, 0)
    assert feed.key_down, "the talker still talks"
    feed.over(False, 2.0)
    feed.offer(bytes(10), 2.0)
    feed.given(len(feed.poll(2.0, 0)), 2.0)
    assert feed.next_time(2.0) == pytest.approx(2.2)
    feed.poll(2.19, 0)
    assert feed.key_down
    feed.poll(2.21, 3)
    assert feed.key_down, "bytes are still in the driver"
    feed.poll(2.22, 0)
    assert not feed.key_down
    assert feed.next_time(2.3) is None


def test_an_over_that_starts_in_the_tail_needs_no_lead() -> None:
    feed = Feed(byte_seconds=0.01, keyed=True, lead=0.3, tail=0.5)
    feed.offer(b"a", 0.0)
    drive(feed, 0.5)
    assert feed.key_down
    feed.offer(b"b", 0.5)
    assert feed.poll(0.5, 0) == b"b"


def test_lead_does_not_cost_packets() -> None:
    """The key's lead shifts a whole over; packets that follow in time are taken."""
    feed = Feed(byte_seconds=BYTE, keyed=True, lead=1.0)
    now = 0.0
    for _ in range(5):
        assert feed.offer(bytes(60), now)
        drive(feed, now + 60 * BYTE, start=now)
        now += 60 * BYTE


def test_no_key_without_a_radio() -> None:
    feed = Feed(byte_seconds=BYTE, lead=5.0)
    feed.over(True, 0.0)
    feed.offer(b"a", 0.0)
    assert not feed.key_down
    assert feed.poll(0.0, 0) == b"a"


def test_reset_forgets() -> None:
    feed = Feed(byte_seconds=BYTE, keyed=True, lead=1.0)
    feed.offer(bytes(100), 0.0)
    feed.reset()
    assert (len(feed), feed.key_down, feed.next_time(0.0)) == (0, False, None)
    assert feed.offer(b"x", 0.0)
