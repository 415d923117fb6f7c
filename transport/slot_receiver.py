"""The receiving end of slot mode: slots found in bits, frames and words found in slots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from linkcodec.exceptions import PacketError
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, Frame, Silence
from transport.adaptation import LossMeter
from transport.linerate import Framing
from transport.packet import FORMAT_VERSION, TICKS, ByePacket, SilencePacket, VoicePacket
from transport.protection import Deinterleaver
from transport.security import Announcement
from transport.slot import (
    COUNTERS,
    SLOTS_KNOWN,
    SUPERFRAME,
    SYNC_WORDS,
    Header,
    Protection,
    Sign,
    header_word,
    protection,
    slot_shape,
)
from transport.slot_security import TAG_BITS, Part, SlotListener, SlotOpener, piece_sign
from transport.slot_sync import BitHistory, Lock, Slip, SlotHunter, sync_matches
from transport.slot_words import (
    Message,
    MessageKind,
    Reassembler,
    Word,
    WordCode,
    WordKind,
    parse_background,
    parse_link,
    parse_station,
)
from transport.statistics import ReceiverStatistics
from transport.text import parse_report, parse_talker
from transport.wire import (
    LinkState,
    ReceiverReport,
    StationId,
    TextMessage,
    WireEvent,
    WireReceiver,
    WireSetup,
    check_label,
)

__all__ = ["SlotReceiver"]

_SILENT_SECONDS: Final = 1.0
_CLOCK_SLACK: Final = 0.25
"""Slots by which the clock may be off where it says that whole ones are missing."""

_FLYWHEEL_SLOTS: Final = 2
_HUNTING_SLOTS: Final = 4
_SIDE_SLOTS: Final = 4
"""Slots of a superframe after which the side bits of its header are there."""

_UNCLEAR: Final = 2
"""Wrong bits of sync and header in a slot from which on uncoded speech in it is not used."""

_MOST_MISMATCHES: Final = 8
"""Of the last 16 slots: a quarter of random ones match, and 2 % of wrong bits spoil 6 %."""


@dataclass(frozen=True, slots=True)
class _Began:
    """A slot's word that the deinterleaver still collects."""

    number: int
    speech: bool
    protection: Protection


def _is_speech(sync: int, index: int) -> bool:
    """Whether a sync word is rather that of speech than of a control word."""
    return (sync ^ SYNC_WORDS[index]).bit_count() < _UNCLEAR


class SlotReceiver(WireReceiver):
    """Finds slots in a stream of bytes, keeps their places, and hands on what is in them.

    locks: times that slots were found anew. slips: times that they were found again after
    bytes or slots were lost or came too many.
    """

    def __init__(self, setup: WireSetup, *, statistics: ReceiverStatistics | None = None) -> None:
        super().__init__(statistics=statistics)
        framing = Framing(setup.link.framing)
        self._shape = slot_shape(setup.link.rate, framing)
        self._label = setup.label
        self._depth = setup.wire.interleaver_slots
        self._hunter = SlotHunter(self._shape, alignment=8 if framing is Framing.ASYNC_8N1 else 1)
        self._history = BitHistory(self._hunter.history_bits + self._shape.bits)
        self._words = WordCode(body_bytes=self._shape.word_bytes, size=self._shape.payload_bits)
        superframes = self._shape.side_superframes
        self._side_size = superframes * self._shape.side_per_superframe
        self._side_words = WordCode(body_bytes=self._shape.word_bytes, size=self._side_size)
        self._side_slots = superframes * SUPERFRAME
        self._losses = LossMeter(report_seconds=setup.adaptation.report_seconds)
        self._silence = Silence()
        self._messages = Reassembler()
        self._opener: SlotOpener | SlotListener | None = None
        if setup.incoming is not None:
            self._opener = SlotOpener(setup.incoming)
        self._announcements = Reassembler()
        self._station_begin = self._mismatch = ""
        self._too_many = False
        self._locked = False
        self._pending = 0
        self._number = 0
        self._known_at: tuple[int, float] | None = None
        self._data_at: float | None = None
        self.locks = 0
        self.slips = 0
        self._quantizers = self._announced = self._shape.most_quantizers
        self._matches: deque[bool] = deque(maxlen=2 * SUPERFRAME)
        self._began: deque[_Began] = deque(maxlen=self._depth)
        self._header = self._side = self._side_block = 0
        self._known_side = (-1, 0)
        self._clear = False
        self._read_again = -1
        self._forget_slots()

    def _lost_lock(self) -> None:
        self._locked = False
        self.state = LinkState.HUNTING

    def receive(self, data: bytes, now: float) -> list[WireEvent]:
        events: list[WireEvent] = []
        missing = self._missing(data, now)
        if data:
            self._data_at = now
        for at in range(0, len(data), self._shape.size):
            piece = data[at : at + self._shape.size]
            self._history.push(piece)
            self._pending += 8 * len(piece)
            if missing and not at:
                self._bridge_gap(missing)
            if not self._locked:
                self._hunt(8 * len(piece), now)
            while self._locked and self._pending >= self._shape.bits:
                self._pending -= self._shape.bits
                slot = self._history.word(behind=self._pending, size=self._shape.bits)
                events += self._take(slot, now)
                self._keep_lock(now)
        return events

    def tick(self, now: float) -> list[WireEvent]:
        if self._data_at is not None and now - self._data_at > _SILENT_SECONDS:
            self.state = LinkState.HUNTING
        return []

    def report(self, now: float) -> ReceiverReport | None:
        return self._losses.due_report(now)

    @property
    def repair_delay(self) -> float:
        return (self._depth - 1) * FRAME_SECONDS

    # Lock

    def _hunt(self, fresh: int, now: float) -> None:
        lock = self._hunter.find(self._history, fresh)
        if lock is None:
            return
        here = (self._pending, self._number % SLOTS_KNOWN)
        if not self._locked or here != (lock.pending, lock.number):
            self._follow(lock, now)

    def _follow(self, lock: Lock, now: float) -> None:
        self._pending = lock.pending
        self._number = self._unwrap(lock.number, now)
        self._read_again = -1
        self._quantizers = self._announced = lock.quantizers
        self._forget_slots()
        self._locked = True
        self._after_control = lock.at_start
        self.state = LinkState.LOCKED
        self.locks += 1
        self._look_back(now)

    def _look_back(self, now: float) -> None:
        """Its session may have been told in the slots by which the stream was found."""
        opener = self._opener
        if opener is None or opener.in_use(self._number):
            return
        learned = False
        for number, speech, word in self._past(self._pending, self._number):
            if speech:
                learned |= opener.piece(self._protection.last(word), number, now)
            else:
                size = self._shape.payload_bits
                learned |= opener.session_slot(word, number, now, size=size)
        if learned:
            self._prove(self._pending, self._number, now)

    def _prove(self, behind: int, stop: int, now: float) -> None:
        """The frames before slot `stop`, which has `behind` bits, may prove who sends.

        It is too late to play them.
        """
        for number, speech, word in self._past(behind, stop):
            if speech:
                self._open_frame(self._protection, number, word, now)

    def _past(self, behind: int, stop: int) -> Iterator[tuple[int, bool, int]]:
        """Number, whether it is speech, and word of the slots before `stop`, the oldest first."""
        size = self._shape.bits
        held = (self._history.count - behind) // size if self._depth == 1 else 0
        for back in range(min(held, 2 * SUPERFRAME), 0, -1):
            index = (stop - back) % SUPERFRAME
            slot = self._history.word(behind=behind + (back - 1) * size, size=size)
            sync, _, _, payload = self._shape.split(slot)
            yield stop - back, _is_speech(sync, index), payload ^ self._shape.whitening(index)

    def _unwrap(self, number: int, now: float) -> int:
        """The number equal to `number` modulo 128 that the clock makes most likely."""
        if self._known_at is None:
            # Slots before the call's first tick have numbers below 0.
            return number if number < SLOTS_KNOWN // 2 else number - SLOTS_KNOWN
        known, then = self._known_at
        expected = known + round((now - then) / FRAME_SECONDS)
        return expected + (number - expected + SLOTS_KNOWN // 2) % SLOTS_KNOWN - SLOTS_KNOWN // 2

    def _missing(self, data: bytes, now: float) -> int:
        """Whole slots that never came, by the clock."""
        if not self._locked or self._data_at is None or self._pending:
            return 0
        missing = (now - self._data_at) / FRAME_SECONDS - len(data) / self._shape.size
        whole = round(missing)
        return whole if whole >= 1 and abs(missing - whole) < _CLOCK_SLACK else 0

    def _bridge_gap(self, missing: int) -> None:
        """Skip slots that never came, unless the one that did come contradicts the clock."""
        behind = self._pending - self._shape.bits
        if behind < 0:
            return
        here = self._evidence(behind, self._number)
        if self._evidence(behind, self._number + missing) >= here:
            self._skip(missing)

    def _skip(self, slots: int) -> None:
        """Go on `slots` slots later; those in between are lost."""
        if (self._number + slots) // SUPERFRAME > self._number // SUPERFRAME:
            self._quantizers = self._announced
        self._number += slots
        self._forget_slots()

    def _keep_lock(self, now: float) -> None:
        """After a slot that looked wrong: has the stream slipped, or gone for good?"""
        if not self._doubt or self._number <= self._read_again:
            return
        slip = self._hunter.find_slip(
            pending=self._pending,
            number=self._number,
            held=self._history.count,
            evidence=self._evidence,
        )
        if slip is not None:
            self._slipped(slip)
            return
        if self._matches.count(False) > _MOST_MISMATCHES:
            self._lost_lock()
        if self._doubt >= _HUNTING_SLOTS:
            self._hunt(self._shape.bits, now)

    def _slipped(self, slip: Slip) -> None:
        self.slips += 1
        self._read_again = self._number + slip.missing
        if slip.missing:
            self._skip(slip.missing)
        self._pending += slip.again * self._shape.bits - slip.bits
        self._number -= slip.again
        self._forget_slots()

    def _forget_slots(self) -> None:
        """What was collected over several slots is of no use any more."""
        self._matches.clear()
        self._doubt = self._sure = 0
        self._after_control = False
        self._header_slots = self._side_count = 0
        self._deinterleaver = Deinterleaver(size=self._shape.payload_bits, depth=self._depth)
        self._began.clear()

    def _evidence(self, behind: int, number: int) -> int:
        """How much the bits look like slot `number`: log2 of the odds against random ones."""
        index = number % SUPERFRAME
        slot = self._history.word(behind=behind, size=self._shape.bits)
        sync, header, _, payload = self._shape.split(slot)
        bits = 2 if sync_matches(sync, index) else -4
        known, expected = self._expected_header(number, collected=True)
        if known:
            wrong = ((header ^ expected) & known).bit_count()
            bits += known.bit_count() - 5 * wrong
        if self._depth > 1 or self._opener is not None or bits <= 0:
            return bits
        word = payload ^ self._shape.whitening(index)
        if _is_speech(sync, index):
            return bits + protection(self._shape.payload_bits, self._quantizers).evidence(word)
        return bits + self._words.evidence(word)

    def _expected_header(self, number: int, *, collected: bool) -> tuple[int, int]:
        """Which of a slot's three header bits are known beforehand, and what they are.

        Those of counter and quantizers always are; with `collected` also the parity, from the
        side bits that came in the slots before.
        """
        index = number % SUPERFRAME
        superframe = number // SUPERFRAME
        known_of, side = self._known_side
        collected &= index >= _SIDE_SLOTS and known_of == superframe
        known = 0xFFFFFF if collected else 0xFF0000
        word = header_word(superframe % COUNTERS, self._announced, side)
        shift = 3 * (SUPERFRAME - 1 - index)
        return known >> shift & 7, word >> shift & 7

    @property
    def _protection(self) -> Protection:
        """How the payload of this superframe's frames is shared."""
        size = self._shape.payload_bits
        tag_bits = TAG_BITS if self._opener else 0
        most = (size - tag_bits) // INDEX_BITS
        return protection(size, min(self._quantizers, most), tag_bits)

    # One slot

    def _take(self, slot: int, now: float) -> list[WireEvent]:
        shape = self._shape
        index = self._number % SUPERFRAME
        if index == 0:
            self._quantizers = self._announced
        sync, header, side, payload = shape.split(slot)
        match = sync_matches(sync, index)
        self._matches.append(match)
        known, expected = self._expected_header(self._number, collected=False)
        wrong = (not match) + ((header ^ expected) & known).bit_count()
        self._clear = wrong < _UNCLEAR
        speech = _is_speech(sync, index)
        self._began.append(_Began(self._number, speech, self._protection))
        word = self._deinterleaver.push(payload ^ shape.whitening(index))
        events: list[WireEvent] = []
        good = True
        if len(self._began) == self._depth:
            found = self._finish_word(self._began[0], word, now)
            # A stranger's slots are no reason to look for slots elsewhere.
            stranger = self._opener is not None and not self._opener.in_use(self._number)
            good = found is not None or stranger
            events += found or []
        if good and not wrong:
            self._doubt, self._sure = 0, self._sure + 1
        else:
            self._doubt, self._sure = self._doubt + 1, 0
        self.state = LinkState.LOCKED if self._doubt < _FLYWHEEL_SLOTS else LinkState.FLYWHEEL
        events += self._collect(index, header, side, now)
        if self._opener is not None:
            self.stranger = self._opener.problem
        self._number += 1
        self._known_at = (self._number, now)
        return events

    def _finish_word(self, began: _Began, word: int, now: float) -> list[WireEvent] | None:
        """What a payload holds; None if it is damaged."""
        tick = began.number % TICKS
        if not began.speech:
            if self._take_announcement(began.number, word, now):
                return []
            control = self._open(Part.WORD, began.number, word, now)
            if control is None:
                self.statistics.packets_damaged += 1
                return None
            self._note(self._shape.bits, now)
            self._losses.silence(tick)
            self._after_control = True
            return self._events_of(control, tick)
        start, self._after_control = self._after_control, False
        # Without a code the sync has to tell speech from noise.
        trusted = self._clear or began.protection.code is not None
        unpacked = self._unpack(began, word, now) if trusted else None
        if unpacked is None:
            self.statistics.packets_damaged += 1
            return None
        frame, repaired = unpacked
        if repaired:
            # A gap for the meter: this one did not come by itself.
            self._losses.repaired(1)
        else:
            self._losses.voice(tick=tick, frames=1, start=start, end=False)
        self._note(self._shape.bits, now)
        too_many = len(frame.indices) > self._label.quantizers
        if self._too_many and not too_many:
            # A header that noise had by chance may have said so.
            self.problem = self._mismatch
        self._too_many = too_many
        if too_many:
            self.problem = (
                f"the sender's frames have {len(frame.indices)} codebooks, codec "
                f"{self._label.name} has {self._label.quantizers}: start both with the same codec"
            )
        return [] if self.problem else [VoicePacket(tick=tick, frames=(frame,), start=start)]

    def _unpack(self, began: _Began, word: int, now: float) -> tuple[Frame, int] | None:
        code, opener = began.protection, self._opener
        if opener is None:
            return code.unpack(word)
        if opener.piece(code.last(word), began.number, now) and not opener.in_use(began.number):
            self._prove(self._pending + self._shape.bits, began.number, now)
        return self._open_frame(code, began.number, word, now)

    def _open_frame(
        self, code: Protection, number: int, word: int, now: float
    ) -> tuple[Frame, int] | None:
        """A frame of a holder of the key, and how many bits were repaired."""
        opener = self._opener
        assert opener is not None

        def decode(unmasked: int, sign: Sign) -> tuple[Frame, int] | None:
            plain = code.unpack(unmasked, sign)
            if code.quantizers == 1:
                return plain
            # Its last index may have made room for a piece of its session.
            told = code.unpack(code.with_last(unmasked, 0), piece_sign(sign))
            if told is None or (plain is not None and prefers_plain(plain[1], told[1])):
                return plain
            return told[0].coarse(code.quantizers - 1), told[1]

        def prefers_plain(repaired: int, repaired_told: int) -> bool:
            """One of two right checks is so by chance, in one frame of 2048."""
            if repaired != repaired_told:
                return repaired < repaired_told
            return not opener.tells(code.last(word), number)

        size = self._shape.payload_bits
        return opener.open(Part.SPEECH, number, word, now, size=size, decode=decode)

    def _open(self, part: Part, number: int, bits: int, now: float) -> Word | None:
        """A control word; None if it is damaged, or not of a holder of the key."""
        code, size = self._words, self._shape.payload_bits
        if part is Part.SIDE:
            code, size = self._side_words, self._side_size

        def decode(unmasked: int, sign: Sign | None) -> Word | None:
            try:
                return code.decode(unmasked, sign)
            except PacketError:
                return None

        if self._opener is None:
            return decode(bits, None)
        return self._opener.open(part, number, bits, now, size=size, decode=decode, at=self._number)

    def _take_announcement(self, number: int, word: int, now: float) -> bool:
        """Whether a word tells of a session, which is done in the clear."""
        if self._opener is None:
            return False
        try:
            plain = self._words.decode(word)
        except PacketError:
            return self._opener.session_slot(word, number, now, size=self._shape.payload_bits)
        if plain.kind != WordKind.FRAGMENT:
            if isinstance(self._opener, SlotListener):
                self._opener, self.stranger = None, ""
            else:
                self._opener.unprotected()
            return False
        message = self._announcements.push(plain.body)
        if message is not None and message.kind == MessageKind.ANNOUNCEMENT:
            if isinstance(self._opener, SlotListener):
                self._overhear(message.body)
            else:
                self._opener.announce(message.body, number, now)
        return True

    def _overhear(self, data: bytes) -> None:
        """An announcement, heard without a key: what is signed can be listened to."""
        try:
            self._opener = SlotListener(Announcement.parse(data))
            self.stranger = self._opener.problem
        except PacketError as error:
            self.stranger = str(error)

    def _collect(self, index: int, header: int, side: int, now: float) -> list[WireEvent]:
        """Header and side bits, slot by slot."""
        if index == 0:
            self._header = self._side = self._header_slots = 0
        self._header = self._header << 3 | header
        self._side = self._side << self._shape.side_bits | side
        self._header_slots += 1
        if self._header_slots == _SIDE_SLOTS and self._sure >= _SIDE_SLOTS:
            self._known_side = (self._number // SUPERFRAME, self._header & 15)
        if index < SUPERFRAME - 1 or self._header_slots < SUPERFRAME:
            return []
        decoded = Header.decode(self._header)
        side_bits = 0
        if decoded is not None and self._believe(*decoded):
            self._announced = decoded[0].quantizers
            side_bits = decoded[0].side
        side_bits = side_bits << SUPERFRAME * self._shape.side_bits | self._side
        return self._collect_side(side_bits, now)

    def _believe(self, header: Header, wrong: int) -> bool:
        """Whether a header is none of random bits; follows a count that is another one."""
        recent = list(self._matches)[-SUPERFRAME:]
        if header.quantizers > self._shape.most_quantizers or recent.count(False) > 1:
            return False
        half = COUNTERS // 2
        behind = (header.counter - self._number // SUPERFRAME + half) % COUNTERS - half
        if behind and not wrong:
            # Whole superframes are missing, or this end has lost count.
            self._number += behind * SUPERFRAME
            self._side_count = 0
            return True
        changed = header.quantizers != self._announced
        return not behind and (wrong <= 1 or not changed)

    def _collect_side(self, bits: int, now: float) -> list[WireEvent]:
        superframe = self._number // SUPERFRAME
        blocks = self._side_slots // SUPERFRAME
        self._side_block = self._side_block << self._shape.side_per_superframe | bits
        self._side_count = 1 if superframe % blocks == 0 else self._side_count + 1
        if superframe % blocks < blocks - 1 or self._side_count < blocks:
            return []
        block = self._side_block & (1 << self._side_size) - 1
        word = self._open(Part.SIDE, self._number + 1 - self._side_slots, block, now)
        return [] if word is None else self._news_of(word)

    def _events_of(self, word: Word, tick: int) -> list[WireEvent]:
        match word.kind:
            case WordKind.BACKGROUND:
                self._silence = parse_background(word.body)
            case WordKind.BYE:
                return [ByePacket(tick=tick)]
        events = self._news_of(word)
        events.append(
            SilencePacket(
                tick=tick, level_dbfs=self._silence.level_dbfs, colour=self._silence.colour
            )
        )
        return events

    def _news_of(self, word: Word) -> list[WireEvent]:
        """What a word says that is not about its own slot."""
        try:
            event = self._event_of(word.kind, word.body)
        except PacketError:
            self.statistics.packets_damaged += 1
            return []
        return [] if event is None else [event]

    def _event_of(self, kind: int, body: bytes) -> WireEvent | None:
        event: WireEvent | None = None
        match kind:
            case WordKind.LINK:
                event = parse_link(body)
                self.problem = self._mismatch = check_label(event, self._label, FORMAT_VERSION)
            case WordKind.REPORT:
                event = parse_report(body[:3])
            case WordKind.TALKER:
                event = parse_talker(body[:2])
            case WordKind.STATION:
                event = StationId(call_sign=parse_station(body))
            case WordKind.STATION_BEGIN:
                self._station_begin = parse_station(body)
            case WordKind.STATION_END if self._station_begin:
                event = StationId(call_sign=self._station_begin + parse_station(body))
            case WordKind.FRAGMENT:
                event = self._read(self._messages.push(body))
        return event

    def _read(self, message: Message | None) -> WireEvent | None:
        if message is not None and message.kind == MessageKind.ANNOUNCEMENT:
            self._overhear(message.body)
        if message is None or message.kind != MessageKind.TEXT:
            return None
        try:
            return TextMessage(text=message.body.decode())
        except UnicodeDecodeError:
            raise PacketError("a text is not UTF-8") from None
