"""A whole call in virtual time: the real sender and receiver cores over a simulated line.

The simulator sees both ends, so its counts are the truth: a frame that was sent is lost,
late or played, whatever the receiver could know. The output lies on the sender's time axis
and is as long as the input.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from linkcodec.app.config import CallConfig
from linkcodec.app.security import simulated_security
from linkcodec.app.timeline import Timeline
from linkcodec.codec import Codec, CodecInfo, Pcm
from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from receiver import Playout, ReceiverCore
from sender import SenderCore
from transport.channel import SimulatedChannel
from transport.linerate import Framing
from transport.packet import (
    TICKS,
    ByePacket,
    SidePacket,
    SilencePacket,
    VoicePacket,
    parse,
    serialise,
)
from transport.slot import SLOTS_KNOWN
from transport.text import SideKind, parse_report, report_body

__all__ = ["Simulation", "SimulationResult", "StageDelays"]

_BACK_SEED: Final = 1_000_003
_DRAIN_SECONDS: Final = 5.0
"""How long the receiver plays on, beyond its buffer's ceiling, after the last arrival."""


@dataclass(frozen=True, kw_only=True)
class StageDelays:
    """Where the time between mouth and ear goes: mean seconds per played frame.

    frame: until the frame is complete. packet: until its packet is. queue: until the line is
    free. line: to send the packet. channel: propagation. jitter_buffer: from arrival to
    playout. codec: the algorithmic delay of encoder and decoder together. The sum is
    `mouth_to_ear`.
    """

    frame: float = 0.0
    packet: float = 0.0
    queue: float = 0.0
    line: float = 0.0
    channel: float = 0.0
    jitter_buffer: float = 0.0
    codec: float = 0.0

    @property
    def mouth_to_ear(self) -> float:
        """All stages together, in seconds."""
        return math.fsum(vars(self).values())


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """What came out of a simulated call.

    pcm: as long as the input, with every frame in its place on the sender's time axis, before
    time scaling. heard: what the listener hears, from the first moment on. The frame counts are
    of frames that went onto the line:
    frames_sent = frames_received + frames_lost,
    frames_received = frames_played + frames_late + frames_skipped.
    """

    pcm: Pcm
    heard: Pcm
    frames_sent: int
    frames_received: int
    frames_lost: int
    frames_late: int
    frames_skipped: int
    frames_played: int
    delays: StageDelays
    sender: SenderCore
    receiver: ReceiverCore
    packets_lost: int


@dataclass(slots=True)
class _Trip:
    """The way of one sent frame through the call; times in seconds."""

    encoded: float
    packed: float
    departed: float
    sent: float
    arrived: float | None = None
    played: float | None = None


@dataclass
class _Log:
    """Everything known about the frames.

    encoded, trips: by the sender's tick. received: frames that arrived and were not played
    yet, with their ticks, by their identity.
    """

    encoded: dict[int, float] = field(default_factory=dict)
    trips: dict[int, _Trip] = field(default_factory=dict)
    received: dict[int, tuple[Frame, int]] = field(default_factory=dict)


class Simulation:
    """One call, from the first sample to the end of playout.

    Raises:
        CodecError: the codec has not that many quantizers.
        InputError: a trace of the channel cannot be used.
    """

    def __init__(self, *, codec: Codec, config: CallConfig) -> None:
        self._info: CodecInfo = codec.info
        self._framing = Framing(config.link.framing)
        self._rate = config.link.rate
        self._ticks_known = SLOTS_KNOWN if config.wire.mode == "slots" else TICKS
        self._ceiling = config.jitter_buffer.ceiling_ms / 1000.0
        self._channel = SimulatedChannel(config.channel, rate=self._rate, framing=self._framing)
        security = simulated_security(config.security)
        self.sender = SenderCore(codec=codec, config=config, security=security)
        self.receiver = ReceiverCore(
            codec=codec, config=config, datagram=not self._framing.stream, security=security
        )
        self._adapts = config.adaptation.enabled
        self._timeline = Timeline(
            sample_rate=self._info.sample_rate, frame_size=self._info.frame_size, first_tick=0
        )
        self._log = _Log()
        self._back = SimulatedChannel(
            config.channel,
            rate=self._rate,
            framing=self._framing,
            seed=config.channel.seed + _BACK_SEED,
        )
        self._reports: list[tuple[float, bytes]] = []
        self._order = count()
        self._in_flight: list[tuple[float, int, bytes, int]] = []
        self._shift: int | None = None
        self._playhead = 0.0
        self._heard: list[Pcm] = []
        self._output: list[Pcm] = []

    def run(self, pcm: Pcm) -> SimulationResult:
        """Carry `pcm`, shape (samples,) at the codec's rate."""
        size = self._info.frame_size
        now = 0.0
        for number, start in enumerate(range(0, pcm.size, size)):
            now = min((number + 1) * FRAME_SECONDS, pcm.size / self._info.sample_rate)
            self._run_until(now)
            self.sender.push(pcm[start : start + size], now)
            self._note_encoded(now)
        self.sender.finish(now)
        self._note_encoded(now)
        while (due := self._next_event()) is not None:
            now = max(now, due)
            self._run_until(now)
        deadline = now + self._ceiling + _DRAIN_SECONDS
        while not self.receiver.buffer.ended and self._playhead < deadline:
            self._pull()
        return self._result(pcm.size)

    def _note_encoded(self, now: float) -> None:
        for tick in range(len(self._log.encoded), self.sender.ticks):
            self._log.encoded[tick] = now

    def _next_event(self) -> float | None:
        """Time of the next departure or arrival."""
        times = [self._in_flight[0][0]] if self._in_flight else []
        departure = self.sender.next_time()
        if departure is not None:
            times.append(departure)
        return min(times, default=None)

    def _run_until(self, end: float) -> None:
        """Let everything happen that is due up to `end`, in the order of time."""
        while True:
            event = self._next_event()
            if event is not None and event <= end and event <= self._playhead:
                self._arrive(event)
                self._depart(event)
            elif self._playhead <= end:
                self._pull()
            else:
                return

    def _depart(self, now: float) -> None:
        for departure in self.sender.poll(now):
            sent = now + departure.line_bits / self._rate
            ticks = departure.ticks
            for tick in ticks:
                encoded, packed = self._log.encoded[tick], self._log.encoded[ticks[-1]]
                self._log.trips[tick] = _Trip(encoded, packed, now, sent)
            for arrival, received in self._channel.transmit(departure.data, now):
                entry = (arrival, next(self._order), received, self.sender.ticks)
                heapq.heappush(self._in_flight, entry)

    def _arrive(self, now: float) -> None:
        while self._in_flight and self._in_flight[0][0] <= now:
            arrival, _, data, newest = heapq.heappop(self._in_flight)
            for event in self.receiver.receive(data, arrival):
                if isinstance(event, VoicePacket | SilencePacket | ByePacket):
                    self._note_event(event, newest, arrival)

    def _note_event(
        self, event: VoicePacket | SilencePacket | ByePacket, newest: int, now: float
    ) -> None:
        """Take what the receiver found in bytes that left when the sender had `newest` ticks."""
        # The newest tick that fits: packets wait far less than the 41 s of the count.
        first = newest - (newest - event.tick) % self._ticks_known
        if self._shift is None:
            self._shift = first - event.tick
        if not isinstance(event, VoicePacket):
            return
        for tick, frame in enumerate(event.frames, start=first):
            # Damage that passed the checks may claim any tick.
            if tick in self._log.trips:
                trip = self._log.trips[tick]
                trip.arrived = now if trip.arrived is None else trip.arrived
                # By identity: the receiver hands on the very frames that it found.
                self._log.received[id(frame)] = (frame, tick)

    def _exchange_reports(self, now: float) -> None:
        """The receiver's reports go back over a like channel of their own."""
        report = self.receiver.wire.report(now)
        if report is not None:
            packet = SidePacket(tick=0, kind=SideKind.REPORT, body=report_body(report))
            self._reports += self._back.transmit(serialise(packet), now)
        while self._reports and self._reports[0][0] <= now:
            _, data = self._reports.pop(0)
            try:
                arrived = parse(data)
            except PacketError:
                continue
            if isinstance(arrived, SidePacket):
                self.sender.wire.take_report(parse_report(arrived.body), now)

    def _pull(self) -> None:
        now = self._playhead
        if self._adapts:
            self._exchange_reports(now)
        playout = self.receiver.pull(now)
        self._playhead += playout.seconds
        self._heard.append(playout.pcm)
        tick = self._sender_tick(playout, now)
        background = playout.item if isinstance(playout.item, Silence) else None
        self._output.append(self._timeline.add(tick, playout.decoded, background=background))

    def _sender_tick(self, playout: Playout, now: float) -> int | None:
        """Where this item lies on the sender's time axis.

        The receiver knows ticks modulo 512 and may begin a new count after a long outage; its
        frames tell how far its count is off.
        """
        if playout.tick is None:
            return None
        _, tick = self._log.received.pop(id(playout.item), (None, None))
        if tick is not None:
            self._shift = tick - playout.tick
            self._log.trips[tick].played = now
        return playout.tick + (self._shift or 0)

    def _result(self, samples: int) -> SimulationResult:
        ticks = -(-(samples + self._info.delay) // self._info.frame_size)
        self._output.append(self._timeline.finish(ticks))
        output = np.concatenate(self._output)[self._info.delay :][:samples]
        trips = list(self._log.trips.values())
        received = [trip for trip in trips if trip.arrived is not None]
        played = [trip for trip in received if trip.played is not None]
        skipped = self.receiver.statistics.frames_skipped
        return SimulationResult(
            pcm=output,
            heard=np.concatenate(self._heard) if self._heard else np.zeros(0, np.float32),
            frames_sent=len(trips),
            frames_received=len(received),
            frames_lost=len(trips) - len(received),
            frames_late=len(received) - len(played) - skipped,
            frames_skipped=skipped,
            frames_played=len(played),
            delays=self._delays(-(-samples // self._info.frame_size)),
            sender=self.sender,
            receiver=self.receiver,
            packets_lost=self._channel.lost,
        )

    def _delays(self, frames: int) -> StageDelays:
        """Means over those of the first `frames` frames that were played."""
        rows = [
            (
                trip.encoded - tick * FRAME_SECONDS,
                trip.packed - trip.encoded,
                trip.departed - trip.packed,
                trip.sent - trip.departed,
                trip.arrived - trip.sent,
                trip.played - trip.arrived,
            )
            for tick, trip in self._log.trips.items()
            if trip.arrived is not None and trip.played is not None and tick < frames
        ]
        if not rows:
            return StageDelays()
        means = [float(mean) for mean in np.mean(rows, axis=0)]
        names = ("frame", "packet", "queue", "line", "channel", "jitter_buffer")
        return StageDelays(
            **dict(zip(names, means, strict=True)),
            codec=self._info.delay / self._info.sample_rate,
        )
