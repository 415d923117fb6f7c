"""The tensors of a checkpoint, each asked for by name and shape, and none left over."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from linkcodec.exceptions import CodecError

__all__ = ["Tensors"]


class Tensors:
    """Names to tensors; `prefix` stands before all names.

    A model takes what it needs, and `check_all_taken` at the end finds what nobody took: so
    a checkpoint of another network never loads by halves.
    """

    def __init__(self, values: Mapping[str, Tensor], *, source: str) -> None:
        self._values = values
        self._taken: set[str] = set()
        self._prefix = ""
        self.source = source

    def below(self, prefix: str) -> Tensors:
        """The tensors whose names begin with `prefix` and a dot."""
        part = Tensors(self._values, source=self.source)
        part._taken = self._taken
        part._prefix = f"{self._prefix}{prefix}."
        return part

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor, in fp32, of its own: none keeps the whole file mapped.

        Raises:
            CodecError: it is missing, or of another shape or kind.
        """
        return self._check(name, shape).to(torch.float32, copy=True)

    def ignore(self, name: str, *shape: int) -> None:
        """Let a tensor be there that inference does not need; it may be missing.

        Raises:
            CodecError: it is of another shape or kind.
        """
        if self._prefix + name in self._values:
            self._check(name, shape)

    def _check(self, name: str, shape: tuple[int, ...]) -> Tensor:
        name = self._prefix + name
        value = self._values.get(name)
        if value is None:
            raise CodecError(
                f"{self.source}: tensor {name} is missing: damaged, or converted from the hub's "
                "layout; get the original model.safetensors"
            )
        if tuple(value.shape) != shape or not value.is_floating_point():
            raise CodecError(
                f"{self.source}: tensor {name} is {value.dtype} of shape {tuple(value.shape)}, "
                f"not numbers of shape {shape}: converted, or of another model"
            )
        self._taken.add(name)
        return value

    def named(self, beginnings: tuple[str, ...]) -> dict[str, Tensor]:
        """All tensors whose names go on with one of `beginnings`, without the prefix."""
        start = len(self._prefix)
        return {
            name[start:]: value
            for name, value in self._values.items()
            if name.startswith(self._prefix) and name[start:].startswith(beginnings)
        }

    def check_all_taken(self) -> None:
        """Refuse a checkpoint that holds more than the model has.

        Raises:
            CodecError: tensors are left over.
        """
        extra = sorted(set(self._values) - self._taken)
        if extra:
            raise CodecError(
                f"{self.source}: {len(extra)} unexpected tensors ({', '.join(extra[:3])}): of "
                "another model, or converted from the hub's layout"
            )
