"""Where and in which precision the heavy layers compute.

On a CPU the weights are put once into the order in which oneDNN wants them: a plain
convolution would reorder them in each step, which costs more than the step itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from linkcodec.exceptions import CodecError

__all__ = ["PRECISIONS", "Backend", "choose_precision", "cpu_has_bf16", "cpu_has_int8"]

PRECISIONS: Final = ("auto", "fp32", "bf16", "int8")
"""What a user may ask for; auto: bf16 where the CPU computes in it, else int8 weights, and
fp32 where neither is there."""

_INT8_MAX: Final = 127.0
_INT8_ZERO: Final = 128
_BF16_ORDERS: Final = 2

Apply = Callable[[Tensor], Tensor]


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 numbers itself (AVX-512 BF16, AMX)."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def cpu_has_int8() -> bool:
    """Whether this build of torch multiplies 8-bit numbers here (x86 with oneDNN)."""
    return "onednn" in torch.backends.quantized.supported_engines


def choose_precision(asked: str, device: str) -> str:
    """The precision that `asked` means on a device.

    Raises:
        CodecError: no such precision, or not on this device.
    """
    if asked not in PRECISIONS:
        raise CodecError(f"precision = '{asked}' is unknown: use one of {', '.join(PRECISIONS)}")
    on_cpu = torch.device(device).type == "cpu"
    if asked == "auto":
        if not on_cpu or cpu_has_bf16():
            return "bf16"
        return "int8" if cpu_has_int8() else "fp32"
    if asked == "int8" and not (on_cpu and cpu_has_int8()):
        raise CodecError("precision = 'int8' works on x86 CPUs only: use bf16 or fp32")
    return asked


def _can_pack() -> bool:
    return torch._C._has_mkldnn and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """`precision` is fp32, bf16 or int8 (weights of 8 bits, all else fp32)."""

    precision: str = "fp32"
    device: str = "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """Type of the activations."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def tensor(self, value: Tensor) -> Tensor:
        """A small parameter in the type of the activations."""
        return value.to(self.device, self.dtype).contiguous()

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Apply:
        """(out, in) as a function of (B, T, in)."""
        return self.convolution(weight[:, :, None], bias)

    def convolution(
        self, weight: Tensor, bias: Tensor | None, *, stride: int = 1, dilation: int = 1
    ) -> Apply:
        """(out, in, kernel) as a function of (B, T, in), without padding: `valid`."""
        if self.precision == "int8":
            return _eight_bits(weight, bias, stride=stride, dilation=dilation)
        weight = weight.to(self.device, self.dtype)
        bias = None if bias is None else bias.to(self.device, self.dtype)
        if torch.device(self.device).type == "cpu" and _can_pack():
            return _packed(weight, bias, stride=stride, dilation=dilation)
        return _plain(weight.contiguous(), bias, stride=stride, dilation=dilation)


def _plain(weight: Tensor, bias: Tensor | None, *, stride: int, dilation: int) -> Apply:
    if weight.shape[2] == 1 and stride == 1:
        matrix = weight[:, :, 0]
        return lambda x: F.linear(x, matrix, bias)

    def apply(x: Tensor) -> Tensor:
        y = F.conv1d(x.transpose(1, 2), weight, bias, stride=stride, dilation=dilation)
        return y.transpose(1, 2).contiguous()

    return apply


def _packed(weight: Tensor, bias: Tensor | None, *, stride: int, dilation: int) -> Apply:
    """oneDNN's convolution of images one row high, channels last, with reordered weights.

    The best order depends on the number of steps. In bf16 that of the first two lengths is
    kept, in fp32 that of the first; calls of other lengths reorder each time. That costs five
    times the step in bf16, but only a fifth of it in fp32, too little for twice the memory.
    """
    # The stub of torch knows fewer arguments than the function.
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    most = _BF16_ORDERS if weight.dtype == torch.bfloat16 else 1
    inputs = weight.shape[1]
    plain = [weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)]
    orders: dict[tuple[int, int], Tensor] = {}

    def order(batch: int, steps: int) -> Tensor:
        first = next(iter(orders.values()), None)
        if first is not None and (len(orders) == most or (batch, steps) in orders):
            return orders.get((batch, steps), first)
        image = plain.pop() if first is None else first.to_dense()
        shape = [batch, inputs, 1, steps]
        args = ([0, 0], [1, stride], [1, dilation], 1, shape)
        return orders.setdefault((batch, steps), reorder(image.to_mkldnn(), *args))

    def apply(x: Tensor) -> Tensor:
        rows = x.unsqueeze(1).permute(0, 3, 1, 2)
        packed = order(x.shape[0], x.shape[1])
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            rows, packed, bias, [0, 0], [1, stride], [1, dilation], 1, "none", [], ""
        )
        return y.squeeze(2).transpose(1, 2)

    return apply


def _eight_bits(weight: Tensor, bias: Tensor | None, *, stride: int, dilation: int) -> Apply:
    """Weights and inputs in 8 bits, sums in fp32.

    Weights have a scale for each output; the inputs have one for each call, from their peak.
    """
    outputs, inputs, kernel = weight.shape
    rows = weight.float().permute(0, 2, 1).reshape(outputs, kernel * inputs)
    scale = rows.abs().amax(dim=1).clamp(min=1e-12) / _INT8_MAX
    whole = (rows / scale[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(whole, None)
    zero = torch.zeros(outputs, dtype=torch.int64)
    bias = None if bias is None else bias.float()

    def apply(x: Tensor) -> Tensor:
        batch, steps, _ = x.shape
        step = x.abs().amax().item() / _INT8_MAX or 1.0
        eight = (x * (1.0 / step)).round_().add_(_INT8_ZERO).to(torch.uint8)
        count = (steps - (kernel - 1) * dilation - 1) // stride + 1
        if kernel > 1 or stride > 1:
            eight = eight.contiguous()
            windows = (batch, count, kernel, inputs)
            by_step = (steps * inputs, stride * inputs, dilation * inputs, 1)
            eight = eight.as_strided(windows, by_step)
        flat = eight.reshape(batch * count, kernel * inputs)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            flat, step, _INT8_ZERO, packed, scale, zero, bias, 1.0, 0, torch.float32, "none", [], ""
        )
        return y.reshape(batch, count, outputs)

    return apply
