"""The sending daemon: a microphone, a file or standard input onto a link.

`SenderCore` is the whole sender without clocks, sockets and threads; the simulator drives
it in virtual time. `main` is `linkcodec send` and `python sender.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from linkcodec.app.audio import AudioSource, open_source
from linkcodec.app.command import Parser, StopFlag, run_command
from linkcodec.app.config import CallConfig
from linkcodec.app.options import CHANNEL_OPTIONS, add_config_options, read_config
from linkcodec.app.status import StatusLine, level_dbfs, meter
from linkcodec.codec import Codec, Pcm, load_codec
from linkcodec.frame import FRAME_SECONDS, Frame
from linkcodec.gate import GateDecision, GateState, VoiceGate
from transport.framing import encode_stream
from transport.linerate import Framing, line_bits, wire_bits
from transport.links import Link, open_link
from transport.pacing import Pacer
from transport.packet import (
    CODEC_NUMBERS,
    TICKS,
    ByePacket,
    SilencePacket,
    VoicePacket,
    parse,
    serialise,
)
from transport.statistics import SenderStatistics

__all__ = ["SenderCore", "add_arguments", "main", "run", "send"]

SILENCE_FRAMES: Final = 25
"""While nobody speaks, a SILENCE packet every 2 s tells the level and that we are there."""

BYE_COPIES: Final = 3
BYE_SPACING: Final = 0.2
"""Seconds between the copies, so that a short burst of losses does not take all."""

_LONGEST_WAIT: Final = 0.05
"""Seconds that the loop sleeps at most, so that signals are answered."""

_LONGEST_LINGER: Final = 5.0


class SenderCore:
    """PCM in, packets out: gate, encoder, packetiser and pacer.

    The encoder hears everything, so its state is warm when speech starts; frames that the
    gate holds back are not sent. Frame t of the encoder and decision t of the gate are
    about the same 80 ms, and t is the frame's tick on the wire.

    statistics: what happened to the frames. pacer: meters of rate and queue.
    state: the gate's state after the last frame. level: dB full scale of the last frame.
    """

    def __init__(self, *, codec: Codec, config: CallConfig) -> None:
        info = codec.info
        self.statistics = SenderStatistics()
        self.state = GateState.QUIET
        self.level_dbfs = -100.0
        self.pacer = Pacer(rate=config.link.rate, framing=Framing(config.link.framing))
        self._framing = Framing(config.link.framing)
        self._encoder = codec.encoder(quantizers=config.codec.quantizers)
        self._gate = VoiceGate(config.gate, sample_rate=info.sample_rate)
        self._gain = 10.0 ** (config.audio.gain_db / 20.0)
        self._frame_size = info.frame_size
        self._codec_number = CODEC_NUMBERS.get(info.name, 0)
        self._codec_version = info.version
        self._frames_per_packet = config.wire.frames_per_packet
        self._partial: Pcm = np.zeros(0, np.float32)
        self._frames: deque[Frame] = deque()
        self._decisions: deque[GateDecision] = deque()
        self._unsent: deque[Frame] = deque(maxlen=max(1, config.gate.pre_roll_frames))
        self._tick = 0
        self._packet: list[Frame] = []
        self._packet_start = False
        self._in_spurt = False
        self._silence_at = 0
        self._last_decision: GateDecision | None = None
        self._byes_left = 0
        self._bye_at = 0.0
        self._finished = False

    @property
    def ticks(self) -> int:
        """Frames encoded so far: the length of the call."""
        return self._tick

    def push(self, pcm: Pcm, now: float) -> None:
        """Take any number of samples, the last of which was captured at `now` (seconds)."""
        loud: Pcm = np.clip(pcm * np.float32(self._gain), -1.0, 1.0)
        self._frames.extend(self._encoder.push(loud))
        self._partial = np.concatenate([self._partial, loud])
        while self._partial.size >= self._frame_size:
            self._judge(self._partial[: self._frame_size])
            self._partial = self._partial[self._frame_size :]
        while self._frames and self._decisions:
            self._take(self._frames.popleft(), self._decisions.popleft(), now)

    def _judge(self, pcm: Pcm) -> None:
        self.statistics.frames_captured += 1
        self.level_dbfs = level_dbfs(pcm)
        decision = self._gate.decide(pcm)
        self.state = decision.state
        self._decisions.append(decision)

    def _take(self, frame: Frame, decision: GateDecision, now: float) -> None:
        """What becomes of one frame; its tick is `self._tick`."""
        self.statistics.frames_encoded += 1
        self._last_decision = decision
        if self._tick == 0:
            self._send_silence(decision, now)
        if decision.send:
            if decision.start or not self._in_spurt:
                self._start_spurt(decision.pre_roll)
            self._packet.append(frame)
        else:
            self.statistics.frames_gated += 1
            self._unsent.append(frame)
        self._tick += 1
        if decision.send:
            while len(self._packet) > self._frames_per_packet:
                self._send_voice(self._frames_per_packet, now)
            if decision.end:
                self._end_spurt(now)
                self._send_silence(decision, now)
            elif len(self._packet) == self._frames_per_packet:
                self._send_voice(self._frames_per_packet, now)
        elif self._tick >= self._silence_at:
            self._send_silence(decision, now)

    def _start_spurt(self, pre_roll: int) -> None:
        before = list(self._unsent)[max(0, len(self._unsent) - pre_roll) :] if pre_roll else []
        self._unsent.clear()
        self.statistics.frames_gated -= len(before)
        self._packet = before
        self._packet_start = True
        self._in_spurt = True

    def _end_spurt(self, now: float) -> None:
        if self._packet:
            self._send_voice(len(self._packet), now, end=True)
        self._in_spurt = False

    def _send_voice(self, count: int, now: float, *, end: bool = False) -> None:
        packet = VoicePacket(
            tick=(self._tick - len(self._packet)) % TICKS,
            frames=tuple(self._packet[:count]),
            start=self._packet_start,
            end=end,
        )
        del self._packet[:count]
        self._packet_start = False
        self._offer(serialise(packet), now, voice=True)

    def _send_silence(self, decision: GateDecision, now: float) -> None:
        packet = SilencePacket(
            tick=self._tick % TICKS,
            level_dbfs=decision.noise_dbfs,
            codec_number=self._codec_number,
            codec_version=self._codec_version,
        )
        self._silence_at = self._tick + SILENCE_FRAMES
        self._offer(serialise(packet), now, voice=False)

    def _offer(self, data: bytes, now: float, *, voice: bool) -> None:
        for dropped in self.pacer.offer(data, now, voice=voice):
            self.statistics.packets_dropped += 1
            packet = parse(dropped)
            if isinstance(packet, VoicePacket):
                self.statistics.frames_dropped += len(packet.frames)

    def finish(self, now: float) -> None:
        """The input has ended: send what is left, then BYE."""
        if self._finished:
            return
        self._finished = True
        if self._partial.size:
            self._judge(np.pad(self._partial, (0, self._frame_size - self._partial.size)))
            self._partial = self._partial[:0]
        self._frames.extend(self._encoder.flush())
        while self._frames:
            if self._decisions:
                decision = self._decisions.popleft()
            else:
                # The codec's delay takes a frame beyond the input; it goes where the last went.
                assert self._last_decision is not None
                last = self._last_decision
                decision = replace(
                    last, send=last.send and not last.end, start=False, end=False, pre_roll=0
                )
            self._take(self._frames.popleft(), decision, now)
        self._end_spurt(now)
        self._byes_left = BYE_COPIES
        self._bye_at = now

    @property
    def done(self) -> bool:
        """True once the call has ended and everything has left."""
        return self._finished and not self._byes_left and not len(self.pacer)

    def poll(self, now: float) -> list[bytes]:
        """Packets (before COBS) to put on the link now, at the pace of its line."""
        if self._byes_left and self._bye_at <= now + 1e-9:
            self._byes_left -= 1
            # The copies keep their distance on the line, behind whatever waits for it.
            self._bye_at = max(now, self.pacer.idle_at) + BYE_SPACING
            self._offer(serialise(ByePacket(tick=self._tick % TICKS)), now, voice=False)
        due = self.pacer.poll(now)
        statistics = self.statistics
        for data in due:
            statistics.packets_sent += 1
            statistics.wire_bits += wire_bits(len(data), self._framing)
            statistics.line_bits += line_bits(len(data), self._framing)
            packet = parse(data)
            if isinstance(packet, VoicePacket):
                statistics.frames_sent += len(packet.frames)
                statistics.payload_bits += 11 * packet.quantizers * len(packet.frames)
        return due

    def next_time(self) -> float | None:
        """When `poll` has something to give; None while nothing waits."""
        times = [self._bye_at] if self._byes_left else []
        paced = self.pacer.next_time()
        if paced is not None:
            times.append(paced)
        return min(times, default=None)


def run(
    core: SenderCore,
    *,
    source: AudioSource,
    link: Link,
    status: StatusLine,
    stop: StopFlag,
) -> None:
    """Send until the source ends or `stop` is set, then end the call.

    Raises:
        LinkcodecError: the source or the link failed.
    """
    link_was_up = True

    def put_on_link(now: float) -> None:
        for data in core.poll(now):
            link.send(data if link.datagram else encode_stream(data))

    while not (stop or source.ended):
        now = time.monotonic()
        put_on_link(now)
        following = core.next_time()
        wait = _LONGEST_WAIT if following is None else following - now
        pcm = source.read(min(max(wait, 0.001), _LONGEST_WAIT))
        if pcm.size:
            core.push(pcm, time.monotonic())
        if link.up != link_was_up:
            link_was_up = link.up
            status.message(f"{link.name} is {'back' if link_was_up else 'gone, waiting for it'}")
        now = time.monotonic()
        if status.due(now):
            status.update(_describe(core, now), now)
    core.finish(time.monotonic())
    while not core.done:
        put_on_link(time.monotonic())
        following = core.next_time()
        if following is not None:
            time.sleep(min(max(following - time.monotonic(), 0.001), _LONGEST_WAIT))


def _describe(core: SenderCore, now: float) -> str:
    counted = core.statistics
    return (
        f"send {meter(core.level_dbfs)} {core.state.value:8} "
        f"{core.pacer.wire.recent_bps(now):5.0f} bit/s | frames {counted.frames_sent} sent, "
        f"{counted.frames_gated} silent, {counted.frames_dropped} dropped | "
        f"queue {len(core.pacer)}"
    )


def linger(core: SenderCore, config: CallConfig) -> None:
    """Wait until the last packet is through the line, so that closing the link keeps it."""
    remaining = core.pacer.idle_at - time.monotonic() + _LONGEST_WAIT
    if config.link.kind == "loopback":
        remaining += (config.channel.delay_ms + 5.0 * config.channel.jitter_ms) / 1000.0
        if config.channel.delay_trace:
            remaining += 1.0
    time.sleep(min(max(remaining, 0.0), _LONGEST_LINGER))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec send`."""
    parser.description = (
        "Send speech over the link of a configuration file: from the microphone, or from\n"
        "--input FILE (or '-' for standard input) at the pace of real time. Ctrl-C ends the\n"
        "call. The status goes to standard error: level, gate, rate, frames, queue."
    )
    parser.epilog = (
        "example:\n"
        "  linkcodec send --config configs/udp-lan.toml --peer 192.168.1.20:47000 "
        "--input speech.wav"
    )
    names = ("input", "input-device", "gain-db", "codec", "quantizers", "frames-per-packet")
    link = ("port", "baud", "rate", "peer", "bind")
    add_config_options(parser, (*names, *link, *CHANNEL_OPTIONS), device="input-device")
    parser.add_argument("--quiet", action="store_true", help="no status, only warnings and errors")


def send(args: argparse.Namespace) -> int:
    """Run `linkcodec send`."""
    config = read_config(args)
    codec = load_codec(config.codec.name)
    core = SenderCore(codec=codec, config=config)
    status = StatusLine(sys.stderr, quiet=args.quiet)
    with StopFlag() as stop:
        source = open_source(config.audio, codec.info)
        try:
            with open_link(config.link, channel=config.channel, receives=False) as link:
                status.message(f"sending {source.name} over {link.name}")
                run(core, source=source, link=link, status=status, stop=stop)
                linger(core, config)
        finally:
            source.close()
            status.close()
    counted = core.statistics
    refused = link.statistics.sends_dropped
    status.message(
        f"sent {core.ticks * FRAME_SECONDS:.1f} s: {counted.frames_sent} frames in "
        f"{counted.packets_sent} packets, {counted.frames_gated} silent, "
        f"{counted.frames_dropped} dropped; {core.pacer.wire.mean_bps:.0f} bit/s"
        + (f"; {refused} packets refused by the link" if refused else "")
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python sender.py`; gives the exit status."""
    parser = Parser(prog="sender.py")
    add_arguments(parser)
    args = parser.parse_args(argv)
    return run_command("sender.py", lambda: send(args))


if __name__ == "__main__":
    sys.exit(main())
