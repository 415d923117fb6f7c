"""Command-line flags that override fields of the configuration file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from linkcodec.app.command import finite, whole
from linkcodec.app.config import CallConfig, load_config, override
from linkcodec.exceptions import ConfigError
from transport.budget import check_config

__all__ = ["CHANNEL_OPTIONS", "add_config_options", "read_config"]


@dataclass(frozen=True, kw_only=True)
class _Option:
    """A flag, the "section.field" that it overrides, and its help."""

    field: str
    kind: Callable[[str], object]
    metavar: str
    help: str


_OPTIONS: Final = {
    "codec": _Option(field="codec.name", kind=str, metavar="NAME", help="codec, such as compact"),
    "weights": _Option(
        field="codec.weights",
        kind=str,
        metavar="DIR",
        help="weights of codec qwen3-12hz or mimi: a folder, or a model hub id",
    ),
    "quantizers": _Option(
        field="codec.quantizers",
        kind=whole,
        metavar="K",
        help="codebooks per frame: more sound better and cost 137.5 bit/s each",
    ),
    "frames-per-packet": _Option(
        field="wire.frames_per_packet",
        kind=whole,
        metavar="N",
        help="frames of 80 ms per packet: more cost delay and save overhead",
    ),
    "input": _Option(
        field="audio.input",
        kind=str,
        metavar="FILE",
        help="speak from an audio file, or from standard input with '-' (WAV, or raw 16-bit "
        "mono at the codec's rate) instead of the microphone",
    ),
    "output": _Option(
        field="audio.output",
        kind=str,
        metavar="FILE",
        help="write a WAV or FLAC file, or raw 16-bit mono to standard output with '-', "
        "instead of playing",
    ),
    "input-device": _Option(
        field="audio.input_device",
        kind=str,
        metavar="DEVICE",
        help="microphone: a name or number that `linkcodec devices` shows",
    ),
    "output-device": _Option(
        field="audio.output_device",
        kind=str,
        metavar="DEVICE",
        help="speaker: a name or number that `linkcodec devices` shows",
    ),
    "gain-db": _Option(
        field="audio.gain_db", kind=finite, metavar="DB", help="gain of the input in dB"
    ),
    "open-speaker": _Option(
        field="audio.open_speaker",
        kind=str,
        metavar="HOW",
        help="for a loudspeaker that the microphone hears: gate (the far end does not hear itself; "
        "talk over it clearly louder) or off (headphones)",
    ),
    "mode": _Option(
        field="gate.mode",
        kind=str,
        metavar="MODE",
        help="what starts a transmission: vox (the voice), momentary (a key as long as it is "
        "down) or latching (a key by turns)",
    ),
    "ptt": _Option(
        field="gate.ptt",
        kind=str,
        metavar="KEY",
        help="the key: 'keyboard' (the space bar), or a named pipe in which 1 is down and 0 up",
    ),
    "port": _Option(
        field="link.port", kind=str, metavar="PORT", help="serial port, such as /dev/ttyUSB0"
    ),
    "baud": _Option(field="link.baud", kind=whole, metavar="BAUD", help="speed of the serial port"),
    "rate": _Option(
        field="link.rate", kind=whole, metavar="BPS", help="bit/s of the line; the sender's pace"
    ),
    "peer": _Option(
        field="link.peer",
        kind=str,
        metavar="HOST:PORT",
        help="where to send to, over UDP; the KISS modem, or the end to call",
    ),
    "bind": _Option(
        field="link.bind", kind=str, metavar="HOST:PORT", help="where to listen, over UDP"
    ),
    "loss": _Option(
        field="channel.loss", kind=finite, metavar="P", help="share of packets lost, 0 to 1"
    ),
    "burst": _Option(
        field="channel.burst",
        kind=finite,
        metavar="N",
        help="mean number of packets in a run of losses; 1 = independent losses",
    ),
    "ber": _Option(
        field="channel.ber", kind=finite, metavar="E", help="share of bits inverted, 0 to 1"
    ),
    "delay-ms": _Option(
        field="channel.delay_ms", kind=finite, metavar="MS", help="propagation delay"
    ),
    "jitter-ms": _Option(
        field="channel.jitter_ms", kind=finite, metavar="MS", help="mean of a random extra delay"
    ),
    "delay-trace": _Option(
        field="channel.delay_trace",
        kind=str,
        metavar="FILE",
        help="text file with the delay of each packet in ms, instead of a model",
    ),
    "loss-trace": _Option(
        field="channel.loss_trace",
        kind=str,
        metavar="FILE",
        help="text file with 0 or 1 for each packet (1 = lost), instead of a model",
    ),
    "seed": _Option(
        field="channel.seed",
        kind=whole,
        metavar="S",
        help="seed of the channel's random numbers: the same seed gives the same result",
    ),
}

CHANNEL_OPTIONS: Final = (
    "loss",
    "burst",
    "ber",
    "delay-ms",
    "jitter-ms",
    "delay-trace",
    "loss-trace",
    "seed",
)
"""Flags of the section [channel]."""


def add_config_options(
    parser: argparse.ArgumentParser, names: Iterable[str], *, device: str = ""
) -> None:
    """Add `--config` and flags; `device` is what the short flag `--device` stands for."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        required=True,
        help="TOML file that describes the link, such as configs/loopback-sim.toml",
    )
    group = parser.add_argument_group("overrides of the configuration file")
    for name in names:
        option = _OPTIONS[name]
        flags = [f"--{name}"] + (["--device"] if name == device else [])
        group.add_argument(
            *flags,
            dest=option.field,
            type=option.kind,
            metavar=option.metavar,
            help=option.help,
        )


def read_config(args: argparse.Namespace, *, sends: bool = True) -> CallConfig:
    """The configuration that `--config` and the other flags describe.

    Raises:
        ConfigError: a field or flag is wrong, or (for an end that `sends`) the packets do not
            fit through the line.
    """
    values = vars(args)
    flags = {
        option.field: values[option.field] for option in _OPTIONS.values() if option.field in values
    }
    config = override(load_config(args.config), flags)
    if sends:
        try:
            check_config(
                config.link,
                config.wire,
                quantizers=config.codec.quantizers,
                security=config.security,
            )
        except ConfigError as error:
            raise ConfigError(f"{args.config}: {error}") from None
    return config
