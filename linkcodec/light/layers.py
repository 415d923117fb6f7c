"""The compact codec's building blocks in numpy; see `linkcodec.compact.layers`.

Arrays are (steps, channels), one stream at a time. The gains of a normalisation and of a
block's output are already part of the matrices next to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from linkcodec.compact.shape import Array

Arrays = Mapping[str, Array]
"""Weights by name."""

_EPSILON: Final = 1e-5
_GELU: Final = (0.7978845608, 0.7978845608 * 0.044715)


class Context:
    """Past inputs of all causal layers of one stream, in their order of use."""

    def __init__(self, past: list[Array] | None = None) -> None:
        self._past = past or []
        self._cursor = 0

    def rewind(self) -> None:
        """Begin a new pass through the layers."""
        self._cursor = 0

    def extend(self, x: Array, length: int) -> Array:
        """`x` with the `length` steps before it, which are remembered for the next pass."""
        if self._cursor == len(self._past):
            self._past.append(np.zeros((length, x.shape[1]), np.float32))
        extended = np.concatenate((self._past[self._cursor], x))
        self._past[self._cursor] = extended[-length:]
        self._cursor += 1
        return extended

    def copy(self) -> Context:
        """An independent copy; the arrays are replaced and never written into."""
        return Context(list(self._past))


def gelu(x: Array) -> Array:
    """GELU by its tanh formula (Hendrycks and Gimpel 2016)."""
    inner = x * x
    inner *= _GELU[1]
    inner += _GELU[0]
    inner *= x
    np.tanh(inner, out=inner)
    inner += 1.0
    inner *= x
    inner *= 0.5
    return inner


def normalise(x: Array) -> Array:
    """Every step with mean 0 and variance 1 over its channels."""
    share = np.float32(1 / x.shape[1])
    mean: Array = np.add.reduce(x, axis=1, keepdims=True) * share
    centred: Array = x - mean
    power = np.einsum("tc,tc->t", centred, centred)
    power *= share
    power += np.float32(_EPSILON)
    np.sqrt(power, out=power)
    centred /= power[:, None]
    return centred


@dataclass(frozen=True)
class Linear:
    """A matrix (inputs, outputs) and a bias (outputs,)."""

    weight: Array
    bias: Array

    @classmethod
    def read(cls, arrays: Arrays, name: str) -> Linear:
        """The layer called `name`."""
        return cls(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def __call__(self, x: Array) -> Array:
        if len(x) == 2:
            # Two products with a vector are faster than one with so thin a matrix.
            y = np.empty((2, len(self.bias)), np.float32)
            np.dot(x[0], self.weight, out=y[0])
            np.dot(x[1], self.weight, out=y[1])
        else:
            y = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True)
class Block:
    """Causal ConvNeXt block; `kernel` is (taps, channels)."""

    kernel: Array
    bias: Array
    widen: Linear
    narrow: Linear

    @classmethod
    def read(cls, arrays: Arrays, name: str) -> Block:
        """The block called `name`."""
        return cls(
            kernel=arrays[f"{name}.depthwise.weight"],
            bias=arrays[f"{name}.depthwise.bias"],
            widen=Linear.read(arrays, f"{name}.widen"),
            narrow=Linear.read(arrays, f"{name}.narrow"),
        )

    def __call__(self, x: Array, context: Context) -> Array:
        taps, channels = self.kernel.shape
        past = context.extend(x, taps - 1)
        step, sample = past.strides
        views = np.ndarray((len(x), taps, channels), np.float32, past, 0, (step, step, sample))
        y: Array = np.add.reduce(views * self.kernel, axis=1)
        y += self.bias
        out = self.narrow(gelu(self.widen(normalise(y))))
        out += x
        return out


@dataclass(frozen=True)
class Stage:
    """Several blocks at one rate."""

    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, arrays: Arrays, name: str) -> Stage:
        """The stage called `name`, with as many blocks as there are."""
        blocks: list[Block] = []
        while f"{name}.blocks.{len(blocks)}.depthwise.bias" in arrays:
            blocks.append(Block.read(arrays, f"{name}.blocks.{len(blocks)}"))
        return cls(tuple(blocks))

    def __call__(self, x: Array, context: Context) -> Array:
        for block in self.blocks:
            x = block(x, context)
        return x


def merge(x: Array, mix: Linear) -> Array:
    """Halves the rate: two neighbouring steps become one."""
    return mix(normalise(x).reshape(len(x) // 2, -1))


def split(x: Array, mix: Linear) -> Array:
    """Doubles the rate: one step becomes two neighbouring ones."""
    return mix(normalise(x)).reshape(len(x) * 2, -1)
