"""`python -m linkcodec.compact.train`: prepare a corpus, train, export weights."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from linkcodec.compact.train.trainer import Run, TrainConfig
from linkcodec.compact.versions import CURRENT_VERSION
from linkcodec.exceptions import LinkcodecError


def _prepare(options: argparse.Namespace) -> None:
    from linkcodec.compact.train.data import prepare

    for line in prepare(source=options.source, destination=options.corpus, workers=options.workers):
        print(line, flush=True)


def _run(options: argparse.Namespace) -> None:
    names = [field.name for field in fields(TrainConfig)]
    config = TrainConfig(**{name: getattr(options, name) for name in names})
    run = Run(
        folder=options.folder,
        corpus=options.corpus,
        config=config,
        recogniser=options.recogniser,
        speaker=options.speaker_file,
        start=options.start,
        evaluation=options.evaluation,
    )
    try:
        for record in run.steps():
            line = "  ".join(f"{name} {value:.4g}" for name, value in record.items())
            print(line, flush=True)
    except KeyboardInterrupt:
        if run.resumable:
            run.save()
        print(f"stopped at step {run.step}; the same command goes on from the last checkpoint")


def _books(options: argparse.Namespace) -> None:
    from linkcodec.compact.train.sensitivity import remake_books

    for line in remake_books(
        source=options.source,
        folder=options.folder,
        corpus=options.corpus,
        share=options.share,
        batches=options.batches,
        threads=options.threads,
    ):
        print(line, flush=True)


def _reshape(options: argparse.Namespace) -> None:
    from linkcodec.compact.train.reshape import reshape

    print(reshape(source=options.source, folder=options.folder, corpus=options.corpus))


def _export(options: argparse.Namespace) -> None:
    from linkcodec.compact.weights import export_checkpoint

    checkpoint = options.folder / "checkpoint.pt"
    print(export_checkpoint(checkpoint, options.weights, version=options.version))


def _export_light(options: argparse.Namespace) -> None:
    from linkcodec.light.weights import export_light

    folder = options.folder or options.weights.parent
    print("\n".join(export_light(options.weights, folder)))


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m linkcodec.compact.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    prepare = commands.add_parser("prepare", help="turn a folder of recordings into a corpus")
    prepare.add_argument("source", type=Path)
    prepare.add_argument("corpus", type=Path)
    prepare.add_argument("--workers", type=int, default=2)
    prepare.set_defaults(act=_prepare)
    run = commands.add_parser("run", help="train; resumes where the folder's checkpoint stands")
    run.add_argument("corpus", type=Path)
    run.add_argument("folder", type=Path)
    run.add_argument("--start", type=Path, help="a run's folder, or weights, to begin with")
    run.add_argument("--recogniser", type=Path, help="CTranslate2 model.bin of Whisper base")
    run.add_argument("--speaker-file", type=Path, help="pretrained.pt of the package Resemblyzer")
    run.add_argument("--evaluation", type=Path, help="clips to measure with at each checkpoint")
    for setting in fields(TrainConfig):
        default = setting.default
        run.add_argument(
            f"--{setting.name.replace('_', '-')}",
            **(
                {"action": argparse.BooleanOptionalAction}
                if isinstance(default, bool)
                else {"type": type(default)}
            ),
            default=default,
            help=f"default {default}",
        )
    run.set_defaults(act=_run)
    books = commands.add_parser(
        "books", help="weigh the latents by what is heard of them and make the books anew"
    )
    books.add_argument("corpus", type=Path)
    books.add_argument("source", type=Path, help="folder of the run whose averaged weights to take")
    books.add_argument("folder", type=Path, help="folder to write a checkpoint to")
    books.add_argument(
        "--share", type=float, default=0.8, help="power of the weighing (default 0.8)"
    )
    books.add_argument("--batches", type=int, default=700, help="of latents (default %(default)s)")
    books.add_argument("--threads", type=int, default=2)
    books.set_defaults(act=_books)
    shape = commands.add_parser(
        "reshape", help="trained weights in a network of the present sizes, to start from"
    )
    shape.add_argument("corpus", type=Path)
    shape.add_argument("source", type=Path, help="folder of a run, or a released weights file")
    shape.add_argument("folder", type=Path, help="folder to write a checkpoint to")
    shape.set_defaults(act=_reshape)
    export = commands.add_parser("export", help="write the weights of a run for the package")
    export.add_argument("folder", type=Path)
    export.add_argument("weights", type=Path)
    export.add_argument("--version", type=int, default=CURRENT_VERSION, help="default %(default)s")
    export.set_defaults(act=_export)
    light = commands.add_parser("export-light", help="write the light build of a weights file")
    light.add_argument("weights", type=Path)
    light.add_argument("folder", type=Path, nargs="?", help="default: beside the weights")
    light.set_defaults(act=_export_light)
    options = parser.parse_args(arguments)
    try:
        options.act(options)
    except LinkcodecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
