"""The receiving daemon: a link to a speaker, a file or standard output.

`ReceiverCore` is the whole receiver without clocks, sockets and threads; the simulator
drives it in virtual time. `main` is `linkcodec receive` and `python receiver.py`.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from linkcodec.app.audio import AudioSink, FileSink, SpeakerSink, open_sink
from linkcodec.app.command import Parser, StopFlag, run_command
from linkcodec.app.config import CallConfig
from linkcodec.app.options import add_config_options, read_config
from linkcodec.app.status import StatusLine, level_dbfs, meter
from linkcodec.app.timeline import Timeline
from linkcodec.codec import Codec, Pcm, load_codec
from linkcodec.exceptions import LinkcodecError, PacketError
from linkcodec.frame import FRAME_SECONDS, PlayoutItem, Silence
from transport.framing import StreamDeframer
from transport.jitter import JitterBuffer
from transport.linerate import Framing, wire_bits
from transport.links import Link, open_link
from transport.packet import (
    CODEC_NUMBERS,
    FORMAT_VERSION,
    Packet,
    SilencePacket,
    VoicePacket,
    parse,
)

__all__ = ["Playout", "ReceiverCore", "add_arguments", "main", "receive", "run"]

LINK_SILENT: Final = 5.0
"""Seconds without a packet after which a file recording pauses: the sender, even when nobody
speaks, sends every 2 s."""

CALL_LOST: Final = 90.0
"""Seconds without a packet after which `--once` gives the call up; hand-overs of 70 s are
known (Iridium)."""

SPEAKER_SECONDS: Final = 2 * FRAME_SECONDS
"""Sound that waits for the speaker: one frame plays while the next is decoded."""

_RATE_WINDOW: Final = 4.0
_LONGEST_WAIT: Final = 0.05
_QUEUED_CHUNKS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Playout:
    """One frame for the ear.

    pcm: shape (frame_size,). item: what was decoded. tick: its place on the sender's time
    axis; None if it has none.
    """

    pcm: Pcm
    item: PlayoutItem
    tick: int | None


class ReceiverCore:
    """Bytes from a link in, one frame of PCM out per 80 ms.

    Args:
        datagram: True where `receive` gets whole packets, False for a byte pipe with COBS.

    statistics: counters of the jitter buffer and of damaged packets. problem: in words, why
    speech cannot be played although it comes; empty while all is well. level_dbfs: of the
    frame played last.
    """

    def __init__(self, *, codec: Codec, config: CallConfig, datagram: bool) -> None:
        self.buffer = JitterBuffer(config.jitter_buffer)
        self.statistics = self.buffer.statistics
        self.problem = ""
        self.level_dbfs = -100.0
        self.last_packet_at: float | None = None
        self._info = codec.info
        self._decoder = codec.decoder()
        self._framing = Framing(config.link.framing)
        self._deframer = None if datagram else StreamDeframer()
        self._recent: deque[tuple[float, int]] = deque()

    def receive(self, data: bytes, now: float) -> list[Packet]:
        """Take a datagram, or any number of bytes of a byte pipe, that came at `now` (seconds).

        Gives the valid packets in it.
        """
        if self._deframer is None:
            pieces = [data]
        else:
            damaged = self._deframer.damaged
            pieces = self._deframer.push(data)
            self.statistics.packets_damaged += self._deframer.damaged - damaged
        packets = []
        for piece in pieces:
            try:
                packet = parse(piece)
            except PacketError:
                self.statistics.packets_damaged += 1
                continue
            self._recent.append((now, wire_bits(len(piece), self._framing)))
            self._forget(now)
            self._take(packet, now)
            packets.append(packet)
        return packets

    def _take(self, packet: Packet, now: float) -> None:
        self.last_packet_at = now
        if isinstance(packet, SilencePacket):
            self.problem = self._mismatch(packet)
        elif isinstance(packet, VoicePacket) and packet.quantizers > self._info.quantizers:
            self.problem = (
                f"the sender's frames have {packet.quantizers} codebooks, codec "
                f"{self._info.name} has {self._info.quantizers}: start both with the same codec"
            )
        if not (self.problem and isinstance(packet, VoicePacket)):
            self.buffer.insert(packet, now)

    def _mismatch(self, packet: SilencePacket) -> str:
        """Why speech of this sender cannot be played; empty if it can."""
        if packet.format_version != FORMAT_VERSION:
            return (
                f"the sender uses wire format {packet.format_version}, this receiver "
                f"{FORMAT_VERSION}: install the same version of linkcodec on both sides"
            )
        number = CODEC_NUMBERS.get(self._info.name, 0)
        if (packet.codec_number, packet.codec_version) == (number, self._info.version):
            return ""
        names = {value: name for name, value in CODEC_NUMBERS.items()}
        theirs = names.get(packet.codec_number, "an unknown codec")
        return (
            f"the sender uses {theirs} version {packet.codec_version}, this receiver "
            f"{self._info.name} version {self._info.version}: set the same codec on both sides"
        )

    def pull(self, now: float) -> Playout:
        """The frame to play at `now`; to be called once per 80 ms of playout."""
        item = self.buffer.next(now)
        pcm = self._decoder.decode(item)
        self.level_dbfs = level_dbfs(pcm)
        return Playout(pcm=pcm, item=item, tick=self.buffer.last_tick)

    def wire_bps(self, now: float) -> float:
        """Bits per second that came in the last seconds, start and stop bits left out."""
        self._forget(now)
        return sum(bits for _, bits in self._recent) / _RATE_WINDOW

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] <= now - _RATE_WINDOW:
            self._recent.popleft()

    @property
    def loss(self) -> float:
        """Share of the frames of speech that did not come in time."""
        statistics = self.statistics
        missed = statistics.frames_lost + statistics.frames_late
        wanted = statistics.frames_lost + statistics.frames_received
        return missed / wanted if wanted else 0.0


class _LinkReader:
    """A thread that notes when bytes came; the link's only reader."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._arrived: queue.Queue[tuple[float, bytes] | LinkcodecError] = queue.Queue(
            _QUEUED_CHUNKS
        )
        self._stopped = False
        self.overruns = 0
        self._thread = threading.Thread(target=self._read, name="link reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stopped:
            try:
                chunks = self._link.receive(_LONGEST_WAIT)
            except LinkcodecError as error:
                self._arrived.put(error)
                return
            now = time.monotonic()
            for chunk in chunks:
                try:
                    self._arrived.put_nowait((now, chunk))
                except queue.Full:
                    self.overruns += 1

    def get(self, timeout: float) -> list[tuple[float, bytes]]:
        """What came, after at most `timeout` seconds.

        Raises:
            LinkError: the link failed.
        """
        chunks: list[tuple[float, bytes]] = []
        try:
            entry = (
                self._arrived.get(timeout=timeout) if timeout > 0 else self._arrived.get_nowait()
            )
            while True:
                if isinstance(entry, LinkcodecError):
                    raise entry
                chunks.append(entry)
                entry = self._arrived.get_nowait()
        except queue.Empty:
            return chunks

    def close(self) -> None:
        self._stopped = True
        self._thread.join(timeout=1.0)


class _Recorder:
    """Writes calls to a file on the sender's time axis, codec delay removed."""

    def __init__(self, sink: FileSink, codec: Codec) -> None:
        self._sink = sink
        self._info = codec.info
        self._start()

    def _start(self) -> None:
        self._timeline = Timeline(
            sample_rate=self._info.sample_rate, frame_size=self._info.frame_size
        )
        self._skip = self._info.delay

    def add(self, playout: Playout) -> None:
        noise = playout.item.level_dbfs if isinstance(playout.item, Silence) else None
        self._write(self._timeline.add(playout.tick, playout.pcm, noise_dbfs=noise))

    def finish(self, end_tick: int | None = None) -> None:
        """Write what is held back; the next frame begins another call."""
        self._write(self._timeline.finish(end_tick))
        self._start()

    def _write(self, pcm: Pcm) -> None:
        skipped = min(self._skip, pcm.size)
        self._skip -= skipped
        if pcm.size > skipped:
            self._sink.write(pcm[skipped:])


class _Playback:
    """When frames are pulled, and where they go.

    A file records from the first packet on, as long as packets come. Everything else plays
    on: standard output at the pace of this machine's clock, a speaker at its own.
    """

    def __init__(self, core: ReceiverCore, sink: AudioSink, codec: Codec) -> None:
        self._core = core
        self._sink = sink
        self._recorder = _Recorder(sink, codec) if isinstance(sink, FileSink) else None
        self._due: float | None = None
        self._call_open = False

    def next_time(self, now: float) -> float:
        """When the next frame is due; a time in the past if one is due now."""
        if isinstance(self._sink, SpeakerSink):
            return now + max(0.0, self._sink.waiting - SPEAKER_SECONDS)
        if self._due is None:
            return now + _LONGEST_WAIT if self._core.last_packet_at is None else now
        return self._due

    def play(self, now: float) -> None:
        """Pull and play what is due at `now`."""
        if isinstance(self._sink, SpeakerSink):
            while self._sink.waiting < SPEAKER_SECONDS:
                self._sink.write(self._core.pull(now).pcm)
            return
        if self._due is None:
            if self._core.last_packet_at is None:
                return
            self._due = now
        while self._due <= now:
            playout = self._core.pull(self._due)
            self._due += FRAME_SECONDS
            self._put(playout, now)

    def _put(self, playout: Playout, now: float) -> None:
        buffer = self._core.buffer
        if not buffer.ended:
            # A BYE that was followed by nothing leaves `ended` set until the next call.
            self._call_open = True
        if self._recorder is None:
            if self._call_open:
                self._sink.write(playout.pcm)
        elif self._call_open:
            heard = self._core.last_packet_at
            silent = heard is not None and now - heard > LINK_SILENT and not buffer.buffered
            if not silent:
                self._recorder.add(playout)
        if buffer.ended and self._call_open:
            self._call_open = False
            if self._recorder is not None:
                self._recorder.finish(buffer.end_tick)

    def finish(self) -> None:
        """Nothing more will be played."""
        if self._recorder is not None:
            self._recorder.finish()


def run(
    core: ReceiverCore,
    *,
    codec: Codec,
    sink: AudioSink,
    link: Link,
    status: StatusLine,
    stop: Callable[[], bool],
    once: bool = False,
) -> None:
    """Play until `stop()` is true; with `once`, until one call has ended.

    Raises:
        LinkcodecError: the sink or the link failed.
    """
    reader = _LinkReader(link)
    playback = _Playback(core, sink, codec)
    told = ""
    link_was_up = True
    try:
        while not stop():
            now = time.monotonic()
            wait = min(max(playback.next_time(now) - now, 0.0), _LONGEST_WAIT)
            for arrived, data in reader.get(wait):
                core.receive(data, arrived)
            now = time.monotonic()
            playback.play(now)
            if core.problem != told:
                told = core.problem
                status.warn(told or "the sender's codec fits again")
            if link.up != link_was_up:
                link_was_up = link.up
                status.message(f"{link.name} is {'back' if link.up else 'gone, waiting for it'}")
            if status.due(now):
                status.update(_describe(core, now), now)
            heard = core.last_packet_at
            if once and heard is not None and (core.buffer.ended or now - heard > CALL_LOST):
                return
    finally:
        playback.finish()
        reader.close()


def _describe(core: ReceiverCore, now: float) -> str:
    if core.last_packet_at is None:
        return "recv waiting for packets"
    counted = core.statistics
    since = now - core.last_packet_at
    state = (
        f"silent for {since:.0f} s" if since > LINK_SILENT else f"{core.wire_bps(now):5.0f} bit/s"
    )
    return (
        f"recv {meter(core.level_dbfs)} {state} | loss {100.0 * core.loss:.1f} % | "
        f"delay {1000.0 * core.buffer.buffer_delay.mean:.0f} ms | "
        f"frames {counted.frames_played} played, {counted.frames_concealed} concealed, "
        f"{counted.packets_damaged} packets damaged"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec receive`."""
    parser.description = (
        "Receive speech from the link of a configuration file and play it: on the speaker, or\n"
        "into --output FILE.wav (as long as what was sent), or to standard output with '-'.\n"
        "Ctrl-C ends it. The status goes to standard error: level, rate, loss, delay, frames."
    )
    parser.epilog = (
        "example:\n  linkcodec receive --config configs/udp-lan.toml --output received.wav --once"
    )
    names = ("output", "output-device", "codec", "port", "baud", "bind")
    add_config_options(parser, names, device="output-device")
    parser.add_argument(
        "--once", action="store_true", help="end when the sender ends its call, not on Ctrl-C"
    )
    parser.add_argument("--quiet", action="store_true", help="no status, only warnings and errors")


def receive(args: argparse.Namespace) -> int:
    """Run `linkcodec receive`."""
    config = read_config(args, sends=False)
    codec = load_codec(config.codec.name)
    status = StatusLine(sys.stderr, quiet=args.quiet)
    with StopFlag() as stop:
        sink = open_sink(config.audio, codec.info)
        try:
            with open_link(config.link, channel=config.channel, sends=False) as link:
                core = ReceiverCore(codec=codec, config=config, datagram=link.datagram)
                status.message(f"listening on {link.name}, playing to {sink.name}")
                run(
                    core,
                    codec=codec,
                    sink=sink,
                    link=link,
                    status=status,
                    stop=lambda: bool(stop),
                    once=args.once,
                )
        finally:
            sink.close()
            status.close()
    counted = core.statistics
    status.message(
        f"received {counted.frames_received} frames in {counted.packets_received} packets: "
        f"{counted.frames_lost} lost, {counted.frames_late} late, "
        f"{counted.frames_concealed} concealed; {counted.packets_damaged} packets damaged"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command `python receiver.py`; gives the exit status."""
    parser = Parser(prog="receiver.py")
    add_arguments(parser)
    args = parser.parse_args(argv)
    return run_command("receiver.py", lambda: receive(args))


if __name__ == "__main__":
    sys.exit(main())
