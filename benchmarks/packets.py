"""Packet mode over lossy links, without a codec: python -m benchmarks.packets PART

masks   share of lost packets that each kind of redundancy repairs, and when
loss    packets, pacer, channel and jitter buffer: frames heard whole, coarse and not at all
hour    a call of one hour through `linkcodec simulate`'s cores, with a codec that does nothing

The figures are in docs/wire-format.md.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from linkcodec.app.config import CallConfig, load_config, override
from linkcodec.app.simulate import Simulation
from linkcodec.codec import Codec, CodecInfo, Decoder, Encoder, Pcm
from linkcodec.frame import FRAME_SECONDS, Frame, PlayoutItem, Silence
from transport.channel import GilbertElliott, SimulatedChannel
from transport.config import ChannelConfig, JitterConfig, LinkConfig, WireConfig
from transport.jitter import JitterBuffer
from transport.linerate import Framing
from transport.packet import TICKS, ByePacket, SilencePacket, VoicePacket
from transport.packet_stream import PacketReceiver, PacketTransmitter
from transport.redundancy import ParityMaker, Redundancy, Repairer
from transport.wire import CodecLabel, WireSetup

__all__ = ["Carried", "NullCodec", "Outcome", "carry", "frame", "share_repaired", "talk"]

_DRAIN: Final = 80
_MASKS: Final = ((1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3))
_CHANNELS: Final = ((0.1, 2.0), (0.1, 1.0), (0.2, 3.0))


def frame(tick: int, quantizers: int) -> Frame:
    """Indices that tell frames apart."""
    return Frame(tuple((31 * tick + 7 * book) % 2048 for book in range(quantizers)))


def talk(*, frames: int, seed: int) -> list[range]:
    """Talk spurts of 2 to 20 s with pauses of 1 to 4 s, in ticks."""
    rng = random.Random(f"{seed} talk")
    spurts: list[range] = []
    tick = 10
    while tick < frames:
        length = rng.randrange(25, 250)
        spurts.append(range(tick, tick + length))
        tick += length + rng.randrange(12, 50)
    return spurts


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Frames of a call: all that were sent, those heard whole, and those heard with less."""

    sent: int
    whole: int
    coarse: int

    @property
    def repaired(self) -> float:
        """Share of the frames that did not come by themselves which were heard in time."""
        lost = self.sent - self.whole
        return self.coarse / lost if lost else 1.0


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A call that is over. items: what was played, with its tick, one for each 80 ms."""

    transmitter: PacketTransmitter
    buffer: JitterBuffer
    items: list[tuple[int | None, PlayoutItem]]
    spurts: list[range]

    def outcome(self) -> Outcome:
        """What was heard of the frames; those that are not what was sent count as lost."""
        whole: set[int] = set()
        coarse: set[int] = set()
        books = self.transmitter.step.quantizers
        for tick, item in self.items:
            if isinstance(item, Frame) and tick is not None:
                expected = frame(tick, len(item.indices))
                if item == expected:
                    (whole if len(item.indices) == books else coarse).add(tick)
        return Outcome(
            sent=sum(map(len, self.spurts)), whole=len(whole), coarse=len(coarse - whole)
        )


def carry(
    setup: WireSetup, channel: ChannelConfig, *, spurts: list[range], ceiling_ms: float = 2500
) -> Carried:
    """A call in virtual time. The channel never loses the first packet, which tells tick 0."""
    ticks = spurts[-1].stop + 20
    transmitter = PacketTransmitter(setup)
    framing = Framing(setup.link.framing)
    receiver = PacketReceiver(setup, datagram=not framing.stream)
    buffer = JitterBuffer(JitterConfig(ceiling_ms=ceiling_ms), statistics=receiver.statistics)
    link = SimulatedChannel(channel, rate=setup.link.rate, framing=framing)
    order = count()
    in_flight: list[tuple[float, int, bytes]] = []
    items: list[tuple[int | None, PlayoutItem]] = []

    def run_until(end: float) -> None:
        while (due := transmitter.next_time()) is not None and due <= end:
            for departure in transmitter.poll(due):
                for at, data in link.transmit(departure.data, due):
                    heapq.heappush(in_flight, (at, next(order), data))
        while in_flight and in_flight[0][0] <= end:
            at, _, data = heapq.heappop(in_flight)
            for event in receiver.receive(data, at):
                if isinstance(event, VoicePacket | SilencePacket | ByePacket):
                    buffer.insert(event, at)
            buffer.hold(receiver.repair_delay)

    # Both ends know where the ticks begin.
    buffer.insert(SilencePacket(tick=0, level_dbfs=-60), channel.delay_ms / 1000)
    remaining = iter(spurts)
    spurt = next(remaining)
    for tick in range(ticks + _DRAIN):
        now = FRAME_SECONDS * (tick + 1)
        run_until(now)
        if tick in spurt:
            transmitter.voice(
                frame(tick, setup.label.quantizers),
                tick=tick,
                start=tick == spurt[0],
                end=tick == spurt[-1],
                now=now,
            )
            if tick == spurt[-1]:
                spurt = next(remaining, range(0))
        elif tick < ticks:
            transmitter.silence(Silence(), tick=tick, now=now)
        if tick == ticks:
            transmitter.finish(tick=ticks, now=now)
        item = buffer.next(now)
        items.append((buffer.last_tick, item))
    return Carried(transmitter=transmitter, buffer=buffer, items=items, spurts=spurts)


def share_repaired(
    redundancy: Redundancy, *, loss: float, burst: float, packets: int, seed: int
) -> tuple[float, dict[int, float]]:
    """Share of lost packets that come back, and by how many packets later."""
    model = GilbertElliott(loss=loss, burst=burst, rng=random.Random(seed))
    maker, repairer = ParityMaker(), Repairer()
    lost: set[int] = set()
    after: dict[int, int] = {}
    for number in range(packets):
        frames = (frame(number, 2),)
        parity = maker.parity(frames, redundancy)
        if model.lost():
            lost.add(number)
            continue
        packet = VoicePacket(tick=number % TICKS, frames=frames, parity=parity)
        for piece in repairer.take(packet):
            if piece.repair:
                for tick in range(piece.tick, piece.tick + len(piece.frames)):
                    late = (number - tick) % TICKS
                    after[late] = after.get(late, 0) + 1
    shares = {late: number / len(lost) for late, number in sorted(after.items())}
    return sum(shares.values()), shares


def _masks() -> None:
    print("| distances | books heard again within | 10 %, bursts of 2 | 10 %, single | 20 %, 3 |")
    for distances in _MASKS:
        redundancy = Redundancy(books=2, distances=distances)
        cells = []
        reach = 0
        for loss, burst in _CHANNELS:
            total, after = share_repaired(
                redundancy, loss=loss, burst=burst, packets=20_000, seed=1
            )
            early = sum(share for late, share in after.items() if late <= distances[-1])
            cells.append(f"{100 * early:.0f} % ({100 * total:.0f} %)")
            reach = distances[-1]
        names = " and ".join(map(str, distances))
        print(f"| {names} | {reach} packets | {' | '.join(cells)} |")


@dataclass(frozen=True, kw_only=True)
class _Line:
    quantizers: int
    frames: int
    redundancy: str
    books: int = 2
    distance: int = 2


_LINES: Final = (
    _Line(quantizers=8, frames=6, redundancy="none"),
    _Line(quantizers=6, frames=7, redundancy="copy"),
    _Line(quantizers=6, frames=7, redundancy="copy", distance=3),
    _Line(quantizers=6, frames=7, redundancy="parity"),
    _Line(quantizers=5, frames=3, redundancy="copy"),
    _Line(quantizers=5, frames=3, redundancy="copy", distance=3),
    _Line(quantizers=5, frames=3, redundancy="parity"),
)


def _loss(*, seeds: int) -> None:
    print(
        "| books | frames per packet | redundancy | not come by themselves | "
        "of these heard coarse | not heard | delay of the buffer | worst second |"
    )
    for line in _LINES:
        setup = WireSetup(
            link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
            wire=WireConfig(
                frames_per_packet=line.frames,
                redundancy=line.redundancy,
                redundant_books=line.books,
                redundancy_distance=line.distance,
            ),
            label=CodecLabel(name="compact", version=1, quantizers=line.quantizers),
        )
        runs = [
            carry(
                setup,
                ChannelConfig(delay_ms=260, loss=0.1, burst=2, seed=seed),
                spurts=talk(frames=3750, seed=seed),
            )
            for seed in range(1, seeds + 1)
        ]
        outcomes = [run.outcome() for run in runs]
        sent = sum(one.sent for one in outcomes)
        lost = sent - sum(one.whole for one in outcomes)
        coarse = sum(one.coarse for one in outcomes)
        least = min(one.repaired for one in outcomes)
        delay = np.mean([run.buffer.delay for run in runs])
        peak = max(run.transmitter.wire.peak_bps for run in runs)
        where = f"{line.redundancy} of {line.books}, {line.distance} packets later"
        if line.redundancy != "copy":
            where = line.redundancy
        print(
            f"| {line.quantizers} | {line.frames} | {where} | {100 * lost / sent:.1f} % | "
            f"{100 * coarse / lost:.0f} % (worst seed {100 * least:.0f} %) | "
            f"{100 * (lost - coarse) / sent:.1f} % | {1000 * delay:.0f} ms | {peak:.0f} bit/s |",
            flush=True,
        )


class _NullEncoder(Encoder):
    def __init__(self, info: CodecInfo, quantizers: int) -> None:
        self._size = info.frame_size
        self._frame = Frame((0,) * quantizers)
        self._samples = 0

    def push(self, pcm: Pcm) -> list[Frame]:
        self._samples += pcm.size
        frames, self._samples = divmod(self._samples, self._size)
        return [self._frame] * frames

    def flush(self) -> list[Frame]:
        frames = [self._frame] if self._samples else []
        self.reset()
        return frames

    def reset(self) -> None:
        self._samples = 0

    def snapshot(self) -> Any:
        return self._samples

    def restore(self, state: Any) -> None:
        self._samples = state


class _NullDecoder(Decoder):
    def __init__(self, info: CodecInfo) -> None:
        self._pcm: Pcm = np.zeros(info.frame_size, np.float32)

    def decode(self, item: PlayoutItem) -> Pcm:  # noqa: ARG002
        return self._pcm

    def reset(self) -> None:
        pass

    def snapshot(self) -> Any:
        return None

    def restore(self, state: Any) -> None:
        pass


class NullCodec(Codec):
    """A codec that takes no time: all frames alike, silence for sound."""

    def __init__(self) -> None:
        self.info = CodecInfo(
            name="null",
            version=1,
            sample_rate=16_000,
            frame_size=1280,
            quantizers=16,
            codebook_size=2048,
            delay=0,
        )

    def encoder(self, *, quantizers: int | None = None) -> Encoder:
        return _NullEncoder(self.info, self.check_quantizers(quantizers))

    def decoder(self) -> Decoder:
        return _NullDecoder(self.info)


def _speech(seconds: int) -> Pcm:
    """Noise in syllables, with pauses of 2 s in every 10: enough for the gate to work on."""
    rng = np.random.default_rng(1)
    rate = 16_000
    time_axis = np.arange(10 * rate) / rate
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * time_axis), 0, 1) * (time_axis < 8)
    noise = rng.standard_normal(time_axis.size)
    piece = (0.1 * syllables + 0.0005) * noise
    return np.tile(piece.astype(np.float32), -(-seconds // 10))[: seconds * rate]


def _configs() -> Iterator[tuple[str, CallConfig]]:
    folder = Path(__file__).parent.parent / "configs"
    for name in ("udp-lan", "sat-1200-sync", "sat-1200-packets"):
        config = load_config(folder / f"{name}.toml")
        yield name, override(config, {"channel.loss": 0.05, "channel.burst": 2.0})


def _hour(*, seconds: int) -> None:
    pcm = _speech(seconds)
    print("| config | processor time | frames sent | lost | packets |")
    for name, config in _configs():
        simulation = Simulation(codec=NullCodec(), config=config)
        start = time.process_time()
        result = simulation.run(pcm)
        seconds_used = time.process_time() - start
        packets = result.sender.statistics.packets_sent
        print(
            f"| {name} | {seconds_used:.1f} s | {result.frames_sent} | {result.frames_lost} | "
            f"{packets} |",
            flush=True,
        )


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("masks", "loss", "hour"))
    parser.add_argument("--seeds", type=int, default=20, help="calls of five minutes per row")
    parser.add_argument("--seconds", type=int, default=3600, help="length of the long call")
    args = parser.parse_args()
    if args.part == "masks":
        _masks()
    elif args.part == "loss":
        _loss(seeds=args.seeds)
    else:
        _hour(seconds=args.seconds)


if __name__ == "__main__":
    main()
