"""The receiving daemon: a link to a speaker, a file or standard output.

`ReceiverCore` is the whole receiver without clocks, sockets and threads; the simulator
drives it in virtual time. `main` is `linkcodec receive` and `python receiver.py`.
"""

from __future__ import annotations

import argparse
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from linkcodec.app.audio import (
    SPEAKER_SECONDS,
    AudioSink,
    FileSink,
    SpeakerSink,
    open_sink,
)
from linkcodec.app.codecs import open_codec
from linkcodec.app.command import Parser, StopFlag, run_command
from linkcodec.app.config import CallConfig, wire_setup
from linkcodec.app.link import describe_link, open_call_link
from linkcodec.app.metrics import Figures, Reporter, add_metrics_options, open_reporter, totals
from linkcodec.app.options import add_config_options, read_config
from linkcodec.app.recorder import HeardRecorder
from linkcodec.app.security import CallSecurity, open_security
from linkcodec.app.status import StatusLine, add_status_options, level_dbfs, meter, open_status
from linkcodec.app.supervision import Reloader, Supervisor
from linkcodec.app.timeline import Timeline
from linkcodec.app.wire import recorded_link, recording
from linkcodec.codec import Codec, Pcm
from linkcodec.exceptions import LinkcodecError
from linkcodec.frame import FRAME_SECONDS, Frame, PlayoutItem, Silence
from linkcodec.timescale import TimeScaler, shorten_noise
from transport.calls import is_control
from transport.jitter import JitterBuffer
from transport.links import Link
from transport.packet import ByePacket, SilencePacket, VoicePacket
from transport.quality import QualityMeter
from transport.statistics import PlayoutStatistics
from transport.steering import Urgency
from transport.wire import (
    ReceiverReport,
    StationId,
    TalkerKey,
    TextMessage,
    Transmitter,
    WireEvent,
    open_wire_receiver,
)

__all__ = ["Playout", "ReceiverCore", "add_arguments", "main", "receive", "run"]

LINK_SILENT: Final = 5.0
"""Seconds without a packet after which a file recording pauses: the sender, even when nobody
speaks, sends every 2 s."""

CALL_LOST: Final = 90.0
"""Seconds without a packet after which `--once` gives the call up; hand-overs of 70 s are
known (Iridium)."""

_MISMATCH: Final = {Urgency.PAUSE: 0.0, Urgency.SPEECH: 0.15, Urgency.AT_ONCE: math.inf}
"""How much sounds may differ that a change of pace fades into each other."""

_Reload = Callable[[CallConfig], list[str]]

_LONGEST_WAIT: Final = 0.05
_SPEAKER_BLOCK: Final = 0.005
_QUEUED_CHUNKS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Playout:
    """One frame for the ear.

    pcm: what is heard: 64 to 100 ms of speech, up to 80 ms of silence; shape (samples,).
    decoded: the frame before its time was scaled; shape (frame_size,). item: what was decoded.
    tick: its place on the sender's time axis; None if it has none. seconds: how long it lasts.
    """

    pcm: Pcm
    decoded: Pcm
    item: PlayoutItem
    tick: int | None
    seconds: float


class ReceiverCore:
    """Bytes from a link in, frames of PCM out, each of about 80 ms.

    Args:
        datagram: True where `receive` gets whole packets, False for a byte pipe with COBS.

    statistics: counters of the wire and of the jitter buffer. playout: counters of what was
    heard. quality: estimate of how it sounds. wire: what makes events of bytes.
    level_dbfs: of the frame played last. sample_rate: of what is heard, in hertz.
    through: what is done to the sound after all else, such as muting it.
    recorder: takes the frames that are played; None for nobody.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        config: CallConfig,
        datagram: bool,
        security: CallSecurity | None = None,
    ) -> None:
        self.buffer = JitterBuffer(config.jitter_buffer, scaling=True)
        self.scaler = TimeScaler(codec.info.sample_rate)
        self.statistics = self.buffer.statistics
        self.wire = open_wire_receiver(
            wire_setup(config, codec.info, sends=False, security=security),
            datagram=datagram,
            statistics=self.statistics,
        )
        self.through: Callable[[Pcm], Pcm] = lambda pcm: pcm
        self.recorder: HeardRecorder | None = None
        self.playout = PlayoutStatistics()
        self.quality = QualityMeter()
        self.level_dbfs = -100.0
        self._codec_delay = codec.info.delay / codec.info.sample_rate
        self._decoder = codec.decoder()
        self.sample_rate = codec.info.sample_rate

    def configure(self, config: CallConfig) -> list[str]:
        """Use what can change during a call; gives the names of these fields."""
        self.buffer.configure(config.jitter_buffer)
        return [f"jitter_buffer.{name}" for name in vars(config.jitter_buffer)]

    @property
    def problem(self) -> str:
        """Why speech cannot be played although it comes, in words; empty while all is well."""
        return self.wire.problem or self.wire.stranger

    @property
    def last_packet_at(self) -> float | None:
        """When something valid came last."""
        return self.wire.last_packet_at

    def receive(self, data: bytes, now: float) -> list[WireEvent]:
        """Take a datagram, or any number of bytes of a byte pipe, that came at `now` (seconds).

        Gives what was found in it.
        """
        events = self._take(self.wire.receive(data, now), now)
        self.buffer.hold(self.wire.repair_delay)
        return events

    def _take(self, events: list[WireEvent], now: float) -> list[WireEvent]:
        for event in events:
            if isinstance(event, VoicePacket | SilencePacket | ByePacket):
                self.buffer.insert(event, now)
        return events

    def pull(self, now: float) -> Playout:
        """The frame to play at `now`, which is when the one before it is over."""
        self._take(self.wire.tick(now), now)
        item = self.buffer.next(now)
        if self.recorder is not None:
            end = self.buffer.end_tick if self.buffer.ended else None
            self.recorder.add(item, self.buffer.last_tick, end_tick=end)
        decoded = self._decoder.decode(item)
        pcm = self.through(self._scale(decoded, item))
        self.level_dbfs = level_dbfs(decoded)
        seconds = pcm.size / self.sample_rate
        self.quality.add(item)
        self.playout.add(
            item,
            decoded=decoded.size,
            played=pcm.size,
            energy=10 ** (self.level_dbfs / 10) * seconds,
            waited=self.buffer.waited,
            target=self.buffer.delay,
        )
        return Playout(
            pcm=pcm,
            decoded=decoded,
            item=item,
            tick=self.buffer.last_tick,
            seconds=seconds,
        )

    def _scale(self, pcm: Pcm, item: PlayoutItem) -> Pcm:
        """Play an item longer or shorter as the jitter buffer wishes."""
        stretch = self.buffer.stretch
        change = round(stretch.seconds * self.sample_rate)
        if isinstance(item, Silence):
            return shorten_noise(pcm, pcm.size + change) if change < 0 else pcm
        if isinstance(item, Frame):
            return self.scaler.scale(pcm, change, mismatch=_MISMATCH[stretch.urgency])
        return pcm

    def wire_bps(self, now: float) -> float:
        """Bits per second that came in the last seconds, start and stop bits left out."""
        return self.wire.wire_bps(now)

    def figures(self, now: float) -> Figures:
        """All that is known of the call, for people's tools (docs/receiver.md)."""
        gauges: dict[str, float | None] = {
            "level_dbfs": round(self.level_dbfs, 1),
            "wire_bps": round(self.wire_bps(now), 1),
            "frames_buffered": self.buffer.buffered,
            "silent_seconds": None
            if self.last_packet_at is None
            else round(now - self.last_packet_at, 1),
            "delay_target_seconds": round(self.buffer.delay, 3),
            "jitter_seconds": round(self.buffer.jitter, 4),
            "drift_ppm": round(self.buffer.drift_ppm, 1),
            "quality_mos": None if self.quality.score is None else round(self.quality.score, 2),
        }
        for name, value in self.latency().items():
            gauges[f"latency_{name}_seconds"] = round(value, 4)
        webrtc = self.playout.webrtc(self.statistics, sample_rate=self.sample_rate)
        return Figures(counters={**totals(self.statistics), **webrtc}, gauges=gauges)

    def latency(self) -> dict[str, float]:
        """The stages between mouth and ear that this end knows, mean seconds of a frame.

        Those of the line are known to the sender and to `linkcodec simulate` alone.
        """
        counted, playout = self.statistics, self.playout
        frames = counted.frames_received / max(counted.voice_packets, 1)
        return {
            "frame": FRAME_SECONDS,
            "codec": self._codec_delay,
            "packet": max(frames - 1.0, 0.0) / 2 * FRAME_SECONDS,
            "jitter_buffer": playout.delay / max(playout.emitted_samples, 1),
        }

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
        background = playout.item if isinstance(playout.item, Silence) else None
        self._write(self._timeline.add(playout.tick, playout.decoded, background=background))

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
            early = self._sink.waiting - SPEAKER_SECONDS
            # Sound leaves in blocks: a shorter wait finds as much waiting as before.
            return now + (0.0 if early < 0 else max(early, _SPEAKER_BLOCK))
        if self._due is None:
            return now + _LONGEST_WAIT if self._core.last_packet_at is None else now
        return self._due

    def play(self, now: float) -> None:
        """Pull and play what is due at `now`."""
        if isinstance(self._sink, SpeakerSink):
            while (lead := self._sink.waiting - SPEAKER_SECONDS) < 0:
                # When it is due by the speaker's clock, however late this loop is.
                self._sink.write(self._core.pull(max(now + lead, now - FRAME_SECONDS)).pcm)
            return
        if self._due is None:
            if self._core.last_packet_at is None:
                return
            self._due = now
        while self._due <= now:
            playout = self._core.pull(self._due)
            self._due += playout.seconds
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
    partner: Transmitter | None = None,
    reporter: Reporter | None = None,
    heard: Callable[[WireEvent, float], None] | None = None,
    each: Callable[[float], None] = lambda _: None,
) -> None:
    """Play until `stop()` is true; with `once`, until one call has ended.

    partner: the transmitter of the other direction, which carries the reports of this one.
    reporter: takes the statistics.
    heard: takes all that comes, with the time of its arrival.
    each: called in every round with the time.

    Raises:
        LinkcodecError: the sink or the link failed.
    """
    reader = _LinkReader(link)
    playback = _Playback(core, sink, codec)
    told = said_last = ""
    link_was_up = True
    trouble = ""
    try:
        while not stop():
            now = time.monotonic()
            each(now)
            wait = min(max(playback.next_time(now) - now, 0.0), _LONGEST_WAIT)
            for arrived, data in reader.get(wait):
                for event in core.receive(data, arrived):
                    if heard is not None:
                        heard(event, arrived)
                    if isinstance(event, ReceiverReport) and partner is not None:
                        partner.take_report(event, arrived)
                    elif (words := _words(event)) and words != said_last:
                        said_last = words
                        status.message(words)
            now = time.monotonic()
            if partner is not None and (report := core.wire.report(now)) is not None:
                partner.send_report(report, now)
            playback.play(now)
            if core.problem != told:
                told = core.problem
                status.warn(told or "the sender's codec fits again")
            if link.up != link_was_up:
                link_was_up = link.up
                status.message(describe_link(link))
            if sink.trouble != trouble:
                trouble = sink.trouble
                status.warn(trouble or f"{sink.name} is back")
            _tell(core, sink, status, reporter, now)
            last = core.last_packet_at
            if once and last is not None and (core.buffer.ended or now - last > CALL_LOST):
                return
    finally:
        playback.finish()
        reader.close()


def _tell(
    core: ReceiverCore,
    sink: AudioSink,
    status: StatusLine,
    reporter: Reporter | None,
    now: float,
) -> None:
    if status.due(now):
        status.update(_describe(core, now), now)
    if reporter is not None and reporter.due(now):
        reporter.update(core.figures(now) | sink.figures(), now)


def _words(event: WireEvent) -> str:
    """What came over the side channel, for people."""
    match event:
        case TextMessage(text=text) if not is_control(text):
            return f"text: {printable(text)}"
        case StationId(call_sign=call_sign):
            return f"the station is {call_sign}"
        case TalkerKey(talker=talker, down=down):
            return f"talker {talker} {'speaks' if down else 'has finished'}"
    return ""


def printable(text: str) -> str:
    """The text without control characters, which a terminal might obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _describe(core: ReceiverCore, now: float) -> str:
    if core.last_packet_at is None:
        return "recv waiting for packets"
    counted = core.statistics
    since = now - core.last_packet_at
    state = (
        f"silent for {since:.0f} s" if since > LINK_SILENT else f"{core.wire_bps(now):5.0f} bit/s"
    )
    return (
        f"recv {meter(core.level_dbfs)} {state} | loss {100.0 * core.loss:.1f} %"
        f"{_score(core.quality.score)} | delay {1000.0 * core.buffer.buffer_delay.mean:.0f} ms | "
        f"frames {counted.frames_played} played, {counted.frames_concealed} concealed, "
        f"{counted.packets_damaged} packets damaged"
    )


def _score(score: float | None) -> str:
    return "" if score is None else f", quality {score:.1f} of 5"


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
    names = ("output", "output-device", "codec", "weights", "port", "baud", "bind", "peer")
    add_config_options(parser, names, device="output-device")
    wire = parser.add_mutually_exclusive_group()
    wire.add_argument(
        "--record-wire", metavar="FILE", help="capture what arrives, for `linkcodec wire dump`"
    )
    wire.add_argument("--from-wire", metavar="FILE", help="listen to a capture instead of the link")
    parser.add_argument(
        "--once", action="store_true", help="end when the sender ends its call, not on Ctrl-C"
    )
    add_metrics_options(parser)
    add_status_options(parser)


def _open_wire(args: argparse.Namespace, config: CallConfig) -> tuple[Link, _Reload]:
    """The link of the configuration, captured if asked for, or a capture in its place; and what
    changes it during a call."""
    if args.from_wire is not None:
        return recorded_link(args.from_wire, config), lambda _: []
    link = open_call_link(config, sends=False)
    return recording(link, args.record_wire, config), link.configure


def receive(args: argparse.Namespace) -> int:
    """Run `linkcodec receive`."""
    config = read_config(args, sends=False)
    codec = open_codec(config.codec)
    status = open_status(args)
    with (
        open_security(config.security, sends=False, receives=True) as security,
        open_reporter(args.stats, args.metrics, role="receive", warn=status.warn) as reporter,
        Supervisor("receiver") as supervisor,
        StopFlag() as stop,
    ):
        sink = open_sink(config.audio, codec.info)
        try:
            opened, change_link = _open_wire(args, config)
            with opened as link:
                core = ReceiverCore(
                    codec=codec, config=config, datagram=link.datagram, security=security
                )
                says = f"listening on {link.name}, playing to {sink.name}"
                status.message(says)
                supervisor.ready(
                    says,
                    Reloader(
                        config,
                        read=lambda: read_config(args, sends=False),
                        parts=(
                            core.configure,
                            lambda new: sink.configure(new.audio),
                            change_link,
                        ),
                        status=status,
                    ),
                )
                run(
                    core,
                    codec=codec,
                    sink=sink,
                    link=link,
                    status=status,
                    stop=lambda: bool(stop),
                    once=args.once,
                    reporter=reporter,
                    each=lambda now: supervisor.alive("receiver", now),
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
