from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tinymodel import tiny_model

from benchmarks.ours import load_named_codec
from linkcodec.compact.weights import save_weights
from linkcodec.exceptions import CodecError, InputError


@pytest.mark.parametrize(("name", "build"), [("compact", ""), ("compact-light", "light")])
def test_weights_of_a_file_replace_the_packages(tmp_path: Path, name: str, build: str) -> None:
    path = tmp_path / "w.npz"
    save_weights(tiny_model(), path, version=7)
    codec = load_named_codec(name, path)
    assert (codec.info.version, codec.info.quantizers, codec.info.build) == (7, 3, build)
    tokens = codec.encode(np.zeros(2560, np.float32), sample_rate=16_000)
    assert tokens.shape[0] == 3
    assert codec.decode(tokens).size >= 2560


def test_both_builds_have_the_name_of_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    save_weights(tiny_model(), path, version=7)
    full, light = (load_named_codec(name, path).info for name in ("compact", "compact-light"))
    assert full.weights_hash == light.weights_hash
    assert full.weights_hash != load_named_codec("compact").info.weights_hash


def test_wrong_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not for 'tone'"):
        load_named_codec("tone", tmp_path)
    for name in ("compact", "compact-light", "qwen3-12hz"):
        with pytest.raises(CodecError):
            load_named_codec(name, tmp_path / "none.npz")
