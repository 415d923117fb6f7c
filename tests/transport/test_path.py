"""All of the transport in a row, in virtual time: packets, pacer, channel, deframer, buffer."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from itertools import count

import pytest

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS, LOST, Frame, PlayoutItem
from transport.channel import SimulatedChannel
from transport.config import ChannelConfig, JitterConfig
from transport.framing import StreamDeframer, encode_stream
from transport.jitter import JitterBuffer
from transport.linerate import Framing, capacity_bps
from transport.pacing import Pacer, Parcel
from transport.packet import TICKS, ByePacket, Packet, SilencePacket, VoicePacket, parse, serialise

PRE_ROLL = 2


@dataclass(frozen=True, kw_only=True)
class Line:
    framing: Framing
    rate: int
    quantizers: int
    frames: int


SYNC = Line(framing=Framing.SYNC, rate=1200, quantizers=8, frames=7)
ASYNC = Line(framing=Framing.ASYNC_8N1, rate=1200, quantizers=6, frames=6)
LAN = Line(framing=Framing.UDP, rate=64_000, quantizers=12, frames=2)


def offers(line: Line, spurts: list[tuple[int, int]]) -> list[tuple[float, Packet]]:
    """What a sender gives its pacer: the gate opens two frames after a spurt's first frame."""
    made: list[tuple[float, Packet]] = []
    stop = 0
    for first, length in spurts:
        made += [
            (FRAME_SECONDS * tick, SilencePacket(tick=tick % TICKS, level_dbfs=-60))
            for tick in range(stop, first + PRE_ROLL, 25)
        ]
        stop = first + length
        for tick in range(first, stop, line.frames):
            n = min(line.frames, stop - tick)
            known = max(tick + n, first + PRE_ROLL + 1)
            frame = Frame((tick % 2048,) * line.quantizers)
            frames = tuple(
                Frame(((tick + i) % 2048, *frame.indices[1:])[: line.quantizers]) for i in range(n)
            )
            packet = VoicePacket(
                tick=tick % TICKS, frames=frames, start=tick == first, end=tick + n == stop
            )
            made.append((FRAME_SECONDS * known, packet))
    made.append((FRAME_SECONDS * stop, SilencePacket(tick=stop % TICKS, level_dbfs=-60)))
    made += [(FRAME_SECONDS * stop + 1 + i / 2, ByePacket(tick=stop % TICKS)) for i in range(1, 4)]
    return made


@dataclass
class Result:
    pacer: Pacer
    channel: SimulatedChannel
    buffer: JitterBuffer
    items: list[tuple[int | None, PlayoutItem]]
    damaged: int
    voice_sent: int


def carry(line: Line, spurts: list[tuple[int, int]], channel: ChannelConfig) -> Result:
    pacer = Pacer(rate=line.rate, framing=line.framing)
    simulated = SimulatedChannel(channel, rate=line.rate, framing=line.framing)
    deframer = StreamDeframer()
    buffer = JitterBuffer(JitterConfig())
    result = Result(pacer, simulated, buffer, [], 0, 0)
    order = count()
    waiting = [(at, next(order), packet) for at, packet in offers(line, spurts)]
    in_flight: list[tuple[float, int, bytes]] = []
    end = waiting[-1][0] + 5
    slot = 0.0

    def receive(data: bytes, now: float) -> None:
        for piece in deframer.push(data) if line.framing.stream else [data]:
            try:
                packet = parse(piece)
                assert isinstance(packet, VoicePacket | SilencePacket | ByePacket)
                buffer.insert(packet, now)
            except PacketError:
                result.damaged += 1

    while slot < end:
        offer_at = waiting[0][0] if waiting else end
        pacer_at = pacer.next_time()
        arrival = in_flight[0][0] if in_flight else end
        now = min(offer_at, arrival, slot, end if pacer_at is None else pacer_at)
        if now == offer_at and waiting:
            packet = heapq.heappop(waiting)[2]
            voice = isinstance(packet, VoicePacket)
            result.voice_sent += len(packet.frames) if isinstance(packet, VoicePacket) else 0
            assert pacer.offer(Parcel(data=serialise(packet), voice=voice), now) == []
        for parcel in pacer.poll(now):
            wire = encode_stream(parcel.data) if line.framing.stream else parcel.data
            for at, arrived in simulated.transmit(wire, now):
                heapq.heappush(in_flight, (at, next(order), arrived))
        while in_flight and in_flight[0][0] <= now:
            at, _, arrived = heapq.heappop(in_flight)
            receive(arrived, at)
        if now == slot:
            item = buffer.next(now)
            result.items.append((buffer.last_tick, item))
            slot += FRAME_SECONDS
    result.damaged += deframer.damaged
    return result


def talk(seed: int, seconds: float) -> list[tuple[int, int]]:
    """Talk spurts of 1 to 6 s with pauses of 0.4 to 3 s."""
    rng = random.Random(seed)
    spurts, tick = [], 10
    while tick * FRAME_SECONDS < seconds:
        length = rng.randrange(12, 75)
        spurts.append((tick, length))
        tick += length + rng.randrange(5, 38)
    return spurts


def check(result: Result) -> None:
    counted = result.buffer.statistics
    assert counted.frames_received == (
        counted.frames_played + counted.frames_late + counted.frames_skipped
    )
    assert counted.frames_concealed == (
        counted.frames_lost + counted.frames_late + counted.frames_inserted
    )
    assert result.buffer.ended == (result.buffer.end_tick is not None)  # all BYEs may be lost
    for tick, item in result.items:
        if isinstance(item, Frame):
            assert tick is not None
            assert tick % 2048 == item.indices[0]


@pytest.mark.parametrize("line", [SYNC, ASYNC, LAN], ids=["sync", "8n1", "lan"])
def test_a_good_line_carries_all_of_it(line: Line) -> None:
    result = carry(line, talk(1, 120), ChannelConfig(delay_ms=260))
    counted = result.buffer.statistics
    assert counted.frames_played == counted.frames_received == result.voice_sent
    assert counted.frames_concealed <= 0.01 * result.voice_sent
    assert counted.resyncs == result.damaged == 0
    assert result.buffer.ended
    check(result)


@pytest.mark.parametrize("line", [SYNC, ASYNC, LAN], ids=["sync", "8n1", "lan"])
def test_the_wire_is_never_overfilled(line: Line) -> None:
    result = carry(line, [(0, 750)], ChannelConfig())
    capacity = capacity_bps(line.rate, line.framing)
    payload = 750 * 11 * line.quantizers / 60
    assert payload < result.pacer.wire.mean_bps <= capacity
    assert result.pacer.wire.peak_bps <= capacity
    assert result.pacer.line.peak_bps <= line.rate


@pytest.mark.parametrize("line", [SYNC, ASYNC, LAN], ids=["sync", "8n1", "lan"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_burst_losses_add_up(line: Line, seed: int) -> None:
    result = carry(line, talk(seed, 240), ChannelConfig(delay_ms=100, loss=0.1, burst=2, seed=seed))
    counted = result.buffer.statistics
    assert result.channel.lost > 0
    known = counted.frames_received + counted.frames_lost
    # A spurt that is lost whole, or at its start, was never known to be there; where the end,
    # its SILENCE packet and the next start are all lost, the silence looks like lost speech.
    assert 0.9 * result.voice_sent <= known <= 1.05 * result.voice_sent
    assert counted.frames_late <= 0.01 * result.voice_sent
    check(result)


@pytest.mark.parametrize("line", [SYNC, LAN], ids=["sync", "lan"])
def test_bit_errors_are_counted_and_survived(line: Line) -> None:
    result = carry(line, talk(4, 240), ChannelConfig(delay_ms=100, ber=1e-3))
    counted = result.buffer.statistics
    assert result.damaged > 10
    assert 0 < counted.frames_lost < result.voice_sent / 2
    assert any(item is LOST for _, item in result.items)
    check(result)


def test_jitter_and_reordering_on_datagrams() -> None:
    result = carry(LAN, talk(5, 240), ChannelConfig(delay_ms=50, jitter_ms=60))
    counted = result.buffer.statistics
    assert counted.frames_received == result.voice_sent
    assert counted.frames_late <= 0.05 * result.voice_sent
    assert counted.resyncs == 0
    check(result)
