"""Slot mode with security, from frames to events, with an enemy on the line."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
import securecall
from hypothesis import given, settings
from hypothesis import strategies as st
from securecall import CLOCK, KEY, MODES, OTHER_KEY, Sent, receiver, transmitter, voice

from benchmarks.slots import join_time, make_call, make_setup
from linkcodec.exceptions import ConfigError
from linkcodec.frame import FRAME_SECONDS, Frame, Silence
from transport.budget import SlotRow, check_config
from transport.config import LinkConfig, SecurityConfig, StationConfig, WireConfig
from transport.packet import ByePacket, SilencePacket, VoicePacket
from transport.replay import Ledger
from transport.slot import SUPERFRAME
from transport.slot_security import Part, piece_sign
from transport.wire import (
    CodecLabel,
    LinkState,
    TextMessage,
    Transmitter,
    WireEvent,
    WireReceiver,
    WireSetup,
    open_transmitter,
    open_wire_receiver,
)

QUANTIZERS = 7
LEAD = 20
"""Ticks of silence before the first spurt: room for an announcement."""


def frame(tick: int, *, mode: str = "encrypted") -> Frame:
    """With security one index less in every eighth superframe, which tells of its session."""
    told = mode != "off" and tick // SUPERFRAME % 8 == 0
    return securecall.frame(tick, QUANTIZERS - told)


def setup(mode: str, *, interleaver_slots: int = 1, quantizers: int = QUANTIZERS) -> WireSetup:
    return WireSetup(
        link=LinkConfig(kind="loopback", rate=1200, framing="sync"),
        wire=WireConfig(frames_per_packet=1, mode="slots", interleaver_slots=interleaver_slots),
        label=CodecLabel(name="compact", version=1, quantizers=quantizers),
        station=StationConfig(call_sign="N0CALL"),
        security=SecurityConfig(mode=mode, announce_seconds=5.0),
    )


def talk(sender: Transmitter, *, speech: int = 150, turns: int = 1, lead: int = LEAD) -> list[Sent]:
    """Some silence and a spurt, `turns` times, and a little silence at the end."""
    sent = []
    length = lead + speech
    for tick in range(turns * length + LEAD):
        now = tick * FRAME_SECONDS
        turn, place = divmod(tick, length)
        if turn < turns and place >= lead:
            start, end = place == lead, place == length - 1
            one = securecall.frame(tick, QUANTIZERS)
            sender.voice(one, tick=tick, start=start, end=end, now=now)
        else:
            sender.silence(Silence(-60.0), tick=tick, now=now)
        while (due := sender.next_time()) is not None and due <= now + FRAME_SECONDS / 2:
            at = max(now, due)
            sent += [Sent(at, one.data, one.ticks) for one in sender.poll(at)]
    return sent


def listen(incoming: WireReceiver, sent: list[Sent], *, later: float = 0.0) -> list[WireEvent]:
    events: list[WireEvent] = []
    for one in sent:
        # What the receiver gets is complete when the slot has passed the line.
        events += incoming.receive(one.data, one.time + later + 0.08)
    return events


def expected(first: int, stop: int, *, mode: str = "encrypted") -> dict[int, Frame]:
    return {tick % 512: frame(tick, mode=mode) for tick in range(first, stop)}


@pytest.mark.parametrize("interleaver_slots", [1, 4])
@pytest.mark.parametrize("mode", [*MODES, "off"])
def test_speech_arrives(mode: str, interleaver_slots: int) -> None:
    base = setup(mode, interleaver_slots=interleaver_slots)
    incoming = receiver(base)
    got = voice(listen(incoming, talk(transmitter(base), turns=3)))
    wanted: dict[int, Frame] = {}
    for turn in range(3):
        first = turn * (LEAD + 150) + LEAD
        wanted |= expected(first, first + 150, mode=mode)
    assert got == wanted
    assert incoming.problem == incoming.stranger == ""


@pytest.mark.parametrize("mode", MODES)
def test_texts_and_more_arrive(mode: str) -> None:
    base = setup(mode)
    incoming, sender = receiver(base), transmitter(base)
    sender.send_text("a secret text", 0.0)
    events = listen(incoming, talk(sender, lead=60))
    assert TextMessage(text="a secret text") in events
    traffic = b"".join(one.data for one in talk(transmitter(base)))
    assert b"secret" not in traffic


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("theirs", ["off", *MODES])
def test_strangers_are_not_heard(theirs: str, mode: str) -> None:
    """Another key, another mode, or none at all."""
    enemy = transmitter(setup(theirs), key=OTHER_KEY if theirs == mode else KEY)
    incoming = receiver(setup(mode))
    assert listen(incoming, talk(enemy, turns=3)) == []
    assert incoming.stranger != ""


def test_a_receiver_without_the_key_is_told_of_encryption() -> None:
    incoming = receiver(setup("off"))
    traffic = talk(transmitter(setup("encrypted")), turns=2)
    listen(incoming, traffic[:100])
    assert "encrypts its speech" in incoming.stranger
    assert listen(incoming, traffic[100:]) == []


@pytest.mark.parametrize("quantizers", [7, 6, 5, 4])
def test_signed_speech_is_heard_without_the_key(quantizers: int) -> None:
    base = setup("authenticated", quantizers=quantizers)
    incoming = receiver(setup("off", quantizers=quantizers))
    sender = transmitter(base)
    sender.send_text("QTH Ulm", 0.0)
    events = listen(incoming, talk(sender, turns=3, lead=60))
    # The announcement comes in the first pause; until then slots look damaged.
    assert voice(events) == {
        tick % 512: frame(tick).coarse(quantizers - (len(frame(tick).indices) < QUANTIZERS))
        for turn in range(3)
        for tick in range(turn * 210 + 60, turn * 210 + 210)
    }
    assert "signs its speech" in incoming.stranger
    assert TextMessage(text="QTH Ulm") in events
    assert incoming.statistics.packets_damaged < 3
    # Whoever speaks in the clear is heard as such from his first control words on.
    plain = talk(transmitter(setup("off", quantizers=quantizers)), lead=60)
    heard = voice(listen(incoming, plain, later=100.0))
    spoken = {securecall.frame(tick, quantizers) for tick in range(60, 210)}
    assert spoken <= set(heard.values())
    assert len(heard) < 160
    assert incoming.stranger == ""


@pytest.mark.parametrize("later", [0.0, 15.0, 60.0])
@pytest.mark.parametrize("mode", MODES)
def test_a_replayed_call_is_not_heard(mode: str, later: float) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base))
    assert voice(listen(incoming, traffic))
    again = listen(incoming, traffic, later=traffic[-1].time + later)
    assert not any(isinstance(one, VoicePacket | SilencePacket | ByePacket) for one in again)
    fresh = open_wire_receiver(replace(base, incoming=incoming._opener._security), datagram=False)  # type: ignore[attr-defined]
    assert listen(fresh, traffic) == []


@pytest.mark.parametrize("mode", MODES)
def test_damaged_bits_cost_no_more_than_their_slots(mode: str) -> None:
    base = setup(mode)
    rng = random.Random(3)
    incoming = receiver(base)
    damaged = []
    for one in talk(transmitter(base), speech=400):
        data = bytearray(one.data)
        for place in range(8 * len(data)):
            if rng.random() < 1e-3:
                data[place // 8] ^= 128 >> place % 8
        damaged.append(Sent(one.time, bytes(data), one.ticks))
    got = voice(listen(incoming, damaged))
    wanted = expected(LEAD, LEAD + 400)
    assert all(one.coarse(2) == wanted[tick].coarse(2) for tick, one in got.items())
    assert len(got) > 0.94 * len(wanted)


@pytest.mark.parametrize("mode", MODES)
def test_a_late_listener_joins_in_speech_and_misses_nothing_from_then_on(mode: str) -> None:
    """At the next superframe that tells of its session, every 5 s."""
    base = setup(mode)
    traffic = talk(transmitter(base), turns=2)
    incoming = receiver(base)
    got = list(voice(listen(incoming, [one for one in traffic if one.time > 5.0])).values())
    first, second = LEAD, 2 * LEAD + 150
    spoken = [frame(tick) for tick in (*range(first, first + 150), *range(second, second + 150))]
    assert got == spoken[-len(got) :]
    # Its count of slots is right modulo 128 only, so ticks do not tell.
    assert len(got) > 300 - (5.0 + 6.0) / FRAME_SECONDS


@pytest.mark.parametrize("mode", MODES)
def test_a_late_listener_joins_in_a_pause(mode: str) -> None:
    """Once a second a control slot tells of its session."""
    base = setup(mode)
    traffic = talk(transmitter(base), lead=100)
    incoming = receiver(base)
    got = voice(listen(incoming, [one for one in traffic if one.time > 5.0]))
    assert list(got.values()) == [frame(tick) for tick in range(100, 250)]


@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 7), ("8n1", 5)])
@pytest.mark.parametrize("mode", MODES)
def test_voice_soon_after_the_first_good_bits(mode: str, framing: str, quantizers: int) -> None:
    often = SecurityConfig(mode=mode, announce_seconds=0.64)
    times = [
        join_time(quantizers=quantizers, seed=seed, framing=framing, security=often)
        for seed in range(5)
    ]
    assert statistics.median(one or 99.0 for one in times) <= 1.3


def test_the_end_of_one_superframe_and_the_beginning_of_another_tell_of_a_session() -> None:
    base = make_setup(quantizers=7, security=SecurityConfig(mode="encrypted"))
    call = make_call(base, seconds=8.0, seed=1)
    incoming = open_wire_receiver(base, datagram=False)
    heard: dict[int, Frame] = {}
    # The start slot comes first; superframes 4 and 6 are those that tell, and 4 is heard in part.
    for number in range(4 * SUPERFRAME + 4, 7 * SUPERFRAME):
        heard |= voice(incoming.receive(call.slots[1 + number], number * FRAME_SECONDS))
    assert min(heard) == 6 * SUPERFRAME + 3
    assert all(one == call.frames[tick].coarse(len(one.indices)) for tick, one in heard.items())


def test_telling_of_a_session_often_costs_an_index_but_no_frames() -> None:
    often = SecurityConfig(mode="encrypted", announce_seconds=0.64)
    call = make_call(make_setup(quantizers=7, security=often), seconds=25.0, seed=1)
    incoming = open_wire_receiver(make_setup(quantizers=7, security=often), datagram=False)
    heard: dict[int, Frame] = {}
    for number, slot in enumerate(call.slots):
        heard |= voice(incoming.receive(slot, number * FRAME_SECONDS))
    # The first frames wait for the proof of who speaks, one made room for a session slot.
    assert len(heard) >= len(call.frames) - 4
    assert all(frame == call.frames[tick].coarse(6) for tick, frame in heard.items())


def lookalike(sign: Callable[[bytes], int], quantizers: int, rng: random.Random) -> Frame:
    """A frame whose two checks, as one with and one without a piece of a session, are equal."""
    while True:
        indices = tuple(rng.randrange(2048) for _ in range(quantizers))
        content = (indices[0] << 11 | indices[1]).to_bytes(4, "big")
        if sign(content) == piece_sign(sign)(content):
            return Frame(indices)


@pytest.mark.parametrize("listening", ["encrypted", "authenticated", "off"])
@pytest.mark.parametrize("quantizers", [7, 5])
def test_no_piece_of_a_session_is_taken_for_an_index(quantizers: int, listening: str) -> None:
    """In frames of which both checks are right, which by chance is one in 2048."""
    mode = "encrypted" if listening == "encrypted" else "authenticated"
    base = replace(
        setup(mode, quantizers=quantizers),
        security=SecurityConfig(mode=mode, announce_seconds=1.28),
    )
    sender = transmitter(base)
    rng = random.Random(quantizers)
    incoming = receiver(replace(base, security=SecurityConfig(mode=listening)))
    sealer = sender._sealer  # type: ignore[attr-defined]
    heard: dict[int, Frame] = {}
    sent: dict[int, Frame] = {}
    for tick in range(104):
        now = tick * FRAME_SECONDS
        if tick < 80:
            sender.silence(Silence(-60.0), tick=tick, now=now)
        else:
            # The frame of a tick goes into the slot of this number.
            sent[tick] = lookalike(sealer.sign(Part.SPEECH, tick), quantizers, rng)
            sender.voice(sent[tick], tick=tick, start=tick == 80, end=tick == 103, now=now)
        for one in sender.poll(now):
            heard |= voice(incoming.receive(one.data, now + 0.08))
    told = [tick for tick in sent if tick // SUPERFRAME % 2 == 0]
    assert heard == {
        tick: one.coarse(quantizers - (tick in told)) for tick, one in sent.items() if tick in heard
    }
    assert len(heard) >= len(sent) - 1


def test_a_session_is_told_in_two_slots_where_one_is_too_small() -> None:
    setup_8n1 = make_setup(quantizers=5, framing="8n1", security=SecurityConfig(mode="encrypted"))
    call = make_call(setup_8n1, seconds=20.0, seed=1, talks=lambda tick: tick > 120)
    incoming = open_wire_receiver(setup_8n1, datagram=False)
    assert incoming.state is LinkState.HUNTING
    heard: dict[int, Frame] = {}
    for number, slot in enumerate(call.slots[60:], start=60):
        heard |= voice(incoming.receive(slot, number * FRAME_SECONDS))
    assert len(heard) == len(call.frames)
    assert incoming._opener._security.statistics.announcements_refused == 0  # type: ignore[attr-defined]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, (1 << 89) - 1), st.integers(0, 127))
def test_nobody_without_the_key_tells_of_a_session(payload: int, number: int) -> None:
    incoming = receiver(setup("encrypted"))
    opener = incoming._opener  # type: ignore[attr-defined]
    assert not opener.session_slot(payload, number, 0.0, size=89)
    assert not opener.in_use(number)


@pytest.mark.parametrize("mode", MODES)
def test_speech_goes_on_after_an_outage(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    traffic = talk(transmitter(base), speech=450)
    got = voice(listen(incoming, [one for one in traffic if not 15.0 < one.time < 25.0]))
    back = round(25.0 / FRAME_SECONDS)
    first = min(tick for tick in got if tick > back - 10)
    assert (first - back) * FRAME_SECONDS < 2.5
    assert all(got[tick] == frame(tick) for tick in got)


@pytest.mark.parametrize("mode", MODES)
def test_keys_change_during_a_call(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    got = voice(listen(incoming, talk(transmitter(base, rekey_seconds=30.0), speech=80, turns=5)))
    wanted: dict[int, Frame] = {}
    for turn in range(5):
        first = turn * (LEAD + 80) + LEAD
        wanted |= expected(first, first + 80)
    assert got == wanted
    assert incoming._opener._security.sessions[0].number >> 16 > CLOCK  # type: ignore[attr-defined]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError):
        transmitter(setup("encrypted", quantizers=8))


def flipped(data: bytes, places: list[int]) -> bytes:
    """Bytes with these bits inverted."""
    word = int.from_bytes(data, "big")
    for place in places:
        word ^= 1 << 8 * len(data) - 1 - place
    return word.to_bytes(len(data), "big")


def all_but(ticks: set[int]) -> dict[int, Frame]:
    """What is to be heard of `talk` but for these ticks."""
    return {tick: one for tick, one in expected(LEAD, LEAD + 150).items() if tick not in ticks}


@pytest.mark.parametrize("mode", MODES)
def test_forged_slots_in_a_call_are_not_heard(mode: str) -> None:
    """A stranger overpowers every third slot, in step with the sender."""
    base = setup(mode)
    rng = random.Random(4)
    sent = talk(transmitter(base))
    forged: set[int] = set()
    for place in range(3, len(sent), 3):
        payload = [bit for bit in range(7, 96) if rng.random() < 0.5]
        sent[place] = replace(sent[place], data=flipped(sent[place].data, payload))
        forged.update(sent[place].ticks)
    assert voice(listen(receiver(base), sent)) == all_but(forged)


@pytest.mark.parametrize("mode", MODES)
def test_reordered_slots_are_not_heard(mode: str) -> None:
    """Slots of a call in each other's places, one superframe later, are those of a stranger."""
    base = setup(mode)
    sent = talk(transmitter(base))
    moved: set[int] = set()
    for place in range(40, len(sent) - 40, 5 * SUPERFRAME):
        one, other = sent[place], sent[place + SUPERFRAME]
        sent[place], sent[place + SUPERFRAME] = (
            replace(one, data=other.data),
            replace(other, data=one.data),
        )
        moved.update(one.ticks, other.ticks)
    assert len(moved) > 4
    assert voice(listen(receiver(base), sent)) == all_but(moved)


@pytest.mark.parametrize("mode", MODES)
def test_an_inverted_bit_costs_at_most_its_frame(mode: str) -> None:
    """Each bit of a slot once; those of the fine indices are used as they come."""
    base = setup(mode)
    incoming = receiver(base)
    sent = talk(transmitter(base), speech=3 * 96)
    hit: dict[int, int] = {}
    for bit in range(96):
        place = LEAD + 2 + 3 * bit
        hit |= dict.fromkeys((tick % 512 for tick in sent[place].ticks), bit)
        sent[place] = replace(sent[place], data=flipped(sent[place].data, [bit]))
    heard = voice(listen(incoming, sent))
    wanted = expected(LEAD, LEAD + 3 * 96)
    assert {tick: one for tick, one in heard.items() if tick not in hit} == {
        tick: one for tick, one in wanted.items() if tick not in hit
    }
    lost = [bit for tick, bit in hit.items() if tick not in heard]
    # The payload of 89 bits begins with two indices and their check.
    assert lost == list(range(7, 7 + 22 + 11))
    assert all(heard[tick].coarse(2) == wanted[tick].coarse(2) for tick in hit if tick in heard)


@pytest.mark.parametrize("mode", MODES)
def test_truncated_slots_cost_no_more_than_a_superframe_each(mode: str) -> None:
    base = setup(mode)
    incoming = receiver(base)
    rng = random.Random(6)
    sent = talk(transmitter(base), speech=350)
    cuts = range(LEAD + 40, LEAD + 340, 50)
    for place in cuts:
        data = sent[place].data
        sent[place] = replace(sent[place], data=data[: rng.randrange(8, len(data))])
    got = voice(listen(incoming, sent))
    wanted = expected(LEAD, LEAD + 350)
    # The fine indices of a slot that was cut are used as they come.
    assert all(one.coarse(2) == wanted[tick].coarse(2) for tick, one in got.items())
    right = [tick for tick, one in got.items() if one == wanted[tick]]
    assert len(wanted) - len(right) <= len(cuts) * SUPERFRAME


@pytest.mark.parametrize("mode", MODES)
def test_another_version_is_said_in_words(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = setup(mode)
    with monkeypatch.context() as patch:
        patch.setattr("transport.security.SECURITY_VERSION", 2)
        theirs = talk(transmitter(base), turns=3)
    incoming = receiver(base)
    assert listen(incoming, theirs) == []
    assert "security version 2" in incoming.stranger
    with monkeypatch.context() as patch:
        patch.setattr("transport.slot_sender.FORMAT_VERSION", 3)
        theirs = talk(transmitter(base))
    incoming = receiver(base)
    assert voice(listen(incoming, theirs)) == {}
    assert "wire format 3" in incoming.problem


@pytest.mark.parametrize("mode", MODES)
def test_a_restarted_sender_is_heard_at_once(mode: str) -> None:
    base = setup(mode)
    ledger = Ledger()
    incoming = receiver(base)
    first = talk(transmitter(base, ledger=ledger))
    assert voice(listen(incoming, first)) == expected(LEAD, LEAD + 150)
    second = talk(transmitter(base, ledger=ledger, clock=CLOCK + 20.0))
    again = voice(listen(incoming, second, later=20.0))
    # The receiver's count of slots goes on by its clock, so ticks are other ones.
    assert list(again.values()) == list(expected(LEAD, LEAD + 150).values())
    assert voice(listen(incoming, first, later=40.0)) == {}
    assert "played again" in incoming.stranger


@pytest.mark.parametrize("mode", MODES)
def test_a_restarted_receiver_joins_and_hears_nothing_twice(mode: str) -> None:
    base = replace(setup(mode), security=SecurityConfig(mode=mode))
    kept: list[Ledger] = []
    ledger = Ledger(save=lambda stations: kept.append(Ledger(stations)))
    traffic = talk(transmitter(base), speech=300)
    before = [one for one in traffic if one.time < 10.0]
    after = [one for one in traffic if one.time >= 10.0]
    assert voice(listen(receiver(base, ledger=ledger), before))
    restarted = receiver(base, ledger=kept[-1])
    assert listen(restarted, before) == []
    joined = min(voice(listen(restarted, after)))
    # What the record had reserved is 4 s.
    assert 125 <= joined <= 125 + 50 + 4


@pytest.mark.parametrize("every", [0.64, 1.28, 5.0])
@pytest.mark.parametrize(("framing", "quantizers"), [("sync", 7), ("sync", 5), ("8n1", 5)])
def test_the_cost_is_the_one_computed(framing: str, quantizers: int, every: float) -> None:
    """Tags, and the indices that make room for its session, over whole periods."""
    security = SecurityConfig(mode="encrypted", announce_seconds=every)
    base = make_setup(quantizers=quantizers, framing=framing, security=security)
    row = check_config(base.link, base.wire, quantizers=quantizers, security=security)
    clear = check_config(base.link, base.wire, quantizers=quantizers, security=SecurityConfig())
    assert isinstance(row, SlotRow)
    assert isinstance(clear, SlotRow)
    assert (row.slot_bytes, row.check_bits) == (clear.slot_bytes, 11)
    call = make_call(base, seconds=20.0, seed=1)
    assert {len(slot) for slot in call.slots} == {row.slot_bytes}
    sender = open_transmitter(base)
    period = SUPERFRAME * round(1 / row.told)
    for tick in range(2 * period):
        now = tick * FRAME_SECONDS
        sender.voice(call.frames[tick], tick=tick, start=tick == 0, end=False, now=now)
        sender.poll(now)
    before = sender.statistics.payload_bits, sender.statistics.wire_bits
    for tick in range(2 * period, 3 * period):
        now = tick * FRAME_SECONDS
        sender.voice(call.frames[tick], tick=tick, start=False, end=False, now=now)
        sender.poll(now)
    payload = sender.statistics.payload_bits - before[0]
    wire = sender.statistics.wire_bits - before[1]
    assert 1 - payload / wire == pytest.approx(row.overhead)
