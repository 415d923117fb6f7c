"""The jitter buffer in virtual time, fed by a small model of a sender and a path."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.frame import FRAME_SECONDS, LOST, Frame, Lost, PlayoutItem, Silence
from transport.config import JitterConfig
from transport.jitter import JitterBuffer
from transport.packet import TICKS, ByePacket, Packet, SilencePacket, VoicePacket

Path = Callable[[float], list[float]]
"""Arrival times of a packet that departs at a time: none if lost, two if duplicated."""


def frame_of(tick: int) -> Frame:
    return Frame((tick % 2048, tick // 2048 % 2048))


def tick_of(frame: Frame) -> int:
    return frame.indices[0] + 2048 * frame.indices[1]


def voice(tick: int, count: int, *, start: bool = False, end: bool = False) -> VoicePacket:
    frames = tuple(frame_of(tick + i) for i in range(count))
    return VoicePacket(tick=tick % TICKS, frames=frames, start=start, end=end)


def spurts_to_packets(
    spurts: Iterable[tuple[int, int]], *, n: int, silence: bool = True
) -> list[tuple[float, Packet]]:
    """(departure, packet) for spurts of (first tick, frames), in packets of `n` frames."""
    timed: list[tuple[float, Packet]] = []
    stop = 0
    for first, length in spurts:
        if silence:
            timed += [
                (FRAME_SECONDS * t, SilencePacket(tick=t % TICKS, level_dbfs=-60))
                for t in range(stop, first, 25)
            ]
        stop = first + length
        for tick in range(first, stop, n):
            count = min(n, stop - tick)
            packet = voice(tick, count, start=tick == first, end=tick + count == stop)
            timed.append((FRAME_SECONDS * (tick + count), packet))
    if silence:
        timed.append((FRAME_SECONDS * stop, SilencePacket(tick=stop % TICKS, level_dbfs=-60)))
    byes = [(FRAME_SECONDS * stop + 0.3 * i, ByePacket(tick=stop % TICKS)) for i in (1, 2, 3)]
    return [*timed, *byes]


def steady(delay: float = 0.3) -> Path:
    return lambda departure: [departure + delay]


@dataclass
class Run:
    buffer: JitterBuffer
    items: list[tuple[float, int | None, PlayoutItem]] = field(default_factory=list)

    @property
    def played(self) -> list[int]:
        return [tick_of(item) for _, _, item in self.items if isinstance(item, Frame)]

    def count(self, kind: type[Lost | Silence]) -> int:
        return sum(isinstance(item, kind) for _, _, item in self.items)

    def latency(self, tick: int) -> float:
        """Time from the end of a frame at the sender to its playout."""
        return next(
            now - FRAME_SECONDS * (tick + 1)
            for now, _, item in self.items
            if isinstance(item, Frame) and tick_of(item) == tick
        )

    def check_counters(self) -> None:
        counted = self.buffer.statistics
        assert counted.frames_played == len(self.played)
        assert counted.frames_silent == self.count(Silence)
        assert counted.frames_concealed - counted.frames_muted == self.count(Lost)
        assert counted.frames_concealed == (
            counted.frames_lost + counted.frames_late + counted.frames_inserted
        )
        assert counted.frames_received == (
            counted.frames_played
            + counted.frames_late
            + counted.frames_skipped
            + self.buffer.buffered
        )
        assert min(v for v in vars(counted).values() if isinstance(v, int)) >= 0
        for _, tick, item in self.items:
            if item is LOST:
                continue
            if isinstance(item, Frame):
                assert tick is not None


def play(
    packets: list[tuple[float, Packet]],
    path: Path,
    *,
    config: JitterConfig | None = None,
    phase: float = 0.013,
    seconds: float | None = None,
) -> Run:
    """Send packets over a path and play for some seconds (default: until after the BYE)."""
    arrivals = sorted(
        ((at, packet) for departure, packet in packets for at in path(departure)),
        key=lambda one: one[0],
    )
    run = Run(JitterBuffer(config or JitterConfig()))
    end = seconds if seconds is not None else packets[-1][0] + 5
    for slot in range(int(end / FRAME_SECONDS)):
        now = phase + slot * FRAME_SECONDS
        while arrivals and arrivals[0][0] <= now:
            at, packet = arrivals.pop(0)
            run.buffer.insert(packet, at)
        item = run.buffer.next(now)
        run.items.append((now, run.buffer.last_tick, item))
    return run


SPURTS = [(5, 60), (90, 3), (120, 200), (340, 1), (360, 75)]
SPOKEN = [t for first, length in SPURTS for t in range(first, first + length)]


def test_gives_silence_before_anything_arrives() -> None:
    run = play([], steady(), seconds=1)
    assert run.count(Silence) == len(run.items)
    assert {tick for _, tick, _ in run.items} == {None}
    assert not run.buffer.ended
    run.check_counters()


@pytest.mark.parametrize("n", [1, 2, 4, 7, 20])
@pytest.mark.parametrize("phase", [0.0, 0.013, 0.079])
def test_constant_link_plays_everything_in_place(n: int, phase: float) -> None:
    run = play(spurts_to_packets(SPURTS, n=n), steady(), phase=phase)
    assert run.played == SPOKEN
    assert run.count(Lost) == 0
    # Every frame at its place, and a delay of collecting, path, floor and one slot at most.
    assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    most = FRAME_SECONDS * n + 0.3 + 0.04 + FRAME_SECONDS
    assert max(run.latency(tick) + FRAME_SECONDS for tick in SPOKEN) <= most + 1e-6
    assert run.buffer.ended
    assert run.buffer.end_tick == SPOKEN[-1] + 1
    run.check_counters()


def test_silence_has_the_level_that_was_sent() -> None:
    run = play(spurts_to_packets([(10, 20)], n=4), steady())
    assert {item for _, _, item in run.items[8:] if isinstance(item, Silence)} == {Silence(-60.0)}


def test_time_axis_is_complete_up_to_the_end() -> None:
    run = play(spurts_to_packets(SPURTS, n=7), steady())
    assert {tick for _, tick, _ in run.items if tick is not None} == set(range(SPOKEN[-1] + 1))


def test_jitter_within_the_history_is_learnt() -> None:
    rng = random.Random(7)
    run = play(
        spurts_to_packets([(10 + 100 * i, 80) for i in range(20)], n=2),
        lambda departure: [departure + 0.1 + rng.uniform(0, 0.25)],
    )
    counted = run.buffer.statistics
    late = [t for first in range(10, 2000, 100) for t in range(first, first + 80)]
    assert counted.frames_received == len(late)
    assert counted.frames_late <= 0.02 * len(late)
    assert 0.15 <= run.buffer.delay <= 0.26
    assert counted.frames_late + counted.frames_played == len(late)
    assert counted.resyncs == 0
    run.check_counters()


def test_delay_shrinks_again_when_jitter_stops() -> None:
    rng = random.Random(3)

    def path(departure: float) -> list[float]:
        return [departure + 0.1 + (rng.uniform(0, 0.5) if departure < 60 else 0)]

    run = play(spurts_to_packets([(10 + 100 * i, 80) for i in range(16)], n=1), path)
    assert run.latency(650) > 0.3
    assert run.latency(1585) <= 0.1 + 0.04 + FRAME_SECONDS
    run.check_counters()


def test_late_packets_make_the_delay_grow_inside_a_spurt() -> None:
    """The path gets 300 ms longer in the middle of a spurt that never ends."""

    def path(departure: float) -> list[float]:
        return [departure + (0.1 if departure < 8 else 0.4)]

    run = play(spurts_to_packets([(0, 250)], n=2, silence=False), path)
    counted = run.buffer.statistics
    assert 3 <= counted.frames_inserted <= 5
    assert counted.frames_late <= 4
    assert counted.frames_lost == 0
    assert run.played[-100:] == list(range(150, 250))
    assert counted.resyncs == 0
    run.check_counters()


def test_one_late_packet_costs_only_its_own_frames() -> None:
    def path(departure: float) -> list[float]:
        return [departure + (0.3 if 7.99 < departure < 8.01 else 0.1)]

    run = play(spurts_to_packets([(0, 250)], n=1, silence=False), path)
    counted = run.buffer.statistics
    assert counted.packets_late == 1
    assert counted.frames_late == 1
    assert counted.frames_lost == 0
    assert counted.frames_played == 249
    run.check_counters()


def test_steady_excess_in_an_endless_spurt_is_given_back() -> None:
    """A spurt that never ends must not keep the delay of one bad moment for ever."""

    def path(departure: float) -> list[float]:
        return [departure + (0.6 if 8 < departure < 9 else 0.1)]

    run = play(spurts_to_packets([(0, 1800)], n=1, silence=False), path)
    assert run.latency(150) > 0.4
    assert run.latency(1790) < 0.3
    assert 0 < run.buffer.statistics.frames_skipped < 8
    run.check_counters()


def burst_loss(seed: int, loss: float, burst: float) -> Path:
    rng = random.Random(seed)
    bad = False

    def path(departure: float) -> list[float]:
        nonlocal bad
        bad = rng.random() < (1 - 1 / burst if bad else loss / (1 - loss) / burst)
        return [] if bad else [departure + 0.3]

    return path


@pytest.mark.parametrize("n", [1, 4, 7])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_burst_loss_adds_up(n: int, seed: int) -> None:
    spurts = [(5, 2000)]
    packets = spurts_to_packets(spurts, n=n)
    run = play(packets, burst_loss(seed, 0.1, 2))
    counted = run.buffer.statistics
    assert 0.03 * 2000 < counted.frames_lost < 0.25 * 2000
    assert counted.frames_late == counted.frames_skipped == 0
    assert counted.frames_inserted <= 5  # past an end that was lost
    # Only a loss at the very start or end of the spurt can stay unknown.
    first, last = run.played[0], run.played[-1]
    assert counted.frames_lost + counted.frames_played >= last + 1 - first
    assert counted.frames_lost + counted.frames_played <= 2000
    assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    run.check_counters()


def test_no_more_than_five_losses_are_concealed_in_a_row() -> None:
    def path(departure: float) -> list[float]:
        return [] if 4.04 < departure < 6.04 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 150)], n=1, silence=False), path)
    kinds = [type(item) for _, _, item in run.items]
    first = kinds.index(Lost)
    assert kinds[first : first + 5] == [Lost] * 5
    assert kinds[first + 5] is Silence
    counted = run.buffer.statistics
    assert counted.frames_lost == counted.frames_concealed == 25
    assert counted.frames_muted == 20
    assert run.played == [*range(50), *range(75, 150)]
    run.check_counters()


def test_losses_known_from_newer_packets_are_all_concealed() -> None:
    """With a deep buffer the packet after the gap is there: a gap of 7 is no reason for silence."""
    config = JitterConfig(floor_ms=700)

    def path(departure: float) -> list[float]:
        return [] if abs(departure - 42 * FRAME_SECONDS) < 0.01 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 140)], n=7, silence=False), path, config=config)
    assert run.count(Lost) == run.buffer.statistics.frames_lost == 7
    assert run.buffer.statistics.frames_muted == 0
    run.check_counters()


def test_lost_end_of_spurt_is_known_from_the_silence_packet() -> None:
    def path(departure: float) -> list[float]:
        return [] if abs(departure - 27 * FRAME_SECONDS) < 0.01 else [departure + 0.1]

    packets = spurts_to_packets([(0, 27), (60, 14)], n=7)
    end = next(p for _, p in packets if isinstance(p, VoicePacket) and p.end)
    # The SILENCE packet departs together with the last voice packet; only the latter is lost.
    packets = [(d + (0.02 if isinstance(p, SilencePacket) else 0), p) for d, p in packets]
    run = play(packets, path)
    assert len(end.frames) == run.buffer.statistics.frames_lost == 6
    assert run.played == [*range(21), *range(60, 74)]
    run.check_counters()


def test_end_packet_after_a_break_is_played() -> None:
    def path(departure: float) -> list[float]:
        return [] if 1 < departure < 3.9 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 50)], n=2, silence=False), path)
    assert run.played == [*range(12), 48, 49]
    assert run.buffer.statistics.frames_lost == 36
    run.check_counters()


def test_silence_long_after_a_break_does_not_count_the_silence_as_lost() -> None:
    """The spurt's end and what follows is lost for 10 s: nobody knows how far it went."""

    def path(departure: float) -> list[float]:
        return [] if 1 < departure < 13 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 40), (260, 40)], n=2), path)
    assert run.played == [*range(12), *range(260, 300)]
    assert run.buffer.statistics.frames_lost == 5
    run.check_counters()


def test_silence_that_was_known_ends_a_break_in_the_right_place() -> None:
    """SILENCE overtakes the last ten frames of a spurt, which then get lost."""
    packets = spurts_to_packets([(0, 40)], n=10)
    lost = packets.index(next(p for p in packets if isinstance(p[1], VoicePacket) and p[1].end))
    del packets[lost]
    run = play(packets, steady(0.1))
    counted = run.buffer.statistics
    assert counted.frames_lost == 10
    assert counted.frames_muted == 5
    run.check_counters()


def test_start_after_a_break_does_not_count_the_silence_as_lost() -> None:
    def path(departure: float) -> list[float]:
        return [] if 1 < departure < 4.9 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 40), (60, 40)], n=2), path)
    assert run.played == [*range(12), *range(60, 100)]
    assert run.buffer.statistics.frames_lost == 5
    run.check_counters()


def test_silence_settles_a_stray_packet() -> None:
    buffer = JitterBuffer(JitterConfig())
    for tick in range(10):
        buffer.insert(voice(tick, 1), FRAME_SECONDS * tick)
    buffer.insert(voice(200, 3), 0.8)
    assert buffer.statistics.frames_received == 10
    buffer.insert(SilencePacket(tick=10, level_dbfs=-60), 0.8)
    assert buffer.statistics.frames_received == 13
    assert buffer.statistics.frames_skipped == 3


def test_stray_late_frames_tell_where_a_spurt_went() -> None:
    run = Run(JitterBuffer(JitterConfig(floor_ms=0, ceiling_ms=0)))
    run.buffer.insert(voice(0, 1), 0.0)
    for slot in range(19):
        now = FRAME_SECONDS * slot
        item = run.buffer.next(now)
        run.items.append((now, run.buffer.last_tick, item))
    run.buffer.insert(voice(0, 2), 1.5)
    run.buffer.insert(ByePacket(tick=0), 1.5)
    counted = run.buffer.statistics
    assert (counted.frames_late, counted.frames_lost, counted.frames_inserted) == (1, 0, 4)
    assert run.buffer.end_tick == 2
    run.check_counters()


def test_a_stray_packet_is_not_played() -> None:
    packets = spurts_to_packets([(0, 100), (140, 50)], n=2)
    stray = voice(300, 2)
    at = next(i for i, (departure, _) in enumerate(packets) if departure > 4)
    packets[at:at] = [(4.0, stray), (4.01, stray)]
    last = next(i for i, (departure, _) in enumerate(packets) if departure > 9)
    packets[last:last] = [(9.0, voice(400, 2))]
    run = play(packets, steady(0.1))
    counted = run.buffer.statistics
    assert run.played == [*range(100), *range(140, 190)]
    assert counted.resyncs == 0
    assert counted.frames_skipped + counted.frames_late == 6
    run.check_counters()


def test_a_packet_that_comes_far_too_late_in_an_outage_is_counted_once() -> None:
    def path(departure: float) -> list[float]:
        if 4.7 < departure < 4.9:
            return [departure + 3.1]
        return [] if 4 < departure < 10 else [departure + 0.1]

    run = play(spurts_to_packets([(0, 250)], n=2, silence=False), path)
    counted = run.buffer.statistics
    assert counted.frames_late == 2
    assert counted.frames_received + counted.frames_lost == 250
    assert counted.resyncs == 0
    run.check_counters()


def test_lost_silence_packet_changes_nothing() -> None:
    packets = [p for p in spurts_to_packets(SPURTS, n=4) if not isinstance(p[1], SilencePacket)]
    run = play(packets, steady())
    assert run.played == SPOKEN
    assert run.count(Lost) == 0
    run.check_counters()


def test_reordered_packets_are_put_in_order() -> None:
    rng = random.Random(11)

    def path(departure: float) -> list[float]:
        return [departure + 0.1 + (0.2 if rng.random() < 0.2 else 0)]

    run = play(spurts_to_packets([(10 + 100 * i, 80) for i in range(20)], n=1), path)
    counted = run.buffer.statistics
    assert run.played == sorted(run.played)
    assert counted.frames_played + counted.frames_late == 1600
    assert counted.frames_late <= 25  # until the delay is learnt
    run.check_counters()


def test_reordering_in_an_endless_spurt_is_learnt() -> None:
    rng = random.Random(11)

    def path(departure: float) -> list[float]:
        return [departure + 0.1 + (0.2 if rng.random() < 0.2 else 0)]

    run = play(spurts_to_packets([(0, 1000)], n=1, silence=False), path)
    counted = run.buffer.statistics
    assert counted.frames_late <= 4
    assert counted.frames_inserted <= 4
    assert counted.frames_played >= 992
    run.check_counters()


def test_duplicates_are_dropped() -> None:
    run = play(
        spurts_to_packets(SPURTS, n=4),
        lambda departure: [departure + 0.1, departure + 0.13, departure + 0.9],
    )
    counted = run.buffer.statistics
    assert run.played == SPOKEN
    assert counted.frames_duplicate == 2 * len(SPOKEN)
    assert counted.packets_duplicate == 2 * sum(-(-length // 4) for _, length in SPURTS)
    assert counted.frames_late == counted.frames_lost == counted.resyncs == 0
    run.check_counters()


@pytest.mark.parametrize("lateness", [0.5, 1.2, 1.9])
def test_duplicates_that_come_late_do_not_move_the_timeline(lateness: float) -> None:
    run = play(
        spurts_to_packets([(5, 100), (130, 200)], n=4),
        lambda departure: [departure + 0.1, departure + lateness],
    )
    counted = run.buffer.statistics
    assert run.played == [*range(5, 105), *range(130, 330)]
    assert counted.resyncs == 0
    run.check_counters()


def test_copies_that_come_in_pairs_do_not_move_the_timeline() -> None:
    def path(departure: float) -> list[float]:
        return [departure + 0.1, (departure + 2.9) // 0.16 * 0.16 + 0.17]

    run = play(spurts_to_packets([(5, 300)], n=1, silence=False)[:-3], path, seconds=24.4)
    assert run.played == list(range(5, run.played[-1] + 1))
    assert run.played[-1] >= 300
    assert run.buffer.statistics.resyncs == 0
    run.check_counters()


def test_copies_do_not_count_as_late_packets() -> None:
    """A second path that takes half a second longer adds nothing to the delay."""
    run = play(
        spurts_to_packets([(5, 300)], n=1, silence=False),
        lambda departure: [departure + 0.1, departure + 0.6],
    )
    assert run.buffer.delay == pytest.approx(0.04)
    assert run.latency(290) < 0.1 + 0.04 + FRAME_SECONDS
    run.check_counters()


@pytest.mark.parametrize("lag", [2.5, 3.5])
def test_copies_in_a_pause_are_not_played_again(lag: float) -> None:
    run = play(
        spurts_to_packets([(5, 100), (160, 60)], n=1),
        lambda departure: [departure + 0.1, departure + 0.1 + lag],
    )
    assert run.played == [*range(5, 105), *range(160, 220)]
    assert run.buffer.statistics.resyncs == 0
    run.check_counters()


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("gap", [3.0, 70.0, 300.0])
def test_speech_resumes_after_an_outage(gap: float, n: int) -> None:
    def path(departure: float) -> list[float]:
        return [] if 20 < departure < 20 + gap else [departure + 0.3]

    length = int((gap + 40) / FRAME_SECONDS)
    run = play(spurts_to_packets([(5, length)], n=n), path)
    counted = run.buffer.statistics
    resumed = next(now for now, _, i in run.items if isinstance(i, Frame) and now > 20.0 + gap)
    assert resumed < 20 + gap + n * FRAME_SECONDS + 0.3 + 0.04 + 2 * FRAME_SECONDS
    assert run.played[-1] == length + 4
    assert counted.frames_lost + counted.frames_played == length
    assert counted.frames_late == 0
    assert counted.resyncs == len(counted.resync_ms) == (1 if gap > 5 else 0)
    assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    run.check_counters()


@pytest.mark.parametrize("gap", [1.5, 8.0, 30.0, 70.0])
def test_burst_after_an_outage_is_cut_to_the_ceiling(gap: float) -> None:
    """A modem that stores packets during an outage and lets go of them all at once."""

    def path(departure: float) -> list[float]:
        return [max(departure, 20 + gap) + 0.1 if departure > 20 else departure + 0.1]

    length = int((gap + 60) / FRAME_SECONDS)
    run = play(spurts_to_packets([(5, length)], n=2), path)
    counted = run.buffer.statistics
    assert run.played == sorted(run.played)
    assert (
        run.played[-300:]
        == [t for t in range(length + 5 - 400, length + 5) if t in set(run.played)][-300:]
    )
    assert counted.frames_played + counted.frames_late + counted.frames_skipped == length
    assert counted.frames_skipped > 0
    after = int((20 + gap + 5) / FRAME_SECONDS)
    assert run.latency(next(t for t in run.played if t >= after)) <= 0.1 + 1.0 + 4 * FRAME_SECONDS
    run.check_counters()


@pytest.mark.parametrize("n", [1, 7])
@pytest.mark.parametrize("old", [30, 100, 700])
@pytest.mark.parametrize("pause", [0.0, 1.0, 5.0, 45.0])
def test_sender_restart_is_followed(n: int, old: int, pause: float) -> None:
    """The sender dies in a spurt and comes back later; its ticks start at 0 again."""
    before = [p for p in spurts_to_packets([(0, old)], n=n) if isinstance(p[1], VoicePacket)]
    restart = old * FRAME_SECONDS + pause
    after = [(d + restart, p) for d, p in spurts_to_packets([(3, 200)], n=n)]
    run = play(before[:-1] + after, steady(0.2))
    resumed = next(now for now, _, i in run.items if isinstance(i, Frame) and now > restart + 0.5)
    assert resumed < restart + 3
    tail = [tick_of(i) for now, _, i in run.items if isinstance(i, Frame) and now > restart + 3]
    assert tail == sorted(tail)
    assert tail[-1] == 202
    # Where the restart looked like a duplicate at first, the delay is taken back later.
    assert len(tail) >= 203 - tail[0] - 1
    assert run.buffer.ended
    assert len(run.buffer.statistics.resync_ms) == run.buffer.statistics.resyncs
    run.check_counters()


def test_restart_far_away_resyncs_at_the_first_packet() -> None:
    before = [p for p in spurts_to_packets([(0, 100)], n=2) if isinstance(p[1], VoicePacket)]
    after = [(d + 10.0, p) for d, p in spurts_to_packets([(3, 200)], n=2)]
    run = play(before[:-1] + after, steady(0.2))
    counted = run.buffer.statistics
    assert counted.resyncs == 1
    assert len(counted.resync_ms) == 1
    assert counted.resync_ms[0] <= 1000 * (0.04 + FRAME_SECONDS)
    assert run.played == [*range(98), *range(3, 203)]
    # The axis goes on without a jump.
    ticks = [tick for _, tick, _ in run.items if tick is not None]
    assert all(0 <= b - a <= 1 for a, b in pairwise(ticks))
    run.check_counters()


def test_next_call_after_a_bye() -> None:
    first = spurts_to_packets([(5, 40)], n=4)
    second = [(d + 15.3, p) for d, p in spurts_to_packets([(8, 50)], n=4)]
    ended = []
    run = Run(JitterBuffer(JitterConfig()))
    arrivals = sorted(((d + 0.1, p) for d, p in first + second), key=lambda one: one[0])
    for slot in range(300):
        now = slot * FRAME_SECONDS
        while arrivals and arrivals[0][0] <= now:
            run.buffer.insert(arrivals[0][1], arrivals.pop(0)[0])
        item = run.buffer.next(now)
        run.items.append((now, run.buffer.last_tick, item))
        ended.append(run.buffer.ended)
    assert run.played == [*range(5, 45), *range(8, 58)]
    changes = [b for a, b in pairwise(ended) if a != b]
    assert changes == [True, False, True]
    assert run.buffer.statistics.resyncs == 0
    run.check_counters()


def test_a_longer_path_is_followed_without_renumbering() -> None:
    """The delay rises by far more than the ceiling and stays."""

    def path(departure: float) -> list[float]:
        return [departure + (0.1 if departure < 20 else 3.1)]

    run = play(spurts_to_packets([(5, 1000)], n=2), path)
    counted = run.buffer.statistics
    assert run.played == list(range(5, 1005))
    assert counted.resyncs == 1
    assert counted.frames_lost == counted.frames_late == 0
    assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    run.check_counters()


def test_a_path_longer_than_the_ceiling_is_followed() -> None:
    def path(departure: float) -> list[float]:
        return [departure + (0.1 if departure < 20 else 1.5)]

    run = play(spurts_to_packets([(5, 1000)], n=2), path)
    assert run.buffer.statistics.resyncs <= 1
    assert run.played == list(range(5, 1005))
    run.check_counters()


def test_ticks_wrap_many_times() -> None:
    """Ten minutes: 7500 ticks, the 9-bit tick wraps 14 times; spurts and long silences."""
    spurts = [(7 + 1000 * i, 300 + 50 * i) for i in range(8)]
    run = play(spurts_to_packets(spurts, n=7), steady(0.5))
    spoken = [t for first, length in spurts for t in range(first, first + length)]
    assert spoken[-1] > 13 * TICKS
    assert run.played == spoken
    assert run.buffer.statistics.resyncs == 0
    assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    run.check_counters()


def test_clock_drift_is_absorbed_between_spurts() -> None:
    """Sound cards differ by up to 800 ppm: the receiver plays slower than the sender speaks."""
    spurts = [(10 + 100 * i, 80) for i in range(70)]
    packets = [
        (departure * (1 - 800e-6), packet) for departure, packet in spurts_to_packets(spurts, n=4)
    ]
    run = play(packets, steady(0.2), seconds=565)
    counted = run.buffer.statistics
    assert counted.frames_played == 80 * 70
    assert counted.frames_lost == counted.frames_skipped == 0
    assert run.buffer.ended
    run.check_counters()


def test_stalled_owner_does_not_leave_delay_behind() -> None:
    """`next` is not called for 3 s inside a spurt: what is too old is skipped."""
    buffer = JitterBuffer(JitterConfig(ceiling_ms=500))
    run = Run(buffer)
    arrivals = [(d + 0.1, p) for d, p in spurts_to_packets([(0, 300)], n=1, silence=False)]
    for slot in range(400):
        now = slot * FRAME_SECONDS
        while arrivals and arrivals[0][0] <= now:
            buffer.insert(arrivals[0][1], arrivals.pop(0)[0])
        if not 10 < now < 13:
            item = buffer.next(now)
            run.items.append((now, buffer.last_tick, item))
    assert buffer.statistics.frames_skipped > 20
    assert run.latency(299) <= 0.1 + 0.5 + FRAME_SECONDS
    assert buffer.statistics.frames_lost == 0


def test_buffer_is_bounded() -> None:
    buffer = JitterBuffer(JitterConfig(ceiling_ms=400))
    for tick in range(10_000):
        buffer.insert(voice(tick, 1, start=tick == 0), 1.0)
    assert buffer.buffered <= 31
    counted = buffer.statistics
    assert counted.frames_received == counted.frames_skipped + buffer.buffered


def test_marks_of_a_long_silence_are_bounded() -> None:
    buffer = JitterBuffer(JitterConfig())
    for i in range(1000):
        buffer.insert(SilencePacket(tick=25 * i % TICKS, level_dbfs=-60), 2.0 * i)
    assert len(buffer._ends) <= 128


def test_bye_alone_ends_the_call() -> None:
    buffer = JitterBuffer(JitterConfig())
    buffer.insert(ByePacket(tick=77), 0.0)
    assert buffer.next(0.01) == Silence()
    assert buffer.ended
    assert buffer.end_tick == 77


def test_a_call_that_goes_on_after_a_bye_has_not_ended() -> None:
    buffer = JitterBuffer(JitterConfig())
    buffer.insert(ByePacket(tick=5), 0.0)
    buffer.next(0.0)
    assert buffer.ended
    buffer.insert(SilencePacket(tick=10, level_dbfs=-50), 0.4)
    assert buffer.next(0.4) == Silence(-50)
    assert not buffer.ended
    assert buffer.end_tick is None


operations = st.lists(
    st.tuples(
        st.floats(0, 1.5),
        st.one_of(
            st.builds(SilencePacket, tick=st.integers(0, 511), level_dbfs=st.floats(-127, 0)),
            st.builds(ByePacket, tick=st.integers(0, 511)),
            st.builds(
                voice,
                st.integers(0, 200) | st.integers(0, 1600),
                st.integers(1, 12),
                start=st.booleans(),
                end=st.booleans(),
            ),
            st.none(),
        ),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=300)
@given(operations, st.sampled_from([0.0, 100.0, 1000.0]))
def test_any_packets_in_any_order_keep_the_counters_true(
    steps: list[tuple[float, Packet | None]], ceiling_ms: float
) -> None:
    run = Run(JitterBuffer(JitterConfig(floor_ms=0, ceiling_ms=ceiling_ms)))
    now = slot = 0.0
    for wait, packet in [*steps, (8.0, None)]:
        now += wait
        while slot <= now:
            item = run.buffer.next(slot)
            run.items.append((slot, run.buffer.last_tick, item))
            slot += FRAME_SECONDS
        if packet is not None:
            run.buffer.insert(packet, now)
        run.check_counters()
        assert run.buffer.buffered <= (ceiling_ms / 1000 + 2) / FRAME_SECONDS + 12


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 8),
    loss=st.floats(0, 0.5),
    jitter=st.floats(0, 0.5),
    duplicates=st.floats(0, 0.5),
)
def test_any_path_plays_in_order_and_drains(
    seed: int, n: int, loss: float, jitter: float, duplicates: float
) -> None:
    rng = random.Random(seed)

    def path(departure: float) -> list[float]:
        copies = 0 if rng.random() < loss else 1 + (rng.random() < duplicates)
        return [departure + 0.1 + rng.expovariate(1 / (jitter + 1e-6)) for _ in range(copies)]

    run = play(spurts_to_packets(SPURTS, n=n), path)
    counted = run.buffer.statistics
    run.check_counters()
    assert set(run.played) <= set(SPOKEN)
    if counted.resyncs == 0:
        assert len(set(run.played)) == len(run.played)
        assert run.played == sorted(run.played)
        assert all(tick == tick_of(i) for _, tick, i in run.items if isinstance(i, Frame))
    if run.buffer.end_tick is not None:
        assert run.buffer.ended
        assert run.buffer.buffered == 0
