"""The sending end of slot mode: one frame in each slot of a continuous stream."""

from __future__ import annotations

from collections import deque
from typing import Final

from linkcodec.exceptions import ConfigError
from linkcodec.frame import INDEX_BITS, Frame, Silence
from transport.adaptation import Controller
from transport.budget import check_slots, slot_tag_bits
from transport.linerate import Framing
from transport.packet import FORMAT_VERSION
from transport.protection import Interleaver
from transport.slot import (
    COUNTERS,
    SUPERFRAME,
    SYNC_WORDS,
    Header,
    Sign,
    SlotShape,
    protection,
    slot_shape,
)
from transport.slot_security import TAG_BITS, Part, SlotSealer, piece_sign
from transport.slot_words import (
    MOST_MESSAGE,
    Message,
    MessageKind,
    Outbox,
    Word,
    WordCode,
    WordKind,
    background_word,
    bye_word,
    link_word,
    station_words,
)
from transport.statistics import RateMeter, SenderStatistics
from transport.text import report_body, talker_body
from transport.wire import (
    Departure,
    LinkInformation,
    ReceiverReport,
    TalkerKey,
    Transmitter,
    WireSetup,
)

__all__ = ["SlotTransmitter"]

BYE_COPIES: Final = 3
_BACKGROUND_EVERY: Final = 8
"""Control slots from one background word to the next, while it stays the same."""

_MOST_WAITING: Final = 12
"""Frames that wait for a blocked line; when one more comes, the oldest are dropped."""

_MOST_DUE: Final = 2

_EPSILON: Final = 1e-9
_SLACK: Final = 0.02
"""Seconds that a late `poll` may catch up."""

_STEPS: Final = (0, 1, 2, 4)
"""Indices that each step of adaptation gives up for protection."""


class _SideSender:
    """The side channel's bits: blocks of whole superframes, one control word in each."""

    def __init__(self, shape: SlotShape, sealer: SlotSealer | None) -> None:
        self._sealer = sealer
        self._per_superframe = shape.side_per_superframe
        self.superframes = shape.side_superframes
        size = self.superframes * self._per_superframe
        self._code = WordCode(body_bytes=shape.word_bytes, size=size)
        self._size = size
        self._block = 0

    def begin(self, word: Word, number: int) -> None:
        """The word of the next block, which begins with this slot."""
        if self._sealer is None:
            self._block = self._code.encode(word)
            return
        mask = self._sealer.mask(Part.SIDE, number, self._size)
        self._block = self._code.encode(word, self._sealer.sign(Part.SIDE, number)) ^ mask

    def bits(self, superframe: int) -> int:
        """Those of one superframe."""
        after = self.superframes - 1 - superframe % self.superframes
        bits = self._block >> after * self._per_superframe
        return bits & (1 << self._per_superframe) - 1


class SlotTransmitter(Transmitter):
    """Puts each frame into the slot of its tick, and control words where nobody speaks.

    One slot leaves for each tick. The frame of a tick goes out as many slots later as a
    pre-roll may be long, so that those of a pre-roll still find their places.
    """

    def __init__(self, setup: WireSetup, *, statistics: SenderStatistics | None = None) -> None:
        self.statistics = statistics if statistics is not None else SenderStatistics()
        self.wire = RateMeter()
        self.line = RateMeter()
        check_slots(
            setup.link.rate,
            Framing(setup.link.framing),
            quantizers=setup.label.quantizers,
            tag_bits=slot_tag_bits(setup.security),
        )
        self._framing = Framing(setup.link.framing)
        self._rate = setup.link.rate
        self._shape = slot_shape(setup.link.rate, self._framing)
        self._label = setup.label
        # In this superframe; in the next one, as its header says; as adaptation wants it.
        self._quantizers = self._announced = self._wanted = setup.label.quantizers
        self._interleaver = Interleaver(
            size=self._shape.payload_bits, depth=setup.wire.interleaver_slots
        )
        self._adaptation = setup.adaptation
        self._controller = Controller(patience=setup.adaptation.patience_seconds)
        self._words = WordCode(body_bytes=self._shape.word_bytes, size=self._shape.payload_bits)
        self._sealer: SlotSealer | None = None
        if setup.outgoing is not None:
            self._sealer = SlotSealer(
                setup.outgoing, announce_seconds=setup.security.announce_every("slots")
            )
        self._tag_bits = TAG_BITS if self._sealer else 0
        self._announcements = Outbox(body_bytes=self._shape.word_bytes, copies=1)
        self._session_slots: list[int] = []
        self._session_pieces: tuple[int, ...] = ()
        self._introduced = self._insist = False
        self._side = _SideSender(self._shape, self._sealer)
        self._outbox = Outbox(body_bytes=self._shape.word_bytes, copies=setup.station.text_copies)
        self._report: ReceiverReport | None = None
        self._talker = setup.station.talker
        self._key_down = self._key_told = False
        self._identity = self._identity_words(setup)
        self._identity_at = 0
        self._pre_roll = setup.pre_roll_frames
        self._frames: deque[tuple[int, Frame]] = deque()
        self._newest: int | None = None
        self._due = 0
        self._number: int | None = None
        self._header = self._side_bits = 0
        self._free_at = float("-inf")
        self._due_at = 0.0
        self._background = Silence()
        self._background_said: Silence | None = None
        self._controls = 0
        self._end_tick: int | None = None
        self._closing = BYE_COPIES + setup.wire.interleaver_slots - 1

    def _identity_words(self, setup: WireSetup) -> list[Word]:
        information = LinkInformation(
            format_version=FORMAT_VERSION,
            codec_number=setup.label.number,
            codec_version=setup.label.version,
            weights=setup.label.weights,
        )
        words = [link_word(information)]
        if setup.station.call_sign:
            words += station_words(setup.station.call_sign, body_bytes=self._shape.word_bytes)
        return words

    def voice(  # the start of a spurt is where speech follows silence
        self,
        frame: Frame,
        *,
        tick: int,
        start: bool,  # noqa: ARG002
        end: bool,  # noqa: ARG002
        now: float,
    ) -> None:
        self._frames.append((tick, frame))
        while len(self._frames) > self._pre_roll + _MOST_WAITING:
            self._skip(SUPERFRAME)  # whole ones keep the receiver's sync
        self._background_said = None  # to be said again after the spurt
        self._count(tick, now)

    def silence(self, background: Silence, *, tick: int, now: float) -> None:
        self._background = background
        if self._due > _MOST_DUE:
            self._skip(self._due)  # silence is the best to catch up with
        # The talker is quiet from `tick` on: the frame that was just judged is the one before.
        self._count(tick - 1, now)

    def _skip(self, slots: int) -> None:
        """The line was blocked: leave slots out, with the frames that they would have carried."""
        if self._number is not None:
            self._number += slots
            self._due = max(self._due - slots, 0)
        while self._frames and (self._number is None or self._frames[0][0] < self._number):
            self._frames.popleft()
            self.statistics.frames_dropped += 1
            self.statistics.packets_dropped += 1
            if self._number is None:
                return

    def _count(self, tick: int, now: float) -> None:
        """The frame of `tick` is complete: one more slot is due, once for each tick."""
        if tick < 0 or (self._newest is not None and tick <= self._newest):
            return
        self._newest = tick
        if not self._due:
            self._due_at = now
        self._due += 1

    def finish(self, *, tick: int, now: float) -> None:
        if self._end_tick is None:
            self._end_tick = tick
            self._due_at = max(self._due_at, now) if not self._due else self._due_at

    def _word(self) -> Word:
        """What to say in a slot without speech: the background often, then the rest in turn."""
        if self._ending:
            return bye_word()
        background = self._background
        self._controls += 1
        if background != self._background_said or self._controls >= _BACKGROUND_EVERY:
            self._background_said = background
            self._controls = 0
            return background_word(background)
        return self._pending_word() or self._next_identity()

    @property
    def _ending(self) -> bool:
        """True from the first slot on that has nothing left to carry."""
        return (
            self._end_tick is not None
            and not self._frames
            and (self._number is None or self._number >= self._end_tick)
        )

    def _pending_word(self) -> Word | None:
        if self._report is not None:
            word = Word(kind=WordKind.REPORT, body=report_body(self._report))
            self._report = None
            return word
        if self._key_told != self._key_down and self._talker:
            self._key_told = self._key_down
            key = TalkerKey(talker=self._talker, down=self._key_down)
            return Word(kind=WordKind.TALKER, body=talker_body(key))
        return self._outbox.next()

    def _next_identity(self) -> Word:
        self._identity_at = (self._identity_at + 1) % len(self._identity)
        return self._identity[self._identity_at]

    def poll(self, now: float) -> list[Departure]:
        departures: list[Departure] = []
        self._adapt(now)
        while self._waiting and self._free_at <= now + _EPSILON:
            departures.append(self._next_departure(now))
        return departures

    @property
    def _waiting(self) -> bool:
        return self._due > 0 or (self._end_tick is not None and self._closing > 0)

    def _next_departure(self, now: float) -> Departure:
        self._due = max(self._due - 1, 0)
        if self._number is None:
            return self._depart(self._start_slot(), range(0), now)
        speech = not self._ending and bool(self._frames) and self._frames[0][0] <= self._number
        announcement = self._announcement(speech=speech)
        if announcement is not None:
            return self._depart(self._slot(announcement), range(0), now)
        if self._ending:
            self._closing -= 1
        elif speech:
            tick, frame = self._frames.popleft()
            self.statistics.frames_sent += 1
            return self._depart(self._slot(frame), range(tick, tick + 1), now)
        return self._depart(self._slot(self._word()), range(0), now)

    def _announcement(self, *, speech: bool) -> int | None:
        """What the next slot says of its session, coded and in the clear; it may cost a frame."""
        if self._sealer is None:
            return None
        assert self._number is not None
        coded = self._session_slot(speech=speech)
        if coded is None:
            word = self._announced_word(speech=speech)
            coded = None if word is None else self._words.encode(word)
        if speech and coded is not None:
            self._frames.popleft()
            self.statistics.frames_dropped += 1
            self.statistics.packets_dropped += 1
        return coded

    def _session_slot(self, *, speech: bool) -> int | None:
        """In pauses, and at the start of a call: without it nobody can make anything of speech."""
        assert self._sealer is not None
        assert self._number is not None
        if not self._session_slots and not (speech and self._introduced):
            self._session_slots = self._sealer.session_slots(self._number, self._shape.payload_bits)
            self._introduced = True
        return self._session_slots.pop(0) if self._session_slots else None

    def _announced_word(self, *, speech: bool) -> Word | None:
        """A part of the announcement, which also tells those without the key."""
        assert self._sealer is not None
        assert self._number is not None
        if not len(self._announcements):
            data = self._sealer.announcement(self._number, pause=not speech)
            if data is None:
                return None
            self._announcements.put(Message(kind=MessageKind.ANNOUNCEMENT, body=data))
            self._insist = speech
        return None if speech and not self._insist else self._announcements.next()

    def _depart(self, data: bytes, ticks: range, now: float) -> Departure:
        wire_bits = 8 * len(data)
        line_bits = self._framing.bit_times * len(data)
        start = max(self._free_at, self._due_at, now - _SLACK)
        self._free_at = start + line_bits / self._rate
        self.line.add(start=start, end=self._free_at, bits=line_bits)
        self.wire.add(start=start, end=self._free_at, bits=wire_bits)
        self.statistics.packets_sent += 1
        self.statistics.wire_bits += wire_bits
        self.statistics.line_bits += line_bits
        return Departure(
            data=data,
            ticks=ticks,
            wire_bits=wire_bits,
            line_bits=line_bits,
            keep_alive=not ticks,
        )

    def _start_slot(self) -> bytes:
        """The slot that opens the call; the next one has the number that its tick asks for."""
        first = self._newest or 0
        if self._frames and not self._pre_roll:
            first -= 1  # the first frame is there already, and comes next
        self._number = first + 1 - self._pre_roll
        sync = SYNC_WORDS[(self._number - 1) % SUPERFRAME] ^ 7
        payload = self._shape.start_payload(self._number, self._announced)
        self._begin_superframe()
        return self._shape.pack(sync=sync, header=0, side=0, payload=payload)

    def _slot(self, content: Frame | Word | int) -> bytes:
        """The next slot, with a frame, a control word, or a coded word that stays as it is."""
        shape = self._shape
        assert self._number is not None
        index = self._number % SUPERFRAME
        if index == 0:
            self._begin_superframe()
        sync = SYNC_WORDS[index]
        if isinstance(content, Frame):
            coded = self._coded_frame(content.coarse(self._quantizers), index)
        else:
            sync ^= 7
            coded = content if isinstance(content, int) else self._coded_word(content)
        payload = self._interleaver.push(coded) ^ shape.whitening(index)
        self._number += 1
        left = SUPERFRAME - 1 - index
        return shape.pack(
            sync=sync,
            header=self._header >> 3 * left & 7,
            side=self._side_bits >> left & (1 << shape.side_bits) - 1,
            payload=payload,
        )

    def _coded_frame(self, frame: Frame, index: int) -> int:
        code = protection(self._shape.payload_bits, self._quantizers, self._tag_bits)
        sign = self._sign(Part.SPEECH)
        books = self._quantizers
        piece = None
        if self._session_pieces and sign is not None and books > 1:
            books -= 1
            piece = self._session_pieces[index]
            frame = Frame((*frame.indices[:books], 0))
            sign = piece_sign(sign)
        self.statistics.payload_bits += INDEX_BITS * books
        coded = code.pack(frame, sign) ^ self._mask(Part.SPEECH)
        return coded if piece is None else code.with_last(coded, piece)

    def _coded_word(self, word: Word) -> int:
        return self._words.encode(word, self._sign(Part.WORD)) ^ self._mask(Part.WORD)

    def _mask(self, part: Part) -> int:
        assert self._number is not None
        if self._sealer is None:
            return 0
        return self._sealer.mask(part, self._number, self._shape.payload_bits)

    def _sign(self, part: Part) -> Sign | None:
        assert self._number is not None
        return None if self._sealer is None else self._sealer.sign(part, self._number)

    def _begin_superframe(self) -> None:
        assert self._number is not None
        superframe = self._number // SUPERFRAME
        self._quantizers, self._announced = self._announced, self._wanted
        if superframe % self._side.superframes == 0 and self._number % SUPERFRAME == 0:
            self._side.begin(self._pending_word() or self._next_identity(), self._number)
        if self._sealer is not None:
            self._session_pieces = self._sealer.session_pieces(superframe * SUPERFRAME)
        side = self._side.bits(superframe)
        extra = SUPERFRAME * self._shape.side_bits
        self._side_bits = side & (1 << extra) - 1
        self._header = Header(
            counter=superframe % COUNTERS, quantizers=self._announced, side=side >> extra
        ).encode()

    def next_time(self) -> float | None:
        return max(self._free_at, self._due_at) if self._waiting else None

    @property
    def done(self) -> bool:
        return self._end_tick is not None and not self._waiting

    @property
    def idle_at(self) -> float:
        slots = self._due if self._end_tick is None else self._due + self._closing
        return self._free_at + slots * self._shape.size * self._framing.bit_times / self._rate

    @property
    def queued(self) -> int:
        return self._due

    def send_text(self, text: str, now: float) -> None:  # noqa: ARG002
        body = text.encode()
        if not 1 <= len(body) <= MOST_MESSAGE:
            raise ConfigError(
                f"a text has 1 to {MOST_MESSAGE} bytes, not {len(body)}: send it in parts"
            )
        if not self._outbox.put(Message(kind=MessageKind.TEXT, body=body)):
            raise ConfigError("too many texts wait to be sent: wait for the next silence")

    def key(self, *, down: bool, tick: int, now: float) -> None:  # noqa: ARG002
        self._key_down = down

    def send_report(self, report: ReceiverReport, now: float) -> None:  # noqa: ARG002
        self._report = report

    def take_report(self, report: ReceiverReport, now: float) -> None:
        self._controller.take(report, now)
        self._adapt(now)

    def _adapt(self, now: float) -> None:
        level = self._controller.level(now) if self._adaptation.enabled else None
        top = self._label.quantizers
        ceiling = min(self._adaptation.ceiling or top, top)
        # Without reports, what the file says.
        wanted = top if level is None else max(self._adaptation.floor, ceiling - _STEPS[level])
        self._wanted = min(wanted, top)
