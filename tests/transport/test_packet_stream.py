"""The packet transmitter and the packet receiver, without a codec."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.adaptation import Step
from transport.config import AdaptationConfig, LinkConfig, StationConfig, WireConfig
from transport.framing import encode_stream
from transport.packet import (
    ByePacket,
    HelloPacket,
    LinkPacket,
    SilencePacket,
    VoicePacket,
    WirePacket,
    parse,
    serialise,
)
from transport.packet_stream import PacketReceiver, PacketTransmitter, redundancy_of
from transport.redundancy import Redundancy
from transport.wire import (
    CodecLabel,
    LinkInformation,
    LinkState,
    ReceiverReport,
    StationId,
    TalkerKey,
    TextMessage,
    WireEvent,
    WireSetup,
)

BACKGROUND = Silence(-60.0, 5)
LABEL = CodecLabel(name="compact", version=2, quantizers=8, weights=0xBEEF)


def setup(
    *, rate: int = 2400, framing: str = "sync", quantizers: int = 8, frames: int = 4, **other: Any
) -> WireSetup:
    wire = {key: other.pop(key) for key in list(other) if key.startswith("redundan")}
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=rate, framing=framing),
        wire=WireConfig(frames_per_packet=frames, **wire),
        label=replace(LABEL, quantizers=quantizers),
        **other,
    )


def frame(tick: int, quantizers: int = 8) -> Frame:
    return Frame(tuple((tick * 37 + 101 * book) % 2048 for book in range(quantizers)))


class Call:
    """One direction in virtual time; spurts are ranges of ticks."""

    def __init__(self, sender: WireSetup, receiver: WireSetup | None = None) -> None:
        self.transmitter = PacketTransmitter(sender)
        self.receiver = PacketReceiver(receiver or sender, datagram=False)
        self.datagrams: list[tuple[float, bytes]] = []
        self.events: list[tuple[float, WireEvent]] = []
        self.lost: set[int] = set()
        self.empty_polls = 0

    def run(self, spurts: list[range], ticks: int, *, finish: bool = True) -> None:
        for tick in range(ticks):
            now = FRAME_SECONDS * (tick + 1)
            self.poll(now)
            spurt = next((one for one in spurts if tick in one), None)
            if tick == 0:
                self.transmitter.silence(BACKGROUND, tick=0, now=now)
            if spurt is not None:
                self.transmitter.voice(
                    frame(tick), tick=tick, start=tick == spurt[0], end=tick == spurt[-1], now=now
                )
            if spurt is None or tick == spurt[-1]:
                self.transmitter.silence(BACKGROUND, tick=tick + 1, now=now)
        if finish:
            self.transmitter.finish(tick=ticks, now=FRAME_SECONDS * ticks)
            self.poll(float("inf"))
            assert self.transmitter.done

    def poll(self, end: float) -> None:
        while (due := self.transmitter.next_time()) is not None and due <= end:
            departures = self.transmitter.poll(due)
            self.empty_polls += not departures
            assert self.empty_polls < 10, "next_time gives times at which there is nothing"
            for departure in departures:
                number = len(self.datagrams)
                self.datagrams.append((due, departure.data))
                if number not in self.lost:
                    found = self.receiver.receive(departure.data, due)
                    self.events += [(due, event) for event in found]

    @property
    def packets(self) -> list[WirePacket]:
        pipe = PacketReceiver(setup(), datagram=False)
        assert pipe._deframer is not None
        return [parse(piece) for _, data in self.datagrams for piece in pipe._deframer.push(data)]

    def heard(self) -> dict[int, tuple[int, ...]]:
        """Indices by tick, the most of each."""
        got: dict[int, tuple[int, ...]] = {}
        for _, event in self.events:
            if isinstance(event, VoicePacket):
                for tick, one in enumerate(event.frames, start=event.tick):
                    got[tick] = max(got.get(tick, ()), one.indices, key=len)
        return got

    def found(self, kind: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kind)]


COPY: dict[str, Any] = {"redundancy": "copy", "redundant_books": 2, "redundancy_distance": 2}


def test_frames_arrive_as_they_were() -> None:
    call = Call(setup())
    call.run([range(5, 23), range(40, 41)], 60)
    ticks = [*range(5, 23), 40]
    assert call.heard() == {tick: frame(tick).indices for tick in ticks}
    assert call.transmitter.statistics.frames_sent == len(ticks)
    assert call.receiver.statistics.packets_damaged == 0


def test_call_says_who_speaks_and_how_quiet_it_is() -> None:
    call = Call(setup())
    call.run([], 300)
    packets = call.packets
    assert isinstance(packets[0], HelloPacket)
    assert isinstance(packets[1], SilencePacket)
    assert (packets[1].level_dbfs, packets[1].colour) == (-60.0, 5)
    assert isinstance(packets[2], LinkPacket)
    information = call.found(LinkInformation)[-1]
    assert (information.codec_number, information.codec_version) == (1, 2)
    assert (information.weights, information.quantizers) == (0xBEEF, 8)
    silences = [packet.tick for packet in packets if isinstance(packet, SilencePacket)]
    assert silences == list(range(0, 301, 25))
    # Every 10 s one of the two.
    assert sum(isinstance(packet, HelloPacket) for packet in packets) == 2
    assert sum(isinstance(packet, LinkPacket) for packet in packets) == 2
    assert 24 * 8 * 2 < call.transmitter.statistics.wire_bits < 0.05 * 24 * 1200


def test_call_without_pauses_identifies_itself_within_its_patience() -> None:
    """7 frames of 8 leave 7 ms per packet: nothing but speech fits, until it must."""
    call = Call(setup(rate=1200, frames=7))
    call.run([range(1000)], 1000)
    times = [at for at, event in call.events if isinstance(event, LinkInformation)]
    assert len(times) >= 3
    assert max(later - before for before, later in pairwise(times)) < 45
    assert call.transmitter.line.peak_bps <= 1200
    assert call.transmitter.statistics.packets_dropped == 0


@pytest.mark.parametrize("lost", [{7}, {7, 8}, {5, 6}])
def test_copies_bring_back_the_first_books_of_lost_packets(lost: set[int]) -> None:
    call = Call(setup(**COPY))
    call.lost = lost
    call.run([range(100)], 120)
    got = call.heard()
    assert set(got) == set(range(100))
    short = [tick for tick in got if len(got[tick]) < 8]
    assert 4 <= len(short) <= 8
    assert all(got[tick] == frame(tick).indices[:2] for tick in short)
    assert call.receiver.repair_delay == pytest.approx(2 * 4 * FRAME_SECONDS)
    assert call.receiver.statistics.frames_repaired == len(short)


def test_end_of_a_spurt_is_repaired_out_of_the_silence() -> None:
    call = Call(setup(**COPY))
    call.run([range(42)], 60, finish=False)
    numbers = [
        number
        for number, packet in enumerate(call.packets)
        if isinstance(packet, VoicePacket) and not packet.repair
    ]
    again = Call(setup(**COPY))
    again.lost = set(numbers[-3:])
    again.run([range(42)], 60)
    got = again.heard()
    assert set(got) == set(range(42))
    assert all(len(got[tick]) == 2 for tick in range(32, 42))


def test_repair_gives_way_to_the_next_spurt() -> None:
    call = Call(setup(rate=1200, quantizers=5, **COPY))
    call.run([range(40), range(41, 80)], 100)
    repairs = [
        packet for packet in call.packets if isinstance(packet, VoicePacket) and packet.repair
    ]
    assert len(repairs) == 1
    assert call.transmitter.statistics.packets_dropped == 0


def test_texts_arrive_whole_and_once() -> None:
    call = Call(setup())
    call.transmitter.send_text("QSY to channel 7, over. Grüße", 0.0)
    call.transmitter.send_text("second", 0.0)
    call.run([range(10, 60)], 200)
    texts = [event.text for event in call.found(TextMessage)]
    assert texts == ["QSY to channel 7, over. Grüße", "second"]


def test_text_survives_the_loss_of_either_copy() -> None:
    for number in range(4, 12):
        call = Call(setup())
        call.lost = {number}
        call.transmitter.send_text("QSY to channel 7, over", 0.0)
        call.run([], 100)
        assert len(call.found(TextMessage)) == 1


def test_texts_wait_for_silence_on_a_full_line_and_never_delay_speech() -> None:
    def voices(call: Call) -> list[float]:
        return [at for at, event in call.events if isinstance(event, VoicePacket)]

    plain, written = Call(setup(rate=1200, frames=7)), Call(setup(rate=1200, frames=7))
    written.transmitter.send_text("as long as it takes", 1.0)
    for call in (plain, written):
        call.run([range(14, 210)], 260)
    assert voices(written) == pytest.approx(voices(plain), abs=0.031)
    assert written.found(TextMessage)


@pytest.mark.parametrize("text", ["", "x" * 127])
def test_impossible_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="1 to 126 bytes"):
        PacketTransmitter(setup()).send_text(text, 0.0)


def test_texts_are_bounded() -> None:
    transmitter = PacketTransmitter(setup())
    for _ in range(100):
        transmitter.send_text("hello", 0.0)
    with pytest.raises(ConfigError, match="too many texts"):
        transmitter.send_text("hello", 0.0)


def test_station_identifies_itself_at_both_ends_and_in_between() -> None:
    call = Call(setup(station=StationConfig(call_sign="N0CALL/P", identify_seconds=10)))
    call.run([], 400)
    stations = call.found(StationId)
    assert stations == [StationId(call_sign="N0CALL/P")] * 5


def test_key_of_the_talker() -> None:
    call = Call(setup(station=StationConfig(talker=9)))
    call.transmitter.key(down=True, tick=3, now=0.3)
    call.poll(0.5)
    call.transmitter.key(down=False, tick=9, now=0.8)
    call.run([], 20)
    keys = call.found(TalkerKey)
    assert keys == [TalkerKey(talker=9, down=True), TalkerKey(talker=9, down=False)]
    assert call.found(LinkInformation)[-1].talker == 9
    silent = Call(setup())
    silent.transmitter.key(down=True, tick=3, now=0.3)
    silent.run([], 20)
    assert not silent.found(TalkerKey)


def test_reports_go_over_the_wire() -> None:
    call = Call(setup())
    call.transmitter.send_report(ReceiverReport(loss=0.5, residual=0.0), 0.0)
    call.transmitter.send_report(ReceiverReport(loss=0.1, residual=0.02, burst=2.25), 0.0)
    call.run([], 20)
    (report,) = call.found(ReceiverReport)
    assert report.loss == pytest.approx(0.1, abs=0.005)
    assert report.residual == pytest.approx(0.02, abs=0.005)
    assert report.burst == 2.25


def test_reports_of_half_duplex_wait_for_the_turn_over() -> None:
    call = Call(setup(adaptation=AdaptationConfig(half_duplex=True)))
    call.transmitter.send_report(ReceiverReport(loss=0.5, residual=0.0), 0.0)
    call.run([range(40, 60)], 80)
    (at,) = [at for at, event in call.events if isinstance(event, ReceiverReport)]
    assert at >= 40 * FRAME_SECONDS


def test_sender_adapts_and_goes_back() -> None:
    adaptation = AdaptationConfig(enabled=True, floor=3, patience_seconds=1)
    call = Call(setup(rate=1200, frames=7, adaptation=adaptation))
    transmitter = call.transmitter
    fixed = Step(quantizers=8, frames=7)
    assert transmitter.step == fixed
    transmitter.take_report(ReceiverReport(loss=0.1, residual=0.1, burst=2.0), 0.0)
    call.run([range(100)], 120, finish=False)
    assert transmitter.step == Step(
        quantizers=6, frames=7, redundancy=Redundancy(books=2, distances=(2,))
    )
    voices = [event for event in call.found(VoicePacket) if event.parity]
    assert {(event.quantizers, len(event.frames)) for event in voices} == {(6, 7)}
    assert transmitter.line.peak_bps <= 1200
    # Without reports for 30 s the settings of the file count again.
    call.run([range(900)], 900)
    assert transmitter.step == fixed


def test_reports_change_nothing_without_adaptation() -> None:
    transmitter = PacketTransmitter(setup())
    transmitter.take_report(ReceiverReport(loss=1.0, residual=1.0), 0.0)
    transmitter.voice(frame(0), tick=0, start=True, end=False, now=0.1)
    assert transmitter.step == Step(quantizers=8, frames=4)


def test_receiver_reports_what_it_lost() -> None:
    call = Call(setup(frames=2, **COPY))
    call.lost = set(range(10, 100, 10)) | set(range(11, 100, 10))
    assert call.receiver.report(0.0) is None
    call.run([range(160)], 161, finish=False)
    assert call.receiver.report(1.0) is None
    report = call.receiver.report(20.0)
    assert report is not None
    assert report.loss == pytest.approx(0.2, abs=0.05)
    assert report.residual < 0.05
    assert report.burst == pytest.approx(2.0, abs=0.2)
    assert call.receiver.report(26.0) is None  # nothing was said since


def test_other_weights_are_told_at_both_ends() -> None:
    other = replace(setup(), label=replace(LABEL, weights=0x1234))
    call = Call(setup(), other)
    call.run([range(30)], 40)
    assert "beef" in call.receiver.problem
    assert "1234" in call.receiver.problem
    assert not call.found(VoicePacket) or call.found(VoicePacket)[0].tick == 0
    unknown = Call(setup(), replace(setup(), label=replace(LABEL, weights=0)))
    unknown.run([range(30)], 40)
    assert unknown.receiver.problem == ""


def test_hello_does_not_hide_what_link_told() -> None:
    receiver = PacketReceiver(setup(), datagram=True)
    link = LinkPacket(tick=0, codec_number=1, codec_version=2, quantizers=8, weights=1)
    hello = HelloPacket(tick=0, level_dbfs=-60, codec_number=1, codec_version=2)
    receiver.receive(serialise(link), 0.0)
    receiver.receive(serialise(hello), 0.1)
    assert "weights" in receiver.problem
    receiver.receive(serialise(replace(link, weights=0xBEEF)), 0.2)
    assert receiver.problem == ""


def test_sender_of_version_1_is_told_so() -> None:
    receiver = PacketReceiver(setup(), datagram=True)
    silence_of_version_1 = bytes.fromhex("802a1101398c21")
    receiver.receive(silence_of_version_1, 0.0)
    assert "wire format 1" in receiver.problem
    voice_of_version_1 = bytes.fromhex("61ffffe026d2")
    assert receiver.receive(voice_of_version_1, 0.1) == []
    assert receiver.statistics.packets_damaged == 1


def test_state_says_whether_packets_come() -> None:
    receiver = PacketReceiver(setup(), datagram=True)
    states = [receiver.state]
    receiver.receive(serialise(ByePacket(tick=0)), 0.0)
    states.append(receiver.state)
    for now in (4.0, 6.0):
        receiver.tick(now)
        states.append(receiver.state)
    hunting, locked = LinkState.HUNTING, LinkState.LOCKED
    assert states == [hunting, locked, locked, hunting]


def test_redundancy_of_a_configuration() -> None:
    assert redundancy_of(WireConfig(frames_per_packet=4)) is None
    copy = WireConfig(frames_per_packet=4, redundancy="copy", redundancy_distance=1)
    assert redundancy_of(copy) == Redundancy(books=2, distances=(1,))
    parity = WireConfig(frames_per_packet=4, redundancy="parity", redundant_books=3)
    assert redundancy_of(parity) == Redundancy(books=3, distances=(1, 3))


@settings(deadline=None, max_examples=30)
@given(
    spurts=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), max_size=6),
    rate=st.sampled_from([1200, 2400, 16_000]),
    redundancy=st.sampled_from(["none", "copy", "parity"]),
    frames=st.integers(1, 8),
    lost=st.sets(st.integers(0, 80)),
)
def test_any_call_keeps_its_promises(
    spurts: list[tuple[int, int]], rate: int, redundancy: str, frames: int, lost: set[int]
) -> None:
    ranges, tick = [], 0
    for pause, length in spurts:
        ranges.append(range(tick + pause, tick + pause + length))
        tick += pause + length
    call = Call(setup(rate=rate, quantizers=4, frames=frames, redundancy=redundancy))
    call.lost = lost
    call.transmitter.send_text("whole or not at all", 0.0)
    call.run(ranges, tick + 10)
    assert call.transmitter.line.peak_bps <= rate
    for number, indices in call.heard().items():
        assert indices == frame(number).indices[: len(indices)]
    assert {event.text for event in call.found(TextMessage)} <= {"whole or not at all"}
    statistics = call.transmitter.statistics
    assert statistics.frames_sent + statistics.frames_dropped == sum(map(len, ranges))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=20), st.booleans())
def test_any_bytes_are_taken(pieces: list[bytes], stream: bool) -> None:
    receiver = PacketReceiver(setup(), datagram=not stream)
    for number, piece in enumerate(pieces):
        receiver.receive(encode_stream(piece or b"x") if stream else piece, 0.1 * number)
        receiver.tick(0.1 * number)
