"""`linkcodec talk`: both directions of a call in one process, over one link."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

import receiver
import sender
from linkcodec.app.audio import (
    AudioSink,
    AudioSource,
    FileSource,
    GatedMicrophone,
    MicrophoneSource,
    SpeakerSink,
    open_sink,
    open_source,
)
from linkcodec.app.callcontrol import ANSWERS, HeldBack, open_telephone, recording_both
from linkcodec.app.codecs import open_codec
from linkcodec.app.command import SignalFlag, StopFlag
from linkcodec.app.config import CallConfig
from linkcodec.app.link import open_call_link
from linkcodec.app.metrics import Reporter, add_metrics_options, open_reporter
from linkcodec.app.options import CHANNEL_OPTIONS, add_config_options, read_config
from linkcodec.app.ptt import open_key
from linkcodec.app.security import open_security
from linkcodec.app.status import StatusLine, add_status_options, open_status
from linkcodec.app.supervision import Reloader, Supervisor
from linkcodec.codec import Codec
from linkcodec.frame import FRAME_SECONDS
from transport.wire import WireEvent

__all__ = ["CALL_OPTIONS", "Duplex", "add_arguments", "talk"]

CALL_OPTIONS = (
    *("gain-db", "codec", "weights", "quantizers", "frames-per-packet"),
    *("port", "baud", "rate", "peer", "bind", *CHANNEL_OPTIONS),
)
"""Flags of everything that speaks and listens over one link."""


class Duplex:
    """Both directions of a call over one link; closes its source and sink at the end.

    Use as a context manager. outgoing, incoming: the cores. link: what they share.
    """

    def __init__(
        self, *, codec: Codec, config: CallConfig, source: AudioSource, sink: AudioSink
    ) -> None:
        self._codec = codec
        self._config = config
        self._source = source
        self._sink = sink

    def __enter__(self) -> Self:
        codec, config = self._codec, self._config
        with ExitStack() as stack:
            stack.callback(self._source.close)
            stack.callback(self._sink.close)
            hears_itself = config.link.kind == "loopback"
            security = stack.enter_context(
                open_security(config.security, sends=True, receives=True, hears_itself=hears_itself)
            )
            self.outgoing = sender.SenderCore(codec=codec, config=config, security=security)
            self.link = stack.enter_context(open_call_link(config))
            self.incoming = receiver.ReceiverCore(
                codec=codec, config=config, datagram=self.link.datagram, security=security
            )
            self._supervisor = stack.enter_context(Supervisor("receiver", "sender"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _parts(self) -> tuple[Callable[[CallConfig], list[str]], ...]:
        """What can change during a call."""
        return (
            self.outgoing.configure,
            self.incoming.configure,
            lambda config: self._source.configure(config.audio),
            lambda config: self._sink.configure(config.audio),
            self.link.configure,
        )

    def run(
        self,
        *,
        status: StatusLine,
        stop: StopFlag,
        each: Callable[[float], None] | None = None,
        heard: Callable[[WireEvent, float], None] | None = None,
        reporter: Reporter | None = None,
        reload: Callable[[], CallConfig] | None = None,
    ) -> None:
        """Speak and listen until `stop` is set, or the source and the far end have ended.

        each: called with the time in every round of the sender, which is its only thread.
        heard: takes what comes besides speech, in the receiver's thread.
        reporter: takes the figures of both directions, those of the sender as "send_...".
        reload: reads the configuration again.

        Raises:
            LinkcodecError: the source, the sink or the link failed.
        """
        failures: list[Exception] = []
        sent = threading.Event()
        supervisor = self._supervisor

        def attend(now: float) -> None:
            supervisor.alive("sender", now)
            if each is not None:
                each(now)
            if reporter is not None and reporter.due(now):
                known = self.outgoing.figures(now) | self._source.figures()
                reporter.beside = known.renamed("send_")

        def speak() -> None:
            try:
                sender.run(
                    self.outgoing,
                    source=self._source,
                    link=self.link,
                    status=status.hushed(),
                    stop=stop,
                    each=attend,
                )
            except Exception as error:  # raised again below; half a call is none
                failures.append(error)
            finally:
                sent.set()

        def over() -> bool:
            incoming = self.incoming
            return bool(failures) or (
                sent.is_set()
                and (bool(stop) or incoming.last_packet_at is None or incoming.buffer.ended)
            )

        reloader = None
        if reload is not None:
            reloader = Reloader(self._config, read=reload, parts=self._parts(), status=status)
        supervisor.ready(f"a call over {self.link.name}", reloader)
        speaker = threading.Thread(target=speak, name="sender")
        speaker.start()
        try:
            receiver.run(
                self.incoming,
                codec=self._codec,
                sink=self._sink,
                link=self.link,
                status=status,
                stop=over,
                partner=self.outgoing.wire,
                heard=heard,
                reporter=reporter,
                each=lambda now: supervisor.alive("receiver", now),
            )
        finally:
            stop.set()
            speaker.join()
        sender.linger(self.outgoing, self._config)
        if failures:
            raise failures[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec talk`."""
    parser.description = (
        "Speak and listen over one link. Wear headphones, or the far end hears itself; with a\n"
        "loudspeaker, --open-speaker gate keeps its sound out of the microphone. Over UDP each\n"
        "side needs the other's address as --peer; with a loopback configuration you hear\n"
        "yourself. Ctrl-C ends the call. The status is the receiver's."
    )
    parser.epilog = (
        "example:\n  linkcodec talk --config configs/udp-lan.toml --peer 192.168.1.20:47000"
    )
    names = ("input", "output", "input-device", "output-device", "open-speaker", "mode", "ptt")
    add_config_options(parser, (*names, *CALL_OPTIONS))
    parser.add_argument(
        "--ring", action="store_true", help="ring at the other end; speech goes once it answers"
    )
    parser.add_argument(
        "--answer",
        choices=ANSWERS,
        help="what to do when the other end rings: auto, take the call; ask, wait for Enter; "
        "busy, refuse it (default without --ring: the line is always open)",
    )
    parser.add_argument(
        "--record",
        metavar="NAME",
        help="write both directions of the call, to NAME-said.wav and NAME-heard.wav; with "
        "NAME.lkc the frames that are sent and that come, to NAME-said.lkc and NAME-heard.lkc, "
        "half a megabyte an hour (see `linkcodec decode`)",
    )
    add_metrics_options(parser)
    add_status_options(parser)


def talk(args: argparse.Namespace) -> int:
    """Run `linkcodec talk`: ends on Ctrl-C, or when the input has ended and the far end too."""
    config = read_config(args)
    status = open_status(args)
    telephone = open_telephone(
        ring=args.ring,
        answer=args.answer,
        audio_input=config.audio.input,
        key=config.gate.ptt,
        status=status,
    )
    codec = open_codec(config.codec)
    source = open_source(config.audio, codec.info)
    if telephone is not None and isinstance(source, FileSource):
        source = HeldBack(source, telephone, samples=codec.info.frame_size, seconds=FRAME_SECONDS)
    try:
        sink = open_sink(config.audio, codec.info)
    except BaseException:
        source.close()
        raise
    if isinstance(source, MicrophoneSource) and isinstance(sink, SpeakerSink):
        source = GatedMicrophone(
            source, sink, config=config.audio, sample_rate=codec.info.sample_rate
        )
    elif config.audio.open_speaker != "off":
        status.warn(
            f"audio.open_speaker = '{config.audio.open_speaker}' does nothing here: it is for a "
            "microphone and a speaker, not for files"
        )
    with (
        Duplex(codec=codec, config=config, source=source, sink=sink) as call,
        open_reporter(args.stats, args.metrics, role="talk", warn=status.warn) as reporter,
        open_key(config.gate, audio_input=config.audio.input) as key,
        recording_both(
            args.record,
            telephone=telephone,
            outgoing=call.outgoing,
            incoming=call.incoming,
            info=codec.info,
            warn=status.warn,
        ),
        SignalFlag(signal.SIGUSR1) as mute,
        StopFlag() as stop,
    ):

        def attend(now: float) -> None:
            if mute.take():
                status.warn(call.outgoing.toggle_mute())
            if key is not None:
                call.outgoing.key(down=key.down(now))
            if telephone is not None:
                telephone.attend(call.outgoing, now)

        status.message(f"talking over {call.link.name}: {source.name} to {sink.name}")
        try:
            call.run(
                status=status,
                stop=stop,
                each=attend,
                heard=None if telephone is None else telephone.heard,
                reporter=reporter,
                reload=lambda: read_config(args),
            )
        finally:
            status.close()
    return 0
