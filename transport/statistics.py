"""Counters wherever a frame can die, and meters of rate and delay."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from linkcodec.frame import FRAME_SECONDS, Frame, Lost, PlayoutItem

__all__ = [
    "DelayMeter",
    "PlayoutStatistics",
    "RateMeter",
    "ReceiverStatistics",
    "SenderStatistics",
]


@dataclass(kw_only=True)
class SenderStatistics:
    """Frames and packets on their way out.

    frames_captured = frames_gated + frames_sent + frames_dropped + those still waiting.
    """

    frames_captured: int = 0
    """Frames that came from the audio input."""
    frames_gated: int = 0
    """Frames held back because the talker was quiet."""
    frames_encoded: int = 0
    """Frames that left the encoder."""
    frames_sent: int = 0
    """Frames in packets that went to the link."""
    frames_dropped: int = 0
    """Frames in packets that the pacer threw away because its queue was full."""
    packets_sent: int = 0
    packets_dropped: int = 0
    payload_bits: int = 0
    """Bits of codebook indices in the packets sent."""
    wire_bits: int = 0
    """Bits on the wire, start and stop bits left out."""
    line_bits: int = 0
    """Bit times on the line, start and stop bits included."""


@dataclass(kw_only=True)
class ReceiverStatistics:
    """Frames and packets on their way in.

    Once a call is drained:
    frames_received = frames_played + frames_late + frames_skipped,
    frames_concealed = frames_lost + frames_late + frames_inserted, and the items given to
    the decoder = frames_played + (frames_concealed - frames_muted) + frames_silent.
    """

    packets_received: int = 0
    """Valid packets of any type."""
    voice_packets: int = 0
    """Of these, the ones with speech."""
    packets_damaged: int = 0
    """Bytes from the link that were no valid packet."""
    packets_duplicate: int = 0
    """Voice packets of which every frame was a duplicate."""
    packets_late: int = 0
    """Voice packets of which no frame came in time and one or more was late."""
    frames_received: int = 0
    """Distinct frames in valid packets."""
    frames_repaired: int = 0
    """Frames that redundancy found after their own packet or slot was lost."""
    frames_lost: int = 0
    """Frames inside known talk spurts that never came."""
    frames_late: int = 0
    """Frames that came after their place was filled with something else."""
    frames_duplicate: int = 0
    """Frames that had come before."""
    frames_concealed: int = 0
    """Frames of speech for which something else was given, and inserted ones."""
    frames_inserted: int = 0
    """Concealment given to gain time, without a frame of its own."""
    frames_muted: int = 0
    """Of the concealed frames, those given as silence or left out."""
    frames_played: int = 0
    frames_silent: int = 0
    """Silence given out."""
    frames_skipped: int = 0
    """Frames thrown away unheard to bring the delay back."""
    resyncs: int = 0
    """Times that speech resumed after a jump of the sender's ticks or a dead link."""
    resync_ms: deque[float] = field(default_factory=lambda: deque(maxlen=1000))
    """For each resync, the time from the first packet to hearing it."""


AUDIBLE_GUESSES: Final = 5
"""Frames in a row over which a decoder's guess at lost speech fades to nothing."""


@dataclass(kw_only=True)
class PlayoutStatistics:
    """What was heard, in samples of the codec's rate: the counters of inbound audio in W3C
    "Identifiers for WebRTC's Statistics API" (`webrtc`), all cumulative."""

    total_samples: int = 0
    """Samples for the ear, concealment and comfort noise included."""
    concealed_samples: int = 0
    """Samples of the decoder's guesses at speech that did not come in time."""
    silent_samples: int = 0
    """Of these, the ones in which the guess has faded into comfort noise."""
    concealment_events: int = 0
    """Runs of such samples."""
    inserted_samples: int = 0
    """Samples by which playing slower lengthened the sound."""
    removed_samples: int = 0
    """Samples by which playing faster shortened the sound."""
    emitted_samples: int = 0
    """Samples of frames that came out of the jitter buffer."""
    delay: float = 0.0
    """Seconds that these were in the jitter buffer, summed over the samples."""
    target_delay: float = 0.0
    """The jitter buffer's target in seconds, summed over the same samples."""
    energy: float = 0.0
    """Sum over the samples of their squares (full scale 1), over the sample rate."""
    _run: int = 0

    def add(
        self,
        item: PlayoutItem,
        *,
        decoded: int,
        played: int,
        energy: float,
        waited: float = 0.0,
        target: float = 0.0,
    ) -> None:
        """Take one item that was played.

        Args:
            decoded, played: its samples before and after time scaling. energy: see above.
            waited, target: seconds in the jitter buffer, and what that aimed at.
        """
        self.total_samples += played
        self.energy += energy
        self.inserted_samples += max(played - decoded, 0)
        self.removed_samples += max(decoded - played, 0)
        if isinstance(item, Lost):
            self._run += 1
            self.concealed_samples += played
            self.concealment_events += self._run == 1
            self.silent_samples += played if self._run > AUDIBLE_GUESSES else 0
        else:
            self._run = 0
        if isinstance(item, Frame):
            self.emitted_samples += decoded
            self.delay += waited * decoded
            self.target_delay += target * decoded

    def webrtc(self, counted: ReceiverStatistics, *, sample_rate: int) -> dict[str, float]:
        """The counters by their W3C names.

        Losses are known by the frame, not by the packet: `packetsLost` is the frames lost over
        the mean number of frames in the voice packets that came. A loss that goes on becomes
        silence: `silentConcealedSamples`.
        """
        muted = counted.frames_muted * round(sample_rate * FRAME_SECONDS)
        packets = max(counted.voice_packets, 1)
        frames = max(counted.frames_received + counted.frames_duplicate, 1)
        return {
            "packetsReceived": counted.packets_received,
            "packetsLost": round(counted.frames_lost * packets / frames),
            "packetsDiscarded": counted.packets_late + counted.packets_duplicate,
            "totalSamplesReceived": self.total_samples,
            "totalSamplesDuration": round(self.total_samples / sample_rate, 3),
            "totalAudioEnergy": round(self.energy, 6),
            "concealedSamples": self.concealed_samples + muted,
            "silentConcealedSamples": self.silent_samples + muted,
            "concealmentEvents": self.concealment_events,
            "insertedSamplesForDeceleration": self.inserted_samples,
            "removedSamplesForAcceleration": self.removed_samples,
            "jitterBufferDelay": round(self.delay, 3),
            "jitterBufferTargetDelay": round(self.target_delay, 3),
            "jitterBufferEmittedCount": self.emitted_samples,
        }


@dataclass(kw_only=True)
class DelayMeter:
    """Mean and maximum of delays in seconds."""

    count: int = 0
    total: float = 0.0
    maximum: float = 0.0

    def add(self, seconds: float) -> None:
        """Take one delay."""
        self.count += 1
        self.total += seconds
        self.maximum = max(self.maximum, seconds)

    @property
    def mean(self) -> float:
        """Mean in seconds, 0 without any."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class _Transmission:
    start: float
    end: float
    bits: int

    def bits_in(self, start: float, end: float) -> float:
        """Bits that fall into the window, spread evenly over the transmission."""
        overlap = min(self.end, end) - max(self.start, start)
        if overlap <= 0:
            return 0.0
        return self.bits * overlap / (self.end - self.start)


class RateMeter:
    """Mean rate and the exact worst window of one second, in bounded memory.

    Transmissions are added in order and do not overlap. The number of bits in a window is
    largest where one starts with a transmission or ends with one, so only those are looked at.
    """

    def __init__(self, *, window: float = 1.0) -> None:
        self.bits = 0
        self._window = window
        self._first: float | None = None
        self._last = 0.0
        self._peak = 0.0
        self._recent: deque[_Transmission] = deque()
        self._starts: deque[float] = deque()

    def add(self, *, start: float, end: float, bits: int) -> None:
        """Take one transmission of `bits` from `start` to `end` (seconds)."""
        if self._first is None:
            self._first = start
        self.bits += bits
        self._last = end
        self._recent.append(_Transmission(start, end, bits))
        self._starts.append(start)
        self._peak = max(self._peak, self._bits_from(end - self._window))
        while self._starts and self._starts[0] + self._window <= end:
            self._peak = max(self._peak, self._bits_from(self._starts.popleft()))
        oldest = min(end - self._window, self._starts[0] if self._starts else end)
        while self._recent[0].end <= oldest:
            self._recent.popleft()

    @property
    def mean_bps(self) -> float:
        """Bits per second from the first transmission's start to the last one's end."""
        if self._first is None:
            return 0.0
        return round(self.bits / (self._last - self._first), 6)

    @property
    def peak_bps(self) -> float:
        """Bits in the worst window, divided by its length."""
        pending = [self._bits_from(start) for start in self._starts]
        # A full line must not come out above its rate by the last bit of a float.
        return round(max([self._peak, *pending]) / self._window, 6)

    def recent_bps(self, now: float) -> float:
        """Bits per second in the window that ends at `now`."""
        return self._bits_from(now - self._window) / self._window

    def _bits_from(self, start: float) -> float:
        end = start + self._window
        total = 0.0
        for one in self._recent:
            whole = one.start >= start and one.end <= end
            total += one.bits if whole else one.bits_in(start, end)
        return total
