"""Our codecs as a benchmark's user names them: by name, or with weights of a file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from linkcodec.codec import Codec, load_codec
from linkcodec.exceptions import InputError

__all__ = ["load_named_codec"]

_WITH_WEIGHTS: Final = ("mimi", "qwen3-12hz")


def load_named_codec(name: str, weights: Path | None = None) -> Codec:
    """A codec by name, or with other weights than its own.

    `weights` is a file of the full build for compact and compact-light, which is made from it
    in a moment, and a folder in the hub's layout for codecs of other owners.

    Raises:
        InputError: the codec takes no weights.
        CodecError: it cannot be loaded.
    """
    if weights is None:
        return load_codec(name)
    if name in _WITH_WEIGHTS:
        return load_codec(name, weights=weights)
    from linkcodec.light.codec import NumpyCodec
    from linkcodec.light.weights import export_light, read_full

    if name == "compact":
        return NumpyCodec.read(weights)
    if name != "compact-light":
        known = ", ".join(("compact", "compact-light", *_WITH_WEIGHTS))
        raise InputError(f"--weights is for codec {known}, not for '{name}'")
    version = read_full(weights).version
    with tempfile.TemporaryDirectory() as folder:
        export_light(weights, Path(folder))
        codec = NumpyCodec.load_light(version, folder=Path(folder))
        # The encoder's half is read when it is first asked for.
        codec.encoder()
    return codec
