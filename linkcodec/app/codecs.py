"""The codecs of this machine: opening the one that is configured, and `linkcodec codecs`."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Final

from linkcodec.app.command import write_line
from linkcodec.app.config import CodecConfig
from linkcodec.codec import Codec, codec_names, load_codec
from linkcodec.exceptions import CodecError

__all__ = ["add_arguments", "codecs", "open_codec"]

_HUB_IDS: Final = {"mimi": "kyutai/mimi", "qwen3-12hz": "Qwen/Qwen3-TTS-Tokenizer-12Hz"}
_PACKAGES: Final = ("torch", "safetensors", "huggingface_hub")


def open_codec(config: CodecConfig) -> Codec:
    """The codec of a configuration, with its weights.

    Raises:
        CodecError: as `load_codec`.
    """
    return load_codec(
        config.name,
        weights=config.weights or None,
        device=config.device or None,
        precision=config.precision or None,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `linkcodec codecs`."""
    parser.description = (
        "List the codecs: which can be used, where their weights lie, and what is missing.\n"
        "With --compare-codebooks, say whether two checkpoints have the same encoder and\n"
        "codebooks, so that tokens of one may be decoded by the other."
    )
    parser.epilog = (
        "example:\n  linkcodec codecs --compare-codebooks Qwen/Qwen3-TTS-Tokenizer-12Hz kyutai/mimi"
    )
    parser.add_argument(
        "--compare-codebooks",
        nargs=2,
        metavar=("A", "B"),
        help="two checkpoints: folders in the hub's layout, or hub ids",
    )


def codecs(args: argparse.Namespace) -> int:
    """Run `linkcodec codecs`."""
    if args.compare_codebooks is not None:
        from linkcodec.mimi.compare import compare_codebooks

        for line in compare_codebooks(*args.compare_codebooks):
            write_line(line)
        return 0
    for name in codec_names():
        write_line(f"{name:14s} {_state(name)}")
    return 0


def _state(name: str) -> str:
    if name not in _HUB_IDS:
        try:
            info = load_codec(name).info
        except CodecError as error:
            return f"not usable: {error}"
        return (
            f"in the package, version {info.version}, weights {info.weights_hash[:8]}, "
            f"{info.sample_rate // 1000} kHz, {info.quantizers} codebooks"
        )
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        return f"missing: {', '.join(missing)} (pip install 'linkcodec[qwen]')"
    from linkcodec.mimi.hub import find_cached

    folder = find_cached(_HUB_IDS[name])
    if folder is None:
        return f"no weights yet: the first use downloads {_HUB_IDS[name]}, or give --weights FOLDER"
    return f"weights in {folder}"
