"""Packet mode: frames bundled into packets, and packets found in bytes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from linkcodec.exceptions import ConfigError, PacketError
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, Frame, Silence
from transport.adaptation import Controller, LossMeter, Step, packet_steps
from transport.budget import announcing_bps
from transport.config import WireConfig
from transport.framing import StreamDeframer, encode_stream
from transport.linerate import Framing, line_bits, wire_bits
from transport.pacing import Pacer, Parcel
from transport.packet import (
    FORMAT_VERSION,
    TICKS,
    ByePacket,
    HelloPacket,
    LinkPacket,
    SidePacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    parse,
    serialise,
)
from transport.redundancy import ParityMaker, Redundancy, Repairer
from transport.sealing import PacketOpener, PacketSealer
from transport.statistics import ReceiverStatistics, SenderStatistics
from transport.text import (
    SideKind,
    TextAssembler,
    parse_report,
    parse_station,
    parse_talker,
    report_body,
    station_body,
    talker_body,
    text_fragments,
)
from transport.wire import (
    Departure,
    LinkInformation,
    LinkState,
    ReceiverReport,
    TalkerKey,
    TextMessage,
    Transmitter,
    WireEvent,
    WireReceiver,
    WireSetup,
    check_label,
)

__all__ = [
    "BYE_COPIES",
    "BYE_SPACING",
    "SILENCE_FRAMES",
    "PacketReceiver",
    "PacketTransmitter",
    "redundancy_of",
]

SILENCE_FRAMES: Final = 25
"""While nobody speaks, a SILENCE packet every 2 s tells the level and that we are there."""

BYE_COPIES: Final = 3
BYE_SPACING: Final = 0.2
"""Seconds between the copies, so that a short burst of losses does not take all."""

IDENTITY_SECONDS: Final = 10.0
"""HELLO and LINK take turns so often; in speech only LINK, and only where there is room."""

_PUSH: Final = 0.03
"""Seconds that a packet of the side channel may delay speech: less than any jitter buffer's
floor."""

_URGENT: Final = 30.0
"""Seconds after which it is sent in spite of that: a call without pauses must identify itself."""

_MOST_SPARE: Final = 200
_EPSILON: Final = 1e-9
_SILENT_SECONDS: Final = 5.0
_PLAIN_PACKETS: Final = 8
"""Packets in a row without redundancy after which none is expected any more."""


def redundancy_of(wire: WireConfig) -> Redundancy | None:
    """The redundancy that a configuration asks for."""
    if not wire.distances:
        return None
    return Redundancy(books=wire.redundant_books, distances=wire.distances)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spare:
    """A packet that is sent when the line has room for it."""

    packet: WirePacket
    since: float


class PacketTransmitter(Transmitter):
    """Bundles the frames of a spurt, N at a time; says every 2 s that the talker is quiet.

    What the line has to spare, mostly in silence, carries the side channel and a repair of the
    end of the last spurt.
    """

    def __init__(self, setup: WireSetup, *, statistics: SenderStatistics | None = None) -> None:
        self.statistics = statistics if statistics is not None else SenderStatistics()
        self._framing = Framing(setup.link.framing)
        self._rate = setup.link.rate
        self._pacer = Pacer(rate=setup.link.rate, framing=self._framing)
        self.wire = self._pacer.wire
        self.line = self._pacer.line
        self._setup = setup
        self._fixed = self._step = Step(
            quantizers=setup.label.quantizers,
            frames=setup.wire.frames_per_packet,
            redundancy=redundancy_of(setup.wire),
        )
        self._sealer: PacketSealer | None = None
        if setup.outgoing is not None:
            self._sealer = PacketSealer(
                setup.outgoing, announce_seconds=setup.security.announce_every("packets")
            )
        self._controller = Controller(patience=setup.adaptation.patience_seconds)
        self._ladders = {bursty: self._ladder(bursty=bursty) for bursty in (False, True)}
        self._parity = ParityMaker()
        # The packet being filled
        self._frames: list[Frame] = []
        self._first_tick = 0
        self._start = False
        self._in_spurt = False
        self._next_voice_at = float("inf")
        # Silence and side channel
        self._tick = 0
        self._silence_at: int | None = None
        self._level_dbfs = Silence().level_dbfs
        self._identify_at = float("-inf")
        self._station_at = float("-inf")
        self._say_hello = False
        self._texts = 0
        self._report: ReceiverReport | None = None
        self._spare: deque[_Spare] = deque()
        # The end
        self._end_tick = 0
        self._byes_left = 0
        self._bye_at = 0.0
        self._finished = False

    def _ladder(self, *, bursty: bool) -> tuple[Step, ...]:
        adaptation = self._setup.adaptation
        if not adaptation.enabled:
            return ()
        most = self._setup.label.quantizers
        return packet_steps(
            self._rate - announcing_bps(self._setup.security, self._framing),
            self._framing,
            floor=min(adaptation.floor, most),
            ceiling=min(adaptation.ceiling or most, most),
            most_frames=self._setup.wire.frames_per_packet,
            bursty=bursty,
            tag_bytes=self._sealer.length(0) if self._sealer else 0,
        )

    @property
    def step(self) -> Step:
        """The settings in use."""
        return self._step

    # Speech

    def voice(self, frame: Frame, *, tick: int, start: bool, end: bool, now: float) -> None:
        if start:
            self._begin_spurt(now)
        if not self._frames:
            self._first_tick = tick
            self._adapt(now)
        self._tick = tick + 1
        self._announce(now)
        self._frames.append(frame.coarse(self._step.quantizers))
        if end or len(self._frames) == self._step.frames:
            self._send_voice(now, end=end)
        self._next_voice_at = now + FRAME_SECONDS * (self._step.frames - len(self._frames))
        if end:
            self._end_spurt(now)
        else:
            self._identify(now)

    def _begin_spurt(self, now: float) -> None:
        self._frames.clear()
        self._start = self._in_spurt = True
        self._parity.start()
        self._spare = deque(one for one in self._spare if not _is_repair(one.packet))
        if self._report is not None and self._setup.adaptation.half_duplex:
            self._offer(self._report_packet(self._report), now)
            self._report = None

    def _adapt(self, now: float) -> None:
        ladder = self._ladders[self._controller.bursty]
        level = self._controller.level(now) if ladder else None
        self._step = self._fixed if level is None else ladder[min(level, len(ladder) - 1)]

    def _send_voice(self, now: float, *, end: bool) -> None:
        frames = tuple(self._frames)
        ticks = range(self._first_tick, self._first_tick + len(frames))
        self._frames.clear()
        redundancy = self._step.redundancy
        full = len(frames) == self._step.frames
        packet = VoicePacket(
            tick=self._first_tick % TICKS,
            frames=frames,
            start=self._start,
            end=end,
            parity=self._parity.parity(frames, redundancy) if redundancy and full else None,
        )
        self._start = False
        payload_bits = INDEX_BITS * packet.quantizers * len(ticks)
        self._offer(packet, now, ticks=ticks, payload_bits=payload_bits)
        if end and redundancy:
            self._repair_tail(redundancy, () if full else frames, ticks.stop, now)

    def _repair_tail(
        self, redundancy: Redundancy, last: tuple[Frame, ...], stop: int, now: float
    ) -> None:
        """The frames at the end of a spurt that no packet will cover go into the silence."""
        tail = self._parity.tail(redundancy, last)
        if tail:
            packet = VoicePacket(tick=(stop - len(tail)) % TICKS, frames=tail, repair=True)
            self._spare.appendleft(_Spare(packet=packet, since=now))

    def _end_spurt(self, now: float) -> None:
        self._in_spurt = False
        self._next_voice_at = float("inf")
        self._silence_at = None
        self._identify(now)

    def silence(self, background: Silence, *, tick: int, now: float) -> None:
        self._tick = tick
        self._level_dbfs = background.level_dbfs
        self._announce(now)
        self._identify(now)
        if self._silence_at is not None and tick < self._silence_at:
            return
        again = self._silence_at is not None
        self._silence_at = tick + SILENCE_FRAMES
        packet = SilencePacket(
            tick=tick % TICKS, level_dbfs=background.level_dbfs, colour=background.colour
        )
        self._offer(packet, now, keep_alive=again)

    def finish(self, *, tick: int, now: float) -> None:
        if self._finished:
            return
        self._finished = True
        if self._frames:
            self._send_voice(now, end=True)
        self._end_spurt(now)
        self._identify_station(now)
        self._end_tick = tick
        self._byes_left = BYE_COPIES
        self._bye_at = now

    # Security

    def _announce(self, now: float) -> None:
        """Tell the sender's session to those who join: in time, and anew when a spurt begins."""
        if self._sealer is None:
            return
        data = self._sealer.announcement(self._tick, fresh=self._start)
        if data is not None:
            self._put(Parcel(data=data, voice=False, keep_alive=not self._in_spurt), now)

    def _sealed(self, packet: WirePacket) -> bytes:
        data = serialise(packet)
        return data if self._sealer is None else self._sealer.seal(data, now_tick=self._tick)

    def _length(self, packet: WirePacket) -> int:
        """Bytes of a control packet before COBS."""
        plain = len(serialise(packet))
        return plain if self._sealer is None else self._sealer.length(plain) + 1

    # Side channel

    def _identify(self, now: float) -> None:
        """Say from time to time who speaks, and with what codec."""
        if now >= self._identify_at:
            label = self._setup.label
            first = self._identify_at == float("-inf")
            self._identify_at = now + IDENTITY_SECONDS
            if first or (self._say_hello and not self._in_spurt):
                hello = HelloPacket(
                    tick=self._tick % TICKS,
                    level_dbfs=self._level_dbfs,
                    codec_number=label.number,
                    codec_version=label.version,
                )
                self._offer(hello, now, keep_alive=not first)
            if first or not self._say_hello or self._in_spurt:
                self._add_spare(self._link_packet(), now)
            self._say_hello = not self._say_hello
        if now >= self._station_at + self._setup.station.identify_seconds:
            self._identify_station(now)

    def _link_packet(self) -> LinkPacket:
        label = self._setup.label
        return LinkPacket(
            tick=self._tick % TICKS,
            codec_number=label.number,
            codec_version=label.version,
            quantizers=label.quantizers,
            weights=label.weights,
            talker=self._setup.station.talker,
        )

    def _identify_station(self, now: float) -> None:
        self._station_at = now
        if self._setup.call_sign:
            self._add_spare(self._side(SideKind.STATION, station_body(self._setup.call_sign)), now)

    def _side(self, kind: SideKind, body: bytes) -> SidePacket:
        return SidePacket(tick=self._tick % TICKS, kind=kind, body=body)

    def _add_spare(self, packet: WirePacket, now: float) -> None:
        self._spare.append(_Spare(packet=packet, since=now))

    def send_text(self, text: str, now: float) -> None:
        fragments = text_fragments(text, number=self._texts)
        copies = fragments * self._setup.station.text_copies
        if len(self._spare) + len(copies) > _MOST_SPARE:
            raise ConfigError("too many texts wait to be sent: wait until some have gone")
        self._texts += 1
        for body in copies:
            self._add_spare(self._side(SideKind.TEXT, body), now)

    def key(self, *, down: bool, tick: int, now: float) -> None:
        talker = self._setup.station.talker
        if talker:
            self._tick = tick
            body = talker_body(TalkerKey(talker=talker, down=down))
            self._offer(self._side(SideKind.TALKER, body), now)

    def send_report(self, report: ReceiverReport, now: float) -> None:
        if self._setup.adaptation.half_duplex:
            self._report = report
            return
        self._spare = deque(one for one in self._spare if not _is_report(one.packet))
        self._add_spare(self._report_packet(report), now)

    def _report_packet(self, report: ReceiverReport) -> SidePacket:
        return self._side(SideKind.REPORT, report_body(report))

    def take_report(self, report: ReceiverReport, now: float) -> None:
        self._controller.take(report, now)

    # The line

    def _offer(
        self,
        packet: WirePacket,
        now: float,
        *,
        ticks: range = range(0),
        payload_bits: int = 0,
        keep_alive: bool = False,
    ) -> None:
        parcel = Parcel(
            data=self._sealed(packet),
            voice=isinstance(packet, VoicePacket) and not packet.repair,
            ticks=ticks,
            payload_bits=payload_bits,
            keep_alive=keep_alive,
        )
        self._put(parcel, now)

    def _put(self, parcel: Parcel, now: float) -> None:
        for dropped in self._pacer.offer(parcel, now):
            self.statistics.packets_dropped += 1
            self.statistics.frames_dropped += len(dropped.ticks)

    def poll(self, now: float) -> list[Departure]:
        spare_at = self._spare_time()
        if spare_at is not None and spare_at <= now + _EPSILON:
            # Its time may have come a little earlier, and the pacer catches up with it.
            packet = self._stamped(self._spare.popleft().packet)
            quiet = isinstance(packet, LinkPacket) and not self._in_spurt
            self._offer(packet, min(spare_at, now), keep_alive=quiet)
        if self._byes_left and not self._spare and self._bye_at <= now + _EPSILON:
            self._byes_left -= 1
            # The copies keep their distance on the line, behind whatever waits for it.
            self._bye_at = max(now, self._pacer.idle_at) + BYE_SPACING
            self._offer(ByePacket(tick=self._end_tick % TICKS), now)
        return [self._depart(parcel) for parcel in self._pacer.poll(now)]

    def _stamped(self, packet: WirePacket) -> WirePacket:
        """What has waited tells the tick at which it leaves, unless its tick places frames."""
        if isinstance(packet, LinkPacket | SidePacket):
            return replace(packet, tick=self._tick % TICKS)
        return packet

    def _depart(self, parcel: Parcel) -> Departure:
        length = len(parcel.data)
        departure = Departure(
            data=encode_stream(parcel.data) if self._framing.stream else parcel.data,
            ticks=parcel.ticks,
            wire_bits=wire_bits(length, self._framing),
            line_bits=line_bits(length, self._framing),
            keep_alive=parcel.keep_alive,
        )
        statistics = self.statistics
        statistics.packets_sent += 1
        statistics.wire_bits += departure.wire_bits
        statistics.line_bits += departure.line_bits
        statistics.frames_sent += len(parcel.ticks)
        statistics.payload_bits += parcel.payload_bits
        return departure

    def _spare_time(self) -> float | None:
        """When the next packet of the side channel may go; None while other things wait."""
        if not self._spare or len(self._pacer):
            return None
        spare = self._spare[0]
        earliest = max(self._pacer.idle_at, spare.since)
        seconds = line_bits(self._length(spare.packet), self._framing) / self._rate
        if earliest + seconds <= self._next_voice_at + _PUSH:
            return earliest
        return max(earliest, spare.since + _URGENT)

    def next_time(self) -> float | None:
        byes = [self._bye_at] if self._byes_left and not self._spare else []
        others = (self._pacer.next_time(), self._spare_time())
        return min([*byes, *(time for time in others if time is not None)], default=None)

    @property
    def done(self) -> bool:
        return self._finished and not (self._byes_left or self._spare or len(self._pacer))

    @property
    def idle_at(self) -> float:
        return self._pacer.idle_at

    @property
    def queued(self) -> int:
        return len(self._pacer)


def _is_repair(packet: WirePacket) -> bool:
    return isinstance(packet, VoicePacket) and packet.repair


def _is_report(packet: WirePacket) -> bool:
    return isinstance(packet, SidePacket) and packet.kind == SideKind.REPORT


class PacketReceiver(WireReceiver):
    """Finds packets in datagrams or in a byte pipe, and repairs what is missing."""

    def __init__(
        self,
        setup: WireSetup,
        *,
        datagram: bool,
        statistics: ReceiverStatistics | None = None,
    ) -> None:
        super().__init__(statistics=statistics)
        self._label = setup.label
        self._framing = Framing(setup.link.framing)
        self._deframer = None if datagram else StreamDeframer()
        self._far: LinkInformation | None = None
        self._repairer = Repairer()
        self._texts = TextAssembler()
        self._losses = LossMeter(report_seconds=setup.adaptation.report_seconds)
        self._opener = PacketOpener(setup.incoming)
        self._repair_delay = setup.wire.repair_ms / 1000
        self._plain = 0

    def receive(self, data: bytes, now: float) -> list[WireEvent]:
        if self._deframer is None:
            pieces = [data]
        else:
            damaged = self._deframer.damaged
            pieces = self._deframer.push(data)
            self.statistics.packets_damaged += self._deframer.damaged - damaged
        events: list[WireEvent] = []
        for piece in pieces:
            try:
                plain = self._opener.open(piece, now)
                found = [] if plain is None else self._take(parse(plain), now)
            except PacketError:
                self.statistics.packets_damaged += 1
                continue
            finally:
                self.stranger = self._opener.problem or self._opener.notice
            self._note(wire_bits(len(piece), self._framing), now)
            self.state = LinkState.LOCKED
            events += found
        return events

    def _take(self, packet: WirePacket, now: float) -> list[WireEvent]:
        if isinstance(packet, VoicePacket):
            return list(self._take_voice(packet))
        if isinstance(packet, SilencePacket | ByePacket):
            self._losses.silence(packet.tick)
            return [packet]
        event: WireEvent | None
        if isinstance(packet, SidePacket):
            event = self._take_side(packet, now)
        else:
            event = self._take_identity(packet)
        self.statistics.packets_received += 1
        return [] if event is None else [event]

    def _take_voice(self, packet: VoicePacket) -> list[VoicePacket]:
        if not packet.repair:
            self._losses.voice(
                tick=packet.tick,
                frames=len(packet.frames),
                start=packet.start,
                end=packet.end,
            )
            if packet.quantizers > self._label.quantizers:
                far = self._far or self._own_information()
                self._far = replace(far, quantizers=packet.quantizers)
                self.problem = check_label(self._far, self._label, FORMAT_VERSION)
        self._follow_redundancy(packet)
        packets = self._repairer.take(packet)
        repaired = sum(len(one.frames) for one in packets if one.repair)
        self.statistics.frames_repaired += repaired
        self._losses.repaired(repaired)
        return [] if self.problem else packets

    def _follow_redundancy(self, packet: VoicePacket) -> None:
        self._plain = 0 if packet.parity or packet.repair else self._plain + 1
        if packet.parity is not None:
            reach = packet.parity.distances[-1] * len(packet.frames)
            self._repair_delay = FRAME_SECONDS * reach
        elif self._plain >= _PLAIN_PACKETS:
            self._repair_delay = 0.0

    def _own_information(self) -> LinkInformation:
        return LinkInformation(
            format_version=FORMAT_VERSION,
            codec_number=self._label.number,
            codec_version=self._label.version,
        )

    def _take_identity(self, packet: HelloPacket | LinkPacket) -> LinkInformation:
        if isinstance(packet, LinkPacket):
            far = LinkInformation(
                format_version=FORMAT_VERSION,
                codec_number=packet.codec_number,
                codec_version=packet.codec_version,
                weights=packet.weights,
                quantizers=packet.quantizers,
                talker=packet.talker,
            )
        else:
            far = LinkInformation(
                format_version=packet.format_version,
                codec_number=packet.codec_number,
                codec_version=packet.codec_version,
            )
            known = self._far
            if known is not None and far == replace(known, weights=0, quantizers=0, talker=0):
                far = known  # HELLO says less than LINK
        self._far = far
        self.problem = check_label(far, self._label, FORMAT_VERSION)
        return far

    def _take_side(self, packet: SidePacket, now: float) -> WireEvent | None:
        match packet.kind:
            case SideKind.TEXT:
                text = self._texts.take(packet.body, now)
                return None if text is None else TextMessage(text=text)
            case SideKind.STATION:
                return parse_station(packet.body)
            case SideKind.TALKER:
                return parse_talker(packet.body)
            case SideKind.REPORT:
                return parse_report(packet.body)
        raise PacketError(f"the side channel has no kind {packet.kind}")

    def tick(self, now: float) -> list[WireEvent]:
        if self.last_packet_at is not None and now - self.last_packet_at > _SILENT_SECONDS:
            self.state = LinkState.HUNTING
        return []

    def report(self, now: float) -> ReceiverReport | None:
        return self._losses.due_report(now)

    @property
    def repair_delay(self) -> float:
        return self._repair_delay
