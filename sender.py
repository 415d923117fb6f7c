"""The sending daemon: a microphone, a file or standard input onto a link.

`SenderCore` is the whole sender without clocks, sockets and threads; the simulator drives
it in virtual time. `main` is `linkcodec send` and `python sender.py`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from linkcodec.app.audio import AudioSource, open_source
from linkcodec.app.codecs import open_codec
from linkcodec.app.command import Parser, SignalFlag, StopFlag, run_command
from linkcodec.app.config import CallConfig, wire_setup
from linkcodec.app.link import describe_link, open_call_link
from linkcodec.app.metrics import Figures, add_metrics_options, open_reporter, totals
from linkcodec.app.options import CHANNEL_OPTIONS, add_config_options, read_config
from linkcodec.app.ptt import open_key
from linkcodec.app.recorder import SentRecorder
from linkcodec.app.security import CallSecurity, open_security
from linkcodec.app.status import StatusLine, add_status_options, level_dbfs, meter, open_status
from linkcodec.app.supervision import Reloader, Supervisor
from linkcodec.app.wire import recording
from linkcodec.codec import Codec, Pcm
from linkcodec.detector import open_detector
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, Frame
from linkcodec.gate import GateConfig, GateDecision, GateState, VoiceGate
from linkcodec.level import AutomaticLevel
from linkcodec.noise_suppression import NoiseSuppressor
from linkcodec.smoothing import RecentMean
from transport.links import Link
from transport.statistics import SenderStatistics
from transport.wire import Departure, open_transmitter

__all__ = ["SenderCore", "add_arguments", "main", "run", "send"]

_LONGEST_WAIT: Final = 0.05
"""Seconds that the loop sleeps at most, so that signals are answered."""

_LONGEST_LINGER: Final = 5.0

_REMEMBERED: Final = 512
"""Frames whose time of capture is known until they leave: 41 s."""


class SenderCore:
    """PCM in, bytes for a link out: gate, encoder and transmitter.

    The encoder hears everything, so its state is warm when speech starts; frames that the
    gate holds back are not sent. Frame t of the encoder and decision t of the gate are
    about the same 80 ms, and t is the frame's tick on the wire.

    statistics: what happened to the frames. wire: what makes bytes of frames.
    state: the gate's state after the last frame. level: dB full scale of the last frame.
    muted: silence is sent, whatever is said.
    through: what is done to the sound before all else, such as muting it.
    recorder: takes the frames that are sent; None for nobody.
    """

    def __init__(
        self, *, codec: Codec, config: CallConfig, security: CallSecurity | None = None
    ) -> None:
        info = codec.info
        self.statistics = SenderStatistics()
        self.state = GateState.QUIET
        self.level_dbfs = -100.0
        self.wire = open_transmitter(
            wire_setup(config, info, sends=True, security=security), statistics=self.statistics
        )
        self._encoder = codec.encoder(quantizers=config.codec.quantizers)
        self._gate = VoiceGate(config.gate, sample_rate=info.sample_rate)
        self._level = AutomaticLevel(info.sample_rate)
        self._suppressor: NoiseSuppressor | None = None
        self._sample_rate = info.sample_rate
        self.muted = self._told_to_mute = False
        self.configure(config)
        self.through: Callable[[Pcm], Pcm] = lambda pcm: pcm
        self.recorder: SentRecorder | None = None
        self._frame_size = info.frame_size
        self._partial: Pcm = np.zeros(0, np.float32)
        self._frames: deque[Frame] = deque()
        self._decisions: deque[GateDecision] = deque()
        self._unsent: deque[Frame] = deque(maxlen=max(1, config.gate.pre_roll_frames))
        self._captured: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._queue_delay, self._line_delay = RecentMean(), RecentMean()
        # How long a datagram is on its way, only the network knows.
        self._line_rate = 0 if config.link.kind in {"udp", "webrtc"} else config.link.rate
        self._tick = 0
        self._in_spurt = False
        self._last_decision: GateDecision | None = None
        self._finished = False

    @property
    def talking(self) -> bool:
        """True from the first frame of a spurt until its last packet has left."""
        return self._in_spurt or self.wire.queued > 0

    def key(self, *, down: bool) -> None:
        """The push-to-talk key is down or up; nothing to gate.mode "vox"."""
        self._gate.key(down=down)

    def figures(self, now: float) -> Figures:
        """All that is known of this end, for people's tools (docs/receiver.md)."""
        gauges: dict[str, float | None] = {
            "level_dbfs": round(self.level_dbfs, 1),
            "wire_bps": round(self.wire.wire.recent_bps(now), 1),
            "packets_queued": self.wire.queued,
            "transmitting": float(self._in_spurt),
            "muted": float(self.muted),
            **{f"latency_{name}_seconds": round(s, 4) for name, s in self.latency().items()},
        }
        return Figures(counters=totals(self.statistics), gauges=gauges)

    def latency(self) -> dict[str, float]:
        """The stages of the delay that only this end knows, recent means in seconds: how long a
        packet waits after its last frame was captured, and how long the line takes to carry it."""
        return {"queue": self._queue_delay.value, "line": self._line_delay.value}

    @property
    def ticks(self) -> int:
        """Frames encoded so far: the length of the call."""
        return self._tick

    def configure(self, config: CallConfig) -> list[str]:
        """Use what can change during a call; gives the names of these fields. For any thread.

        Raises:
            ConfigError: a package that a field needs is not installed; nothing has changed.
        """
        audio = config.audio
        gate = self._possible(config)
        suppressor = self._suppressor
        if audio.noise_suppression != (suppressor is not None):
            suppressor = NoiseSuppressor(self._sample_rate) if audio.noise_suppression else None
        self._suppressor = suppressor
        self._next_gate = gate
        self._gain = 10.0 ** (audio.gain_db / 20.0)
        self._auto_level = audio.auto_level
        if audio.mute != self._told_to_mute:
            self.muted = self._told_to_mute = audio.mute
        names = ("gain_db", "auto_level", "mute", "noise_suppression")
        used = [name for name in vars(gate) if getattr(gate, name) == getattr(config.gate, name)]
        return [f"audio.{name}" for name in names] + [f"gate.{name}" for name in used]

    def _possible(self, config: CallConfig) -> GateConfig:
        """The settings of the gate, less what has to stay as it is during a call.

        Raises:
            ConfigError: the detector's package is not installed.
        """
        before = self._gate.settings
        fixed = ["mode", "ptt"]
        if config.wire.mode == "slots":  # these hold all speech back by the pre-roll
            fixed += ["enabled", "pre_roll_ms", "weak_pre_roll_ms"]
        settings = replace(config.gate, **{name: getattr(before, name) for name in fixed})
        if settings.detector != before.detector:
            open_detector(settings.detector, aggressiveness=0, sample_rate=self._sample_rate)
        return settings

    def toggle_mute(self) -> str:
        """Mute the microphone, or not any more; gives it in words."""
        self.muted = not self.muted
        return f"the microphone is {'muted' if self.muted else 'on'}"

    def push(self, pcm: Pcm, now: float) -> None:
        """Take any number of samples, the last of which was captured at `now` (seconds)."""
        suppressor = self._suppressor  # which another thread may take away
        if suppressor is not None:
            pcm = suppressor.push(pcm)
        self._apply_gate_settings()
        loud: Pcm = self.through(self._adjusted(pcm))
        self._frames.extend(self._encoder.push(loud))
        self._partial = np.concatenate([self._partial, loud])
        while self._partial.size >= self._frame_size:
            self._judge(self._partial[: self._frame_size])
            self._partial = self._partial[self._frame_size :]
        while self._frames and self._decisions:
            self._take(self._frames.popleft(), self._decisions.popleft(), now)

    def _apply_gate_settings(self) -> None:
        settings = self._next_gate
        if settings != self._gate.settings:
            self._gate.configure(settings)
            self._unsent = deque(self._unsent, maxlen=max(1, settings.pre_roll_frames))

    def _adjusted(self, pcm: Pcm) -> Pcm:
        """Gain and automatic level applied, or silence in its place."""
        if self.muted:
            return np.zeros_like(pcm)
        loud: Pcm = pcm * np.float32(self._gain)
        if self._auto_level:
            loud = self._level.push(loud, speech=self.state is GateState.SPEAKING)
        return np.clip(loud, -1.0, 1.0)

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
        tick = self._tick
        self._captured.append((tick, now))
        if tick == 0:
            self._be_silent(decision, tick, now)
        if decision.send:
            start = decision.start or not self._in_spurt
            if start:
                self.wire.key(down=True, tick=tick, now=now)
                start = not self._send_pre_roll(decision.pre_roll, tick, now)
            self._in_spurt = not decision.end
            self._hand_over(frame, tick=tick, start=start, end=decision.end, now=now)
            if decision.end:
                self.wire.key(down=False, tick=tick + 1, now=now)
        else:
            self.statistics.frames_gated += 1
            self._unsent.append(frame)
        self._tick += 1
        if not self._in_spurt:
            self._be_silent(decision, self._tick, now)

    def _send_pre_roll(self, pre_roll: int, tick: int, now: float) -> bool:
        """Begin a spurt with frames that were held back before `tick`; False if there are none."""
        before = list(self._unsent)[max(0, len(self._unsent) - pre_roll) :] if pre_roll else []
        self._unsent.clear()
        self.statistics.frames_gated -= len(before)
        first = tick - len(before)
        for number, frame in enumerate(before):
            self._hand_over(frame, tick=first + number, start=number == 0, end=False, now=now)
        return bool(before)

    def _hand_over(self, frame: Frame, *, tick: int, start: bool, end: bool, now: float) -> None:
        if self.recorder is not None:
            self.recorder.voice(frame, tick)
        self.wire.voice(frame, tick=tick, start=start, end=end, now=now)

    def _be_silent(self, decision: GateDecision, tick: int, now: float) -> None:
        if self.recorder is not None:
            self.recorder.silence(decision.background, tick)
        self.wire.silence(decision.background, tick=tick, now=now)

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
        if self._in_spurt:
            self.wire.key(down=False, tick=self._tick, now=now)
        self.wire.finish(tick=self._tick, now=now)

    @property
    def done(self) -> bool:
        """True once the call has ended and everything has left."""
        return self._finished and self.wire.done

    def poll(self, now: float) -> list[Departure]:
        """What to put on the link now, at the pace of its line."""
        bits = self.statistics.payload_bits
        departures = self.wire.poll(now)
        ticks = [tick for departure in departures for tick in departure.ticks]
        if ticks and self.recorder is not None:
            # With adaptation, fewer indices than the encoder gave.
            sent = self.statistics.payload_bits - bits
            self.recorder.departed(ticks, max(1, sent // (INDEX_BITS * len(ticks))))
        for departure in departures:
            if departure.ticks:
                self._note_departure(departure, now)
        return departures

    def _note_departure(self, departure: Departure, now: float) -> None:
        captured, last = self._captured, departure.ticks[-1]
        while captured and captured[0][0] < last:
            captured.popleft()
        if captured and captured[0][0] == last:
            self._queue_delay.add(now - captured[0][1])
        if self._line_rate:
            self._line_delay.add(departure.line_bits / self._line_rate)

    def next_time(self) -> float | None:
        """When `poll` has something to give; None while nothing waits."""
        return self.wire.next_time()


def run(
    core: SenderCore,
    *,
    source: AudioSource,
    link: Link,
    status: StatusLine,
    stop: StopFlag,
    each: Callable[[float], None] | None = None,
) -> None:
    """Send until the source ends or `stop` is set, then end the call.

    each: called in every round with the time; what it does to the core needs no lock.

    Raises:
        LinkcodecError: the source or the link failed.
    """
    link_was_up = True
    trouble = ""

    def put_on_link(now: float) -> None:
        link.over(core.talking)
        for departure in core.poll(now):
            if not (link.half_duplex and departure.keep_alive):
                link.send(departure.data)

    while not (stop or source.ended):
        now = time.monotonic()
        if each is not None:
            each(now)
        put_on_link(now)
        following = core.next_time()
        wait = _LONGEST_WAIT if following is None else following - now
        pcm = source.read(min(max(wait, 0.001), _LONGEST_WAIT))
        if pcm.size:
            core.push(pcm, time.monotonic())
        if link.up != link_was_up:
            link_was_up = link.up
            status.message(describe_link(link))
        if source.trouble != trouble:
            trouble = source.trouble
            status.warn(trouble or f"{source.name} is back")
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
        f"send {meter(core.level_dbfs)} {'muted' if core.muted else core.state.value:8} "
        f"{core.wire.wire.recent_bps(now):5.0f} bit/s | frames {counted.frames_sent} sent, "
        f"{counted.frames_gated} silent, {counted.frames_dropped} dropped | "
        f"queue {core.wire.queued}"
    )


def linger(core: SenderCore, config: CallConfig) -> None:
    """Wait until the last packet is through the line, so that closing the link keeps it."""
    remaining = core.wire.idle_at - time.monotonic() + _LONGEST_WAIT
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
    names = ("input", "input-device", "gain-db", "mode", "ptt", "codec", "weights", "quantizers")
    link = ("frames-per-packet", "port", "baud", "rate", "peer", "bind")
    add_config_options(parser, (*names, *link, *CHANNEL_OPTIONS), device="input-device")
    parser.add_argument(
        "--record-wire", metavar="FILE", help="capture what is sent, for `linkcodec wire dump`"
    )
    parser.add_argument(
        "--text", metavar="TEXT", help="a short text to send besides the speech, in its pauses"
    )
    add_metrics_options(parser)
    add_status_options(parser)


def send(args: argparse.Namespace) -> int:
    """Run `linkcodec send`."""
    config = read_config(args)
    codec = open_codec(config.codec)
    status = open_status(args)
    with (
        open_security(config.security, sends=True, receives=False) as security,
        open_reporter(args.stats, args.metrics, role="send", warn=status.warn) as reporter,
        open_key(config.gate, audio_input=config.audio.input) as key,
        Supervisor("sender") as supervisor,
        SignalFlag(signal.SIGUSR1) as mute,
        StopFlag() as stop,
    ):
        core = SenderCore(codec=codec, config=config, security=security)

        def attend(now: float) -> None:
            supervisor.alive("sender", now)
            if mute.take():
                status.warn(core.toggle_mute())
            if key is not None:
                core.key(down=key.down(now))
            if reporter.due(now):
                reporter.update(core.figures(now) | source.figures(), now)

        if args.text is not None:
            core.wire.send_text(args.text, time.monotonic())
        source = open_source(config.audio, codec.info)
        if config.audio.open_speaker != "off":
            status.warn(
                f"audio.open_speaker = '{config.audio.open_speaker}' does nothing here: only "
                "linkcodec talk knows what its loudspeaker plays"
            )
        try:
            call_link = open_call_link(config, receives=False)
            with recording(call_link, args.record_wire, config) as link:
                says = f"sending {source.name} over {link.name}"
                status.message(says)
                supervisor.ready(
                    says,
                    Reloader(
                        config,
                        read=lambda: read_config(args),
                        parts=(
                            core.configure,
                            lambda new: source.configure(new.audio),
                            call_link.configure,
                        ),
                        status=status,
                    ),
                )
                run(core, source=source, link=link, status=status, stop=stop, each=attend)
                linger(core, config)
        finally:
            source.close()
            status.close()
    counted = core.statistics
    refused = link.statistics.sends_dropped
    status.message(
        f"sent {core.ticks * FRAME_SECONDS:.1f} s: {counted.frames_sent} frames in "
        f"{counted.packets_sent} packets, {counted.frames_gated} silent, "
        f"{counted.frames_dropped} dropped; {core.wire.wire.mean_bps:.0f} bit/s"
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
