"""Slot mode from end to end, in virtual time; the long measurements are in benchmarks/slots.py."""

from __future__ import annotations

import dataclasses
import random
import statistics

import pytest

from benchmarks.slots import join_time, make_call, make_setup, slip_cost, with_errors
from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.config import AdaptationConfig, StationConfig
from transport.packet import TICKS, ByePacket, SilencePacket, VoicePacket
from transport.slot_receiver import SlotReceiver
from transport.slot_sender import SlotTransmitter
from transport.wire import (
    LinkInformation,
    LinkState,
    ReceiverReport,
    StationId,
    TalkerKey,
    TextMessage,
    WireEvent,
    WireSetup,
    open_transmitter,
    open_wire_receiver,
)

QUIET = Silence(-60.0)


class Line:
    """A transmitter and a receiver with nothing between them but what a test does to bytes."""

    def __init__(self, setup: WireSetup) -> None:
        self.setup = setup
        self.transmitter = SlotTransmitter(setup)
        self.receiver = SlotReceiver(setup)
        self.events: list[tuple[float, WireEvent]] = []
        self.sent: dict[int, Frame] = {}
        self.departures: list[float] = []
        self.tick = 0
        self._rng = random.Random(1)

    def frame(self, tick: int) -> Frame:
        quantizers = self.setup.label.quantizers
        indices = tuple(self._rng.randrange(2048) for _ in range(quantizers))
        return self.sent.setdefault(tick, Frame(indices))

    def speak(self, ticks: int, *, pre_roll: int = 0, end: bool = True) -> None:
        first = self.tick - pre_roll
        for tick in range(first, self.tick):
            self._voice(tick, first=first, last=-1)
        for tick in range(self.tick, self.tick + ticks):
            self._voice(tick, first=first, last=self.tick + ticks - 1 if end else -1)
            self._carry(tick)
        self.tick += ticks

    def _voice(self, tick: int, *, first: int, last: int) -> None:
        now = (max(tick, self.tick) + 1) * FRAME_SECONDS
        frame = self.frame(tick)
        self.transmitter.voice(frame, tick=tick, start=tick == first, end=tick == last, now=now)

    def pause(self, ticks: int, background: Silence = QUIET) -> None:
        for tick in range(self.tick, self.tick + ticks):
            now = (tick + 1) * FRAME_SECONDS
            self.transmitter.silence(background, tick=tick + 1, now=now)
            self._carry(tick)
        self.tick += ticks

    def _carry(self, tick: int) -> None:
        now = (tick + 1) * FRAME_SECONDS
        for departure in self.transmitter.poll(now):
            self.departures.append(now)
            arrived = now + FRAME_SECONDS
            self.events += [(arrived, e) for e in self.receiver.receive(departure.data, arrived)]

    def finish(self) -> None:
        self.transmitter.finish(tick=self.tick, now=self.tick * FRAME_SECONDS)
        while not self.transmitter.done:
            self._carry(self.tick)
            self.tick += 1

    def of(self, kind: type[WireEvent]) -> list[WireEvent]:
        return [event for _, event in self.events if isinstance(event, kind)]

    def voices(self) -> dict[int, Frame]:
        return {e.tick: e.frames[0] for e in self.of(VoicePacket) if isinstance(e, VoicePacket)}


@pytest.mark.parametrize("pre_roll", [0, 2])
@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 8), ("8n1", 6), ("sync", 5)])
def test_a_call_arrives_whole(framing: str, quantizers: int, pre_roll: int) -> None:
    setup = make_setup(framing=framing, quantizers=quantizers)
    line = Line(dataclasses.replace(setup, pre_roll_frames=pre_roll))
    line.pause(10)
    line.speak(30, pre_roll=pre_roll)
    line.pause(12)
    line.speak(20, pre_roll=pre_roll)
    line.pause(4)
    line.finish()
    assert line.voices() == line.sent
    packets = [event for event in line.of(VoicePacket) if isinstance(event, VoicePacket)]
    assert [packet.tick for packet in packets if packet.start] == [10 - pre_roll, 52 - pre_roll]
    assert all(packet.frames[0] == line.sent[packet.tick] for packet in packets)
    byes = line.of(ByePacket)
    assert [bye.tick for bye in byes if isinstance(bye, ByePacket)] == [76, 77, 78]
    assert line.receiver.statistics.packets_damaged == 0
    assert line.receiver.state is LinkState.LOCKED


def test_frames_leave_as_soon_as_they_are_complete() -> None:
    line = Line(make_setup(quantizers=8))
    line.pause(8)
    line.speak(40)
    arrivals = {e.tick: at for at, e in line.events if isinstance(e, VoicePacket)}
    for tick in range(8, 48):
        assert arrivals[tick] == pytest.approx((tick + 2) * FRAME_SECONDS)


def test_speech_from_the_first_tick_on() -> None:
    line = Line(make_setup(quantizers=8))
    line.speak(20)
    line.finish()
    assert line.voices() == line.sent


def test_full_rate_stays_within_the_line_and_its_overhead_below_8_4_percent() -> None:
    for framing, quantizers, limit in (("sync", 8, 1200.0), ("8n1", 6, 960.0)):
        line = Line(make_setup(quantizers=quantizers, framing=framing))
        line.pause(8)
        before = dataclasses.replace(line.transmitter.statistics)
        line.speak(250, end=False)
        after = line.transmitter.statistics
        payload = after.payload_bits - before.payload_bits
        wire = after.wire_bits - before.wire_bits
        assert payload == 250 * 11 * quantizers
        assert 1 - payload / wire <= 0.084
        assert line.transmitter.wire.peak_bps <= limit + 1e-6
        assert line.transmitter.line.peak_bps <= 1200 + 1e-6


def test_silence_carries_the_background_and_its_changes() -> None:
    line = Line(make_setup(quantizers=8))
    line.pause(20, Silence(-60.0, colour=5))
    line.pause(1, Silence(-50.0, colour=6))
    packets = [event for event in line.of(SilencePacket) if isinstance(event, SilencePacket)]
    assert (packets[0].level_dbfs, packets[0].colour) == (-60.0, 5)
    assert (packets[-1].level_dbfs, packets[-1].colour) == (-50.0, 6)
    assert [packet.tick for packet in packets] == list(range(1, 21))


@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 8), ("8n1", 6)])
def test_station_texts_talker_and_report_beside_the_speech(framing: str, quantizers: int) -> None:
    station = StationConfig(call_sign="DL1ABC/P", talker=7)
    setup = make_setup(quantizers=quantizers, framing=framing)
    line = Line(dataclasses.replace(setup, station=station))
    line.pause(20)
    assert StationId(call_sign="DL1ABC/P") in line.of(StationId)
    line.transmitter.send_text("QTH Köln", 0.0)
    line.transmitter.key(down=True, tick=20, now=0.0)
    line.transmitter.send_report(ReceiverReport(loss=0.2, residual=0.1, burst=2.0), 0.0)
    line.pause(20)
    line.transmitter.key(down=False, tick=40, now=0.0)
    line.pause(20)
    assert line.of(TextMessage) == [TextMessage(text="QTH Köln")]
    assert line.of(TalkerKey) == [TalkerKey(talker=7, down=True), TalkerKey(talker=7, down=False)]
    (report,) = line.of(ReceiverReport)
    assert isinstance(report, ReceiverReport)
    assert report.loss == pytest.approx(0.2, abs=0.003)


def test_speech_without_a_pause_identifies_the_station_and_brings_a_text() -> None:
    setup = make_setup(quantizers=8)
    line = Line(dataclasses.replace(setup, station=StationConfig(call_sign="DL1ABC")))
    line.transmitter.send_text("hello", 0.0)
    line.speak(12 * 64, end=False)
    assert line.of(TextMessage) == [TextMessage(text="hello")]
    assert StationId(call_sign="DL1ABC") in line.of(StationId)
    assert line.of(LinkInformation)


def test_another_codec_is_said_in_words() -> None:
    setup = make_setup(quantizers=8)
    line = Line(setup)
    theirs = dataclasses.replace(setup.label, version=2)
    line.receiver = SlotReceiver(dataclasses.replace(setup, label=theirs))
    line.pause(10)
    line.speak(10)
    assert "the sender uses compact version 1, this receiver compact version 2" in (
        line.receiver.problem
    )
    assert not line.of(VoicePacket)


def test_more_codebooks_than_the_codec_has_are_said_in_words() -> None:
    setup = make_setup(quantizers=8)
    line = Line(setup)
    fewer = dataclasses.replace(setup.label, quantizers=4)
    line.receiver = SlotReceiver(dataclasses.replace(setup, label=fewer))
    line.speak(10)
    assert "frames have 8 codebooks, codec compact has 4" in line.receiver.problem
    assert not line.of(VoicePacket)
    # A header found in noise may have said so: frames that fit are heard, whatever came before.
    line.setup = dataclasses.replace(setup, label=fewer)
    line.transmitter = SlotTransmitter(line.setup)
    line.sent.clear()
    line.speak(20)
    heard = line.voices()
    assert heard == {tick: one for tick, one in line.sent.items() if tick in heard}
    assert len(heard) > 10
    assert line.receiver.problem == ""


def test_adaptation_trades_codebooks_for_protection_and_back() -> None:
    adaptation = AdaptationConfig(enabled=True, floor=3, patience_seconds=5.0)
    line = Line(dataclasses.replace(make_setup(quantizers=8), adaptation=adaptation))
    line.speak(30, end=False)
    counts = []
    for loss in (0.3, 0.3, 0.0, 0.0, 0.0, 0.0):
        now = line.tick * FRAME_SECONDS
        line.transmitter.take_report(ReceiverReport(loss=loss, residual=loss), now)
        line.speak(75, end=False)
        counts.append(len(list(line.voices().values())[-1].indices))
    assert counts[:2] == [4, 4]
    assert counts[-1] > 4
    assert counts == sorted(counts)
    for tick, frame in line.voices().items():
        sent = next(f for t, f in line.sent.items() if t % TICKS == tick)
        assert frame.indices == sent.indices[: len(frame.indices)]


def test_reports_count_repaired_frames_as_lost_on_the_way_but_not_for_good() -> None:
    line = Line(make_setup(quantizers=6))
    line.speak(8, end=False)
    receive = line.receiver.receive
    flip = iter(range(10_000))

    def damaged(data: bytes, now: float) -> list[WireEvent]:
        at = 5 if next(flip) % 4 == 0 else 0
        return receive(data[:at] + bytes([data[at] ^ (1 if at else 0)]) + data[at + 1 :], now)

    line.receiver.receive = damaged  # type: ignore[method-assign]
    line.receiver.report(0.0)
    line.speak(100, end=False)
    report = line.receiver.report(100.0)
    assert report is not None
    assert report.loss == pytest.approx(0.25, abs=0.03)
    assert report.residual < 0.02
    line.finish()
    assert len(line.voices()) == 108


@pytest.mark.parametrize(
    ("quantizers", "ber", "first", "four", "false"),
    [
        (8, 1e-3, 0.95, 0.94, 0.01),
        (6, 1e-3, 0.99, 0.99, 0.0),
        (6, 1e-2, 0.97, 0.97, 0.005),
        (4, 2e-2, 0.97, 0.97, 0.005),
    ],
)
def test_bit_errors(quantizers: int, ber: float, first: float, four: float, false: float) -> None:
    runs = [
        with_errors(quantizers=quantizers, ber=ber, seed=seed, seconds=25.0) for seed in range(2)
    ]
    assert statistics.mean(run.first for run in runs) >= first
    assert statistics.mean(run.four for run in runs) >= four
    assert statistics.mean(run.false for run in runs) <= false
    assert all(run.unlocked < 0.01 for run in runs)


@pytest.mark.parametrize("depth", [2, 4])
def test_interleaving_delays_and_loses_nothing(depth: int) -> None:
    line = Line(make_setup(quantizers=6, depth=depth))
    line.pause(10)
    line.speak(30)
    line.pause(10)
    line.finish()
    assert line.voices() == line.sent
    assert line.receiver.repair_delay == pytest.approx((depth - 1) * FRAME_SECONDS)
    arrivals = {e.tick: at for at, e in line.events if isinstance(e, VoicePacket)}
    assert arrivals[20] == pytest.approx((22 + depth - 1) * FRAME_SECONDS)


@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 8), ("8n1", 6)])
@pytest.mark.parametrize("outage", [0.0, 10.0])
def test_voice_soon_after_the_first_good_bits(framing: str, quantizers: int, outage: float) -> None:
    times = [
        join_time(quantizers=quantizers, seed=seed, framing=framing, outage=outage)
        for seed in range(5)
    ]
    assert statistics.median(one or 99.0 for one in times) <= 1.3


@pytest.mark.parametrize("insert", [True, False])
@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 8), ("sync", 6), ("8n1", 6)])
def test_a_byte_slip_costs_at_most_a_superframe(
    framing: str, quantizers: int, insert: bool
) -> None:
    # With start and stop bits these once cost 7 to 12 frames.
    hard = (57, 106, 144, 250) if framing == "8n1" else ()
    costs = [
        slip_cost(quantizers=quantizers, seed=seed, insert=insert, framing=framing)
        for seed in (*range(3), *hard)
    ]
    assert max(costs) <= 6


def test_slots_that_are_lost_whole_cost_little_more_than_themselves() -> None:
    setup = make_setup(quantizers=8)
    call = make_call(setup, seconds=30.0, seed=3)
    receiver = SlotReceiver(setup)
    arrived, wrong = set(), 0
    lost = set(range(100, 102)) | set(range(200, 206)) | {300}
    for number, slot in enumerate(call.slots):
        if number in lost:
            continue
        for event in receiver.receive(slot, (number + 1) * FRAME_SECONDS):
            if isinstance(event, VoicePacket):
                if event.frames[0] == call.frames.get(event.tick):
                    arrived.add(event.tick)
                else:
                    wrong += 1
    assert wrong <= 1
    assert len(call.frames) - len(arrived) <= len(lost) + 4


@pytest.mark.parametrize("framing", ["sync", "8n1"])
def test_noise_is_no_call(framing: str) -> None:
    rng = random.Random(5)
    receiver = SlotReceiver(make_setup(quantizers=6, framing=framing))
    events = []
    for number in range(600):
        events += receiver.receive(rng.randbytes(rng.randrange(40)), number * 0.1)
        events += receiver.tick(number * 0.1)
    assert receiver.locks == 0
    assert not events
    assert receiver.state is LinkState.HUNTING


def test_a_call_behind_noise_that_keeps_coming_back() -> None:
    setup = make_setup(quantizers=8)
    call = make_call(setup, seconds=12.0, seed=4, talks=lambda tick: tick % 40 > 5)
    rng = random.Random(6)
    receiver = SlotReceiver(setup)
    now = 0.0
    for _ in range(3):
        for slot in call.slots:
            now += FRAME_SECONDS
            receiver.receive(slot, now)
        assert receiver.state is LinkState.LOCKED
        for _ in range(40):
            now += FRAME_SECONDS
            receiver.receive(rng.randbytes(12), now)
        assert receiver.state is not LinkState.LOCKED
    assert receiver.locks == 3


def test_a_silent_line_is_not_locked() -> None:
    line = Line(make_setup(quantizers=8))
    line.pause(20)
    states = [line.receiver.state]
    line.receiver.tick(line.tick * FRAME_SECONDS + 5.0)
    states.append(line.receiver.state)
    assert states == [LinkState.LOCKED, LinkState.HUNTING]


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"takes 99 bits .* slots of 96 .* quantizers = 8$"):
        open_transmitter(make_setup(quantizers=9))
    with pytest.raises(ConfigError, match="does not go with framing udp"):
        open_wire_receiver(make_setup(quantizers=4, framing="udp"), datagram=True)


def test_texts_are_bounded() -> None:
    transmitter = SlotTransmitter(make_setup(quantizers=8))
    with pytest.raises(ConfigError, match="1 to 92 bytes"):
        transmitter.send_text("x" * 93, 0.0)
    for _ in range(8):
        transmitter.send_text("x", 0.0)
    with pytest.raises(ConfigError, match="too many texts"):
        transmitter.send_text("x", 0.0)
