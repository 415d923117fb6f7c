from __future__ import annotations

from transport.outage import Outage


def outage(gap: float, come: list[tuple[float, float]]) -> list[bool]:
    """Whether each packet of (seconds after the gap, seconds of speech) was stored."""
    one = Outage()
    one.add(0.16, longest=0.16, now=0.0)
    flooded = []
    for after, length in come:
        one.add(length, longest=0.16, now=gap + after)
        flooded.append(one.flooded)
    return flooded


def test_what_comes_at_once_after_a_long_gap_was_stored() -> None:
    assert outage(20.0, [(0.0, 0.16)] * 12) == [False] * 7 + [True] * 5
    assert not any(outage(10.0, [(0.0, 0.16)] * 100))


def test_stored_packets_that_come_slowly() -> None:
    flooded = outage(70.0, [(0.05 * i, 0.16) for i in range(30)])
    assert flooded == [False] * 10 + [True] * 20


def test_speech_after_a_long_gap_is_not_stored() -> None:
    assert not any(outage(70.0, [(0.16 * i, 0.16) for i in range(100)]))
    assert not any(outage(70.0, [(0.16 * (i // 5 * 5), 0.16) for i in range(100)]))


def test_a_stall_long_after_a_gap_is_no_outage() -> None:
    live = [(0.16 * i, 0.16) for i in range(40)]
    assert not any(outage(70.0, [*live, *[(7.3, 0.16)] * 10]))


def test_silence_tells_nothing() -> None:
    assert not any(outage(70.0, [(0.0, 0.0)] * 40))
    assert outage(70.0, [*[(0.001 * i, 0.16) for i in range(20)], (0.5, 0.0)])[-1]


def test_a_packet_that_comes_as_late_as_it_was_spoken_is_a_new_one() -> None:
    at_once = [(0.001 * i, 0.16) for i in range(20)]
    assert outage(70.0, [*at_once, (0.1, 0.16), (0.25, 0.16)])[-3:] == [True, True, False]
    # A short packet, the last of a spurt, came as slowly as a full one.
    assert outage(70.0, [*at_once, (0.1, 0.08)])[-1]


def test_what_a_gap_explains() -> None:
    one = Outage()
    one.add(0.16, longest=0.16, now=0.0)
    assert not one.explains(0.1, 0.0)
    one.add(0.16, longest=0.16, now=8.0)
    assert one.explains(7.9, 8.0)
    assert one.explains(3.0, 12.0)
    assert not one.explains(8.5, 8.0)
    assert not one.explains(-1.0, 8.0)
    assert not one.explains(3.0, 14.0)
