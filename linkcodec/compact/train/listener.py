"""A recogniser's ear as a loss: what it hears in the output should be what it hears in speech.

The encoder of Whisper (Radford et al. 2022) reads both signals; the loss is the distance of
its hidden layers. It keeps intelligibility while discriminators pull towards naturalness.
The weights are a CTranslate2 `model.bin` of 16-bit floats, given by the user; they are
needed in training only.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from linkcodec.exceptions import InputError

FFT = 400
HOP = 160
BANDS = 80
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a CTranslate2 model file, as float32.

    Raises:
        InputError: the file is missing or has another layout.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: the recogniser cannot be read ({error.strerror})") from error
    place = 0

    def number(form: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from("<" + form, data, place)
        place += struct.calcsize("<" + form)
        return int(value)

    def text() -> str:
        nonlocal place
        length = number("H")
        place += length
        return bytes(data[place - length : place]).rstrip(b"\0").decode()

    tensors: dict[str, Tensor] = {}
    try:
        number("I"), text(), number("I")
        for _ in range(number("I")):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            dtype = _DTYPES[number("B")]
            length = number("I")
            values = np.frombuffer(data[place : place + length], dtype=dtype).reshape(shape)
            place += length
            tensors[name] = torch.from_numpy(values.astype(np.float32))
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CTranslate2 model file ({error})") from error
    return tensors


def slaney_mel(bands: int) -> Tensor:
    """Mel filters (Slaney's scale and area normalisation) up to 8 kHz: (201, bands)."""

    def hertz(mel: Tensor) -> Tensor:
        # 15 Mel are 1 kHz; above, 27 Mel are a factor of 6.4.
        return torch.where(mel < 15, mel * 200 / 3, 1000 * torch.exp((mel - 15) * np.log(6.4) / 27))

    top = 15 + 27 * np.log(8.0) / np.log(6.4)
    edges = hertz(torch.linspace(0, float(top), bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, 8000, FFT // 2 + 1, dtype=torch.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (high - low)).float()


class Listener(nn.Module):
    """The first `layers` layers of the encoder; all weights are fixed."""

    window: Tensor
    mel: Tensor

    def __init__(self, path: Path, *, layers: int = 6) -> None:
        super().__init__()
        tensors = read_tensors(path)
        self._layers = layers
        self.register_buffer("window", torch.hann_window(FFT))
        self.register_buffer("mel", slaney_mel(BANDS))
        for name, value in tensors.items():
            if name.startswith("encoder/") and value.dim():
                self.register_buffer(name.replace("/", "_"), value)

    def _value(self, name: str) -> Tensor:
        return self.get_buffer(f"encoder_{name}")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        gamma, beta = self._value(f"{name}_gamma"), self._value(f"{name}_beta")
        return F.layer_norm(x, (x.shape[-1],), gamma, beta)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._value(f"{name}_weight"), self._value(f"{name}_bias"))

    def log_mel(self, x: Tensor) -> Tensor:
        """Whisper's input: (items, samples) to (items, 80, samples / 160)."""
        padded = F.pad(x[:, None], (FFT // 2, FFT // 2 - HOP), mode="reflect")[:, 0]
        spectrum = torch.fft.rfft(padded.unfold(1, FFT, HOP) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        logs = torch.log10((power @ self.mel).clamp(min=1e-10))
        highest = logs.amax(dim=(1, 2), keepdim=True)
        return ((torch.maximum(logs, highest - 8.0) + 4.0) / 4.0).transpose(1, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Hidden layers for samples (items, samples), each (items, samples / 320, 512)."""
        h = F.gelu(
            F.conv1d(
                self.log_mel(x), self._value("conv1_weight"), self._value("conv1_bias"), padding=1
            )
        )
        h = F.gelu(
            F.conv1d(h, self._value("conv2_weight"), self._value("conv2_bias"), stride=2, padding=1)
        ).transpose(1, 2)
        h = h + self._value("position_encodings_encodings")[: h.shape[1]]
        hidden = []
        items, steps, width = h.shape
        for layer in range(self._layers):
            name = f"layer_{layer}"
            joint = self._linear(
                self._norm(h, f"{name}_self_attention_layer_norm"),
                f"{name}_self_attention_linear_0",
            )
            q, k, v = joint.reshape(items, steps, 3, 8, width // 8).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            h = h + self._linear(
                mixed.reshape(items, steps, width), f"{name}_self_attention_linear_1"
            )
            wide = F.gelu(
                self._linear(self._norm(h, f"{name}_ffn_layer_norm"), f"{name}_ffn_linear_0")
            )
            h = h + self._linear(wide, f"{name}_ffn_linear_1")
            hidden.append(h)
        return hidden

    def distance(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean distance of the hidden layers, each against its own spread."""
        with torch.no_grad():
            meant = self(target)
        made = self(output)
        total = output.new_zeros(())
        for a, b in zip(made, meant, strict=True):
            centre = b.float() - b.float().mean(dim=(0, 1))
            total = total + (a.float() - b.float()).abs().mean() / centre.abs().mean()
        return total / len(meant)
