from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from linkcodec.compact.train.listener import Listener, read_tensors
from linkcodec.exceptions import InputError

WIDTH = 16


def text(value: str) -> bytes:
    data = value.encode() + b"\0"
    return struct.pack("<H", len(data)) + data


def write_model(path: Path) -> dict[str, npt.NDArray[np.float16]]:
    """A one-layer encoder of width 16 in the layout of CTranslate2, random weights."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (WIDTH, 80, 3),
        "conv1/bias": (WIDTH,),
        "conv2/weight": (WIDTH, WIDTH, 3),
        "conv2/bias": (WIDTH,),
        "position_encodings/encodings": (1500, WIDTH),
        "layer_0/self_attention/layer_norm/gamma": (WIDTH,),
        "layer_0/self_attention/layer_norm/beta": (WIDTH,),
        "layer_0/self_attention/linear_0/weight": (3 * WIDTH, WIDTH),
        "layer_0/self_attention/linear_0/bias": (3 * WIDTH,),
        "layer_0/self_attention/linear_1/weight": (WIDTH, WIDTH),
        "layer_0/self_attention/linear_1/bias": (WIDTH,),
        "layer_0/ffn/layer_norm/gamma": (WIDTH,),
        "layer_0/ffn/layer_norm/beta": (WIDTH,),
        "layer_0/ffn/linear_0/weight": (2 * WIDTH, WIDTH),
        "layer_0/ffn/linear_0/bias": (2 * WIDTH,),
        "layer_0/ffn/linear_1/weight": (WIDTH, 2 * WIDTH),
        "layer_0/ffn/linear_1/bias": (WIDTH,),
    }
    tensors = {
        f"encoder/{name}": (0.2 * random.standard_normal(shape)).astype(np.float16)
        for name, shape in shapes.items()
    }
    data = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, value in tensors.items():
        data += text(name) + struct.pack("<B", value.ndim)
        data += struct.pack(f"<{value.ndim}I", *value.shape)
        data += struct.pack("<BI", 4, value.nbytes) + value.tobytes()
    path.write_bytes(data)
    return tensors


def test_all_tensors_are_read(tmp_path: Path) -> None:
    written = write_model(tmp_path / "model.bin")
    read = read_tensors(tmp_path / "model.bin")
    assert set(read) == set(written)
    for name, value in written.items():
        np.testing.assert_array_equal(read[name].numpy(), value.astype(np.float32))


@pytest.mark.parametrize("data", [b"", b"\x06\0\0\0", b"not a model at all" * 9])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"model\.bin"):
        read_tensors(tmp_path / "model.bin")


def test_distance_is_nothing_for_the_same_and_has_a_gradient(tmp_path: Path) -> None:
    write_model(tmp_path / "model.bin")
    listener = Listener(tmp_path / "model.bin", layers=1)
    torch.manual_seed(0)
    target = 0.1 * torch.randn(2, 6400)
    assert float(listener.distance(target, target)) == 0.0
    output = (target + 0.05 * torch.randn(2, 6400)).requires_grad_()
    distance = listener.distance(output, target)
    distance.backward()  # type: ignore[no-untyped-call]
    assert distance.item() > 0
    assert output.grad is not None
    assert torch.isfinite(output.grad).all()
