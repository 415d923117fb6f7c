"""What the benchmarks' command lines share: options, exit statuses, one-line errors."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from linkcodec.exceptions import InputError, LinkcodecError

__all__ = ["add_clips", "add_codec", "progress", "run_command"]


def run_command(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, str], None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse `arguments` (else those of the process) and do it; the exit status.

    `run` gets the options and the whole command, as it is written to the docs. The parser's
    name is `python -m benchmarks.NAME`.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = parser.prog.rpartition(".")[2]
    try:
        run(parser.parse_args(words), shlex.join([*parser.prog.split(), *words]))
    except LinkcodecError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        print(f"{name}: stopped; finished clips are kept", file=sys.stderr)
        return 130
    return 0


def add_clips(parser: argparse.ArgumentParser) -> None:
    """Options for measures on clips: where they lie, and where scores are kept."""
    add = parser.add_argument
    add("--clips", type=Path, default=Path("../shared/speech/eval"), metavar="DIR")
    add("--cache", type=Path, default=Path("build/quality"), metavar="DIR")
    add("--whisper", type=Path, metavar="DIR", help="Whisper base for faster-whisper")


def add_codec(parser: argparse.ArgumentParser) -> None:
    """Options for the codec to measure."""
    add = parser.add_argument
    add("--codec", default="compact", help="our codec by name (default %(default)s)")
    add(
        "--weights",
        type=Path,
        metavar="FILE",
        help="other weights: a file for compact and compact-light, a folder for the others",
    )


def progress(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)
