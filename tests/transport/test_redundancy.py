from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.frame import Frame
from transport.channel import GilbertElliott
from transport.packet import TICKS, Parity, VoicePacket, parse, serialise
from transport.redundancy import ParityMaker, Redundancy, Repairer

COPY = Redundancy(books=2, distances=(2,))
SLIDING = Redundancy(books=2, distances=(1, 3))


def frame(tick: int, quantizers: int = 5) -> Frame:
    rng = random.Random(tick)
    return Frame(tuple(rng.randrange(2048) for _ in range(quantizers)))


def spurt(packets: int, redundancy: Redundancy, *, n: int = 4, first: int = 0) -> list[VoicePacket]:
    """Full packets of a spurt, with parity."""
    maker = ParityMaker()
    maker.start()
    made = []
    for number in range(packets):
        tick = first + n * number
        frames = tuple(frame(tick + i) for i in range(n))
        parity = maker.parity(frames, redundancy)
        packet = VoicePacket(tick=tick % TICKS, frames=frames, start=number == 0, parity=parity)
        made.append(packet)
    return made


def heard(packets: list[VoicePacket]) -> dict[int, tuple[int, ...]]:
    """Indices by tick of all that a repairer gives, each tick once."""
    repairer = Repairer()
    got: dict[int, tuple[int, ...]] = {}
    for packet in packets:
        for piece in repairer.take(parse_again(packet)):
            for tick, one in enumerate(piece.frames, start=piece.tick):
                assert tick not in got
                got[tick] = one.indices
    return got


def parse_again(packet: VoicePacket) -> VoicePacket:
    parsed = parse(serialise(packet))
    assert isinstance(parsed, VoicePacket)
    return parsed


def test_first_packets_of_a_spurt_cover_what_is_there() -> None:
    distances = [packet.parity and packet.parity.distances for packet in spurt(5, SLIDING)]
    assert distances == [None, (1,), (1,), (1, 3), (1, 3)]
    distances = [packet.parity and packet.parity.distances for packet in spurt(4, COPY)]
    assert distances == [None, None, (2,), (2,)]


def test_copy_repairs_a_burst_of_two() -> None:
    packets = spurt(8, COPY)
    got = heard(packets[:3] + packets[5:])
    for tick in range(32):
        expected = frame(tick).indices
        assert got[tick] == (expected[:2] if 12 <= tick < 20 else expected)


def test_sliding_parity_repairs_a_burst_of_two_by_going_back() -> None:
    packets = spurt(9, SLIDING)
    got = heard(packets[:4] + packets[6:])
    assert [got.get(tick) for tick in range(16, 24)] == [
        frame(tick).indices[:2] for tick in range(16, 24)
    ]


def test_reordered_packet_is_not_given_twice_but_replaces_its_repair() -> None:
    packets = spurt(5, COPY)
    repairer = Repairer()
    given_out = [repairer.take(packets[number]) for number in (0, 2, 3, 1, 4)]
    assert [len(pieces) for pieces in given_out] == [1, 1, 2, 1, 1]
    assert given_out[2][1].repair
    assert given_out[3][0].frames[0] == frame(4)


def test_repair_packet_gives_only_what_is_missing() -> None:
    packets = spurt(3, COPY)
    repairer = Repairer()
    repairer.take(packets[0])
    repairer.take(packets[2])
    tail = VoicePacket(
        tick=4, frames=tuple(frame(tick).coarse(2) for tick in range(4, 12)), repair=True
    )
    (piece,) = repairer.take(tail)
    assert (piece.tick, len(piece.frames), piece.repair) == (4, 4, True)
    assert repairer.take(tail) == []


def test_tail_covers_what_no_packet_does() -> None:
    maker = ParityMaker()
    maker.start()
    for number in range(4):
        maker.parity(tuple(frame(4 * number + i) for i in range(4)), COPY)
    last = (frame(16), frame(17))
    assert maker.tail(COPY, last) == tuple(frame(tick).coarse(2) for tick in range(8, 18))
    assert maker.tail(COPY, ()) == tuple(frame(tick).coarse(2) for tick in range(8, 16))


def test_packets_of_another_length_are_not_combined() -> None:
    maker = ParityMaker()
    maker.start()
    maker.parity((frame(0), frame(1)), COPY)
    maker.parity((frame(2), frame(3)), COPY)
    assert maker.parity((frame(4),), COPY) is None


@pytest.mark.parametrize("redundancy", [COPY, SLIDING], ids=["copy", "sliding"])
@pytest.mark.parametrize("first", [0, 480])
def test_share_repaired_on_a_bursty_link(redundancy: Redundancy, first: int) -> None:
    """10 % loss in bursts of two: a copy two packets later is there for 72 %."""
    packets = spurt(900, redundancy, n=2, first=first)
    model = GilbertElliott(loss=0.1, burst=2, rng=random.Random(3))
    repairer = Repairer()
    lost = 0
    repaired = 0
    for packet in packets:
        if model.lost():
            lost += 2
            continue
        pieces = repairer.take(packet)
        repaired += sum(len(piece.frames) for piece in pieces if piece.repair)
    assert lost > 100
    assert 0.62 * lost < repaired < 0.95 * lost


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, TICKS - 1),
            st.integers(1, 4),
            st.sampled_from([None, (1,), (2, 3), (1, 2, 3)]),
            st.booleans(),
        ),
        max_size=40,
    )
)
def test_any_packets_leave_it_bounded(
    packets: list[tuple[int, int, tuple[int, ...] | None, bool]],
) -> None:
    repairer = Repairer()
    for tick, count, distances, repair in packets:
        frames = tuple(frame(tick + i, 3) for i in range(count))
        parity = None
        if distances is not None and not repair:
            parity = Parity(distances=distances, books=tuple(one.coarse(2) for one in frames))
        for piece in repairer.take(
            VoicePacket(tick=tick, frames=frames, parity=parity, repair=repair)
        ):
            assert 0 <= piece.tick < TICKS
        assert len(repairer._books) <= 520
        assert len(repairer._equations) <= 256
