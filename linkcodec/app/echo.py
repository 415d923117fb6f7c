"""`linkcodec echo`: a far end to test a link with, which sends back what it hears."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import numpy as np

from linkcodec.app.audio import AudioSink, AudioSource, Pace
from linkcodec.app.codecs import open_codec
from linkcodec.app.command import StopFlag
from linkcodec.app.metrics import add_metrics_options, open_reporter
from linkcodec.app.options import add_config_options, read_config
from linkcodec.app.ptt import refuse_key
from linkcodec.app.recorder import SoundRecorder, unused_stem
from linkcodec.app.soundpipe import SoundPipe
from linkcodec.app.status import add_status_options, level_dbfs, open_status
from linkcodec.app.talk import CALL_OPTIONS, Duplex
from linkcodec.codec import Pcm

__all__ = ["EchoSink", "EchoSource", "add_arguments", "echo"]

_PIECE_SECONDS: Final = 0.04
_LOUD_DBFS: Final = -45.0
_PAUSE_SECONDS: Final = 1.2
_MOST_SECONDS: Final = 60.0


class EchoSink(SoundPipe):
    """Hands what it is given to an `EchoSource`.

    at_once: while the other end still speaks; else, as a parrot, after it has ended (at most
    the first minute of it). copy: takes everything too.
    """

    def __init__(
        self, *, sample_rate: int, at_once: bool = True, copy: AudioSink | None = None
    ) -> None:
        super().__init__("echo", sample_rate=sample_rate)
        self._at_once = at_once
        self._copy = copy
        self._said: list[Pcm] = []
        self._quiet = 0.0
        self.ready: list[Pcm] = []
        """What a parrot has to say, in pieces."""

    def write(self, pcm: Pcm) -> None:
        if self._copy is not None:
            self._copy.write(pcm)
        if self._at_once:
            super().write(pcm)
        else:
            self._learn(pcm)

    def _learn(self, pcm: Pcm) -> None:
        loud = level_dbfs(pcm) > _LOUD_DBFS
        self._quiet = 0.0 if loud else self._quiet + pcm.size / self._rate
        if loud or self._said:
            self._said.append(pcm)
        if self._said and self._quiet > _PAUSE_SECONDS:
            self.ready = [np.concatenate(self._said)[: round(_MOST_SECONDS * self._rate)]]
            self._said = []

    def take(self, samples: int) -> Pcm:
        if self._at_once:
            return super().take(samples)
        if not self.ready:
            return np.zeros(samples, np.float32)
        said = self.ready.pop()
        if said.size > samples:
            self.ready.append(said[samples:])
        return np.pad(said[:samples], (0, max(0, samples - said.size)))

    def close(self) -> None:
        if self._copy is not None:
            self._copy.close()


class EchoSource(AudioSource):
    """Says what its sink hears."""

    name = "echo"

    def __init__(self, sink: EchoSink, *, sample_rate: int) -> None:
        self._sink = sink
        self._piece = round(_PIECE_SECONDS * sample_rate)
        self._pace = Pace(_PIECE_SECONDS)

    def read(self, timeout: float) -> Pcm:
        if not self._pace.wait(timeout):
            return np.zeros(0, np.float32)
        self._pace.advance()
        return self._sink.take(self._piece)

    def close(self) -> None:
        pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec echo`."""
    parser.description = (
        "Answer on a link and send back what is heard, decoded and coded again: at once, or\n"
        "after each over where both ends share one channel. Ctrl-C ends it."
    )
    parser.epilog = (
        "example:\n  linkcodec echo --config configs/udp-lan.toml --bind 0.0.0.0:47000 "
        "--peer 192.168.1.20:47000"
    )
    add_config_options(parser, CALL_OPTIONS)
    parser.add_argument("--parrot", action="store_true", help="repeat after each over, not at once")
    parser.add_argument("--record", metavar="FILE", help="write what is heard to WAV or FLAC")
    add_metrics_options(parser)
    add_status_options(parser)


def echo(args: argparse.Namespace) -> int:
    """Run `linkcodec echo` until Ctrl-C."""
    config = read_config(args)
    refuse_key(config.gate, command="echo")
    codec = open_codec(config.codec)
    rate = codec.info.sample_rate
    status = open_status(args)
    copy = None
    if args.record is not None:
        suffix = Path(args.record).suffix
        stem = unused_stem(args.record.removesuffix(suffix), suffix, warn=status.warn)
        copy = SoundRecorder(stem + suffix, sample_rate=rate, warn=status.warn)
    sink = EchoSink(sample_rate=rate, at_once=not args.parrot, copy=copy)
    source = EchoSource(sink, sample_rate=rate)
    with (
        Duplex(codec=codec, config=config, source=source, sink=sink) as call,
        open_reporter(args.stats, args.metrics, role="echo", warn=status.warn) as reporter,
        StopFlag() as stop,
    ):
        if call.link.half_duplex and not args.parrot:
            status.warn("both ends share one channel: --parrot repeats after each over instead")
        status.message(f"sending back what comes over {call.link.name}")
        try:
            call.run(
                status=status,
                stop=stop,
                reporter=reporter,
                reload=lambda: read_config(args),
            )
        finally:
            status.close()
    return 0
