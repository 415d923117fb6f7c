"""The command line: `linkcodec COMMAND`, also `python -m linkcodec`."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import receiver
import sender
from linkcodec import __version__, devices
from linkcodec.app import echo, key, monitor, service, talk, wire
from linkcodec.app.codecs import add_arguments as add_codecs_arguments
from linkcodec.app.codecs import codecs, open_codec
from linkcodec.app.command import (
    AUDIO_SUFFIXES,
    Parser,
    check_output_path,
    run_command,
    whole,
    write_line,
)
from linkcodec.app.config import CallConfig, load_config
from linkcodec.app.gateway.command import add_arguments as gateway_arguments
from linkcodec.app.gateway.command import gateway
from linkcodec.app.options import CHANNEL_OPTIONS, add_config_options, read_config
from linkcodec.app.ptt import refuse_key
from linkcodec.app.report import build_report, summary, write_report
from linkcodec.app.simulate import Simulation
from linkcodec.audiofile import AudioWriter, Resampler, read_audio, stream_audio, write_audio
from linkcodec.callfile import CallFile, is_call, load_call
from linkcodec.codec import Codec, Pcm, codec_names, load_codec
from linkcodec.exceptions import CodecError, ConfigError, InputError, TokenFileError
from linkcodec.frame import FRAME_SECONDS, INDEX_BITS, Frame
from linkcodec.tokenfile import TokenFile, load_tokens, save_tokens
from transport.budget import BudgetRow, SlotRow, budget, check_config, slot_budget
from transport.linerate import Framing

__all__ = ["build_parser", "main"]

_BLOCK_SECONDS: Final = 1.0
_AUDIO_HELP: Final = "audio file: WAV, FLAC, OGG, MP3, M4A, any rate and number of channels"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit status: 0, 2 for wrong usage or input, 1 for a failure."""
    args = build_parser().parse_args(argv)
    return run_command(f"linkcodec {args.command}", lambda: args.run(args))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="linkcodec",
        description="Streaming voice over links of 1200 bit/s, with a neural codec.",
        epilog="`linkcodec COMMAND --help` explains a command. A first try:\n"
        "  linkcodec simulate speech.wav out.wav --config configs/loopback-sim.toml",
    )
    parser.add_argument("--version", action="version", version=f"linkcodec {__version__}")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=Parser
    )

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int],
        add_arguments: Callable[[argparse.ArgumentParser], None],
        short: str,
    ) -> None:
        child = commands.add_parser(name, help=short, description=short)
        add_arguments(child)
        child.set_defaults(run=run)

    command("encode", _encode, _encode_arguments, "audio file to token file")
    command("decode", _decode, _decode_arguments, "token file to audio file")
    command("simulate", _simulate, _simulate_arguments, "a call over a simulated link, to a file")
    command("budget", _budget, _budget_arguments, "what fits through a line")
    command("codecs", codecs, add_codecs_arguments, "codecs, and where their weights lie")
    command("devices", _devices, _devices_arguments, "list microphones and speakers")
    command("talk", talk.talk, talk.add_arguments, "both directions of a call")
    command("echo", echo.echo, echo.add_arguments, "send back what a link brings, for tests")
    command("gateway", gateway, gateway_arguments, "a call from a web page")
    command("send", sender.send, sender.add_arguments, "send speech over a link")
    command("receive", receiver.receive, receiver.add_arguments, "receive speech from a link")
    command("service", service.service, service.add_arguments, "run a call unattended")
    command("health", monitor.health, monitor.add_health_arguments, "whether a call is well")
    command("monitor", monitor.monitor, monitor.add_monitor_arguments, "watch a call")
    command("key", key.key, key.add_arguments, "make or check a key for security")
    command("wire", wire.dump, wire.add_arguments, "explain what went over a link")
    return parser


# encode, decode


def _encode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Code an audio file into a token file: 80 ms of speech become K indices of 11 bits."
    )
    parser.add_argument("input", metavar="IN", help=_AUDIO_HELP)
    parser.add_argument("output", metavar="OUT.lkc", help="token file to write")
    parser.add_argument(
        "--codec",
        metavar="NAME",
        default="compact",
        help=f"codec: {', '.join(codec_names())} (default: compact)",
    )
    _add_weights(parser)
    parser.add_argument(
        "--quantizers", metavar="K", type=whole, help="codebooks per frame (default: all)"
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help="weights of codec qwen3-12hz or mimi: a folder, or a model hub id",
    )


def _encode(args: argparse.Namespace) -> int:
    check_output_path(args.output, what="token file")
    codec = load_codec(args.codec, weights=args.weights)
    info = codec.info
    quantizers = codec.check_quantizers(args.quantizers)
    sizes: list[int] = []

    def heard() -> Iterator[Pcm]:
        block = round(_BLOCK_SECONDS * info.sample_rate)
        for pcm in stream_audio(args.input, info.sample_rate, block=block):
            sizes.append(pcm.size)
            yield pcm

    frames = tuple(codec.encode_blocks(heard(), quantizers=quantizers))
    samples = sum(sizes)
    tokens = TokenFile(
        codec=info.name,
        codec_version=info.version,
        weights_hash=info.weights_hash,
        sample_rate=info.sample_rate,
        frame_size=info.frame_size,
        quantizers=quantizers,
        samples=samples,
        delay=info.delay,
        frames=frames,
    )
    save_tokens(args.output, tokens)
    rate = INDEX_BITS * quantizers * info.sample_rate / info.frame_size
    write_line(
        f"{args.output}: {samples / info.sample_rate:.2f} s in {len(frames)} frames of "
        f"{quantizers} codebooks, {rate:g} bit/s"
    )
    return 0


def _decode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Decode a token file into an audio file as long as the one encoded, or one direction of\n"
        "a call that `talk --record NAME.lkc` has written."
    )
    parser.add_argument(
        "input", metavar="IN.lkc", help="file that `encode` or `talk --record` has written"
    )
    parser.add_argument("output", metavar="OUT.wav", help="WAV or FLAC file to write")
    parser.add_argument(
        "--sample-rate", metavar="HZ", type=whole, help="rate of the output (default: the codec's)"
    )
    _add_weights(parser)
    parser.add_argument(
        "--quantizers",
        metavar="K",
        type=whole,
        help="use only the K coarsest codebooks of each frame (default: all stored)",
    )
    parser.add_argument(
        "--codec",
        metavar="NAME",
        help="another build of the file's codec, such as compact-light (default: the file's codec)",
    )


def _decode(args: argparse.Namespace) -> int:
    if args.sample_rate is not None and not 4000 <= args.sample_rate <= 384_000:
        raise InputError(f"--sample-rate {args.sample_rate} is not possible: use 4000 to 384000")
    tokens = load_call(args.input) if is_call(args.input) else load_tokens(args.input)
    check_output_path(args.output, what="audio", suffixes=AUDIO_SUFFIXES)
    if args.quantizers is not None and not 1 <= args.quantizers <= tokens.quantizers:
        raise InputError(
            f"--quantizers {args.quantizers} is not possible: {args.input} holds "
            f"1 to {tokens.quantizers}"
        )
    try:
        codec = load_codec(
            args.codec or tokens.codec, version=tokens.codec_version, weights=args.weights
        )
    except CodecError as error:
        raise TokenFileError(f"{args.input}: {error}") from error
    _check_codec(tokens, codec, path=args.input)
    rate = args.sample_rate or tokens.sample_rate
    resampler = Resampler(tokens.sample_rate, rate)
    samples = 0
    with AudioWriter(args.output, rate) as writer:
        for pcm in _decoded(tokens, codec, quantizers=args.quantizers or tokens.quantizers):
            samples += pcm.size
            writer.write(resampler.push(pcm))
        writer.write(resampler.flush())
    cut = isinstance(tokens, CallFile) and not tokens.complete
    write_line(
        f"{args.output}: {samples / tokens.sample_rate:.2f} s at {rate} Hz"
        + (" (the recording was cut off there)" if cut else "")
    )
    return 0


def _decoded(tokens: TokenFile | CallFile, codec: Codec, *, quantizers: int) -> Iterator[Pcm]:
    """The speech frame by frame, without the codec's delay and the padding at the end."""
    decoder = codec.decoder()
    skip, left = tokens.delay, tokens.samples
    for item in tokens.frames:
        pcm = decoder.decode(item.coarse(quantizers) if isinstance(item, Frame) else item)
        skipped = min(skip, pcm.size)
        skip -= skipped
        pcm = pcm[skipped:][:left]
        left -= pcm.size
        yield pcm


def _check_codec(tokens: TokenFile | CallFile, codec: Codec, *, path: str) -> None:
    """Refuse a file that another version of the codec, or other weights, have coded."""
    info = codec.info
    if tokens.codec != info.name:
        raise TokenFileError(
            f"{path}: coded with {tokens.codec}, which codec {info.name} cannot decode: "
            f"leave --codec out"
        )
    theirs = (tokens.codec_version, tokens.weights_hash, tokens.sample_rate, tokens.frame_size)
    ours = (info.version, info.weights_hash, info.sample_rate, info.frame_size)
    if theirs != ours or tokens.delay != info.delay or tokens.quantizers > info.quantizers:
        spoken = isinstance(tokens, CallFile)
        raise TokenFileError(
            f"{path}: coded with {tokens.codec} version {tokens.codec_version} (weights "
            f"{tokens.weights_hash[:8] or 'none'}), here is version {info.version} (weights "
            f"{info.weights_hash[:8] or 'none'}): "
            + ("use the weights of that call" if spoken else "encode the audio again")
        )


# simulate


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Send an audio file through the real sender, a simulated link and the real receiver, in\n"
        "virtual time. OUT.wav is as long as the input and lies on its time axis, so that both\n"
        "can be compared. The same seed gives the same file."
    )
    parser.epilog = (
        "example:\n  linkcodec simulate speech.wav out.wav --config configs/sat-1200-sync.toml "
        "--loss 0.05 --burst 2 --report report.json"
    )
    parser.add_argument("input", metavar="IN", help=_AUDIO_HELP)
    parser.add_argument("output", metavar="OUT.wav", help="WAV or FLAC file to write")
    names = ("codec", "weights", "quantizers", "frames-per-packet", "gain-db", *CHANNEL_OPTIONS)
    add_config_options(parser, names)
    parser.add_argument(
        "--report", metavar="FILE.json", help="write all figures of the call as one JSON object"
    )
    parser.add_argument("--quiet", action="store_true", help="do not print the summary")


def _simulate(args: argparse.Namespace) -> int:
    config = read_config(args)
    refuse_key(config.gate, command="simulate")
    check_output_path(args.output, what="audio", suffixes=AUDIO_SUFFIXES)
    if args.report is not None:
        check_output_path(args.report, what="report")
    codec = open_codec(config.codec)
    simulation = Simulation(codec=codec, config=config)
    pcm = read_audio(args.input, codec.info.sample_rate)
    started = time.perf_counter()
    result = simulation.run(pcm)
    report = build_report(
        result,
        config=config,
        codec=codec.info.name,
        audio_seconds=pcm.size / codec.info.sample_rate,
        wall_seconds=time.perf_counter() - started,
    )
    write_audio(args.output, result.pcm, codec.info.sample_rate)
    if args.report is not None:
        write_report(args.report, report)
    if not args.quiet:
        write_line(summary(report))
    return 0


# budget, devices


def _budget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "For each number of frames per packet: the most codebooks that fit through a line, what\n"
        "they cost, and the delay to collect and to send a packet. With --config, also whether\n"
        "its settings fit."
    )
    parser.epilog = "example:\n  linkcodec budget --rate 1200 --framing 8n1"
    parser.add_argument("--config", metavar="FILE", help="take rate and framing from this file")
    parser.add_argument("--rate", metavar="BPS", type=whole, help="bit/s (default: 1200)")
    parser.add_argument(
        "--framing",
        choices=[str(framing) for framing in Framing],
        help="how bytes travel (default: sync); sync has 8 bit times per byte, 8n1 has 10",
    )
    parser.add_argument(
        "--quantizers", metavar="K", type=whole, help="only rows with this many codebooks"
    )


def _budget(args: argparse.Namespace) -> int:
    config = load_config(args.config) if args.config is not None else None
    rate = args.rate if args.rate is not None else config.link.rate if config else 1200
    framing = Framing(args.framing or (config.link.framing if config else "sync"))
    try:
        table = budget(rate, framing, quantizers=args.quantizers)
    except ConfigError as error:
        raise ConfigError(f"--{error}" if args.config is None else str(error)) from None
    write_line(
        f"{rate} bit/s with framing {framing} carries {table.capacity_bps:g} bit/s of bytes."
    )
    if table.rows:
        write_line("frames/packet  codebooks  packet bytes  bit/s  overhead  collect ms  send ms")
    else:
        write_line("Nothing fits: not even one codebook. Use a faster line.")
    for row in table.rows:
        write_line(_budget_line(row))
    if framing.stream:
        _write_slots(rate, framing, config=config, quantizers=args.quantizers)
    if config is not None:
        link = dataclasses.replace(config.link, rate=rate, framing=str(framing))
        used = check_config(
            link, config.wire, quantizers=config.codec.quantizers, security=config.security
        )
        write_line(f"{args.config} fits:")
        write_line(_slot_line(used) if isinstance(used, SlotRow) else _budget_line(used))
    return 0


def _write_slots(
    rate: int, framing: Framing, *, config: CallConfig | None, quantizers: int | None
) -> None:
    depth = config.wire.interleaver_slots if config else 1
    try:
        rows = slot_budget(rate, framing, interleaver_slots=depth)
    except ConfigError as error:
        write_line(f"No slots: {error}")
        return
    first = rows[0]
    write_line(
        f"In slots of {first.slot_bytes} bytes every 80 ms, {first.wire_bps:.0f} bit/s, with "
        f"{first.side_bps:.1f} bit/s for station, texts and link information:"
    )
    write_line("codebooks  overhead  collect ms  send ms  spread ms  protection")
    for row in rows:
        if quantizers in (None, row.quantizers):
            write_line(_slot_line(row))


def _slot_line(row: SlotRow) -> str:
    return (
        f"{row.quantizers:9d}  {100.0 * row.overhead:6.1f} %  {1000.0 * FRAME_SECONDS:10.0f}  "
        f"{row.send_ms:7.0f}  {row.spread_ms:9.0f}  {row.protected}"
    )


def _budget_line(row: BudgetRow) -> str:
    return (
        f"{row.frames_per_packet:13d}  {row.quantizers:9d}  {row.packet_bytes:12d}  "
        f"{row.wire_bps:5.0f}  {100.0 * row.overhead:6.1f} %  {row.collect_ms:10.0f}  "
        f"{row.send_ms:7.0f}"
    )


def _devices_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "List the sound devices with their numbers of channels. `send --device` and\n"
        "`receive --device` take a number or a part of a name."
    )


def _devices(_: argparse.Namespace) -> int:
    found = devices.list_devices()
    if not found:
        write_line("No sound devices here: send from a file, receive into one, or use '-'.")
        return 0
    write_line("number  in  out  rate Hz  name")
    for device in found:
        defaults = [
            kind
            for kind, chosen in (
                ("microphone", device.is_default_input),
                ("speaker", device.is_default_output),
            )
            if chosen
        ]
        write_line(
            f"{device.index:6d}  {device.inputs:2d}  {device.outputs:3d}  "
            f"{device.sample_rate:7.0f}  {device.name} [{device.host_api}]"
            + (f", the default {' and '.join(defaults)}" if defaults else "")
        )
    if not any(device.inputs for device in found):
        write_line("No microphone: this machine can receive; send from a file or '-'.")
    if not any(device.outputs for device in found):
        write_line("No speaker: this machine can send; receive into a file or '-'.")
    return 0
